"""Tokens counted: by each request's usage in the window, and checked against the server's own counters.

The two are compared over a span with no request in flight at its ends (the whole load), where edges do not matter:
a counter read in the middle of a window would differ by what was in flight, which is no mistake of anyone. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemill.ledger.caching import CachedPrompts, cached_prompts, counted_between
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.flow import Flow, last_seen_s
from joulemill.ledger.plausibility import token_fault
from joulemill.ledger.record import RequestOutcome, RequestRecord, ServerSample

Bools = NDArray[np.bool_]
#: Output tokens of usage and of the server's counter that differ by more than this are told. Assumed.
TOLERANCE_RATIO = 0.01
COUNTERS = {
    "output_tok_total": "output_tok",
    "prompt_tok_total": "prompt_tok",
    "prompt_computed_tok_total": "prompt_computed_tok",
    "prompt_cached_tok_total": "prompt_cached_tok",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens in the window, and the check against the server over the load.

    output_tok, prompt_tok      in the window; a request that straddles an edge counts with its share inside
    cached_tok, computed_tok    by usage, else by the server's counters; None where neither says
    caching                     cached prompt tokens over the load, and how many of them nothing explains
    reasoning_tok               of the requests that ended in the window; None where the server never said
    by_usage, by_metrics        the same span, by usage and by counters (None: no such counter)
    mismatch_ratio              |usage − metrics| ÷ usage of output tokens over the span; None: cannot be compared
    uncounted_chunk_count       chunks in the window of requests that gave no usage
    chunk_tok                   output tokens a chunk of the requests that gave usage; None without such
    """

    output_tok: float
    prompt_tok: float
    cached_tok: float | None
    computed_tok: float | None
    reasoning_tok: int | None
    by_usage: Mapping[str, float | None]
    by_metrics: Mapping[str, float | None]
    mismatch_ratio: float | None
    uncounted_chunk_count: int
    chunk_tok: float | None = None
    caching: CachedPrompts | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def doubt_ratio(self) -> float:
        """Share of the output tokens by which the count may be off: what the server's counter and usage part by beyond
        ``TOLERANCE_RATIO``, and chunks that no usage counted. Joules of such tokens are in the joules."""
        apart = self.mismatch_ratio or 0.0
        missed = self.uncounted_chunk_count * (self.chunk_tok or 1.0)
        total_tok = self.output_tok + missed
        return max(apart if apart > TOLERANCE_RATIO else 0.0, missed / total_tok if total_tok else 0.0)


def count_tokens(
    flow: Flow,
    window: tuple[float, float],
    requests: Sequence[RequestRecord],
    samples: Sequence[ServerSample],
    allowed_tok: float | None = None,
) -> TokenCount:
    """Tokens in ``window`` of ``flow``, checked over the load against ``samples``.

    requests     of the whole run: those of other phases inside the compared span are counted with it
    allowed_tok  prompt tokens that a cache may hold by the load's design (``caching.prefix_tok``)
    """
    edges = np.array(window)
    inside = (flow.prompt_s >= window[0]) & (flow.prompt_s < window[1])
    cached_tok, computed_tok = _window_caching(flow, inside, samples, window)
    uncounted = int(np.count_nonzero((flow.uncounted_s >= window[0]) & (flow.uncounted_s < window[1])))
    mine = [r for r in requests if r.phase == "load"]
    ended = [r for r in requests if r.end_mono_s is not None and window[0] <= r.end_mono_s < window[1]]
    reasoning = [r.reasoning_tok for r in ended if r.reasoning_tok is not None]
    usage, metrics, mismatch, findings, within = _checked(mine, requests, samples)
    caching = cached_prompts(within or mine, metrics, allowed_tok)
    caching_finding = caching.finding() if caching is not None else None
    if caching_finding is not None:
        findings.append(caching_finding)
    if uncounted:
        detail = f"{uncounted} chunks in the window belong to requests without usage; their tokens are not counted"
        findings.append(Finding(Reason.UNCOUNTED_TOKENS, "tokens", detail))
    return TokenCount(
        output_tok=float(flow.output_per_window_tok(edges)[0]),
        prompt_tok=float(flow.served_tok[inside].sum()),
        cached_tok=cached_tok,
        computed_tok=computed_tok,
        reasoning_tok=sum(reasoning) if reasoning else None,
        by_usage=usage,
        by_metrics=metrics,
        mismatch_ratio=mismatch,
        uncounted_chunk_count=uncounted,
        chunk_tok=_mean_chunk_tok(requests),
        caching=caching,
        findings=tuple(findings),
    )


def _window_caching(
    flow: Flow, inside: Bools, samples: Sequence[ServerSample], window: tuple[float, float]
) -> tuple[float | None, float | None]:
    """Prompt tokens of the window from a cache and computed: by usage, else by the server's counter."""
    cached, served_tok = flow.cached_tok[inside], float(flow.served_tok[inside].sum())
    if len(cached) and not np.isnan(cached).any():
        return float(cached.sum()), float(flow.computed_tok[inside].sum())
    counted_tok = counted_between(samples, "prompt_cached_tok_total", window)
    if counted_tok is None or not served_tok:
        return None, None
    counted_tok = min(counted_tok, served_tok)
    return counted_tok, served_tok - counted_tok


def _mean_chunk_tok(requests: Sequence[RequestRecord]) -> float | None:
    counted = [(r.output_tok, len(r.chunk_mono_s)) for r in requests if r.output_tok and r.chunk_mono_s]
    chunks = sum(n for _, n in counted)
    return sum(tok for tok, _ in counted) / chunks if chunks else None


_Check = tuple[dict[str, float | None], dict[str, float | None], float | None, list[Finding], Sequence[RequestRecord]]


def _checked(load: Sequence[RequestRecord], every: Sequence[RequestRecord], samples: Sequence[ServerSample]) -> _Check:
    nothing: dict[str, float | None] = dict.fromkeys(COUNTERS.values())
    good = sorted((s for s in samples if s.error is None), key=lambda s: s.t_mono_s)
    span = _span(load, good)
    if span is None:
        return nothing, dict(nothing), None, [], ()
    start, end = span
    lives = [(r, r.dispatched_mono_s, last_seen_s(r)) for r in every]
    inside = [r for r, a, b in lives if a is not None and b is not None and a >= start and b <= end]
    straddling = [r for r, a, b in lives if a is not None and b is not None and (a < start < b or a < end < b)]
    usage = _usage(inside)
    metrics: dict[str, float | None] = {}
    findings: list[Finding] = []
    for name, ours in COUNTERS.items():
        metrics[ours], resets = increase_tok([s for s in good if start <= s.t_mono_s <= end], name)
        if metrics[ours] is not None and token_fault(metrics[ours] or 0.0, end - start, kind=name.split("_")[0]):
            detail = f"the server's counter rose by {metrics[ours]:.4g} in {end - start:.3g} s: not believed"
            findings.append(Finding(Reason.IMPLAUSIBLE_TOKENS, name, detail))
            metrics[ours] = None
        if resets:
            findings.append(Finding(Reason.RESET, name, f"the server's counter restarted {resets} times in the load"))
    served, counted = usage["output_tok"], metrics["output_tok"]
    if straddling or not served or counted is None:
        return usage, metrics, None, findings, inside
    mismatch = abs(served - counted) / served
    if mismatch > TOLERANCE_RATIO:
        findings.append(Finding(Reason.TOKENS_DISAGREE, "tokens", _explained(served, counted, inside)))
    return usage, metrics, mismatch, findings, inside


def _explained(served: float, counted: float, inside: Sequence[RequestRecord]) -> str:
    failed = sum(r.outcome is not RequestOutcome.OK for r in inside)
    who = f"; {failed} failed requests got tokens without usage" if failed and counted > served else ""
    other = "; another client may use the server" if counted > served and not failed else ""
    return f"usage says {served:.0f} output tokens over the load, the server's counter {counted:.0f}{who}{other}"


def _span(load: Sequence[RequestRecord], samples: Sequence[ServerSample]) -> tuple[float, float] | None:
    """From the last sample before the load's first request to the first after its last; None where not bracketed."""
    sent = [r.dispatched_mono_s for r in load if r.dispatched_mono_s is not None]
    if not sent:
        return None
    last = max(t for t in (last_seen_s(r) for r in load) if t is not None)
    before = [s.t_mono_s for s in samples if s.t_mono_s <= min(sent)]
    after = [s.t_mono_s for s in samples if s.t_mono_s >= last]
    return (before[-1], after[0]) if before and after else None


def _usage(requests: Sequence[RequestRecord]) -> dict[str, float | None]:
    good = [r for r in requests if r.outcome is RequestOutcome.OK]
    prompt = float(sum(r.prompt_tok or 0 for r in good))
    cached = [r.cached_tok for r in good]
    hits = float(sum(c for c in cached if c is not None)) if good and None not in cached else None
    return {
        "output_tok": float(sum(r.output_tok or 0 for r in good)),
        "prompt_tok": prompt,
        "prompt_computed_tok": None if hits is None else prompt - hits,
        "prompt_cached_tok": hits,
    }


def increase_tok(samples: Sequence[ServerSample], name: str) -> tuple[float | None, int]:
    """Increase of a counter over ``samples`` in order, and how often it restarted (from 0: its new value counts whole).

    None where fewer than two samples have it, or the first or last lacks it.
    """
    if len(samples) < 2 or name not in samples[0].values or name not in samples[-1].values:
        return None, 0
    v = np.array([s.values[name] for s in samples if name in s.values], dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = np.diff(v)
        fell = delta < 0.0
        return float(np.where(fell, v[1:], delta).sum()), int(fell.sum())
