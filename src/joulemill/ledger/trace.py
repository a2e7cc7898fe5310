"""A channel's readings, cleaned, as cumulative joules over time: E(t).

Everything later is a difference E(b) − E(a), so windows that are split always add up. Counters give E(t) by linear
interpolation between the readings at which the counter *changed* (a counter that is read more often than it updates
is a staircase; its steps, not its treads, say what was used). Power gauges are integrated by the trapezoid rule.

What must hold: nothing is clamped. A counter that falls has wrapped (plausibly, and its range is known) or was
reset (that stretch of time is broken, and no window may touch it). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemill.ledger.reasons import Finding, Reason
from joulemill.ledger.record import Channel, Quantity, Reading

Floats = NDArray[np.float64]

#: A fall is a wrap only if the power it implies is at most this many times the largest power otherwise seen. Assumed.
WRAP_POWER_RATIO = 4.0
#: Unchanged for this many reads, and for this many usual update periods: the counter stands still. Assumed.
STALE_READS = 5
STALE_PERIODS = 3.0
#: How far a meter's clock may be from ours at most; beyond it the check at opening speaks. Assumed.
CLOCK_REACH_S = 15.0


@dataclass(frozen=True, slots=True)
class Broken:
    """A stretch of time in which the channel's energy is not known, and why."""

    start_s: float
    end_s: float
    finding: Finding


@dataclass(frozen=True, eq=False, slots=True)
class Trace:
    """Cleaned readings of one channel. Arrays are float64, times ascending.

    kind          "counter" or "integrated"
    t_s, level    knots [n]: time, and joules since the first knot (counter) or watts (gauge)
    energy_j      cumulative joules at the knots [n], 0 at the first
    segment_w     mean power between knots [n−1]
    read_s        times of all good reads [m]; failed_s of the failed ones
    lag_s         how late a knot's value may be: the update is somewhere in (t − lag, t]
    period_s      usual time between updates of the sensor, declared or seen; 0 unknown
    broken        stretches no window may touch
    findings      fatal for the whole channel, or caveats
    """

    channel: Channel
    kind: str
    t_s: Floats
    level: Floats
    energy_j: Floats
    segment_w: Floats
    read_s: Floats
    failed_s: Floats
    lag_s: float
    period_s: float
    broken: tuple[Broken, ...]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether there is an E(t) at all."""
        return len(self.t_s) >= 2 and not any(f.fatal for f in self.findings)

    def cumulative_j(self, at_s: Floats) -> Floats:
        """E(t) [J] at times ``at_s`` [k]; NaN outside the reads. Exact for the interpolation used."""
        t = np.asarray(at_s, dtype=float)
        i = np.clip(np.searchsorted(self.t_s, t, side="right") - 1, 0, len(self.t_s) - 2)
        dt = t - self.t_s[i]
        if self.kind == "counter":
            e = self.energy_j[i] + self.segment_w[i] * dt
        else:
            slope = (self.level[i + 1] - self.level[i]) / (self.t_s[i + 1] - self.t_s[i])
            e = self.energy_j[i] + self.level[i] * dt + 0.5 * slope * dt * dt
        outside = (t < self.read_s[0]) | (t > self.read_s[-1])
        return np.where(outside, np.nan, e)


def traces(channels: Iterable[Channel], readings: Iterable[Reading]) -> dict[str, Trace]:
    """A trace for each energy or power channel, by channel id."""
    by_channel: dict[str, list[Reading]] = {}
    for r in readings:
        by_channel.setdefault(r.channel, []).append(r)
    return {
        c.id: trace(c, by_channel.get(c.id, ())) for c in channels if c.quantity in (Quantity.ENERGY, Quantity.POWER)
    }


def trace(channel: Channel, readings: Sequence[Reading]) -> Trace:
    """Clean ``readings`` of one channel and accumulate them. Never raises on bad readings: it finds reasons."""
    t, v, failed, findings = _clean(channel, readings)
    if len(t) < 2:
        code = Reason.TOO_FEW_READINGS if len(t) else Reason.NO_READINGS
        findings.append(Finding(code, channel.id, f"{len(t)} usable of {len(readings)} readings", fatal=True))
        kind = "counter" if channel.quantity is Quantity.ENERGY else "integrated"
        none = np.zeros(0)
        return Trace(channel, kind, none, none, none, none, t, failed, 0.0, 0.0, (), tuple(findings))
    if channel.quantity is Quantity.ENERGY:
        return _counter(channel, t, v, failed, findings)
    energy = np.concatenate(([0.0], np.cumsum(0.5 * (v[1:] + v[:-1]) * np.diff(t))))
    period = channel.update_period_s or 0.0
    segment = np.diff(energy) / np.diff(t)
    return Trace(channel, "integrated", t, v, energy, segment, t, failed, period, period, (), tuple(findings))


def _clean(channel: Channel, readings: Sequence[Reading]) -> tuple[Floats, Floats, Floats, list[Finding]]:
    """Good reads in order, times of failed ones, and what was found wrong."""
    good: list[tuple[float, float]] = []
    failed: list[float] = []
    count: dict[Reason, int] = {}
    newest = -math.inf
    for r in readings:
        fault = _fault(r)
        if fault is not None:
            count[fault] = count.get(fault, 0) + 1
            failed.append(r.t_mono_s)
            continue
        if r.t_mono_s < newest:
            count[Reason.LATE] = count.get(Reason.LATE, 0) + 1
        newest = max(newest, r.t_mono_s)
        good.append((r.t_mono_s, float(r.value or 0.0)))
    findings = [Finding(code, channel.id, f"{n} of {len(readings)} readings") for code, n in count.items()]
    ordered = np.array(sorted(good), dtype=float).reshape(-1, 2)
    t, v = ordered[:, 0], ordered[:, 1]
    again = np.concatenate(([False], np.diff(t) == 0.0)) if len(t) else np.zeros(0, dtype=bool)
    if again.any():
        findings += _repeats(channel, v, again)
    return t[~again], v[~again], np.array(sorted(failed)), findings


def _fault(r: Reading) -> Reason | None:
    if r.value is None:
        return Reason.READ_FAILED
    if not math.isfinite(r.value):
        return Reason.NOT_FINITE
    return Reason.NEGATIVE if r.value < 0.0 else None


def _repeats(channel: Channel, v: Floats, again: NDArray[np.bool_]) -> list[Finding]:
    where = np.flatnonzero(again)
    found = [Finding(Reason.DUPLICATE, channel.id, f"{len(where)} readings at a time already read, dropped")]
    step = channel.resolution or 0.0
    if np.any(np.abs(v[where] - v[where - 1]) > step):
        detail = "two different values at one time: the channel id is used by two sensors; give each its own"
        found.append(Finding(Reason.CONFLICT, channel.id, detail, fatal=True))
    return found


def _counter(channel: Channel, t: Floats, v: Floats, failed: Floats, findings: list[Finding]) -> Trace:
    total, broken, notes = _unrolled(channel, t, v)
    findings = findings + notes
    step = np.flatnonzero(np.diff(v) != 0.0) + 1
    first_is_knot = len(step) > 0 and step[0] == 1
    knots = np.concatenate(([0], step)) if first_is_knot else step
    gap = float(np.median(np.diff(t)))
    lag = gap if channel.update_period_s is None else min(gap, channel.update_period_s)
    if len(knots) < 2:
        detail = f"unchanged over {len(t)} reads, {t[-1] - t[0]:.3g} s: this sensor counts nothing here"
        findings.append(Finding(Reason.STALE, channel.id, detail, fatal=True))
        none = np.zeros(0)
        return Trace(channel, "counter", none, none, none, none, t, failed, lag, 0.0, broken, tuple(findings))
    kt, ke = t[knots], total[knots]
    segment = np.diff(ke) / np.diff(kt)
    seen = float(np.median(np.diff(kt))) if len(step) < len(t) - 1 else 0.0
    period = max(channel.update_period_s or 0.0, seen)
    broken += _standstill(channel, t, kt, seen)
    return Trace(
        channel, "counter", kt, ke - ke[0], ke - ke[0], segment, t, failed, lag, period, broken, tuple(findings)
    )  # fmt: skip


def _unrolled(channel: Channel, t: Floats, v: Floats) -> tuple[Floats, tuple[Broken, ...], list[Finding]]:
    """The counter without wraps; a reset breaks its stretch and adds nothing (no window may touch it)."""
    delta, dt = np.diff(v), np.diff(t)
    rising = delta[delta > 0.0] / dt[delta > 0.0]
    largest_w = float(rising.max()) if len(rising) else math.inf
    broken: list[Broken] = []
    findings: list[Finding] = []
    for i in np.flatnonzero(delta < 0.0):
        wrapped = math.nan if channel.max_range is None else delta[i] + channel.max_range
        plausible = wrapped >= 0.0 and wrapped <= WRAP_POWER_RATIO * largest_w * dt[i]
        if plausible and (len(rising) or wrapped < 0.5 * (channel.max_range or 0.0)):
            findings.append(Finding(Reason.WRAPPED, channel.id, "the counter wrapped; handled"))
            delta[i] = wrapped
            continue
        detail = f"the counter fell by {-delta[i]:.6g} J: reset, or read from another sensor"
        broken.append(Broken(float(t[i]), float(t[i + 1]), Finding(Reason.RESET, channel.id, detail, fatal=True)))
        delta[i] = 0.0
    return np.concatenate(([0.0], np.cumsum(delta))), tuple(broken), list(dict.fromkeys(findings))


def _standstill(channel: Channel, t: Floats, knot: Floats, period_s: float) -> tuple[Broken, ...]:
    """A counter that stopped (or had not started) counting: refused from its last step on.

    Treads between two steps are no fault: the next step tells what was used meanwhile.
    """
    usual = max(period_s, float(np.median(np.diff(knot))))
    found: list[Broken] = []
    for start, end in ((float(t[0]), float(knot[0])), (float(knot[-1]), float(t[-1]))):
        reads = int(np.count_nonzero((t >= start) & (t <= end)))
        if reads > STALE_READS and end - start > STALE_PERIODS * usual:
            detail = f"unchanged for {end - start:.3g} s and {reads} reads where it usually changes every {usual:.3g} s"
            found.append(Broken(start, end, Finding(Reason.STALE, channel.id, detail, fatal=True)))
    return tuple(found)


def usable(all_traces: Mapping[str, Trace]) -> frozenset[str]:
    """Ids of the channels that have an E(t)."""
    return frozenset(i for i, t in all_traces.items() if t.usable)
