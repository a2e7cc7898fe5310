"""Latencies of a simulated run over time: means over the requests that arrived in each of equal bins."""

from __future__ import annotations

import numpy as np

from joulemill.arrays import Array
from joulemill.simulation.run import PlayedTraffic
from joulemill.simulation.traffic import NS_IN_S

#: Bins of a run: a quarter of an hour each of a day.
BINS = 96
LATENCIES = ("ttft_s", "tpot_s")


def latency_series(run: PlayedTraffic) -> dict[str, list[float | None]]:
    """``t_s``, the middle of each bin, and the mean of each latency there; null where no request came to it."""
    arrival_s = np.asarray(run.outcomes.arrival_ns) / NS_IN_S
    edges_s = np.linspace(0.0, run.duration_s, BINS + 1)
    means = {name: _means(arrival_s, getattr(run.latencies, name), edges_s) for name in LATENCIES}
    return {"t_s": (0.5 * (edges_s[:-1] + edges_s[1:])).tolist(), **means}


def _means(arrival_s: Array, latency_s: Array, edges_s: Array) -> list[float | None]:
    known = np.isfinite(latency_s)
    counts = np.histogram(arrival_s[known], edges_s)[0]
    sums = np.histogram(arrival_s[known], edges_s, weights=latency_s[known])[0]
    return [float(total / n) if n else None for total, n in zip(sums, counts, strict=True)]
