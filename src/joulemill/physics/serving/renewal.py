"""A loop whose slots all start at once and refill as answers end: how many have ended, and how old the running are.

Answers of length L renew a slot. With S the share of answers longer than x, and m(x) the rate at which they start, a
slot has after x tokens

    ended(x) = ∫ m − 1        m = δ(0) + m ∗ f,  f = −S′                       renewal equation
    age(x)   = ∫ a·S(a)·m(x − a) da                                            tokens that its answer has so far

Long after the start ended → x/O + (s² − 1)/2 and age → O(1 + s²)/2. A measurement that ends before each slot has
renewed a few times sees younger answers, and another number of prompts a step. Lengths are in means, on a grid. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from joulemill.arrays import Array
from joulemill.statistics.normal import Z_80

#: Points of the grid a mean length, and mean lengths that it spans; later on a loop is taken as steady.
GRID, HORIZON = 100, 16
#: Standard deviation of ln length where percentiles are not known (assumed: a spread of 0.6 of the mean).
USUAL_SIGMA = 0.55


@dataclass(frozen=True, eq=False)
class RefilledSlots:
    """On the grid, in mean lengths: ``longer_ratio`` S, ``ended_count`` a slot, ``age_ratio`` of the answers that run,
    and ``steady_age_ratio`` what that tends to."""

    longer_ratio: Array
    ended_count: Array
    age_ratio: Array
    steady_age_ratio: float

    @property
    def lasting_ratio(self) -> float:
        """Mean lengths that the grid spans."""
        return (self.ended_count.size - 1) / GRID

    def time_ratio(self, ended: float) -> float:
        """When so many answers a slot have ended [mean lengths]; beyond the grid as in the steady state."""
        if ended >= self.ended_count[-1]:
            return self.lasting_ratio + ended - float(self.ended_count[-1])
        return float(np.interp(ended, self.ended_count, np.arange(self.ended_count.size) / GRID))

    def mean_age_ratio(self, start: float, end: float) -> float:
        """Age of running answers, averaged from ``start`` to ``end`` [mean lengths]."""
        first, last = int(start * GRID), int(min(end, self.lasting_ratio) * GRID)
        inside = self.age_ratio[first : max(last, first) + 1]
        total = float(inside.sum()) / GRID if inside.size else 0.0
        beyond = max(end - max(self.lasting_ratio, start), 0.0)
        return (total + beyond * self.steady_age_ratio) / (inside.size / GRID + beyond)

    def running_ratio(self, elapsed: float) -> float:
        """Share of answers that still run so long after their start."""
        at = elapsed * GRID
        return float(np.interp(at, np.arange(self.longer_ratio.size), self.longer_ratio, right=0.0))


@cache
def refilled_slots(mean_tok: float, p50_tok: float, p90_tok: float) -> RefilledSlots:
    """The loop of lognormal answers with these percentiles that are cut where their mean is the stated one, as a limit
    on tokens cuts them; ``p50_tok`` 0: not known."""
    longer = _longer_ratio(mean_tok, p50_tok, p90_tok)
    size = HORIZON * GRID
    ends = -np.diff(longer, append=0.0)
    starts = _starts_count(0.5 * (ends + np.append(0.0, ends[:-1])), size)  # between two points: half on each
    older = longer * np.arange(longer.size) / GRID
    age = np.convolve(starts, older)[:size]
    steady = float(older.sum() / (longer.sum() - 0.5))
    return RefilledSlots(longer, np.cumsum(starts) - 1.0, age, steady)


def _longer_ratio(mean_tok: float, p50_tok: float, p90_tok: float) -> Array:
    from scipy.special import ndtr  # heavy: imported when used

    known = 0.0 < p50_tok < p90_tok
    sigma = np.log(p90_tok / p50_tok) / Z_80 if known else USUAL_SIGMA
    median = p50_tok / mean_tok if known else float(np.exp(-0.5 * sigma**2))
    x = np.arange(HORIZON * 4 * GRID) / GRID
    longer = ndtr(-np.log(np.maximum(x, 1e-9) / median) / sigma)
    below = np.cumsum(longer) / GRID - 0.5 / GRID  # mean of min(L, x)
    cut = int(np.searchsorted(below, 1.0))
    if cut == longer.size:  # shorter answers than the percentiles say: all in proportion
        longer = np.interp(x * below[-1], x, longer)
    longer[cut:] = 0.0
    return np.asarray(longer[: int(np.flatnonzero(longer > 1e-6)[-1]) + 2])


def _starts_count(ends: Array, size: int) -> Array:
    """Answers that start at each of ``size`` points, the first included: the power series 1/(1 − f)."""
    starts = np.zeros(size)
    starts[0] = 1.0 / (1.0 - ends[0])
    for k in range(1, size):
        reach = min(k, ends.size - 1)
        starts[k] = starts[0] * (ends[1 : reach + 1] @ starts[k - 1 :: -1][:reach])
    return starts
