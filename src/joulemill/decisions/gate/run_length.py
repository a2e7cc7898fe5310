"""How long must a run be, or how many, for the gate to decide? From the noise of base runs. Pure.

Long enough means: with the gate's allowance θ, an unchanged system passes and one that has risen by twice θ fails,
each with 90 % power; that is, the noise separates θ from none. The statistical variance of ln J/token falls with the
length of the window, the spread from run to run only with their number. What is known of the noise is itself
uncertain; the plan takes its 90 % upper limit (chi-square), so that the power holds on average over plans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, stdtrit

from joulemill.decisions.gate.change import noise
from joulemill.decisions.gate.sample import Sample

POWER = 0.9
#: The noise that is planned for is exceeded by the true one in this share of cases.
NOISE_TAIL = 0.1
#: Degrees of freedom of a longer run are not taken to be more than its sub-windows can give.
MOST_FREEDOM_COUNT = 60.0
LONGEST_S = 7 * 86400.0
MOST_RUNS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPlan:
    """What would do.

    window_s          length of the steady window that base and new each need with one run a side; None: no length does
    runs_count        runs of the base's length that each side needs, given the spread from run to run; None unknown
    now_window_s, now_detects_ratio   the base's window, and the least rise above none that it can tell
    noise_ratio       relative standard error of one run of the base's length, and ``spread_ratio`` from run to run
    enough            whether the runs are long enough as they are
    text              in words
    """

    max_increase_ratio: float
    window_s: float | None
    runs_count: float | None
    now_window_s: float
    now_detects_ratio: float
    noise_ratio: float
    spread_ratio: float | None
    enough: bool
    text: str


def plan_length(base: Sequence[Sample], max_increase_ratio: float, *, checks_count: int = 1) -> LengthPlan | str:
    """The plan for an allowance, or why there is none. ``checks_count``: checks that share the false failures."""
    noises = [noise(s) for s in base]
    known = [n for n in noises if n is not None]
    window_s = float(np.mean([s.window_s for s in base]))
    if len(known) < len(noises) or not window_s > 0.0:
        return "too few sub-windows to know the noise of the base; run longer first (a minute or more)"
    separation = _separation_ratio(max_increase_ratio)
    freedom = sum(n.freedom_count for n in known)
    variance = float(np.mean([n.stderr_ratio**2 for n in known])) * freedom / chdtri(freedom, 1 - NOISE_TAIL)
    level = 1.0 - 0.05 / checks_count
    per_run = float(np.mean([n.freedom_count for n in known]))
    spread = _spread_ratio(base)
    needed = _length_s(variance * window_s, per_run / window_s, separation, level)
    runs = (
        None
        if spread is None
        else _runs(spread[0] ** 2 * spread[1] / chdtri(spread[1], 1 - NOISE_TAIL), separation, level)
    )
    now = _detects_ratio(math.sqrt(2.0 * variance), 2.0 * per_run, level)
    enough = (runs is not None and runs <= len(base)) if spread else needed is not None and needed <= window_s
    text = _plan_text(max_increase_ratio, needed, runs, window_s, spread is not None, enough)
    return LengthPlan(
        max_increase_ratio=max_increase_ratio,
        window_s=needed,
        runs_count=runs,
        now_window_s=window_s,
        now_detects_ratio=now,
        noise_ratio=math.sqrt(variance),
        spread_ratio=None if spread is None else spread[0],
        enough=enough,
        text=text,
    )


def _separation_ratio(max_increase_ratio: float) -> float:
    """Least distance on the log scale that must be told apart: from none to θ, and from θ to 2θ."""
    once, twice = math.log1p(max_increase_ratio), math.log1p(2.0 * max_increase_ratio)
    return min(once, twice - once)


def _multiple_ratio(freedom: float, level: float) -> float:
    """Standard errors between a bound at ``level`` and a truth that is found with POWER."""
    both = stdtrit(freedom, level) + stdtrit(freedom, POWER)
    return float(both)


def _detects_ratio(stderr: float, freedom: float, level: float) -> float:
    return math.expm1(stderr * _multiple_ratio(freedom, level))


def _length_s(variance_s: float, freedom_per_s: float, separation: float, level: float) -> float | None:
    """Window for which √(2·variance)·multiple ≤ separation; both sides of that length."""

    def enough(length_s: float) -> bool:
        freedom = 2.0 * min(max(freedom_per_s * length_s, 2.0), MOST_FREEDOM_COUNT)
        return math.sqrt(2.0 * variance_s / length_s) * _multiple_ratio(freedom, level) <= separation

    low, high = 1.0, LONGEST_S
    if not enough(high):
        return None
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _runs(variance: float, separation: float, level: float) -> float | None:
    """Runs a side for which the spread of their means is small enough; at least two, to see the spread at all."""
    for count in range(2, MOST_RUNS + 1):
        if math.sqrt(2.0 * variance / count) * _multiple_ratio(2.0 * count - 2.0, level) <= separation:
            return float(count)
    return None


def _spread_ratio(base: Sequence[Sample]) -> tuple[float, float] | None:
    """Standard deviation of ln J/token over base runs, with its degrees of freedom; None for fewer than three."""
    logs = [math.log(s.figure.value) for s in base if s.figure.value]
    if len(logs) < 3:
        return None
    return float(np.std(logs, ddof=1)), len(logs) - 1.0


def _plan_text(
    allowed: float, needed_s: float | None, runs: float | None, window_s: float, repeated: bool, enough: bool
) -> str:
    what = f"to tell a rise of {allowed:.3g} from none at 90 % power".replace(
        f"{allowed:.3g}", f"{100 * allowed:.3g} %"
    )
    length = (
        "no window of a week would do" if needed_s is None else f"each run needs a steady window of {needed_s:.0f} s"
    )
    ends = f"this base has {window_s:.0f} s" + (": enough" if enough else "")
    if not repeated:
        return f"{what}, {length}; {ends}. Spread from run to run is not in it: give three or more base runs for that"
    counted = f"{runs:.0f} runs per side" if runs is not None else f"more than {MOST_RUNS} runs per side"
    return f"{what} with the observed spread from run to run, {counted} of {window_s:.0f} s are needed" + (
        ": enough are given" if enough else ""
    )
