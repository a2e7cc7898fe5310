"""A thin streaming client of OpenAI-compatible servers: one question in, one Answer out.

Every byte is stamped with its arrival time before anything else is done with it; decoding waits for the end of the
stream (``transcript``). A server's fault never raises here: it becomes the Answer's outcome and error.
What is asked of a server before a run (which models, which version) lives in ``endpoint``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import aiohttp

from joulemill.formats.plain_text import plain_text
from joulemill.ledger.record import RequestOutcome
from joulemill.servers.endpoint import Endpoint, EndpointFacts, check_endpoint
from joulemill.servers.transcript import Answer, Transcript, error_text

__all__ = ["Answer", "Ask", "Endpoint", "EndpointFacts", "Transcript", "ask", "check_endpoint", "open_session"]

#: Bounds on what one answer may fill in memory (assumed: 100 000 tokens of verbose chunks).
MAX_STREAM_BYTE = 64 << 20
MAX_ERROR_BYTE = 64 << 10
#: Shorter than the 5 s after which uvicorn and llama.cpp close an idle connection, so that a question is not
#: sent into a closing one.
KEEPALIVE_S = 4.0
#: How long to wait after [DONE] for the end of the body, so that the connection can be used again (assumed).
GRACE_S = 1.0
#: The longest wait that a server can ask for: longer ones are as good as never.
LONGEST_RETRY_S = 1e9
_DONE = (b"\ndata: [DONE]", b"\ndata:[DONE]", b"\rdata: [DONE]", b"\rdata:[DONE]")
_TAIL = max(map(len, _DONE)) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question. ``text`` is the user's message (chat) or the prompt (completions).

    ``ignore_eos`` and ``cache_prompt`` are extensions of vLLM, SGLang and llama.cpp: False and None leave them out,
    as servers that do not know them may refuse them (``EndpointFacts.takes_ignore_eos``). ``extra`` is merged into
    the body last. ``history``: (role, text) of the turns before, for chat.
    """

    text: str
    max_tok: int
    timeout_s: float = 300.0
    temperature: float = 0.0
    ignore_eos: bool = True
    seed: int | None = None
    stop: tuple[str, ...] = ()
    cache_prompt: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[tuple[str, str], ...] = ()

    @property
    def prompt_byte(self) -> int:
        """Bytes of what is asked: a bound on the tokens that it can be."""
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in (self.text, *(t for _, t in self.history)))

    def body(self, endpoint: Endpoint) -> bytes:
        """The request's JSON for ``endpoint``."""
        chat = endpoint.api == "chat"
        messages = [{"role": role, "content": text} for role, text in (*self.history, ("user", self.text))]
        body: dict[str, Any] = {"messages": messages} if chat else {"prompt": self.text}
        body |= {"model": endpoint.model, "max_tokens": self.max_tok, "temperature": self.temperature}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.ignore_eos:
            body["ignore_eos"] = True
        if self.seed is not None:
            body["seed"] = self.seed
        if self.stop:
            body["stop"] = list(self.stop)
        if self.cache_prompt is not None:
            body["cache_prompt"] = self.cache_prompt
        return json.dumps(body | dict(endpoint.extra_body) | dict(self.extra)).encode()


def open_session(concurrency: int) -> aiohttp.ClientSession:
    """A session for ``concurrency`` streams at once; close it, or use it with ``async with``.

    No limit on connections: a client that queues would bend the latencies it measures. No decompression, no cookies.
    """
    del concurrency  # the connector has no limit at all; the name says for what the caller opens it
    tracing: aiohttp.TraceConfig = aiohttp.TraceConfig()
    tracing.on_request_chunk_sent.append(_stamp_dispatch)
    tracing.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trace_configs=[tracing],
        headers={"Accept-Encoding": "identity", "User-Agent": "joulemill"},
    )


async def _stamp_dispatch(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    """The body goes to the socket now: connecting and waiting for this client's own turn are not the server's time.

    They are not lost either: they stand between the scheduled time and this one.
    """
    transcript = getattr(context, "trace_request_ctx", None)
    if isinstance(transcript, Transcript):
        transcript.dispatched_mono_s = time.monotonic()


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    transcript = getattr(context, "trace_request_ctx", None)
    if isinstance(transcript, Transcript):
        transcript.reused = True


async def ask(
    session: aiohttp.ClientSession, endpoint: Endpoint, question: Ask, transcript: Transcript | None = None
) -> Answer:
    """Send ``question`` and follow the answer's stream to its end. Never raises for a server's fault.

    CancelledError passes through; a caller that gave its own ``transcript`` then still has what had come
    (``transcript.answer()``, outcome CANCELLED).
    """
    raw = transcript if transcript is not None else Transcript()
    raw.dispatched_mono_s = time.monotonic()
    raw.max_tok, raw.prompt_byte, raw.secrets = question.max_tok, question.prompt_byte, endpoint.secrets
    try:
        async with asyncio.timeout(question.timeout_s) as limit:
            while await _closed_before(session, endpoint, question, raw, limit):
                pass
    except TimeoutError:
        raw.fail(RequestOutcome.TIMEOUT, f"no complete answer within {question.timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        broken = RequestOutcome.CONNECTION_ERROR if raw.first_byte_mono_s is None else RequestOutcome.CUT_SHORT
        raw.fail(broken, plain_text(f"{type(error).__name__}: {error}", raw.secrets, 300))
    if raw.end_mono_s is None:
        raw.end_mono_s = time.monotonic()
    for answer in raw.read_pieces():
        if answer is not None:
            return answer
        await asyncio.sleep(0)
    raise AssertionError("unreachable: the last piece is the answer")


async def _closed_before(
    session: aiohttp.ClientSession, endpoint: Endpoint, question: Ask, raw: Transcript, limit: asyncio.Timeout
) -> bool:
    """One exchange; True where it went into a connection that the server was closing, so that it must be sent again.

    llama.cpp's server closes each connection after a stream without saying so before; a question that is sent within
    that moment is lost with the connection and never read. It is this client's affair, not a refusal: no time passes
    between the two sendings, and on a fresh connection the same fault is the server's.
    """
    raw.reused = False
    try:
        await _exchange(session, endpoint, question, raw, limit)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        if raw.reused and raw.first_byte_mono_s is None:
            return True
        raise
    return False


async def _exchange(
    session: aiohttp.ClientSession, endpoint: Endpoint, question: Ask, raw: Transcript, limit: asyncio.Timeout
) -> None:
    sent = session.post(
        endpoint.ask_url,
        data=question.body(endpoint),
        headers={"Content-Type": "application/json", **endpoint.headers()},
        allow_redirects=False,
        trace_request_ctx=raw,
    )
    async with sent as response:
        raw.first_byte_mono_s = time.monotonic()
        raw.http_status = response.status
        if response.status == 200 and response.content_type == "text/event-stream":
            await _follow(response.content, raw, limit)
        else:
            await _refused(response, raw)


async def _follow(content: aiohttp.StreamReader, raw: Transcript, limit: asyncio.Timeout) -> None:
    """Keep every arrival with its time. [DONE] is looked for only to stop the clock; the decoding comes later."""
    size_byte, tail = 0, b"\n"
    while data := await content.readany():
        now_mono_s = time.monotonic()
        raw.arrivals.append((now_mono_s, data))
        size_byte += len(data)
        if size_byte > MAX_STREAM_BYTE:
            raw.fail(RequestOutcome.CUT_SHORT, f"the answer is longer than {MAX_STREAM_BYTE} bytes; gave up reading it")
            return
        received = tail + data
        if raw.end_mono_s is None and any(mark in received for mark in _DONE):
            raw.end_mono_s = now_mono_s
            limit.reschedule(asyncio.get_running_loop().time() + GRACE_S)
        tail = received[-_TAIL:]
    if raw.end_mono_s is None:
        raw.end_mono_s = time.monotonic()


async def _refused(response: aiohttp.ClientResponse, raw: Transcript) -> None:
    raw.retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    body = await response.content.read(MAX_ERROR_BYTE)
    raw.end_mono_s = time.monotonic()
    if response.status == 200:
        raw.fail(
            RequestOutcome.HTTP_ERROR, f"the server answered without streaming (content type {response.content_type})"
        )
    else:
        reason = error_text(body, secrets=raw.secrets)
        raw.fail(RequestOutcome.HTTP_ERROR, f"HTTP {response.status}{': ' + reason if reason else ''}")


def _retry_after_s(value: str | None) -> float | None:
    """``Retry-After`` as seconds from now: it is a number of seconds or a date (RFC 9110, 10.2.3).

    None where it is neither. A date beyond the calendar's end, or a number of many digits, is as long as can be said.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 9 else LONGEST_RETRY_S
    try:
        seconds = (parsedate_to_datetime(text[:64]) - datetime.now(UTC)).total_seconds()
    except OverflowError:
        return LONGEST_RETRY_S
    except (ValueError, TypeError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_S)
