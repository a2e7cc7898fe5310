"""What planners ask of a power curve: peak, percentiles, ramps, load factor, load duration, headroom. Pure.

All is computed on the finest bins, so nothing depends on the resolution of the series that are shown. A ramp over τ is
the change between the means of neighboring stretches of τ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.plant import in_groups

#: Stretches over which ramps are told [s]: a supply's hold-up, a controller, a dispatcher, a settlement interval.
RAMPS_S = (0.25, 1.0, 60.0, 900.0)
#: Share of the time in which a limit may be broken, where none is stated (assumed: 1 in 1,000).
VIOLATION_RATIO = 0.001
CURVE_POINTS = 101


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerStatistics:
    """Power at one scope over the whole time.

    mean_w, peak_w, p50_w, p95_w, p99_w   of bins of 0.25 s
    peak_900_w        greatest mean of a quarter of an hour, which tariffs bill; None for a shorter time
    load_factor_ratio mean over peak
    up_w, down_w      greatest rise and fall between neighboring stretches [s] → W
    duration_w        power that is drawn or exceeded for 0, 1 … 100 % of the time
    """

    mean_w: float
    peak_w: float
    p50_w: float
    p95_w: float
    p99_w: float
    peak_900_w: float | None
    load_factor_ratio: float
    up_w: Mapping[float, float | None]
    down_w: Mapping[float, float | None]
    duration_w: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Headroom:
    """How many plants like this one a feed carries, over how many its nameplates would allow.

    quantile_w    power that is exceeded for ``violation_ratio`` of the time
    extra_ratio   nameplate ÷ quantile − 1: what may be added if all peak together (independent ones leave more)
    """

    violation_ratio: float
    nameplate_w: float
    quantile_w: float
    extra_ratio: float


def power_statistics(power_w: Array, lengths_s: Array, width_s: float) -> PowerStatistics:
    """Statistics of ``power_w`` in bins of ``lengths_s``, all ``width_s`` but the last."""
    mean_w = float(np.average(power_w, weights=lengths_s))
    peak_w = float(power_w.max())
    energy_j = power_w * lengths_s
    ramps = {tau: _ramp(energy_j, lengths_s, max(1, round(tau / width_s))) for tau in RAMPS_S}
    quarter = _means(energy_j, lengths_s, max(1, round(900.0 / width_s)))
    curve = quantiles_w(power_w, lengths_s, 1.0 - np.linspace(0.0, 1.0, CURVE_POINTS))
    p50_w, p95_w, p99_w = quantiles_w(power_w, lengths_s, np.array([0.5, 0.95, 0.99])).tolist()
    return PowerStatistics(
        mean_w=mean_w,
        peak_w=peak_w,
        p50_w=p50_w,
        p95_w=p95_w,
        p99_w=p99_w,
        peak_900_w=float(quarter.max()) if len(quarter) else None,
        load_factor_ratio=mean_w / peak_w if peak_w > 0 else 1.0,
        up_w={tau: up for tau, (up, _) in ramps.items()},
        down_w={tau: down for tau, (_, down) in ramps.items()},
        duration_w=tuple(curve.tolist()),
    )


def quantile_w(power_w: Array, lengths_s: Array, share: float) -> float:
    """The least power that is not exceeded for ``share`` of the time."""
    return float(quantiles_w(power_w, lengths_s, np.array([share]))[0])


def quantiles_w(power_w: Array, lengths_s: Array, shares: Array) -> Array:
    """The same for each of ``shares``."""
    order = np.argsort(power_w)
    reached = np.cumsum(lengths_s[order])
    places = np.searchsorted(reached, shares * reached[-1] * (1 - 1e-12))
    return np.asarray(power_w[order][np.minimum(places, len(order) - 1)])


def headroom(
    power_w: Array, lengths_s: Array, nameplate_w: float, violation_ratio: float = VIOLATION_RATIO
) -> Headroom:
    """Room for more under a feed that is broken for at most ``violation_ratio`` of the time."""
    if not 0.0 <= violation_ratio < 1.0:
        raise InputError(f"a violation probability is {violation_ratio:g}; it must lie between 0 and 1")
    quantile = quantile_w(power_w, lengths_s, 1.0 - violation_ratio)
    return Headroom(
        violation_ratio=violation_ratio,
        nameplate_w=nameplate_w,
        quantile_w=quantile,
        extra_ratio=nameplate_w / quantile - 1.0 if quantile > 0 else np.inf,
    )


def _means(energy_j: Array, lengths_s: Array, factor: int) -> Array:
    """Mean power of whole stretches of ``factor`` bins."""
    whole = len(energy_j) // factor * factor
    if not whole:
        return np.zeros(0)
    return in_groups(energy_j[:whole], factor) / in_groups(lengths_s[:whole], factor)


def _ramp(energy_j: Array, lengths_s: Array, factor: int) -> tuple[float | None, float | None]:
    change = np.diff(_means(energy_j, lengths_s, factor))
    if not len(change):
        return None, None
    return float(max(change.max(), 0.0)), float(max(-change.min(), 0.0))
