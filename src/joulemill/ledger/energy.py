"""Joules of one channel over one window, with an interval and reasons.

The interval's half width at 95 % adds in quadrature what has independent causes:

    counter   limits, added plainly: where E(t) may lie between two updates at both edges, given the range of power
              ever seen on the channel (a window cut to its load leaks idle time at both ends alike); lag × P for not
              knowing when within a read an update came; one resolution step. Then rel_error × E;
              clock skew × |P − P_idle|
    gauge     rel_error × E; half a resolution step × T; sampling: t-quantile × σ/√n × T with σ from successive
              differences; (clock skew + averaging period) × |P − P_idle|
    either    a sensor that looks for a share of the time only (``sampled_ratio``): (1 − share) × 1.96 σ × T, σ how
              much the power moves between its updates; not shrunk by their number, for a load may beat with the sensor
    reads that failed, of a gauge: between the good reads around them the power may have lain anywhere between the
              least seen and the board's limit (the most seen, where the limit is not known); added plainly
    A clock that nothing bounds: instead of skew × |P − P_idle|, the most that the window's energy differs when the
    window is moved within ``CLOCK_REACH_S``.

Systematic terms (rel_error, part-time sampling, skew) are not shrunk by averaging. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis
from joulemill.ledger.coverage import MIN_PERIODS, allowed_gap_s, hidden_stretches_s, window_findings
from joulemill.ledger.findings import Finding, Reason, refused
from joulemill.ledger.trace import CLOCK_REACH_S, Trace
from joulemill.statistics.normal import Z_95

#: A gauge is a staircase if it changes at least so often, and usually holds a value for more reads than this. Assumed.
STAIRCASE_CHANGES = 3
STAIRCASE_READS = 3.0

__all__ = ["EnergyResult", "allowed_gap_s", "sub_window_energy_j", "window_energy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyResult:
    """Joules of one channel or one scope over a window.

    energy_j, low_j, high_j   None where refused (``findings`` say why)
    power_w       energy ÷ duration
    kind          "counter", "integrated", or "mixed" for a sum of both
    reading_count reads inside the window
    stale_j       how far a gauge that repeats itself for long may be off, beyond its interval (for comparisons)
    """

    subject: str
    start_s: float
    end_s: float
    energy_j: float | None
    low_j: float | None
    high_j: float | None
    basis: Basis | None
    kind: str
    reading_count: int
    findings: tuple[Finding, ...] = ()
    stale_j: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s

    @property
    def power_w(self) -> float | None:
        """Mean power, None where the energy is."""
        return None if self.energy_j is None else self.energy_j / self.duration_s

    @property
    def half_width_j(self) -> float | None:
        """Half width of the interval, None where refused."""
        return None if self.high_j is None or self.energy_j is None else self.high_j - self.energy_j


def window_energy(
    trace: Trace,
    start_s: float,
    end_s: float,
    *,
    idle_power_w: float | None = None,
    max_gap_s: float | None = None,
    least_periods: float = MIN_PERIODS,
) -> EnergyResult:
    """Joules that ``trace``'s channel counted in [start_s, end_s], or a refusal.

    idle_power_w   of this channel, for the effect of clock skew; without it the least power seen stands in
    max_gap_s      largest time between reads; default ``allowed_gap_s``; infinite: the caller sees to missing reads
    least_periods  updates of the sensor that must fit in the window; 0 for windows that will be added up again
    Raises ValueError where the window has no length.
    """
    if not end_s > start_s:
        raise ValueError(f"a window needs a length, not [{start_s}, {end_s}]")
    findings = [*trace.findings, *window_findings(trace, start_s, end_s, max_gap_s, least_periods)]
    inside = int(np.count_nonzero((trace.read_s >= start_s) & (trace.read_s <= end_s)))
    if refused(findings):
        return _refusal(trace, start_s, end_s, inside, findings)
    a, b = trace.cumulative_j(np.array([start_s, end_s]))
    energy = float(b - a)
    half = _half_width_j(trace, start_s, end_s, energy, idle_power_w)
    if not (math.isfinite(energy) and math.isfinite(half)):
        findings.append(Finding(Reason.NOT_FINITE, trace.channel.id, f"its readings add up to {energy}", fatal=True))
        return _refusal(trace, start_s, end_s, inside, findings)
    low, high = max(energy - half, 0.0), energy + half
    return EnergyResult(
        subject=trace.channel.id,
        start_s=start_s,
        end_s=end_s,
        energy_j=energy,
        low_j=low,
        high_j=high,
        basis=trace.channel.basis,
        kind=trace.kind,
        reading_count=inside,
        findings=tuple(findings),
        stale_j=_stale_j(trace, start_s, end_s),
    )


def _stale_j(trace: Trace, start_s: float, end_s: float) -> float:
    """A gauge that is read more often than it updates may be one update old: off by what it moves in that time."""
    if trace.kind == "counter":
        return 0.0
    changes_s = trace.t_s[1:][np.diff(trace.level) != 0.0]
    if len(changes_s) < STAIRCASE_CHANGES:
        return 0.0
    held_s = float(np.median(np.diff(changes_s)))
    if held_s <= STAIRCASE_READS * float(np.median(np.diff(trace.t_s))):
        return 0.0
    near = trace.level[(trace.t_s >= start_s - held_s) & (trace.t_s <= end_s + held_s)]
    return held_s * float(np.ptp(near)) if len(near) else 0.0


def sub_window_energy_j(trace: Trace, edges_s: Array) -> Array:
    """Joules between consecutive ``edges_s`` [k+1] → [k]; NaN where broken or unbracketed. Σ is the whole."""
    if not trace.usable:
        return np.full(len(edges_s) - 1, np.nan)
    joules = np.diff(trace.cumulative_j(edges_s))
    for gap in trace.broken:
        joules[(edges_s[:-1] < gap.end_s) & (edges_s[1:] > gap.start_s)] = np.nan
    return joules


def _refusal(trace: Trace, start_s: float, end_s: float, inside: int, findings: list[Finding]) -> EnergyResult:
    return EnergyResult(
        subject=trace.channel.id,
        start_s=start_s,
        end_s=end_s,
        energy_j=None,
        low_j=None,
        high_j=None,
        basis=None,
        kind=trace.kind,
        reading_count=inside,
        findings=tuple(findings),
    )


def _half_width_j(trace: Trace, start_s: float, end_s: float, energy_j: float, idle_w: float | None) -> float:
    c, duration = trace.channel, end_s - start_s
    power = energy_j / duration
    swing = abs(power - (float(trace.segment_w.min()) if idle_w is None else idle_w))
    terms = [(c.rel_error or 0.0) * energy_j]
    if trace.kind == "counter":
        limits = _edge_j(trace, start_s) + _edge_j(trace, end_s) + trace.lag_s * power + (c.resolution or 0.0)
        terms.append(limits)
    else:
        terms.append(0.5 * (c.resolution or 0.0) * duration)
        terms.append(_sampling_w(trace, start_s, end_s) * duration)
        terms.append(_hidden_j(trace, start_s, end_s))
    if c.sampled_ratio is not None:
        terms.append((1.0 - c.sampled_ratio) * Z_95 * _fluctuation_w(trace, start_s, end_s) * duration)
    delay_s = 0.0 if trace.kind == "counter" else trace.lag_s
    if c.clock_skew_s is None:
        terms += [_moved_j(trace, start_s, end_s, energy_j), delay_s * swing]
    else:
        terms.append((c.clock_skew_s + delay_s) * swing)
    return math.hypot(*terms)


def _hidden_j(trace: Trace, start_s: float, end_s: float) -> float:
    """How far the energy of a gauge may lie from its integral for what its failed reads did not show."""
    parts = hidden_stretches_s(trace, start_s, end_s)
    if not len(parts):
        return 0.0
    length = parts[:, 1] - parts[:, 0]
    power = (trace.cumulative_j(parts[:, 1]) - trace.cumulative_j(parts[:, 0])) / length
    least, most = float(trace.level.min()), float(trace.level.max())
    most = most if trace.limit_w is None else max(most, trace.limit_w)
    return float(np.sum(np.maximum(most - power, power - least) * length))


def _moved_j(trace: Trace, start_s: float, end_s: float, energy_j: float) -> float:
    """The most by which the energy differs if the window lies up to ``CLOCK_REACH_S`` earlier or later.

    Where a moved window leaves the readings, the rest has the least or the most power ever seen.
    """
    moves = np.linspace(-CLOCK_REACH_S, CLOCK_REACH_S, 301)
    first, last = float(trace.read_s[0]), float(trace.read_s[-1])
    starts, ends = np.clip(start_s + moves, first, last), np.clip(end_s + moves, first, last)
    covered = trace.cumulative_j(ends) - trace.cumulative_j(starts)
    missing_s = (end_s - start_s) - (ends - starts)
    least, most = float(trace.segment_w.min()), float(trace.segment_w.max())
    return float(np.max(np.maximum(covered + most * missing_s - energy_j, energy_j - covered - least * missing_s)))


def _edge_j(trace: Trace, at_s: float) -> float:
    """How far E(at_s) may lie from its interpolation, if power between two updates stays in the range ever seen."""
    least, most = float(trace.segment_w.min()), float(trace.segment_w.max())
    i = int(np.searchsorted(trace.t_s, at_s, side="right")) - 1
    if i < 0 or i >= len(trace.t_s) - 1:
        beyond = float(min(abs(at_s - trace.t_s[0]), abs(at_s - trace.t_s[-1])))
        return (most - least) * beyond
    before, after = at_s - float(trace.t_s[i]), float(trace.t_s[i + 1]) - at_s
    whole, taken = float(trace.energy_j[i + 1] - trace.energy_j[i]), float(trace.segment_w[i]) * before
    low = max(least * before, whole - most * after)
    high = min(most * before, whole - least * after)
    return max(high - taken, taken - low, 0.0)


def _fluctuation_w(trace: Trace, start_s: float, end_s: float) -> float:
    """σ of the power from one update of the sensor to the next [W], by successive differences: a drift does not count.

    A gauge that is read more often than it updates repeats itself, which tells nothing. A counter's knots come up to
    ``lag_s`` late, each by itself; what that does to the power between them, 3 (lag P)² / 12 Δt², is taken off.
    """
    if trace.kind != "counter":
        p = trace.level[(trace.t_s >= start_s) & (trace.t_s <= end_s)]
        p = p[np.concatenate(([True], np.diff(p) != 0.0))] if len(p) else p
        return math.sqrt(float(np.mean(np.diff(p) ** 2)) / 2.0) if len(p) > 2 else 0.0
    inside = (trace.t_s[:-1] >= start_s) & (trace.t_s[1:] <= end_s)
    p, dt = trace.segment_w[inside], np.diff(trace.t_s)[inside]
    if len(p) < 3:
        return 0.0
    of_lag = 3.0 / 12.0 * (trace.lag_s * float(np.mean(p)) / float(np.median(dt))) ** 2
    return math.sqrt(max(float(np.mean(np.diff(p) ** 2)) / 2.0 - of_lag, 0.0))


def _sampling_w(trace: Trace, start_s: float, end_s: float) -> float:
    """95 % half width of the mean of a sampled power, W. Successive differences: a slow drift is no sampling error."""
    p = trace.level[(trace.t_s >= start_s) & (trace.t_s <= end_s)]
    if len(p) < 3:
        p = trace.level
    if len(p) < 3:
        return 0.5 * float(np.ptp(p))
    from scipy.special import stdtrit  # slow to load, and many a start needs none

    sigma = math.sqrt(float(np.mean(np.diff(p) ** 2)) / 2.0)
    quantile: float = stdtrit(len(p) - 1, 0.975)
    return float(quantile * sigma / math.sqrt(len(p)))
