"""How far figures of a run may be off: the same traffic played with steps that last and cost otherwise.

Steps err alike in all of a run (the prediction's errors are of a deployment, not of a step), so a scenario multiplies
every step's time by one factor from the prediction's error model: lognormal, with the half-width of its interval.
Scenarios are the midpoints of equal shares of that distribution, and all have the same requests (common random
numbers): figures differ by the error alone. Joules of a step move nothing but joules, whose interval is analytic
(``run.Widths``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from joulemill.arrays import Array
from joulemill.prediction.simulation.cascade import play_scene
from joulemill.prediction.simulation.playing import Scene
from joulemill.simulation.latencies import summary
from joulemill.simulation.run import PlayedTraffic
from joulemill.statistics.normal import Z_80

LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
POINTS = ("mean", "p50", "p90", "p99")


@dataclass(frozen=True)
class Scenarios:
    """Values of each latency figure over scenarios, and the factors of time that they were played with."""

    time_ratios: tuple[float, ...]
    values: Mapping[tuple[str, str], tuple[float, ...]]

    def interval(self, latency: str, point: str) -> tuple[float, float] | None:
        """80 % interval: the 10th and 90th percentile over scenarios, by the normal of their logarithms."""
        values = np.array([v for v in self.values[latency, point] if v > 0 and math.isfinite(v)])
        if len(values) < 2:
            return None
        logs = np.log(values)
        # Midpoints of equal shares spread less than what they stand for: by the spread of their own scores.
        spread = float(logs.std() / np.std(scores(len(values))))
        center = float(logs.mean())
        return math.exp(center - Z_80 * spread), math.exp(center + Z_80 * spread)


def scores(count: int) -> Array:
    """Standard normal scores in the middle of ``count`` equal shares."""
    return np.asarray(ndtri((np.arange(count) + 0.5) / count))


def play_scenarios(scene: Scene, count: int, progress: Callable[[str], None] | None = None) -> Scenarios:
    """The scene ``count`` times over."""
    ratios = np.exp(scores(count) * scene.played.widths.time_ratio / Z_80)
    values: dict[tuple[str, str], list[float]] = {(x, p): [] for x in LATENCIES for p in POINTS}
    for number, ratio in enumerate(ratios.tolist(), 1):
        if progress is not None:
            progress(f"scenario {number} of {count}")
        run = play_scene(scene, errors=(ratio, 1.0)).run
        for key, value in _points(run).items():
            values[key].append(value)
    return Scenarios(tuple(ratios.tolist()), {key: tuple(v) for key, v in values.items()})


def _points(run: PlayedTraffic) -> dict[tuple[str, str], float]:
    points: dict[tuple[str, str], float] = {}
    for name in LATENCIES:
        of = summary(getattr(run.latencies, name))
        for point, value in zip(POINTS, (of.mean_s, of.p50_s, of.p90_s, of.p99_s), strict=True):
            points[name, point] = value
    return points
