"""The load of a run in words: as it was asked, and as it was where nobody said. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from joulemill.ledger.client_check import is_closed
from joulemill.ledger.manifest import RunOptions
from joulemill.ledger.record import RequestRecord, RunRecord
from joulemill.ledger.window import load_requests


def load_text(record: RunRecord) -> str:
    """What was sent and how long it was, e.g. "open loop, 2 req/s, input 128, output 64 tokens"."""
    options = record.manifest.asked
    return f"{_arrivals(options)}{_lengths(options, load_requests(record))}"


def start_text(record: RunRecord) -> str | None:
    """How a closed loop of ours begins, which is not how other tools begin theirs; None for any other load."""
    ours = record.manifest.imported is None
    if not ours or not is_closed(record) or (record.manifest.asked.concurrency or 1) < 2:
        return None
    return (
        "requests start one after another over the warm-up; tools that start all at once keep requests of one length "
        "in step, and show a longer TTFT of the same server"
    )


def _arrivals(options: RunOptions) -> str:
    rate = options.rate or options.rate_req_s
    if options.trace:
        return f"trace {PurePath(options.trace).name}"
    if rate is not None:
        limit = options.max_concurrency
        return f"open loop, {rate:g} req/s" + (f", at most {limit} in flight" if limit else "")
    if options.concurrency:
        return f"concurrency {options.concurrency}"
    if options.at_once:
        return f"{options.at_once} requests at once"
    return f"{options.strategy} load" if options.strategy else "load of unknown arrivals"


def _lengths(options: RunOptions, requests: Sequence[RequestRecord]) -> str:
    """Lengths as asked; of a trace, whose requests have their own, and of a file that does not say them: the means."""
    asked = (None, None) if options.trace else (options.input_tokens, options.output_tokens)
    means = (_mean(r.prompt_tok for r in requests), _mean(r.output_tok for r in requests))
    parts = [
        f"{name} {setting}" if setting is not None else f"mean {name} {mean:.0f}"
        for name, setting, mean in zip(("input", "output"), asked, means, strict=True)
        if setting is not None or mean is not None
    ]
    return f", {', '.join(parts)} tokens" if parts else ""


def _mean(counts: Iterable[int | None]) -> float | None:
    known = [n for n in counts if n]
    return sum(known) / len(known) if known else None
