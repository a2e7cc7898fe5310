"""What several runs say together: a figure per point with its interval, the elasticity between two, the knee. Pure.

A point's figure is the geometric mean of its runs. Its interval comes from the spread of repeated runs, pooled over all
points (so that two runs per point suffice for five points), and is never less than what the runs' own intervals say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from joulemill.figure import Basis, Figure, unknown, weakest
from joulemill.statistics.normal import Z_95
from joulemill.statistics.ratio import TELLING_FACTOR
from joulemill.wording import percent

LEVEL = 0.95
#: A rate keeps up with what is offered from this share on.
KEPT_RATIO = 0.95


def combined(points: Sequence[Sequence[Figure]]) -> tuple[Figure, ...]:
    """One figure a point [k] from its repeated runs' figures, with intervals. Unknown where no run knows it."""
    known = [[f for f in runs if f.value is not None and f.value > 0] for runs in points]
    logs = [np.log([f.value or 1.0 for f in runs]) for runs in known]
    freedom = sum(max(len(x) - 1, 0) for x in logs)
    spread = math.sqrt(sum(float(((x - x.mean()) ** 2).sum()) for x in logs if len(x)) / freedom) if freedom else None
    return tuple(_one(runs, good, x, spread, freedom) for runs, good, x in zip(points, known, logs, strict=True))


def _one(
    runs: Sequence[Figure], known: Sequence[Figure], logs: np.ndarray, spread: float | None, freedom: int
) -> Figure:
    if not known:
        reason = next((f.reason for f in runs if f.reason), None)
        return unknown(runs[0].unit if runs else "1", reason or "no run of this point was completed")
    value = float(np.exp(logs.mean()))
    basis = weakest(*(f.basis for f in known)) or Basis.MEASURED
    within = _within(known)
    if spread is None and within is None:
        return Figure(value, known[0].unit, basis, reason="one run without an interval: repeat it")
    half = Z_95 * (within or 0.0)
    if spread is not None:
        quantile: float = stdtrit(freedom, 0.5 + LEVEL / 2)
        half = max(half, float(quantile) * spread / math.sqrt(len(known)))
    if 2.0 * half > math.log(TELLING_FACTOR):
        return Figure(value, known[0].unit, basis, reason=_too_few(logs))
    return Figure(value, known[0].unit, basis, low=value * math.exp(-half), high=value * math.exp(half), level=LEVEL)


def _too_few(logs: np.ndarray) -> str:
    apart = math.expm1(float(logs.max() - logs.min()))
    runs = "1 run" if len(logs) == 1 else f"{len(logs)} runs that differ by up to {percent(apart)}"
    return f"too few runs for an interval: {runs}; repeat them more often (--repeats)"


def _within(known: Sequence[Figure]) -> float | None:
    """Standard error of the mean logarithm from the runs' own intervals; None where one has none."""
    halves = [_log_half(f) for f in known]
    some = [h for h in halves if h is not None]
    return math.hypot(*some) / Z_95 / len(known) if len(some) == len(known) else None


def _log_half(f: Figure) -> float | None:
    if f.value is None or f.low is None or f.high is None or f.low <= 0:
        return None
    return (math.log(f.high) - math.log(f.low)) / 2


def elasticity(base: Figure, other: Figure, step_ratio: float) -> Figure:
    """d ln rate / d ln capacity between two points whose capacity differs by the factor ``step_ratio``."""
    if base.value is None or other.value is None or step_ratio <= 0 or step_ratio == 1:
        return unknown("1", base.reason or other.reason or "the setting did not change")
    step = math.log(step_ratio)
    value = math.log(other.value / base.value) / step
    halves = [_log_half(f) for f in (base, other)]
    if any(h is None for h in halves):
        return Figure(value, "1", Basis.MEASURED, reason="no interval: repeat the runs")
    half = math.hypot(*(h or 0.0 for h in halves)) / abs(step)
    return Figure(value, "1", Basis.MEASURED, low=value - half, high=value + half, level=LEVEL)


def knee(loads: Sequence[float], rates: Sequence[Figure]) -> Figure:
    """The number of sequences at once where 1 % more of them give half a per cent more tokens.

    Weighted least squares of t = load/rate = a + b·load; the knee is a/b, its interval by the delta method on its
    logarithm, widened where the line misses the points by more than their intervals. rates in tok/s.
    """
    rows = [(x, f) for x, f in zip(loads, rates, strict=True) if f.value]
    if len(rows) < 3:
        return unknown("sequences", "a knee needs at least three loads")
    x = np.array([load for load, _ in rows])
    t = np.array([load / (f.value or 1.0) for load, f in rows])
    error = t * np.array([max((_log_half(f) or 0.1) / Z_95, 0.005) for _, f in rows])
    design = np.stack([np.ones_like(x), x], axis=1) / error[:, None]
    inverse = np.linalg.inv(design.T @ design)
    a, b = inverse @ design.T @ (t / error)
    misfit = float(((t - a - b * x) ** 2 / error**2).sum()) / (len(rows) - 2)
    cov = inverse * max(misfit, 1.0)
    error_b = math.sqrt(cov[1, 1])
    if b < Z_95 * error_b:
        if a > 0 and b + Z_95 * error_b < a / x.max():
            return unknown("sequences", f"not reached: the rate still grows with the load at {x.max():g}")
        return unknown("sequences", "not decided: the runs differ more than the loads; repeat them on a quiet machine")
    if a <= 0:
        return unknown("sequences", f"below the lowest load of {x.min():g}: more load gives no more tokens")
    spread = math.sqrt(max(cov[0, 0] / a**2 + cov[1, 1] / b**2 - 2 * cov[0, 1] / (a * b), 0.0))
    value = float(a / b)
    note = None if x.min() <= value <= x.max() else "outside the loads of the sweep: extrapolated"
    low, high = value * math.exp(-Z_95 * spread), value * math.exp(Z_95 * spread)
    return Figure(
        value,
        "sequences",
        Basis.CALIBRATED,
        low=low,
        high=high,
        level=LEVEL,
        reason=note,
        source="t = a + b·load, knee a/b",
    )


def kept_up(offered_req_s: Sequence[float], served: Sequence[Figure]) -> Figure:
    """The offered rate up to which ``served`` [req/s] keeps up: between the last load that does and the next one."""
    rows = sorted((x, f) for x, f in zip(offered_req_s, served, strict=True) if f.value is not None)
    kept = [x for x, f in rows if (f.value or 0.0) >= KEPT_RATIO * x]
    lost = [x for x, f in rows if (f.value or 0.0) < KEPT_RATIO * x]
    if not lost:
        return unknown("req/s", "not reached: the server kept up with every rate of the sweep")
    if not kept or max(kept) > min(lost):
        return unknown(
            "req/s",
            "the server did not keep up with any rate of the sweep"
            if not kept
            else "rates beyond a lost one were kept",
        )
    low, high = max(kept), min(lost)
    return Figure(
        math.sqrt(low * high), "req/s", Basis.MEASURED, low=low, high=high, source="last rate kept up with, next one"
    )
