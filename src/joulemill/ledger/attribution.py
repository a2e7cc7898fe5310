"""Which request used the joules: an allocation by a named rule, not a measurement. Each rule conserves the total.

    output_token_share   the joules of a sub-window go to the requests by the output tokens they got in it
    work_weighted        … by prompt tokens computed × w_prefill + output tokens × w_decode, with fitted J per token
                         of each phase, or FLOP per token where nothing could be fitted

Under continuous batching the first is what the field uses, and it undercharges long prompts; the second does not.
A sub-window in which requests were in flight and none got a token is shared by time in flight. One in which nothing
was in flight is nobody's: it is a row of its own, ``unattributed_idle_j``, and part of the closure. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from joulemill.arrays import Array
from joulemill.ledger.flow import Flow, Ints


class Rule(StrEnum):
    """How joules are allocated to requests."""

    OUTPUT_TOKEN_SHARE = "output_token_share"
    WORK_WEIGHTED = "work_weighted"


@dataclass(frozen=True, slots=True)
class Weights:
    """What a prompt token computed and an output token weigh beside each other, and where that is from."""

    prefill_ratio: float
    decode_ratio: float
    source: str


#: A forward pass costs 2 FLOP a parameter for a prompt token as for an output token, attention apart.
EQUAL_WORK = Weights(1.0, 1.0, "equal FLOP for a prompt and an output token (no fit, attention left out)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Joules by request over a window.

    ids [n], energy_j [n]   the requests that were in flight in the window, idle power included
    above_idle_j [n]        their part above the idle baseline; None where no baseline is known
    unattributed_idle_j     joules of the time with nothing in flight
    total_j                 Σ of the window's joules = Σ energy_j + unattributed_idle_j
    """

    rule: Rule
    ids: tuple[str, ...]
    energy_j: tuple[float, ...]
    above_idle_j: tuple[float, ...] | None
    unattributed_idle_j: float
    total_j: float
    source: str

    @property
    def closure_ratio(self) -> float:
        """(Σ requests + unattributed) ÷ total − 1; 0 when it closes."""
        return math.fsum([*self.energy_j, self.unattributed_idle_j]) / self.total_j - 1.0 if self.total_j else 0.0


def attribute(
    rule: Rule, flow: Flow, edges_s: Array, joules: Array, idle_w: float | None = None, weights: Weights = EQUAL_WORK
) -> Attribution:
    """Joules of sub-windows [k] between ``edges_s`` [k+1] to the requests of ``flow``, by ``rule``.

    idle_w    idle power of the same scope; its joules are then told apart
    weights   of the work_weighted rule
    Raises ValueError where joules are not all known.
    """
    if not np.all(np.isfinite(joules)):
        raise ValueError("joules of a sub-window are unknown; nothing can be attributed")
    request, window, share = _shares(rule, flow, edges_s, weights)
    present = np.flatnonzero((flow.start_s < edges_s[-1]) & (flow.end_s > edges_s[0]))
    present = np.union1d(present, request)
    energy, orphan = _allocated(request, window, share, joules, len(flow.ids))
    above = None
    if idle_w is not None:
        above_j, _ = _allocated(request, window, share, joules - idle_w * np.diff(edges_s), len(flow.ids))
        above = tuple(float(x) for x in above_j[present])
    total = math.fsum(joules)
    rows = _closed([float(x) for x in energy[present]], orphan, total)
    source = weights.source if rule is Rule.WORK_WEIGHTED else "output tokens of the server's usage"
    return Attribution(
        rule=rule,
        ids=tuple(flow.ids[i] for i in present),
        energy_j=rows,
        above_idle_j=above,
        unattributed_idle_j=orphan,
        total_j=total,
        source=source,
    )


def _shares(rule: Rule, flow: Flow, edges_s: Array, weights: Weights) -> tuple[Ints, Ints, Array]:
    """(request, sub-window, share of that sub-window) triples; shares of a sub-window with requests sum to 1."""
    request, at, weight = flow.output_request, flow.output_s, flow.output_weight_tok
    if rule is Rule.WORK_WEIGHTED:
        request = np.concatenate((request, flow.prompt_request))
        at = np.concatenate((at, flow.prompt_s))
        weight = np.concatenate((weight * weights.decode_ratio, flow.computed_tok * weights.prefill_ratio))
    k = len(edges_s) - 1
    window = np.searchsorted(edges_s, at, side="right") - 1
    inside = (window >= 0) & (window < k) & (weight > 0.0)
    request, window, weight = request[inside], window[inside], weight[inside]
    sums = np.bincount(window, weights=weight, minlength=k)
    silent = [_by_time(flow, int(i), edges_s) for i in np.flatnonzero(sums == 0.0)]
    return (
        np.concatenate([request, *(r for r, _, _ in silent)]),
        np.concatenate([window, *(w for _, w, _ in silent)]),
        np.concatenate([weight / sums[window], *(s for _, _, s in silent)]),
    )


def _by_time(flow: Flow, i: int, edges_s: Array) -> tuple[Ints, Ints, Array]:
    """Shares of a sub-window without tokens, by time in flight."""
    overlap = np.minimum(flow.end_s, edges_s[i + 1]) - np.maximum(flow.start_s, edges_s[i])
    who = np.flatnonzero(overlap > 0.0)
    return who, np.full(len(who), i, dtype=np.intp), overlap[who] / overlap[who].sum()


def _allocated(request: Ints, window: Ints, share: Array, joules: Array, n: int) -> tuple[Array, float]:
    taken = np.bincount(window, minlength=len(joules)) > 0
    rows = np.bincount(request, weights=share * joules[window], minlength=n).astype(np.float64)
    return rows, math.fsum(joules[~taken])


def _closed(rows: list[float], orphan: float, total: float) -> tuple[float, ...]:
    """Rows with the rounding of the sum put into the largest, so that they close exactly."""
    if rows:
        largest = max(range(len(rows)), key=lambda i: abs(rows[i]))
        rows[largest] += math.fsum([total, -orphan, *(-x for x in rows)])
    return tuple(rows)
