"""The server of a run: the embedded one, started and always stopped, or the one that the user names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulemill.bench.facts import gguf_facts
from joulemill.bench.load.replay import replayed
from joulemill.bench.options import BenchOptions
from joulemill.catalog.gguf_shards import read_whole_gguf
from joulemill.ledger.manifest import ModelDescription
from joulemill.servers.bundled import remembered_sha256
from joulemill.servers.client import Endpoint
from joulemill.servers.embedded import EmbeddedOptions, EmbeddedServer, embedded_version

#: Context of one slot unless more is asked for: prompts of the quality set fit (assumed).
LEAST_CONTEXT_TOK = 2048
#: Room over the asked lengths: the chat template, and prompts that come out longer than asked.
_SPARE = (1.25, 64)


@dataclass(frozen=True, kw_only=True)
class ServerUnderTest:
    """Where the load goes. ``pid``, ``slots``, ``gguf``, ``model`` are the embedded server's, None of another.

    ``check`` raises ServerError, with the log's end, when the embedded server has stopped by itself. ``second`` is a
    model beside it that takes on questions.
    """

    endpoint: Endpoint
    pid: int | None = None
    slots: int | None = None
    gguf: Path | None = None
    model: ModelDescription = field(default_factory=ModelDescription)
    check: Callable[[], None] = lambda: None
    second: Endpoint | None = None


@asynccontextmanager
async def hosted(options: BenchOptions, api_key: str | None) -> AsyncIterator[ServerUnderTest]:
    """The server that ``options`` ask for, for as long as the run needs it."""
    if options.url is not None:
        yield ServerUnderTest(endpoint=asked_endpoint(options, api_key))
        return
    embedded = embedded_options(options)
    server = EmbeddedServer(embedded)
    try:
        await _started(server)
        about = await asyncio.to_thread(_model_facts, server.gguf, embedded)
        yield ServerUnderTest(
            endpoint=Endpoint(url=server.url, model=server.model_name, api_key=None, api=options.api),
            pid=server.pid,
            slots=embedded.slots,
            gguf=server.gguf,
            model=about,
            check=server.check,
            second=Endpoint(url=server.second_url, model="second", api_key=None, api=options.api)
            if server.second_url
            else None,
        )
    finally:
        server.stop()


def asked_endpoint(options: BenchOptions, api_key: str | None) -> Endpoint:
    """The server at ``options.url`` with all that goes along with each question to it."""
    return Endpoint(
        url=options.url or "",
        model=options.model or "",
        api_key=api_key,
        api=options.api,
        extra_headers=options.headers,
        extra_body=options.extra_body,
        metrics=options.metrics_url,
    )


def _model_facts(gguf: Path, embedded: EmbeddedOptions) -> ModelDescription:
    """What the manifest says of the embedded model: its header, its hash, its number formats."""
    header = gguf_facts(gguf)
    held: dict[str, int] = {}
    for tensor in read_whole_gguf(gguf).tensors:
        held[tensor.type_name] = held.get(tensor.type_name, 0) + tensor.size_byte
    return ModelDescription(
        kv_type=embedded.kv_type,
        gguf=header,
        sha256=remembered_sha256(gguf),
        precision=f"{max(held, key=lambda k: held[k], default='unknown')} weights, {embedded.kv_type} KV cache",
        threads=embedded.thread_count,
        served_by=embedded_version(),
    )


async def _started(server: EmbeddedServer) -> None:
    """Start it beside the event loop, which must hear Ctrl-C meanwhile; a start that is cut short leaves nothing."""
    starting = asyncio.ensure_future(asyncio.to_thread(server.start))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        server.stop()
        await asyncio.gather(starting, return_exceptions=True)
        raise


def embedded_options(options: BenchOptions) -> EmbeddedOptions:
    """Slots for all that runs at once, and context for the longest request that can come."""
    names = ("gguf", "threads", "kv_type", "cache_prompt", "draft_gguf", "draft_tok", "second_gguf")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    slots = options.slots or options.at_once
    return EmbeddedOptions(
        slots=slots,
        context_tok=options.context_tok or _context_tok(options),
        http_threads=max(192, options.at_once + slots + 16),
        **{name: value for name, value in settings.items() if value is not None},
    )


def _context_tok(options: BenchOptions) -> int:
    longest = options.turns * (options.input_lengths.bound_tok + options.output_lengths.bound_tok)
    if options.trace is not None:
        longest = max((a.input_tok or 0) + (a.output_tok or 0) for a in replayed(options))
    return max(LEAST_CONTEXT_TOK, int(longest * _SPARE[0]) + _SPARE[1])
