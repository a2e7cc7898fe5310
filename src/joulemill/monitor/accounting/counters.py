"""What counters say between two scrapes. Pure: no clock, no socket."""

from __future__ import annotations

from collections.abc import Mapping

from joulemill.ledger.record import ServerSample
from joulemill.monitor.snapshot import TokenKind

_KINDS = {
    TokenKind.PROMPT: "prompt_tok_total",
    TokenKind.CACHED: "prompt_cached_tok_total",
    TokenKind.OUTPUT: "output_tok_total",
}


def increase_count(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float | None:
    """Increase of a counter that went through ``series.CounterSeries``. None where a scrape lacks it, or it fell."""
    a, b = before.get(name), after.get(name)
    return b - a if a is not None and b is not None and b >= a else None


def token_increases(before: ServerSample, after: ServerSample) -> dict[TokenKind, float]:
    """Tokens by kind between two good scrapes; a kind that the server does not count is absent."""
    increases = {kind: increase_count(before.values, after.values, name) for kind, name in _KINDS.items()}
    return {kind: value for kind, value in increases.items() if value is not None}


def idle_ratio(before: ServerSample, after: ServerSample) -> float | None:
    """1 where no request runs at either end and no token was made between; else gauges alone cannot tell: None."""
    running = [s.values.get("running_req") for s in (before, after)]
    output_tok = increase_count(before.values, after.values, "output_tok_total")
    return 1.0 if running == [0.0, 0.0] and output_tok == 0 else None


def mean_s(before: ServerSample, after: ServerSample, what: str) -> float | None:
    """Mean of ``ttft`` or ``tpot`` [s] of the requests that ended between; None where none did or nobody counts."""
    seconds = increase_count(before.values, after.values, f"{what}_s_total")
    count = increase_count(before.values, after.values, f"{what}_count_total")
    if seconds is not None and count:
        return seconds / count
    if what == "tpot" and f"{what}_s_total" not in after.values:  # llama.cpp: its own decoding time over its tokens
        seconds, count = (
            increase_count(before.values, after.values, n) for n in ("decode_s_total", "output_tok_total")
        )
        return seconds / count if seconds is not None and count else None
    return None


def mean_tok(before: ServerSample, after: ServerSample, kind: TokenKind) -> float | None:
    """Mean tokens of a kind a request that ended between; None where none did."""
    requests = increase_count(before.values, after.values, "requests_total")
    tokens = increase_count(before.values, after.values, _KINDS[kind])
    return tokens / requests if requests and tokens is not None else None
