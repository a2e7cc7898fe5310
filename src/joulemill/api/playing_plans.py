"""A plan's busiest site-hours played through ``joulemill.simulate``: does it hold against traffic as it comes?

A plan counts on steady means. Traffic comes in bursts, a target is for a percentile, and power peaks. Each operating
point of the plan's fullest hours is played. Where tokens, latencies or a site's peak power part from the plan, the
points are corrected by what was played, and the plan is made again, until it holds or ``MOST_ROUNDS`` have passed.
Nothing is left to chance or to the clock: the same plan is corrected to the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from joulemill.api.playing_points import PointPlay, play_point
from joulemill.errors import InputError
from joulemill.fleet.columns import DeploymentOption
from joulemill.fleet.corrections import Corrections, PlayedRatios, PointRatios
from joulemill.fleet.played import LEAST_RATIO, PlayedPlan, PlayedPoint, PlayedSite
from joulemill.fleet.study import STEADY_NOTE, PlanStudy, study
from joulemill.planning.problem import WAITING

#: Times that the plan is made again.
MOST_ROUNDS = 16
#: Standard deviations above the mean that a site's peak is taken at: one second in some 700 is above.
PEAK_SD = 3.0
Tell = Callable[[str, float], None]
#: What was played, by deployment, class, concurrency and rate: what comes up again is not played again.
Plays = dict[tuple[DeploymentOption, int, float, float], PointPlay]


@dataclass(frozen=True, kw_only=True)
class _PlayedRound:
    """A round: points (rows of the problem), how often they run in the fullest hour, and what was played."""

    plan: PlanStudy
    rows: Sequence[int]
    plays: Sequence[PointPlay]
    points: Sequence[PlayedPoint]
    sites: Sequence[PlayedSite]

    @property
    def holds(self) -> bool:
        return all(p.holds for p in self.points) and all(s.holds for s in self.sites)


def played(plan: PlanStudy, tell: Tell | None = None) -> tuple[PlanStudy, PlayedPlan]:
    """The plan corrected until it holds in simulation, and what was played. ``plan`` must have a plan."""
    if plan.use is None:
        raise InputError("there is no plan to be simulated: something is short")
    values, plays, corrections = [plan.value], Plays(), plan.corrections or Corrections()
    last = _round(plan, plays, tell, 1)
    while not last.holds and len(values) < MOST_ROUNDS:
        corrections = _learned(corrections, last)
        plan = _again(plan, corrections)
        if (
            plan.use is None and corrections.pooled
        ):  # a deployment that was not played may do better than those that were
            corrections = replace(corrections, pooled=False)
            plan = _again(plan, corrections)
        values.append(plan.value)
        if plan.use is None:
            break
        last = _round(plan, plays, tell, len(values))
    if last.holds:
        plan = replace(plan, notes=[n for n in plan.notes if n != STEADY_NOTE])
    return plan, PlayedPlan(points=last.points, sites=last.sites, values=tuple(values))


def _again(plan: PlanStudy, corrections: Corrections) -> PlanStudy:
    return study(plan.file, extras=False, columns=plan.predicted, solver=plan.solver, corrections=corrections)


def _round(plan: PlanStudy, plays: Plays, tell: Tell | None, turn: int) -> _PlayedRound:
    points, counts = plan.problem.points, _counts(plan)
    rows, results = np.flatnonzero(counts > 0.0).tolist(), []
    for done, row in enumerate(rows, 1):
        option, d = plan.options[int(points.group[row])], int(points.demand[row])
        key = (option, d, float(points.concurrency[row]), round(float(points.rate_tok_s[row]), 6))
        if key not in plays:
            plays[key] = play_point(plan, row, float(counts[row]))
        results.append(plays[key])
        if tell is not None:
            tell(f"simulating {turn}", done / len(rows))
    return _PlayedRound(
        plan=plan,
        rows=rows,
        plays=results,
        points=[_point(plan, row, float(counts[row]), play) for row, play in zip(rows, results, strict=True)],
        sites=_sites(plan, dict(zip(rows, results, strict=True))),
    )


def _counts(plan: PlanStudy) -> np.ndarray:
    """[points] replicas in the fullest hour of the deployment or of its site; 0 of what waits or is not used."""
    counts = np.zeros(plan.problem.points.count)
    for use in plan.use.deployments if plan.use is not None else ():
        at = [int(use.count_by_hour.argmax()), _hour(plan, plan.problem.pools[use.pool].site)]
        counts[use.points] = use.count_by_point[:, at].max(axis=1)
    return np.where(plan.problem.points.demand == WAITING, 0.0, counts)


def _hour(plan: PlanStudy, site: int) -> int:
    """The hour in which a site draws most."""
    return 0 if plan.use is None else int(plan.use.sites[site].it_w.argmax())


def _point(plan: PlanStudy, row: int, count: float, play: PointPlay) -> PlayedPoint:
    points = plan.problem.points
    option, d = plan.options[int(points.group[row])], int(points.demand[row])
    demand = plan.file.tables.demand[d]
    return PlayedPoint(
        site=plan.problem.sites[plan.problem.pools[int(points.pool[row])].site].name,
        pool=option.pool,
        model=option.model,
        deployment=option.label,
        demand=demand.name,
        concurrency_req=float(points.concurrency[row]),
        backlog=plan.classes[d].is_backlog,
        replicas_count=count,
        copies_count=play.copies_count,
        requests_count=play.requests_count,
        planned_tok_s=float(points.rate_tok_s[row]),
        played_tok_s=play.rate_tok_s,
        percentile=demand.percentile,
        ttft_s=play.ttft_s,
        ttft_limit_s=demand.slo_ttft,
        tpot_s=play.tpot_s,
        tpot_limit_s=demand.slo_tpot,
        planned_power_w=float(points.power_w[row]),
        played_power_w=play.power_w,
        peak_power_w=play.peak_power_w,
    )


def _sites(plan: PlanStudy, plays: Mapping[int, PointPlay]) -> Sequence[PlayedSite]:
    """Each site in its fullest hour: its planned power, with what the played points draw in place of their plan."""
    if plan.use is None:
        return []
    points, result = plan.problem.points, []
    for s, (use, stated) in enumerate(zip(plan.use.sites, plan.problem.sites, strict=True)):
        hour, more_w, variance = _hour(plan, s), 0.0, 0.0
        for d in plan.use.deployments:
            if plan.problem.pools[d.pool].site != s:
                continue
            for row, count in zip(d.points.tolist(), d.count_by_point[:, hour].tolist(), strict=True):
                play = plays.get(row)
                if play is not None and play.power_w is not None:
                    more_w += count * (play.power_w - float(points.power_w[row]))
                    variance += count * play.spread_power_w**2
        mean_w = float(use.it_w[hour]) + more_w
        shape = float(stated.shape_ratio[hour]) * _peak_ratio(plan, use.name)
        result.append(
            PlayedSite(
                site=use.name,
                hour=hour,
                planned_power_w=float(use.it_w[hour]),
                played_power_w=mean_w,
                peak_power_w=mean_w + PEAK_SD * float(np.sqrt(variance)),
                limit_w=None if use.limit_w is None else use.limit_w * shape,
            )
        )
    return result


def _peak_ratio(plan: PlanStudy, site: str) -> float:
    """By how much the limits of the plan were lowered for peaks."""
    return 1.0 if plan.corrections is None else plan.corrections.peak_ratio.get(site, 1.0)


def _learned(corrections: Corrections, last: _PlayedRound) -> Corrections:
    """With what a round says: of every point, and of the sites whose limits do not carry their peaks."""
    predicted, points = _predicted(last.plan), last.plan.problem.points
    samples = []
    for row, play, shown in zip(last.rows, last.plays, last.points, strict=True):
        option = last.plan.options[int(points.group[row])]
        base = predicted[int(points.group[row]), int(points.demand[row]), float(points.concurrency[row])]
        rate_holds = not shown.backlog and play.rate_tok_s >= LEAST_RATIO * shown.planned_tok_s
        rate = shown.planned_tok_s if rate_holds else play.rate_tok_s
        ratios = PointRatios(
            rate_ratio=rate / base["rate_tok_s"],
            power_ratio=1.0 if play.power_w is None else play.power_w / base["power_w"],
            ttft_ratio=1.0 if play.ttft_s is None else play.ttft_s / base["ttft_s"],
            tpot_ratio=1.0 if play.tpot_s is None else play.tpot_s / base["tpot_s"],
        )
        samples.append(
            PlayedRatios(option=option, demand=shown.demand, concurrency_req=shown.concurrency_req, ratios=ratios)
        )
    room = {s.site: s.peak_power_w / s.played_power_w for s in last.sites if not s.holds and s.played_power_w > 0.0}
    return corrections.learned(samples, room)


def _predicted(plan: PlanStudy) -> Mapping[tuple[int, int, float], Mapping[str, float]]:
    """The predicted figures by deployment, class and concurrency."""
    points = plan.predicted.points
    keys = zip(points.group.tolist(), points.demand.tolist(), points.concurrency.tolist(), strict=True)
    names = ("rate_tok_s", "power_w", "ttft_s", "tpot_s")
    columns = {name: getattr(points, name).tolist() for name in names}
    return {key: {name: columns[name][i] for name in names} for i, key in enumerate(keys)}


def played_document(plan: PlayedPlan) -> dict[str, Any]:
    """What was played, JSON types only."""
    return {
        "holds": plan.holds,
        "objective_by_round": list(plan.values),
        "planned_tok_s": plan.planned_tok_s,
        "played_tok_s": plan.played_tok_s,
        "sites": [asdict(s) | {"holds": s.holds} for s in plan.sites],
        "points": [asdict(p) | {"holds": p.holds} for p in plan.points],
    }
