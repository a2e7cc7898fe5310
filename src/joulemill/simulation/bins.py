"""Intervals of replicas → equal bins of time, exactly: what an interval spends is spread evenly over it. Pure.

The sum over all bins is the sum over all intervals, whatever the width of a bin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.columns import Whole
from joulemill.simulation.timeline import Timeline
from joulemill.simulation.traffic import NS_IN_S

#: The finest bins [s]: nodes' power is computed on these, whatever resolution is asked for.
FINEST_S = 0.25
#: More bins than this are not kept (assumed: 11 days of the finest).
MOST_BINS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Bins of ``width_s`` from 0 s to ``end_s``; the last may be shorter."""

    width_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (self.width_s > 0 and self.end_s > 0):
            raise InputError("bins need a width and an end above 0 s")

    @property
    def bins_count(self) -> int:
        """How many there are."""
        return max(1, math.ceil(self.end_s / self.width_s - 1e-9))

    @property
    def edges_s(self) -> Array:
        """Their edges, one more than there are bins."""
        edges = np.arange(self.bins_count + 1, dtype=np.float64) * self.width_s
        edges[-1] = self.end_s
        return edges

    @property
    def lengths_s(self) -> Array:
        """Their lengths."""
        edges = self.edges_s
        return np.asarray(edges[1:] - edges[:-1])


def bins_of(timeline: Timeline, resolution_s: float = FINEST_S) -> Bins:
    """Bins of ``resolution_s`` over the whole of ``timeline``."""
    return Bins(resolution_s, float(timeline.end_ns.max()) / NS_IN_S)


def rows_of_replicas(timeline: Timeline) -> Iterator[slice]:
    """The rows of each replica, which stand together."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(timeline.replica) != 0]))
    ends = np.append(starts[1:], len(timeline.replica))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield slice(start, end)


class Spreader:
    """Spreads quantities of one replica's intervals over bins; the places are found once."""

    def __init__(self, start_ns: Whole, end_ns: Whole, bins: Bins) -> None:
        start_s, end_s = start_ns / NS_IN_S, end_ns / NS_IN_S
        edges = np.clip(bins.edges_s, start_s[0], end_s[-1])
        self._piece = np.clip(np.searchsorted(start_s, edges, side="right") - 1, 0, len(start_s) - 1)
        self._share = np.clip((edges - start_s[self._piece]) / (end_s - start_s)[self._piece], 0.0, 1.0)

    def sums(self, quantity: Array | Whole) -> Array:
        """The sum of ``quantity`` (one value per interval) in each bin."""
        before = np.cumsum(quantity) - quantity
        return np.asarray(np.diff(before[self._piece] + self._share * quantity[self._piece]))
