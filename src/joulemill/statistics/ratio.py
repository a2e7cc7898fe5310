"""Intervals of confidence: of a ratio of sums over correlated sub-windows, and of a proportion.

J/token is Σ J ÷ Σ tok. Its statistical error is the standard error of that ratio under a circular block bootstrap of
(J, tok) pairs of sub-windows, corrected for what a block bootstrap of few windows is known to miss, times a Student
t-quantile with the degrees of freedom that the blocks leave. The meter's own error joins in quadrature: it is not
shrunk by averaging. Coverage is checked by simulation in ``benchmarks/interval_coverage.py``.

The rule for the block length (stated, so that anyone can redo it): the residuals z = J − R·tok are taken as AR(1)
with Kendall's bias-corrected lag-1 autocorrelation φ, clipped to [0, 0.9]; then b = ⌈(2φ/(1−φ²))^⅔ · n^⅓⌉, the
minimizer of the bootstrap variance's mean squared error for AR(1) (Künsch 1989; Politis & White 2004), at most n/4.
The same AR(1) gives the factor by which blocks of b of n understate the variance of the mean; it is divided out.
Pure: the bootstrap's generator is seeded from the token counts, so the same run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array

LEVEL = 0.95
RESAMPLES = 2000
#: With fewer sub-windows no statistical interval is claimed.
FEWEST = 6
#: Largest autocorrelation believed: beyond it the windows hold too little information for an interval this way.
PHI_MOST = 0.9
_CHUNK_BYTES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioInterval:
    """A ratio of sums with its interval at ``level``.

    stat_ratio, sensor_ratio   the two parts of the half width, each ÷ value; None with too few windows, or value 0
    block_count   length of a block in sub-windows; ``autocorrelation_ratio`` the autocorrelation it was chosen from
    freedom_count degrees of freedom of the t-quantile
    """

    value: float
    low: float | None
    high: float | None
    level: float
    stat_ratio: float | None
    sensor_ratio: float | None
    n: int
    block: int
    autocorrelation_ratio: float
    freedom_count: float


def ratio_interval(
    numerator: Array, denominator: Array, sensor_half: float = 0.0, level: float = LEVEL
) -> RatioInterval | None:
    """Σ numerator ÷ Σ denominator over sub-windows [n] with an interval; None where the denominator sums to nothing.

    sensor_half   half width of Σ numerator from the meter alone, in the numerator's unit, at 95 %
    """
    x, y = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    total = float(y.sum())
    if not total > 0.0:
        return None
    value, n = float(x.sum()) / total, len(x)
    sensor = sensor_half / total * _normal(level) / _normal(LEVEL)
    if n < FEWEST:
        return RatioInterval(
            value=value,
            low=None,
            high=None,
            level=level,
            stat_ratio=None,
            sensor_ratio=_share(sensor, value),
            n=n,
            block=1,
            autocorrelation_ratio=0.0,
            freedom_count=0.0,
        )
    phi = autocorrelation_ratio(x - value * y)
    block = block_length(phi, n)
    error = _bootstrap_error(x, y, block, generator(y)) / math.sqrt(_caught_ratio(phi, n, block))
    freedom = _freedom_count(phi, n, block)
    stat = _student(freedom, level) * error
    half = math.hypot(stat, sensor)
    return RatioInterval(
        value=value,
        low=value - half,
        high=value + half,
        level=level,
        stat_ratio=_share(stat, value),
        sensor_ratio=_share(sensor, value),
        n=n,
        block=block,
        autocorrelation_ratio=phi,
        freedom_count=freedom,
    )


def _share(half: float, value: float) -> float | None:
    return half / abs(value) if value else None


def generator(data: Array) -> np.random.Generator:
    """A generator seeded from ``data`` alone (rounded, so that a shift of the clock does not change it)."""
    digest = hashlib.blake2b(np.round(data, 3).tobytes(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def autocorrelation_ratio(z: Array) -> float:
    """Lag-1 autocorrelation of ``z`` [n], corrected for its bias −(1+3φ)/n in a short series, in [0, PHI_MOST]."""
    d = z - z.mean()
    power = float(d @ d)
    if power <= 0.0:
        return 0.0
    n = len(d)
    raw = float(d[1:] @ d[:-1]) / power
    return min(max((n * raw + 1.0) / (n - 3.0), 0.0), PHI_MOST)


def block_length(phi: float, n: int) -> int:
    """Length of a block for ``n`` windows of lag-1 autocorrelation ``phi``, by the rule above."""
    best: float = (2.0 * phi / (1.0 - phi * phi)) ** (2.0 / 3.0) * n ** (1.0 / 3.0)
    return max(1, min(math.ceil(best), n // 4))


def _bootstrap_error(x: Array, y: Array, block: int, rng: np.random.Generator) -> float:
    """Standard error of Σx/Σy under the circular block bootstrap."""
    n = len(x)
    blocks = math.ceil(n / block)
    starts = rng.integers(0, n, size=(RESAMPLES, blocks))
    sx, sy = _circular_sums(x, block), _circular_sums(y, block)
    top, bottom = sx[starts].sum(axis=1), sy[starts].sum(axis=1)
    good = bottom > 0.0
    return float(np.std(top[good] / bottom[good], ddof=1)) * math.sqrt(blocks * block / n)


def _circular_sums(x: Array, block: int) -> Array:
    """Σ of the ``block`` values from each place on, wrapping round."""
    run = np.concatenate(([0.0], np.cumsum(np.concatenate((x, x[: block - 1])))))
    return run[block:] - run[:-block]


def _caught_ratio(phi: float, n: int, block: int) -> float:
    """E[bootstrap variance of the mean] ÷ its true variance, for AR(1) of ``phi``: exact, from autocovariances.

    Blocks weigh lag k by 1 − k/b, over the join of the circle too; the sample's mean, taken out, costs b/n.
    """
    gamma: Array = np.power(phi, np.arange(n, dtype=np.float64))
    k = np.arange(1, block)
    circular = ((n - k) * gamma[k] + k * gamma[n - k]) / n
    in_blocks = float(gamma[0] + 2.0 * ((1.0 - k / block) @ circular)) / n
    return in_blocks / _mean_variance(gamma, n) - block / n


def _mean_variance(gamma: Array, n: int) -> float:
    """Variance of the mean of ``n`` values with autocovariances ``gamma`` [n]."""
    lag = np.arange(1, n)
    return float(gamma[0] + 2.0 * ((1.0 - lag / n) @ gamma[1:])) / n


def _freedom_count(phi: float, n: int, block: int) -> float:
    """Degrees of freedom of the t-quantile.

    What the correlation leaves of n, no more than blocks give (3n/2b), less the mean; and less for φ being estimated
    too: its error moves ln[(1+φ)/(1−φ)] by 2/√(n(1−φ²)), taken by the share φ in which the correction is used.
    """
    blocks = max(min(n * (1.0 - phi) / (1.0 + phi), 1.5 * n / block) - 1.0, 2.0)
    return max(1.0 / (1.0 / blocks + 2.0 * phi / (n * (1.0 - phi * phi))), 2.0)


def wilson(correct: float, questions: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Wilson score interval of a proportion ``correct``/``questions``; None for no questions.

    Wilson, J. Am. Stat. Assoc. 22 (1927) 209. ``correct`` may be fractional where a score is.
    Raises ValueError where ``correct`` is not within [0, questions].
    """
    if not 0.0 <= correct <= questions:
        raise ValueError(f"{correct} correct of {questions} is no proportion")
    if questions == 0:
        return None
    z, n, p = _normal(level), questions, correct / questions
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if correct == 0.0 else center - half, 1.0 if correct == questions else center + half)


def _normal(level: float) -> float:
    from scipy.special import ndtri  # slow to load, and many a start needs none

    return float(ndtri(0.5 + level / 2))


#: An interval whose ends lie further apart than this factor tells nothing: there are too few data for one.
TELLING_FACTOR = 20.0


def _student(freedom_count: float, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom_count, 0.5 + level / 2))
