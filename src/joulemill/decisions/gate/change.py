"""Has J/token changed? The difference of the logarithms of two Σ/Σ ratios, and how well it is known. Pure.

With one run a side the noise is that of its autocorrelated sub-windows (``ledger.interval``: block bootstrap, degrees
of freedom of what the correlation leaves). With repeats it is the spread of the runs themselves, pooled over both
sides, which holds everything that differs from run to run; never less than what the sub-windows say, and with the few
degrees of freedom that few runs leave. The meter's systematic error is common to runs of one sensor and cancels in
the ratio; where the sensors differ it does not, and is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from joulemill.decisions.gate.sample import Sample
from joulemill.figure import Figure
from joulemill.statistics.normal import Z_95
from joulemill.statistics.ratio import LEVEL, TELLING_FACTOR, RatioInterval, ratio_interval

#: Degrees of freedom that the interval of a bare figure is taken to have, whose windows are not known. Assumed.
BARE_FREEDOM_COUNT = 10.0


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative standard error of one run's ratio, with its degrees of freedom; ``window_count`` behind it."""

    stderr_ratio: float
    freedom_count: float
    window_count: int
    autocorrelation_ratio: float


@dataclass(frozen=True, slots=True)
class Change:
    """ln(new ÷ base) of a ratio of sums.

    log_ratio, stderr_ratio, freedom_count   estimate, its standard error, degrees of freedom of the t-quantile
    within_stderr_ratio     what the sub-windows alone say of the standard error
    run_spread_ratio        standard deviation of ln J/token from run to run; None without repeats
    meter_stderr_ratio      the meters' share, where the sensors differ; 0 where it cancels
    """

    log_ratio: float
    stderr_ratio: float
    freedom_count: float
    within_stderr_ratio: float
    run_spread_ratio: float | None
    meter_stderr_ratio: float

    @property
    def increase_ratio(self) -> float:
        """new ÷ base − 1."""
        return math.expm1(self.log_ratio)

    def bound_ratio(self, level: float) -> float:
        """new ÷ base − 1 that is not exceeded at one-sided ``level`` (0.95 upper, 0.05 lower)."""
        quantile: float = stdtrit(self.freedom_count, level)
        return math.expm1(self.log_ratio + quantile * self.stderr_ratio)

    def exceeds_p_ratio(self, increase_ratio: float = 0.0) -> float:
        """One-sided p-value of "the increase is no more than ``increase_ratio``"."""
        distance = self.log_ratio - math.log1p(increase_ratio)
        if self.stderr_ratio <= 0.0:
            return 0.0 if distance > 0.0 else 1.0
        return float(stdtr(self.freedom_count, -distance / self.stderr_ratio))

    @property
    def telling(self) -> bool:
        """Whether the two-sided 95 % interval is narrow enough to say anything."""
        quantile: float = stdtrit(self.freedom_count, 0.975)
        return 2.0 * float(quantile) * self.stderr_ratio <= math.log(TELLING_FACTOR)

    @property
    def real_ratio(self) -> float:
        """Probability that the difference has the sign that was seen, under a flat prior: 1 − one-sided p."""
        p = self.exceeds_p_ratio()
        return 0.5 if self.log_ratio == 0.0 else max(p, 1.0 - p)


def noise(sample: Sample) -> Noise | None:
    """Statistical noise of one run from its sub-windows, else from its figure's interval; None where neither is."""
    interval = ratio_interval(np.array(sample.energy_j), np.array(sample.amount_count)) if sample.energy_j else None
    if interval is not None and interval.stat_ratio is not None:
        return _of_windows(interval, interval.stat_ratio)
    half = _half_ratio(sample.figure)
    if interval is not None or half is None:
        return None
    # The interval holds the meter's error too, so this says too much rather than too little.
    return Noise(half / Z_95, BARE_FREEDOM_COUNT, 0, 0.0)


def _of_windows(interval: RatioInterval, stat_ratio: float) -> Noise:
    quantile: float = stdtrit(interval.freedom_count, 0.5 + interval.level / 2)
    return Noise(stat_ratio / float(quantile), interval.freedom_count, interval.n, interval.autocorrelation_ratio)


def _half_ratio(figure: Figure) -> float | None:
    if not figure.value or figure.low is None or figure.high is None:
        return None
    level = figure.level or LEVEL
    quantile: float = stdtrit(1e6, 0.5 + level / 2)
    return (figure.high - figure.low) / 2 / abs(figure.value) * Z_95 / float(quantile)


def change(
    base: Sequence[Sample], new: Sequence[Sample], *, same_sensor: bool = True, run_spread_ratio: float = 0.0
) -> Change | str:
    """ln(new ÷ base), or why it cannot be known.

    run_spread_ratio   standard deviation from run to run, as the caller knows it; used where there are no repeats
    """
    logs = [np.array([math.log(s.figure.value) for s in side if s.figure.value]) for side in (base, new)]
    if any(len(x) < len(side) or not len(x) for x, side in zip(logs, (base, new), strict=True)):
        return _missing([*base, *new])
    noises = [[noise(s) for s in side] for side in (base, new)]
    freedom = len(base) + len(new) - 2
    if freedom == 0 and any(n is None for side in noises for n in side):
        return "too few sub-windows to know the noise of a run; run longer, or repeat it"
    within = math.hypot(*(_within(side) for side in noises))
    spread = _spread(logs, freedom) if freedom else None
    between = (run_spread_ratio if spread is None else spread) * math.sqrt(1 / len(base) + 1 / len(new))
    statistic = math.hypot(within, between) if spread is None else max(within, between)
    meter = 0.0 if same_sensor else math.hypot(_meter_stderr(base, noises[0]), _meter_stderr(new, noises[1]))
    known = freedom if spread is not None else _welch([n for side in noises for n in side if n is not None])
    estimate = float(logs[1].mean() - logs[0].mean())
    return Change(estimate, math.hypot(statistic, meter), known, within, spread, meter)


def _missing(samples: Sequence[Sample]) -> str:
    gone = next((s for s in samples if not s.figure.value), None)
    if gone is None:
        return "a side has no run"
    return f"{gone.name}: joules are {'0' if gone.figure.value == 0 else 'unknown'} ({gone.figure.reason or 'unread'})"


def _within(side: Sequence[Noise | None]) -> float:
    """Standard error of a side's mean from its sub-windows; a run without any counts like the worst of the others."""
    known = [n.stderr_ratio for n in side if n is not None]
    worst = max(known, default=0.0)
    every = [n.stderr_ratio if n is not None else worst for n in side]
    return math.hypot(*every) / len(side)


def _spread(logs: Sequence[np.ndarray], freedom: int) -> float:
    total = sum(float(((x - x.mean()) ** 2).sum()) for x in logs)
    return math.sqrt(total / freedom)


def _welch(noises: Sequence[Noise]) -> float:
    """Welch–Satterthwaite degrees of freedom of a sum of variances."""
    variances = [n.stderr_ratio**2 for n in noises]
    below = sum(v * v / n.freedom_count for v, n in zip(variances, noises, strict=True))
    return sum(variances) ** 2 / below if below > 0.0 else BARE_FREEDOM_COUNT


def _meter_stderr(side: Sequence[Sample], noises: Sequence[Noise | None]) -> float:
    """What a figure's interval holds beyond its sub-windows: the meter. Runs of one side share it."""
    variances = []
    for sample, known in zip(side, noises, strict=True):
        half = _half_ratio(sample.figure)
        quantile = 0.0 if known is None else float(stdtrit(known.freedom_count, 0.5 + LEVEL / 2))
        stat = 0.0 if known is None or not known.window_count else quantile * known.stderr_ratio
        variances.append(math.sqrt(max((half or 0.0) ** 2 - stat**2, 0.0)) / Z_95)
    return max(variances)
