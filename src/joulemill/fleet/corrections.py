"""What simulation says of a plan's points: factors on the predicted rate, power and latencies, and room for peaks.

A plan counts on steady means. Played as traffic, a point makes fewer tokens, draws other watts, and its latencies at
the class's percentile lie above their mean. These factors are known where a point was played; between played points of
a deployment they are interpolated over the concurrency, and a deployment that was not played has those of its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby

import numpy as np

from joulemill.arrays import Array
from joulemill.fleet.classes import ServedClass
from joulemill.fleet.columns import DeploymentOption, PlanColumns
from joulemill.planning.problem import FacilityLimits, OperatingPoints


@dataclass(frozen=True, kw_only=True)
class PointRatios:
    """Played over predicted, of one point. Latencies: at the class's percentile over the predicted mean."""

    rate_ratio: float = 1.0
    power_ratio: float = 1.0
    ttft_ratio: float = 1.0
    tpot_ratio: float = 1.0


NAMES = tuple(f.name for f in fields(PointRatios))


@dataclass(frozen=True, kw_only=True)
class PlayedRatios:
    """Of which point they are: a deployment's, for a class, at a concurrency."""

    option: DeploymentOption
    demand: str
    concurrency_req: float
    ratios: PointRatios

    @property
    def key(self) -> tuple[DeploymentOption, str, float]:
        """What a later sample of the same point replaces."""
        return self.option, self.demand, self.concurrency_req


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """All samples, and by site how far its power peaks above its mean (``peak_ratio``, 1 where nothing is stated).

    pooled   whether a deployment that was not played takes the factors of others; else it stays as predicted
    """

    samples: tuple[PlayedRatios, ...] = ()
    peak_ratio: Mapping[str, float] = field(default_factory=dict)
    pooled: bool = True

    def learned(self, samples: Iterable[PlayedRatios], peak_ratio: Mapping[str, float]) -> Corrections:
        """These and newer ones."""
        by_key = {s.key: s for s in (*self.samples, *samples)}
        return replace(self, samples=tuple(by_key.values()), peak_ratio={**self.peak_ratio, **peak_ratio})

    def columns(self, predicted: PlanColumns, classes: Sequence[ServedClass]) -> PlanColumns:
        """``predicted`` as corrected, without the points that then miss a target of their class."""
        factors = {name: np.ones(predicted.points.count) for name in NAMES}
        for c in classes:
            self._put(factors, predicted, c)
        points = _late_lost(_times(predicted.points, factors), classes)
        keep, missed = np.ones(points.count, dtype=bool), dict(predicted.missed)
        for c in classes:
            mine = points.demand == c.index
            met = {name: mine & (values <= limit_s) for name, limit_s, values in _targets(c, points)}
            for good in met.values():
                keep &= ~mine | good
            if mine.any() and not (keep & mine).any():
                missed[c.name] = {
                    name: (limit_s, float(values[mine].min())) for name, limit_s, values in _targets(c, points)
                }
        return replace(predicted, points=points.taken(keep), missed=missed)

    def with_room(self, sites: Sequence[FacilityLimits]) -> list[FacilityLimits]:
        """Sites whose power limits leave room for peaks above the mean."""
        return [replace(s, shape_ratio=s.shape_ratio / self.peak_ratio.get(s.name, 1.0)) for s in sites]

    def _put(self, factors: Mapping[str, Array], predicted: PlanColumns, c: ServedClass) -> None:
        """The factors of a class's points."""
        points, of_class = predicted.points, [s for s in self.samples if s.demand == c.name]
        mine = np.flatnonzero(points.demand == c.index) if of_class else np.empty(0, dtype=np.intp)
        for group in np.unique(points.group[mine]).tolist():
            rows = mine[points.group[mine] == group]
            near = _nearest(of_class, predicted.options[group], pooled=self.pooled)
            if not near:
                continue
            at = np.log([concurrency for concurrency, _ in near])
            for name in NAMES:
                known = [float(np.mean([getattr(s.ratios, name) for s in samples])) for _, samples in near]
                factors[name][rows] = np.interp(np.log(points.concurrency[rows]), at, known)


def _nearest(
    samples: Sequence[PlayedRatios], option: DeploymentOption, *, pooled: bool
) -> list[tuple[float, list[PlayedRatios]]]:
    """By concurrency the samples of a deployment; where it has none and they are pooled, of its model, or all."""
    own = [s for s in samples if s.option == option]
    if not own and pooled:
        own = [s for s in samples if s.option.model == option.model] or list(samples)
    ordered = sorted(own, key=lambda s: s.concurrency_req)
    return [(at, list(same)) for at, same in groupby(ordered, key=lambda s: s.concurrency_req)]


def _times(points: OperatingPoints, factors: Mapping[str, Array]) -> OperatingPoints:
    rate, power, ttft, tpot = (factors[name] for name in NAMES)
    return replace(
        points,
        rate_tok_s=points.rate_tok_s * rate,
        rate_low_tok_s=points.rate_low_tok_s * rate,
        power_w=points.power_w * power,
        power_high_w=points.power_high_w * power,
        ttft_s=points.ttft_s * ttft,
        ttft_high_s=points.ttft_high_s * ttft,
        tpot_s=points.tpot_s * tpot,
        tpot_high_s=points.tpot_high_s * tpot,
    )


def _late_lost(points: OperatingPoints, classes: Sequence[ServedClass]) -> OperatingPoints:
    """At its worst a point that comes late makes no good tokens."""
    late = np.zeros(points.count, dtype=bool)
    for c in classes:
        for limit_s, values in ((c.ttft_s, points.ttft_high_s), (c.tpot_s, points.tpot_high_s)):
            late |= False if limit_s is None else (points.demand == c.index) & (values > limit_s)
    return replace(points, rate_low_tok_s=np.where(late, 0.0, points.rate_low_tok_s))


def _targets(c: ServedClass, points: OperatingPoints) -> list[tuple[str, float, Array]]:
    """A class's stated targets: name, limit, and the points' values."""
    stated = (("slo_ttft", c.ttft_s, points.ttft_s), ("slo_tpot", c.tpot_s, points.tpot_s))
    return [(name, limit_s, values) for name, limit_s, values in stated if limit_s is not None]
