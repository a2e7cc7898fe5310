"""Shrinkage of a cell's mean and slope toward the population's: best linear unbiased prediction, closed form. Pure.

A cell holds a few observations of one deployment. Each is

    e_i = a + b·(x_i − x̄) + ε_i,    a ~ N(0, τ²),  b ~ N(0, s²),  ε_i ~ N(0, σ²),

x̄ the mean of the cell's own x, so that mean and slope are told by different sums and each has its own formula:

    a: mean  ē · τ²/(τ² + σ²/K),          variance  τ²σ² / (Kτ² + σ²)
    b: slope Σ(x−x̄)e / (Sxx + σ²/s²),     variance  s²σ² / (s²Sxx + σ²),     Sxx = Σ(x−x̄)²

From fewer than three observations no slope is taken; its variance is then the population's. A new observation of
the cell at x has mean a + b(x−x̄) and variance V_a + (x−x̄)²·V_b + σ². (Robinson 1991, "That BLUP is a good thing".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Observations from which a slope is taken: two leave nothing to check it by.
SLOPE_FROM_COUNT = 3


@dataclass(frozen=True)
class Variances:
    """Between cells (τ²), within a cell (σ²), and of slopes between cells (s²)."""

    between: float
    within: float
    slope: float

    def __post_init__(self) -> None:
        if not (self.between >= 0.0 and self.slope >= 0.0 and self.within > 0.0):
            raise ValueError("variances must not be negative, and within a cell there is some")


@dataclass(frozen=True, kw_only=True)
class CellPosterior:
    """What is known of a cell after its observations: mean at ``center`` and slope, their variances, and σ²."""

    count: int
    center: float
    mean: float
    mean_variance: float
    slope: float
    slope_variance: float
    within_variance: float

    def at(self, x: float) -> tuple[float, float]:
        """Mean and variance of a new observation at ``x``."""
        away = x - self.center
        variance = self.mean_variance + away * away * self.slope_variance + self.within_variance
        return self.mean + self.slope * away, variance


def shrunk(x: Sequence[float], e: Sequence[float], variances: Variances) -> CellPosterior:
    """Posterior of the cell whose observations at ``x`` are ``e``. ValueError where there is none."""
    if not e or len(x) != len(e):
        raise ValueError("a cell needs one observation or more, each with its x")
    places, values = np.asarray(x, dtype=np.float64), np.asarray(e, dtype=np.float64)
    between, within, steep = variances.between, variances.within, variances.slope
    count, center = len(e), float(places.mean())
    share = count * between / (count * between + within)
    away = places - center
    sxx = float(away @ away) if count >= SLOPE_FROM_COUNT else 0.0
    spread = steep * sxx + within
    return CellPosterior(
        count=count,
        center=center,
        mean=share * float(values.mean()),
        mean_variance=between * within / (count * between + within),
        slope=steep * float(away @ values) / spread if sxx else 0.0,
        slope_variance=steep * within / spread,
        within_variance=within,
    )
