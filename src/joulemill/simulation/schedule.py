"""A quantity that holds steps in time: limits, outdoor temperature, carbon, price. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """``values`` that each hold from ``at_s`` until the next; the first is at 0 s, the last holds for good.

    NaN: not stated for this time.
    """

    at_s: Array
    values: Array

    def __post_init__(self) -> None:
        at, values = np.asarray(self.at_s, np.float64), np.asarray(self.values, np.float64)
        if at.ndim != 1 or at.shape != values.shape or not len(at) or at[0] != 0.0 or np.any(np.diff(at) <= 0):
            raise InputError("a schedule needs as many values as times, the first at 0 s, and times that rise")
        object.__setattr__(self, "at_s", at)
        object.__setattr__(self, "values", values)

    def at(self, t_s: Array) -> Array:
        """The value that holds at ``t_s``."""
        return np.asarray(self.values[np.searchsorted(self.at_s, t_s, side="right") - 1])

    def means(self, edges_s: Array) -> Array:
        """Its mean between neighboring ``edges_s``, exactly; NaN where it is not stated for all of it."""
        if len(self.at_s) == 1:
            return np.full(len(edges_s) - 1, self.values[0])
        known = np.nan_to_num(self.values)
        reached = np.concatenate([[0.0], np.cumsum(known[:-1] * np.diff(self.at_s))])
        piece = np.searchsorted(self.at_s, edges_s, side="right") - 1
        total = reached[piece] + known[piece] * (edges_s - self.at_s[piece])
        means = np.diff(total) / np.diff(edges_s)
        if np.isnan(self.values).any():
            hole = np.isnan(self.values)
            missing = Schedule(self.at_s, hole.astype(np.float64)).means(edges_s)
            means = np.where(missing > 0, np.nan, means)
        return np.asarray(means)

    def within(self, start_s: float, end_s: float, value: float) -> Schedule:
        """This schedule with ``value`` from ``start_s`` to ``end_s``."""
        if not 0.0 <= start_s < end_s:
            raise InputError(f"a time from {start_s:g} s to {end_s:g} s is none; it must end after it begins")
        kept = [
            (t, v) for t, v in zip(self.at_s.tolist(), self.values.tolist(), strict=True) if not start_s <= t < end_s
        ]
        after = float(self.at(np.array([end_s]))[0])
        points = dict(kept) | {start_s: value} | ({} if np.isinf(end_s) else {end_s: after})
        times = sorted(points)
        return Schedule(np.array(times), np.array([points[t] for t in times]))


def constant(value: float) -> Schedule:
    """A value that never changes."""
    return Schedule(np.zeros(1), np.array([value]))


def by_hour(values: Iterable[float], start_s: float, duration_s: float) -> Schedule:
    """24 values by hour of the day, over ``duration_s`` from ``start_s`` after midnight."""
    hours = list(values)
    first = int(start_s // 3600)
    last = int((start_s + duration_s) // 3600) + 1
    at = [max(0.0, hour * 3600.0 - start_s) for hour in range(first, last + 1)]
    return Schedule(np.array(at), np.array([hours[hour % 24] for hour in range(first, last + 1)]))
