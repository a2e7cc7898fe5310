"""Carbon of the grid over a time: points of a signal, and their mean over a window weighted by time. Pure.

    g = Σ_i g_i · |window ∩ point_i| ÷ Σ_i |window ∩ point_i|

Left out: the course of the power inside the window, which a run of minutes within points of 5–60 min cannot shift.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from joulemill.errors import InputError

#: With less of the window covered by the signal, its mean says nothing of the window. Assumed.
LEAST_COVERED_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class GridPoint:
    """Carbon of the grid [gCO2e/J] from ``start_s`` to ``end_s`` [Unix s]."""

    start_s: float
    end_s: float
    carbon_gco2e_j: float


@dataclass(frozen=True, slots=True)
class GridMean:
    """Mean over a window, with its extremes there and the share of the window that the points cover."""

    carbon_gco2e_j: float
    low_gco2e_j: float
    high_gco2e_j: float
    covered_ratio: float


def time_weighted(points: Sequence[GridPoint], start_s: float, end_s: float) -> GridMean | None:
    """Mean of ``points`` over [start_s, end_s] [Unix s]; None where too little of the window is covered.

    Raises InputError for points that overlap: the same minute cannot have two values.
    """
    if not end_s > start_s:
        return None
    placed = sorted(points, key=lambda p: p.start_s)
    if any(b.start_s < a.end_s - 1e-6 for a, b in itertools.pairwise(placed)):
        raise InputError("points of the grid signal overlap in time; give one value for each time")
    shares = [(min(p.end_s, end_s) - max(p.start_s, start_s), p.carbon_gco2e_j) for p in placed]
    inside = [(s, g) for s, g in shares if s > 0.0]
    covered_s = sum(s for s, _ in inside)
    if covered_s < LEAST_COVERED_RATIO * (end_s - start_s):
        return None
    values = [g for _, g in inside]
    mean = sum(s * g for s, g in inside) / covered_s
    return GridMean(mean, min(values), max(values), min(covered_s / (end_s - start_s), 1.0))
