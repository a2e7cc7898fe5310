"""Points of a design space, the ones that no other beats, and which input moves a result most. Pure.

Main effect of an input x on a result y, over all points: S = Var( E[y | x] ) ÷ Var(y), on ln y, since inputs act by
factors. On a full grid the shares of the inputs and of their interactions sum to 1; numbers that are drawn are put in
ten classes of equal size first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError

#: More points than a sweep on one machine ends in (assumed).
MOST_POINTS = 1_000_000
#: Classes of a drawn number, and values up to which one is taken as it is.
CLASSES = 10
Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DrawnRange:
    """A number drawn between ``low`` and ``high``, evenly, or evenly in its logarithm."""

    low: float
    high: float
    logarithmic: bool = False

    def values(self, rng: np.random.Generator, count: int) -> list[float]:
        """``count`` values, one in each of as many equal parts, in random order (Latin hypercube)."""
        return self.at((rng.permutation(count) + rng.random(count)) / count)

    def at(self, shares: Array) -> list[float]:
        """Values at ``shares`` of the way, 0 to 1, from ``low`` to ``high``."""
        if self.logarithmic:
            return list(np.exp(math.log(self.low) + shares * math.log(self.high / self.low)).tolist())
        return list((self.low + shares * (self.high - self.low)).tolist())


def grid_points(fixed: Point, axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the ``axes``, the last one fastest, each with what is ``fixed``."""
    count = math.prod(len(v) for v in axes.values())
    if not 1 <= count <= MOST_POINTS:
        raise InputError(f"the axes give {count:,} points; they must give 1 to {MOST_POINTS:,}")
    return [{**fixed, **dict(zip(axes, values, strict=True))} for values in itertools.product(*axes.values())]


def drawn_points(
    points: Sequence[Point], ranges: Mapping[str, DrawnRange], count: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Each of ``points`` with ``count`` draws of the ``ranges``."""
    if not 1 <= count * len(points) <= MOST_POINTS:
        raise InputError(f"{count * len(points):,} points are drawn; there must be 1 to {MOST_POINTS:,}")
    drawn = []
    for point in points:
        columns = {name: r.values(rng, count) for name, r in ranges.items()}
        drawn += [{**point, **{name: column[i] for name, column in columns.items()}} for i in range(count)]
    return drawn


def points_at(
    fixed: Point, axes: Mapping[str, Sequence[Any]], ranges: Mapping[str, DrawnRange], shares: Array
) -> list[dict[str, Any]]:
    """A point for each row of ``shares``, whose columns say how far along each of ``axes`` and ``ranges``, 0 to 1."""
    columns = {name: _picked(values, shares[:, i]) for i, (name, values) in enumerate(axes.items())}
    columns |= {name: drawn.at(shares[:, len(axes) + i]) for i, (name, drawn) in enumerate(ranges.items())}
    return [{**fixed, **{name: column[i] for name, column in columns.items()}} for i in range(len(shares))]


def _picked(values: Sequence[Any], shares: Array) -> list[Any]:
    """The value of an axis at each share: all have equal parts of it."""
    places = np.minimum((shares * len(values) + 1e-9).astype(np.int64), len(values) - 1)
    return [values[i] for i in places.tolist()]


def pareto_front(costs: Array) -> list[int]:
    """Rows of ``costs`` (points × goals, less is better) that no other equals or beats in all; NaN never.

    Of equal rows the first.
    """
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    order = known[np.lexsort(costs[known].T[::-1])]
    front: list[int] = []
    for row in order.tolist():
        if not any(np.all(costs[kept] <= costs[row]) for kept in front):
            front.append(row)
    return sorted(front)


def main_effects(points: Sequence[Point], inputs: Sequence[str], results: Array) -> dict[str, float | None]:
    """Input → its main effect on ``results``, see the header; None where nothing varies or too little is known."""
    known = np.flatnonzero(np.isfinite(results) & (results > 0))
    logs = np.log(results[known])
    total = float(logs.var()) if len(known) else 0.0
    if total <= 0.0:
        return dict.fromkeys(inputs)
    return {name: _effect([points[i].get(name) for i in known.tolist()], logs) / total for name in inputs}


def _effect(values: Sequence[Any], logs: Array) -> float:
    """Variance of the mean of ``logs`` by value."""
    names = _classes(values)
    codes = np.unique(names, return_inverse=True)[1]
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=logs) / counts
    return float(np.average((means - logs.mean()) ** 2, weights=counts))


def _classes(values: Sequence[Any]) -> list[str]:
    distinct = {str(v) for v in values}
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(distinct) <= CLASSES or len(numbers) < len(values):
        return [str(v) for v in values]
    ranks = np.argsort(np.argsort(np.array(numbers)))
    return [str(r * CLASSES // len(numbers)) for r in ranks.tolist()]
