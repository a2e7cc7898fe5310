"""A counter's line: wraps undone, readings out of line dropped, resets and jumps broken out.

Between two steps of a counter no more can be gathered than its board can draw in that time
(``plausibility.most_energy_j``), and never less than nothing. What breaks that rule is, in this order:

1. a reading or a few out of line, after which the counter goes on as if nothing had been: they are dropped;
2. a wrap, where the counter's range is known and the power that it implies is one that the board shows;
3. a reset (down) or a jump (up): that stretch is broken, and adds nothing.

Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.plausibility import most_energy_j
from joulemill.ledger.record import Channel

#: A fall is a wrap only if the power it implies is at most this many times the largest power otherwise seen. Assumed.
WRAP_POWER_RATIO = 4.0
#: Unchanged for this many reads, and for this many usual update periods: the counter stands still. Assumed.
STALE_READS = 5
STALE_PERIODS = 3.0
#: A tread that shows less than this share of the least power seen elsewhere has lost what was used. Assumed.
FORGOTTEN_RATIO = 0.5
#: So many readings in a row may be out of line and dropped; more are a reset or a jump. Assumed.
OUT_OF_LINE_READS = 5


@dataclass(frozen=True, slots=True)
class EnergyGap:
    """A stretch of time in which the channel's energy is not known, and why."""

    start_s: float
    end_s: float
    finding: Finding


@dataclass(frozen=True, eq=False, slots=True)
class Line:
    """A counter's readings [n]: ``dropped`` [n] marks those out of line; ``total_j`` of the others since the first."""

    total_j: Array
    dropped: NDArray[np.bool_]
    broken: tuple[EnergyGap, ...]
    findings: tuple[Finding, ...]


def unrolled(channel: Channel, t_s: Array, value: Array, limit_w: float | None) -> Line:
    """The counter of ``channel`` read at ``t_s`` [n], in line."""
    most_j = _most_rise_j(channel, t_s, value, limit_w)
    delta = np.diff(value)
    wrong = np.flatnonzero((delta < 0.0) | (delta > most_j))
    dropped = np.zeros(len(value), dtype=np.bool_)
    if not len(wrong):
        return Line(np.concatenate(([0.0], np.cumsum(delta))), dropped, (), ())
    return _mended(channel, t_s, value, most_j, dropped)


def _most_rise_j(channel: Channel, t_s: Array, value: Array, limit_w: float | None) -> Array:
    """The most that can have been gathered at each read since the step before it [n−1].

    A step shows what was gathered since the one before, which was read up to one read late.
    """
    index = np.arange(len(value))
    stepped = np.concatenate(([True], np.diff(value) != 0.0))
    last = np.maximum.accumulate(np.where(stepped, index, 0))[:-1]
    since_s = t_s[1:] - t_s[np.maximum(last - 1, 0)]
    first_s = t_s[1] - t_s[0]
    late_s = np.where(last == 0, first_s, 0.0) + (channel.update_period_s or 0.0)
    most_w = most_energy_j(1.0, scope=channel.scope, limit_w=limit_w)
    most_j: Array = most_w * (since_s + late_s) + (channel.resolution or 0.0)
    return most_j


def _mended(channel: Channel, t: Array, v: Array, most_j: Array, dropped: NDArray[np.bool_]) -> Line:
    delta = np.diff(v)
    rising = (delta > 0.0) & (delta <= most_j)
    largest_w = float((delta[rising] / np.diff(t)[rising]).max()) if rising.any() else math.inf
    rises = [0.0]
    broken: list[EnergyGap] = []
    findings: list[Finding] = []
    last, i = 0, 1
    while i < len(v):
        rise = float(v[i] - v[last])
        limit_j = float(most_j[i - 1] + most_j[last : i - 1].sum())
        if not 0.0 <= rise <= limit_j:
            back = _back_in_line(v, most_j, last, i)
            if back is not None:
                dropped[i:back] = True
                i = back
                continue
            wrap = _wrapped_j(channel, rise, float(t[i] - t[last]), largest_w)
            if wrap is None:
                broken.append(EnergyGap(float(t[last]), float(t[i]), _break(channel, rise, float(t[i] - t[last]))))
                rise = 0.0
            else:
                findings.append(Finding(Reason.WRAPPED, channel.id, "the counter wrapped; handled"))
                rise = wrap
        rises.append(rise)
        last, i = i, i + 1
    return Line(np.cumsum(rises), dropped, tuple(broken), tuple(dict.fromkeys(findings)))


def _back_in_line(v: Array, most_j: Array, last: int, out: int) -> int | None:
    """The read at which the counter goes on from ``last`` as if what is read from ``out`` on had not been."""
    up = v[out] > v[last]
    limit_j = float(most_j[last:out].sum())
    for j in range(out + 1, min(out + 1 + OUT_OF_LINE_READS, len(v))):
        limit_j += float(most_j[j - 1])
        rise, jump = v[j] - v[last], v[j] - v[j - 1]
        returned = jump < 0.0 if up else jump > most_j[j - 1]
        if returned and 0.0 <= rise <= limit_j:
            return j
    return None


def _wrapped_j(channel: Channel, rise: float, dt_s: float, largest_w: float) -> float | None:
    """The joules of a plausible wrap; None where the fall is none."""
    if rise >= 0.0 or channel.max_range is None:
        return None
    wrapped = rise + channel.max_range
    plausible = 0.0 <= wrapped <= WRAP_POWER_RATIO * largest_w * dt_s
    return wrapped if plausible and (math.isfinite(largest_w) or wrapped < 0.5 * channel.max_range) else None


def _break(channel: Channel, rise: float, dt_s: float) -> Finding:
    if rise < 0.0:
        detail = f"the counter fell by {-rise:.6g} J: reset, or read from another sensor"
        return Finding(Reason.RESET, channel.id, detail, fatal=True)
    detail = f"the counter rose by {rise:.6g} J in {dt_s:.3g} s, {rise / dt_s:.4g} W: more than the board can draw"
    return Finding(Reason.JUMPED, channel.id, detail, fatal=True)


def standstills(
    channel: Channel, t_s: Array, knot_s: Array, segment_w: Array, period_s: float
) -> tuple[EnergyGap, ...]:
    """A counter that stopped (or had not started) counting: refused from its last step on.

    Treads between two steps are no fault: the next step tells what was used meanwhile. Where it tells of far less than
    was ever drawn otherwise, the counter has stood still and forgotten.
    """
    long = np.diff(knot_s) > STALE_PERIODS * float(np.median(np.diff(knot_s)))
    forgotten = long & (segment_w < FORGOTTEN_RATIO * (segment_w[~long].min() if (~long).any() else 0.0))
    lost = [(float(knot_s[i]), float(knot_s[i + 1])) for i in np.flatnonzero(forgotten)]
    usual = max(period_s, float(np.median(np.diff(knot_s))))
    stretches: list[EnergyGap] = []
    for start, end in ((float(t_s[0]), float(knot_s[0])), *lost, (float(knot_s[-1]), float(t_s[-1]))):
        reads = int(np.count_nonzero((t_s >= start) & (t_s <= end)))
        if reads > STALE_READS and end - start > STALE_PERIODS * usual:
            detail = f"unchanged for {end - start:.3g} s and {reads} reads where it usually changes every {usual:.3g} s"
            stretches.append(EnergyGap(start, end, Finding(Reason.STALE, channel.id, detail, fatal=True)))
    return tuple(stretches)
