"""How far a meter's times lie from ours, by the load itself: power rises as requests begin and falls as they end.

The power of each stretch between two knots is fitted as P₀ + ΔP·busy(t − d), busy being the share of the stretch that
has a request in flight; the d with the least squares is the offset, and the d's that the readings cannot tell from it
(profile likelihood, 95 %) are its uncertainty. A meter's clock, its averaging and a sensor's delay look alike here, and
all of them shift joules over the window's edges alike. A load without edges, or power that does not follow it, decides
nothing. The readings are not moved: what is found goes into the interval. Where nothing is found and nothing is known
of the meter's clock, ``clock_unknown`` says so, and the window's energy is told as if it might lie anywhere in reach.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.record import RequestRecord
from joulemill.ledger.trace import CLOCK_REACH_S, Trace

#: How finely offsets are looked for, within ``CLOCK_REACH_S``.
STEP_S = 0.05
#: The load must explain at least this share of the power's variance, in at least so many stretches. Assumed.
MIN_EXPLAINED_RATIO = 0.6
MIN_STRETCHES = 12
MOST_STRETCHES = 1500
#: 95 % quantile of χ² with one degree of freedom.
CHI2_95 = 3.841


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The meter shows the load's edges ``offset_s`` late (negative: early), within ``half_width_s`` (95 %)."""

    offset_s: float
    half_width_s: float
    explained_ratio: float


def with_offsets(every: Mapping[str, Trace], requests: Sequence[RequestRecord]) -> dict[str, Trace]:
    """``every`` trace, with the bound on its clock widened where the load shows an offset that it does not cover."""
    busy = busy_spans([(r.dispatched_mono_s, r.end_mono_s) for r in requests])
    return {i: _widened(t, estimate_offset(t, busy)) if _asked(t) else t for i, t in every.items()}


def busy_spans(spans: Iterable[tuple[float | None, float | None]]) -> Array:
    """Unions of ``spans`` [n, 2] in s, ascending and apart; one without its end or start is left out."""
    known = sorted((a, b) for a, b in spans if a is not None and b is not None and b > a)
    merged: list[list[float]] = []
    for start, end in known:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, dtype=float).reshape(-1, 2)


def estimate_offset(trace: Trace, busy: Array) -> ClockOffset | None:
    """The offset of ``trace`` against the spans ``busy`` [n, 2]; None where they do not decide it."""
    t, power = _stretches(trace, busy)
    if len(power) < MIN_STRETCHES or not len(busy):
        return None
    offsets = np.arange(-CLOCK_REACH_S, CLOCK_REACH_S + STEP_S / 2, STEP_S)
    share = _busy_shares(t, offsets, busy)
    squares, total = _residuals(share, power, np.diff(t))
    best = int(np.argmin(squares))
    if total <= 0.0 or squares[best] > (1.0 - MIN_EXPLAINED_RATIO) * total:
        return None
    # A perfect fit leaves nothing to judge by: then the grid and the stretches are what limits it.
    floor = max(float(squares[best]), 1e-6 * total)
    near = offsets[squares <= floor * math.exp(CHI2_95 / len(power))]
    low, high = float(near.min()), float(near.max())
    if low <= offsets[0] or high >= offsets[-1]:
        return None
    # Between two updates a meter says nothing: an edge may lie half a period to either side of where it shows.
    half = 0.5 * (high - low) + STEP_S + 0.5 * trace.period_s
    return ClockOffset(0.5 * (low + high), half, 1.0 - float(squares[best]) / total)


def _asked(trace: Trace) -> bool:
    return trace.usable and trace.channel.basis is Basis.MEASURED


def _stretches(trace: Trace, busy: Array) -> tuple[Array, Array]:
    """Knots [n] around the load, and the mean power between them [n−1]; thinned where there are very many."""
    if not len(busy):
        return trace.t_s[:0], trace.segment_w[:0]
    t = trace.t_s[(trace.t_s >= busy[0, 0] - 2 * CLOCK_REACH_S) & (trace.t_s <= busy[-1, 1] + 2 * CLOCK_REACH_S)]
    t = t[:: 1 + len(t) // MOST_STRETCHES]
    if len(t) < 2:
        return t, t[:0]
    energy = trace.cumulative_j(t)
    known = np.isfinite(energy)
    t, energy = t[known], energy[known]
    return t, np.diff(energy) / np.diff(t)


def _busy_shares(t: Array, offsets: Array, busy: Array) -> Array:
    """Share of each stretch between ``t`` [n] that lies in ``busy``, with a clock ``offsets`` [k] off: [k, n−1]."""
    edges = busy.ravel()
    spent = np.concatenate(([0.0], np.cumsum(np.where(np.arange(1, len(edges)) % 2 == 1, np.diff(edges), 0.0))))
    share: Array = np.diff(np.interp(t[None, :] - offsets[:, None], edges, spent), axis=1) / np.diff(t)
    return share


def _residuals(share: Array, power: Array, weight: Array) -> tuple[Array, float]:
    """Weighted squares left by P₀ + ΔP·share with ΔP ≥ 0, for each row of ``share`` [k, n]; and the total."""
    w = weight / weight.sum()
    p = power - float(w @ power)
    s = share - (share @ w)[:, None]
    along, own, total = s @ (w * p), (s * s) @ w, float(w @ (p * p))
    gained = np.where((own > 1e-12) & (along > 0), along**2 / np.maximum(own, 1e-12), 0.0)
    return total - gained, total


def _widened(trace: Trace, offset: ClockOffset | None) -> Trace:
    known_s = trace.channel.clock_skew_s
    if offset is None:
        return trace if known_s is not None else replace(trace, findings=(*trace.findings, _unknown(trace)))
    bound_s = abs(offset.offset_s) + offset.half_width_s
    bounded = replace(trace, channel=replace(trace.channel, clock_skew_s=bound_s))
    explained_s = (known_s or 0.0) + trace.lag_s + trace.period_s + offset.half_width_s
    if abs(offset.offset_s) <= explained_s:
        return trace if known_s is not None else bounded
    way = "late" if offset.offset_s > 0 else "early"
    detail = (
        f"shows the load {abs(offset.offset_s):.2g} s {way} (±{offset.half_width_s:.2g} s): its clock is off or it "
        "averages; that is in the interval. Set the clocks by NTP, or state it with skew="
    )
    finding = Finding(Reason.CLOCK_OFFSET, trace.channel.id, detail)
    return replace(bounded, findings=(*trace.findings, finding))


def _unknown(trace: Trace) -> Finding:
    detail = (
        f"nothing tells how far its clock is from ours, and the load does not show it: the interval holds every window "
        f"within {CLOCK_REACH_S:.0f} s (assumed). State a bound with skew=, or leave the machine idle before and after"
    )
    return Finding(Reason.CLOCK_UNKNOWN, trace.channel.id, detail)
