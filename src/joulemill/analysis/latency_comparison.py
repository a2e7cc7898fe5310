"""Whether a percentile of a latency differs between two runs: order statistics of the load's requests. Pure.

The rank of a percentile q among n independent requests is binomial: its interval is the order statistics at ranks
n·q ± 1.96·√(n·q·(1−q)). Requests that stand in one queue are not independent: n is cut to n·(1−φ)/(1+φ), φ the
autocorrelation of "slower than the percentile" in the order of the requests. Where a rank falls outside the requests
there are too few of them, and nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from joulemill.statistics.normal import Z_95
from joulemill.statistics.ratio import autocorrelation_ratio

PERCENTILES = (0.5, 0.9, 0.99)


def quantile_interval(values_s: Sequence[float], q_ratio: float) -> tuple[float, float, float] | None:
    """(low, estimate, high) [s] at 95 % of percentile ``q_ratio``; None where there are too few requests."""
    x = np.asarray(values_s, dtype=np.float64)
    if len(x) < 8:
        return None
    value = float(np.quantile(x, q_ratio))
    slower = (x > value).astype(np.float64)
    phi = max(0.0, float(autocorrelation_ratio(slower - slower.mean()))) if 0.0 < slower.mean() < 1.0 else 0.0
    effective = len(x) * (1.0 - phi) / (1.0 + phi)
    half = Z_95 * math.sqrt(q_ratio * (1.0 - q_ratio) / effective) if effective > 0.0 else 1.0
    low, high = q_ratio - half, q_ratio + half
    if low < 0.0 or high > 1.0:
        return None
    return float(np.quantile(x, low)), value, float(np.quantile(x, high))


def real_ratio(a_s: Sequence[float], b_s: Sequence[float], q_ratio: float) -> tuple[float, float] | None:
    """(b ÷ a − 1, probability that the difference has this sign); None where either percentile has no interval."""
    bounds = [quantile_interval(v, q_ratio) for v in (a_s, b_s)]
    if bounds[0] is None or bounds[1] is None or min(bounds[0][0], bounds[1][0]) <= 0.0:
        return None
    (a_low, a, a_high), (b_low, b, b_high) = bounds[0], bounds[1]
    error = math.hypot(math.log(a_high / a_low), math.log(b_high / b_low)) / (2 * Z_95)
    gap = abs(math.log(b / a))
    if error == 0.0:
        return b / a - 1.0, 0.5 if gap == 0.0 else 1.0
    return b / a - 1.0, float(ndtr(gap / error))
