"""Tokens over time: each request's own count, spread over the arrivals of its chunks.

Chunks are not tokens: a request's ``usage`` says how many it got, its chunks only say when. Its output tokens are
spread evenly over its content chunks, so the sum over all time is the usage, exactly. Prompt tokens count at the
first token, when they have been worked through. Only requests that ended well deliver tokens. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.ledger.record import RequestOutcome, RequestRecord

Ints = NDArray[np.intp]

#: Events of a request without chunks, whatever number of tokens its server states: finer than any sub-window. Assumed.
MOST_EVENTS = 1024


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Flow:
    """Token events of n requests.

    output_s [m], output_weight_tok [m], output_request [m]    one event a chunk: time, tokens, index of the request
    prompt_s [p], prompt_request [p]                           one event a request that got a first token
    served_tok [p], cached_tok [p], computed_tok [p]           cached NaN where the server did not say;
                                                               computed then equals served
    start_s [n], end_s [n]      life of each request, NaN where never sent
    uncounted_s [q]             chunks of requests that delivered no usage: tokens that nobody counted
    """

    ids: tuple[str, ...]
    output_s: Array
    output_weight_tok: Array
    output_request: Ints
    prompt_s: Array
    prompt_request: Ints
    served_tok: Array
    cached_tok: Array
    computed_tok: Array
    start_s: Array
    end_s: Array
    uncounted_s: Array

    def output_per_window_tok(self, edges_s: Array) -> Array:
        """Output tokens between consecutive edges [k+1] → [k]; an event on an edge belongs to the later window."""
        return _binned(self.output_s, self.output_weight_tok, edges_s)

    def prompt_per_window_tok(self, edges_s: Array) -> Array:
        """Prompt tokens computed (cache hits left out) between consecutive edges [k+1] → [k]."""
        return _binned(self.prompt_s, self.computed_tok, edges_s)

    def active(self, start_s: float, end_s: float) -> int:
        """Number of requests in flight at some time in the window."""
        return int(np.count_nonzero((self.start_s < end_s) & (self.end_s > start_s)))


def flow(requests: Sequence[RequestRecord]) -> Flow:
    """The token events of ``requests``. Requests that failed have a life, and no tokens."""
    arrivals = [_arrivals_s(r) for r in requests]
    sizes = np.array([len(a) for a in arrivals], dtype=np.intp)
    counts = np.array([float(r.output_tok or 0) for r in requests])
    each = np.divide(counts, sizes, out=np.zeros(len(requests)), where=sizes > 0)
    first = [i for i, r in enumerate(requests) if r.outcome is RequestOutcome.OK and _first_s(r) is not None]
    served = np.array([float(requests[i].prompt_tok or 0) for i in first])
    cached = np.array([_or_nan(requests[i].cached_tok) for i in first])
    uncounted = [np.asarray(r.chunk_mono_s) for r in requests if r.outcome is not RequestOutcome.OK or not r.output_tok]
    return Flow(
        ids=tuple(r.id for r in requests),
        output_s=np.concatenate([np.zeros(0), *arrivals]),
        output_weight_tok=np.repeat(each, sizes),
        output_request=np.repeat(np.arange(len(requests), dtype=np.intp), sizes),
        prompt_s=np.array([_first_s(requests[i]) for i in first], dtype=float),
        prompt_request=np.array(first, dtype=np.intp),
        served_tok=served,
        cached_tok=cached,
        computed_tok=served - np.clip(np.nan_to_num(cached, nan=0.0), 0.0, served),
        start_s=np.array([_or_nan(r.dispatched_mono_s) for r in requests], dtype=float),
        end_s=np.array([_or_nan(last_seen_s(r)) for r in requests], dtype=float),
        uncounted_s=np.concatenate([np.zeros(0), *uncounted]),
    )


def last_seen_s(r: RequestRecord) -> float | None:
    """When a request was last heard of; None where it was never sent."""
    for t in (r.end_mono_s, r.last_token_mono_s, r.first_token_mono_s, r.dispatched_mono_s):
        if t is not None:
            return t
    return None


def _first_s(r: RequestRecord) -> float | None:
    for t in (r.first_token_mono_s, *r.chunk_mono_s[:1], r.last_token_mono_s, r.end_mono_s):
        if t is not None:
            return t
    return None


def _arrivals_s(r: RequestRecord) -> Array:
    """When the tokens of a good request came: its chunks; without them evenly from first to last token."""
    if r.outcome is not RequestOutcome.OK or not r.output_tok:
        return np.zeros(0)
    if r.chunk_mono_s:
        return np.asarray(r.chunk_mono_s, dtype=float)
    first = _first_s(r)
    last = first if r.last_token_mono_s is None else r.last_token_mono_s
    if first is None or last is None:
        return np.zeros(0)
    return np.linspace(first, last, min(r.output_tok, MOST_EVENTS))


def _or_nan(x: float | None) -> float:
    return float("nan") if x is None else float(x)


def _binned(t: Array, weight: Array, edges_s: Array) -> Array:
    """Σ weight of the events in [edge_i, edge_{i+1})."""
    i = np.searchsorted(edges_s, t, side="right") - 1
    inside = (i >= 0) & (i < len(edges_s) - 1)
    return np.bincount(i[inside], weights=weight[inside], minlength=len(edges_s) - 1).astype(np.float64)
