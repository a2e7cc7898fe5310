"""A channel's readings, cleaned, as cumulative joules over time: E(t).

Everything later is a difference E(b) − E(a), so windows that are split always add up. Counters give E(t) by linear
interpolation between the readings at which the counter *changed* (a counter that is read more often than it updates
is a staircase; its steps, not its treads, say what was used). Power gauges are integrated by the trapezoid rule.

What must hold: nothing is clamped. A reading that cannot be (``ledger.plausibility``) has failed. A counter that falls
has wrapped (plausibly, and its range is known) or was reset; one that rises faster than its board can draw has jumped:
that stretch of time is broken, and no window may touch it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.figure import Basis
from joulemill.ledger.counter import EnergyGap, standstills, unrolled
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.identity import Identity, identity_of, interleaved
from joulemill.ledger.plausibility import most_w, numbers, power_limits_w, reading_faults
from joulemill.ledger.record import Channel, Quantity, Reading, Scope

#: How far a meter's clock may be from ours at most; beyond it the check at opening speaks. Assumed.
CLOCK_REACH_S = 15.0
#: A larger share of readings without a time refuses a gauge. Assumed.
UNTIMED_MOST_RATIO = 0.05
#: What a figure of a reading that cannot be is told in.
#: No range of a counter, period, step or uncertainty is larger, in its SI unit: beyond the widest counter. Assumed.
MOST_FACT = 1e20
_FACTS = ("resolution", "update_period_s", "max_range", "rel_error", "clock_skew_s", "sampled_ratio", "limit_w")
_UNIT = {Quantity.ENERGY: "J", Quantity.POWER: "W"}


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Trace:
    """Cleaned readings of one channel. Arrays are float64, times ascending.

    kind          "counter" or "integrated"
    t_s, level    knots [n]: time, and joules since the first knot (counter) or watts (gauge)
    energy_j      cumulative joules at the knots [n], 0 at the first
    segment_w     mean power between knots [n−1]
    read_s        times of all good reads [m]; failed_s of the failed ones, failed_why why each of them failed
    lag_s         how late a knot's value may be: the update is somewhere in (t − lag, t]
    period_s      usual time between updates of the sensor, declared or seen; 0 unknown
    broken        stretches no window may touch
    findings      fatal for the whole channel, or caveats
    examples      a reading of each kind that failed, in words
    limit_w       the power limit of the one thing that it meters; None: not known
    """

    channel: Channel
    kind: str
    t_s: Array
    level: Array
    energy_j: Array
    segment_w: Array
    read_s: Array
    failed_s: Array
    failed_why: tuple[Reason, ...]
    lag_s: float
    period_s: float
    broken: tuple[EnergyGap, ...]
    findings: tuple[Finding, ...]
    examples: Mapping[Reason, str] = field(default_factory=dict)
    limit_w: float | None = None

    @property
    def usable(self) -> bool:
        """Whether there is an E(t) at all."""
        return len(self.t_s) >= 2 and not any(f.fatal for f in self.findings)

    def cumulative_j(self, at_s: Array) -> Array:
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


def traces(channels: Iterable[Channel], readings: Iterable[Reading], board_w: float | None = None) -> dict[str, Trace]:
    """A trace for each energy or power channel, by channel id.

    board_w   power limit (TDP) of one device by its data sheet; the larger of it and what the device itself states
    """
    channels, readings = tuple(map(_sound, channels)), tuple(readings)
    by_channel: dict[str, list[Reading]] = {}
    for r in readings:
        by_channel.setdefault(r.channel, []).append(r)
    limits = power_limits_w(channels, readings)
    return {
        c.id: trace(c, by_channel.get(c.id, ()), _limit_w(c, limits, board_w))
        for c in channels
        if c.quantity in (Quantity.ENERGY, Quantity.POWER)
    }


def _sound(channel: Channel) -> Channel:
    """``channel`` without facts that cannot be: they are unknown."""
    wrong = {f: None for f in _FACTS if not _believed(getattr(channel, f))}
    return replace(channel, **wrong) if wrong else channel  # type: ignore[arg-type]


def _believed(fact: float | None) -> bool:
    return fact is None or 0.0 <= fact <= MOST_FACT


def _limit_w(channel: Channel, limits: Mapping[str, float], board_w: float | None) -> float | None:
    """A sensor's board has a limit; what a model says is bounded by its scope alone."""
    if channel.scope is not Scope.DEVICE or channel.basis is not Basis.MEASURED:
        return None
    stated_w = (limits.get(channel.device), board_w, channel.limit_w)
    return max((w for w in stated_w if w is not None), default=None)


def trace(channel: Channel, readings: Sequence[Reading], limit_w: float | None = None) -> Trace:
    """Clean ``readings`` of one channel and accumulate them. Never raises on bad readings: it finds reasons."""
    clean = _clean(channel, readings, limit_w)
    if len(clean.t_s) >= 2 and channel.quantity is Quantity.ENERGY:
        return _counter(channel, clean)
    if len(clean.t_s) >= 2:
        return _integrated(channel, clean)
    code = Reason.TOO_FEW_READINGS if len(clean.t_s) else Reason.NO_READINGS
    detail = f"{len(clean.t_s)} usable of {len(readings)} readings{_most_failed(clean)}"
    return _nothing(channel, clean, Finding(code, channel.id, detail, fatal=True))


@dataclass(frozen=True, eq=False, slots=True)
class _Clean:
    """Good reads in order [n], the failed ones with their reasons, and what was found of them all."""

    t_s: Array
    value: Array
    failed: tuple[tuple[float, Reason], ...]
    findings: tuple[Finding, ...]
    examples: Mapping[Reason, str]
    limit_w: float | None

    def without(self, dropped: NDArray[np.bool_]) -> _Clean:
        """The same with the reads that ``dropped`` marks taken for impossible."""
        more = tuple((float(t), Reason.IMPLAUSIBLE) for t in self.t_s[dropped])
        shown_examples = {Reason.IMPLAUSIBLE: "out of the counter's line, and back", **self.examples}
        examples = shown_examples if more else self.examples
        failed = tuple(sorted((*self.failed, *more)))
        return replace(self, t_s=self.t_s[~dropped], value=self.value[~dropped], failed=failed, examples=examples)


def _clean(channel: Channel, readings: Sequence[Reading], limit_w: float | None) -> _Clean:
    t = numbers(r.t_mono_s for r in readings)
    t = np.where(np.abs(t) <= MOST_FACT, t, np.nan)  # no clock tells such a time, and sums over it would overflow
    v = numbers(r.value for r in readings)
    good = np.isfinite(t)
    failed: list[tuple[float, Reason]] = []
    examples: dict[Reason, str] = {}
    for reason, mask in reading_faults(channel.quantity, v, scope=channel.scope, limit_w=limit_w):
        for i in (int(x) for x in np.flatnonzero(mask & np.isfinite(t))):
            why = Reason.READ_FAILED if readings[i].value is None else reason
            failed.append((float(t[i]), why))
            if why not in examples:
                examples[why] = _example(channel, readings[i], why, limit_w)
        good &= ~mask
    findings = _untimed(channel, t)
    t, v = t[good], v[good]
    order = np.lexsort((v, t))
    findings += _out_of_order(channel, t, len(readings)) if np.any(np.diff(t) < 0.0) else []
    t, v = t[order], v[order]
    if channel.scope is Scope.DEVICE and identity_of(channel.device) is Identity.NONE and interleaved(t):
        detail = (
            f"readings of {channel.device!r} come in bursts, as those of several boards do: log their UUID or index"
        )
        findings.append(Finding(Reason.NO_IDENTITY, channel.id, detail, fatal=True))
    again = np.concatenate(([False], np.diff(t) == 0.0)) if len(t) else np.zeros(0, dtype=np.bool_)
    if again.any():
        findings += _repeats(channel, v, again)
    t, v = t[~again], v[~again]
    clean = _Clean(t, v, tuple(sorted(failed)), tuple(findings), examples, limit_w)
    return clean.without(_asleep(channel, v)) if channel.quantity is Quantity.POWER else clean


def _asleep(channel: Channel, v: Array) -> NDArray[np.bool_]:
    """A sensor that shows watts at other times is out of order where it shows none: a board that is read has power."""
    sensor = channel.scope is Scope.DEVICE and channel.basis is Basis.MEASURED
    asleep: NDArray[np.bool_] = v == 0.0
    return asleep if sensor and (v > 0.0).any() else np.zeros(len(v), dtype=np.bool_)


def _example(channel: Channel, r: Reading, reason: Reason, limit_w: float | None) -> str:
    if r.value is None:
        return r.error or "no value"
    unit, value = _UNIT[channel.quantity], numbers([r.value])[0]
    if reason is Reason.BLANK:
        return f"{value:.6g} {unit}, the vendor's mark for none"
    if reason is Reason.IMPLAUSIBLE and channel.quantity is Quantity.POWER:
        return f"{value:.6g} {unit}, where at most {most_w(channel.scope, limit_w):.4g} W are believed"
    return f"{value:.6g} {unit}"


def _untimed(channel: Channel, t: Array) -> list[Finding]:
    """Readings whose time is not known may be of any time: many refuse a gauge, as many that failed do."""
    lost = int(np.count_nonzero(~np.isfinite(t)))
    if not lost:
        return []
    fatal = channel.quantity is Quantity.POWER and lost > UNTIMED_MOST_RATIO * len(t)
    return [Finding(Reason.NOT_FINITE, channel.id, f"{lost} of {len(t)} readings have no time", fatal)]


def _out_of_order(channel: Channel, t: Array, count: int) -> list[Finding]:
    late = int(np.count_nonzero(t < np.maximum.accumulate(t)))
    return [Finding(Reason.LATE, channel.id, f"{late} of {count} readings")]


def _repeats(channel: Channel, v: Array, again: NDArray[np.bool_]) -> list[Finding]:
    where = np.flatnonzero(again)
    repeats = [Finding(Reason.DUPLICATE, channel.id, f"{len(where)} readings at a time already read, dropped")]
    step = channel.resolution or 0.0
    if np.any(np.abs(v[where] - v[where - 1]) > step):
        detail = "two different values at one time: the channel id is used by two sensors; give each its own"
        repeats.append(Finding(Reason.CONFLICT, channel.id, detail, fatal=True))
    return repeats


def _most_failed(clean: _Clean) -> str:
    reasons = [why for _, why in clean.failed]
    if not reasons:
        return ""
    most = max(dict.fromkeys(reasons), key=reasons.count)
    return f", {reasons.count(most)} of them {most.value} ({clean.examples.get(most, '')})"


def _failed_findings(channel: Channel, clean: _Clean) -> list[Finding]:
    reasons = [why for _, why in clean.failed]
    every = len(reasons) + len(clean.t_s)
    return [
        Finding(why, channel.id, f"{reasons.count(why)} of {every} readings: {clean.examples.get(why, '')}")
        for why in dict.fromkeys(reasons)
    ]


def _failures(clean: _Clean) -> tuple[Array, tuple[Reason, ...]]:
    return np.array([t for t, _ in clean.failed], dtype=float), tuple(why for _, why in clean.failed)


def _nothing(channel: Channel, clean: _Clean, why: Finding, lag_s: float = 0.0) -> Trace:
    """A channel without E(t)."""
    none = np.zeros(0)
    kind = "counter" if channel.quantity is Quantity.ENERGY else "integrated"
    findings = (*clean.findings, *_failed_findings(channel, clean), why)
    failed_s, failed_why = _failures(clean)
    return Trace(
        channel=channel,
        kind=kind,
        t_s=none,
        level=none,
        energy_j=none,
        segment_w=none,
        read_s=clean.t_s,
        failed_s=failed_s,
        failed_why=failed_why,
        lag_s=lag_s,
        period_s=0.0,
        broken=(),
        findings=findings,
        examples=clean.examples,
        limit_w=clean.limit_w,
    )


def _integrated(channel: Channel, clean: _Clean) -> Trace:
    t, v = clean.t_s, clean.value
    energy = np.concatenate(([0.0], np.cumsum(0.5 * (v[1:] + v[:-1]) * np.diff(t))))
    period = channel.update_period_s or 0.0
    segment = np.diff(energy) / np.diff(t)
    failed_s, failed_why = _failures(clean)
    return Trace(
        channel=channel,
        kind="integrated",
        t_s=t,
        level=v,
        energy_j=energy,
        segment_w=segment,
        read_s=t,
        failed_s=failed_s,
        failed_why=failed_why,
        lag_s=period,
        period_s=period,
        broken=(),
        findings=clean.findings,
        examples=clean.examples,
        limit_w=clean.limit_w,
    )


def _counter(channel: Channel, clean: _Clean) -> Trace:
    line = unrolled(channel, clean.t_s, clean.value, clean.limit_w)
    clean = clean.without(line.dropped)
    t, v, total = clean.t_s, clean.value, line.total_j
    step = np.flatnonzero(np.diff(v) != 0.0) + 1
    first_is_knot = len(step) > 0 and step[0] == 1
    knots = np.concatenate(([0], step)) if first_is_knot else step
    gap = float(np.median(np.diff(t))) if len(t) > 1 else 0.0
    lag = gap if channel.update_period_s is None else min(gap, channel.update_period_s)
    if len(knots) < 2:
        detail = f"unchanged over {len(t)} reads, {t[-1] - t[0]:.3g} s: this sensor counts nothing here"
        return _nothing(channel, clean, Finding(Reason.STALE, channel.id, detail, fatal=True), lag)
    kt, ke = t[knots], total[knots]
    segment = np.diff(ke) / np.diff(kt)
    median_step_s = float(np.median(np.diff(kt))) if len(step) < len(t) - 1 else 0.0
    period = max(channel.update_period_s or 0.0, median_step_s)
    broken = (*line.broken, *standstills(channel, t, kt, segment, median_step_s))
    findings = (*clean.findings, *line.findings)
    failed_s, failed_why = _failures(clean)
    return Trace(
        channel=channel,
        kind="counter",
        t_s=kt,
        level=ke - ke[0],
        energy_j=ke - ke[0],
        segment_w=segment,
        read_s=t,
        failed_s=failed_s,
        failed_why=failed_why,
        lag_s=lag,
        period_s=period,
        broken=broken,
        findings=findings,
        examples=clean.examples,
        limit_w=clean.limit_w,
    )


def usable(all_traces: Mapping[str, Trace]) -> frozenset[str]:
    """Ids of the channels that have an E(t)."""
    return frozenset(i for i, t in all_traces.items() if t.usable)
