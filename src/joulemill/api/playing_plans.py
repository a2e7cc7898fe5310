"""A plan's busiest hours played through ``joulemill.simulate``: does it hold against traffic as it comes?

A plan counts on steady means. Traffic comes in bursts, and a target is for a percentile. Each deployment of the plan is
played with the requests of its fullest hour; where it misses a target or falls behind, the points that load it as high
are taken out, and the plan is made again, until it holds or ``MOST_ROUNDS`` have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from joulemill.api.simulation import SimulatedDeployment, simulate
from joulemill.errors import InputError
from joulemill.fleet.study import PlanStudy, study
from joulemill.fleet.tables import DemandTable
from joulemill.planning.problem import WAITING
from joulemill.planning.readout import DeploymentUse
from joulemill.reports.plan_wording import prefixed

#: Times that the plan is made again.
MOST_ROUNDS = 8
#: Requests played of a deployment and class, and copies of it: enough for a 99th percentile.
PLAYED_REQUESTS, MOST_COPIES = 3000, 2
#: Share of the planned tokens below which a deployment has fallen behind: what is still in flight at the end is less.
LEAST_RATIO = 0.97
#: A point's load is lowered by its miss, within these: less would not converge, more would overshoot.
LEAST_CUT_RATIO, MOST_CUT_RATIO = 0.6, 0.95


@dataclass(frozen=True, kw_only=True)
class PlayedDeployment:
    """A deployment and class as planned and as played. Latencies are at the class's ``percentile``; None: no target.

    power_w, peak_power_w   of one replica's nodes: planned mean, played peak
    """

    pool: str
    deployment: str
    demand: str
    copies_count: int
    requests_count: int
    planned_tok_s: float
    played_tok_s: float
    percentile: float
    ttft_s: float
    ttft_limit_s: float | None
    tpot_s: float
    tpot_limit_s: float | None
    power_w: float
    peak_power_w: float | None

    @property
    def misses(self) -> tuple[float, ...]:
        """By which factors targets and tokens are missed, below 1 each; empty where it holds."""
        shares = [self.played_tok_s / self.planned_tok_s / LEAST_RATIO]
        for limit_s, value_s in ((self.ttft_limit_s, self.ttft_s), (self.tpot_limit_s, self.tpot_s)):
            shares += [] if limit_s is None else [limit_s / value_s]
        return tuple(s for s in shares if s < 1.0)

    @property
    def holds(self) -> bool:
        """Whether it serves what is planned, in time."""
        return not self.misses


@dataclass(frozen=True, kw_only=True)
class PlayedPlan:
    """A plan as played: the last plan's deployments, and the objective after each round of correction."""

    deployments: tuple[PlayedDeployment, ...]
    values: tuple[float | None, ...]

    @property
    def holds(self) -> bool:
        """Whether every deployment of the plan holds."""
        return bool(self.deployments) and all(d.holds for d in self.deployments)


def played(plan: PlanStudy, tell: Callable[[str, float], None] | None = None) -> tuple[PlanStudy, PlayedPlan]:
    """The plan corrected until it holds in simulation, and what was played. ``plan`` must have a plan."""
    if plan.use is None:
        raise InputError("there is no plan to be simulated: something is short")
    values = [plan.value]
    deployments = _round(plan, tell, 0)
    for turn in range(1, MOST_ROUNDS):
        if all(d.holds for _, _, d in deployments):
            break
        again = _corrected(plan, deployments)
        if again.use is None:
            break
        plan = again
        values.append(plan.value)
        deployments = _round(plan, tell, turn)
    return plan, PlayedPlan(deployments=tuple(d for _, _, d in deployments), values=tuple(values))


_Played = tuple[DeploymentUse, int, PlayedDeployment]


def _round(plan: PlanStudy, tell: Callable[[str, float], None] | None, turn: int) -> Sequence[_Played]:
    uses = plan.use.deployments if plan.use is not None else ()
    demand = plan.problem.points.demand
    work = [(u, int(d)) for u in uses for d in np.unique(demand[u.points]) if d != WAITING]
    results = []
    for done, (use, d) in enumerate(work, 1):
        result = _play(plan, use, d)
        results += [] if result is None else [(use, d, result)]
        if tell is not None:
            tell(f"simulating {turn + 1}", done / len(work))
    return results


def _play(plan: PlanStudy, use: DeploymentUse, d: int) -> PlayedDeployment | None:
    """One deployment with the requests of a class in its fullest hour; None where it serves none of it then."""
    points, option = plan.problem.points, plan.options[use.group]
    mine = points.demand[use.points] == d
    rows, count = use.points[mine], use.point_count[mine]
    if count.sum() <= 0.0:
        return None
    each_tok_s = float((points.rate_tok_s[rows] * count).sum() / count.sum())
    c, demand = plan.classes[d], plan.file.tables.demand[d]
    copies = int(min(max(np.ceil(count.sum() - 1e-6), 1), MOST_COPIES))
    rate_req_s = copies * each_tok_s / c.output_tok
    cached = max(c.cached_ratio, option.cached_ratio)
    result = simulate(
        *plan.names_of(use.group),
        devices=option.devices,
        tp=option.devices,
        replicas=copies,
        precision=option.precision or None,
        kv_dtype=option.kv_dtype or None,
        engine=option.engine,
        power_cap_w=option.power_cap_w,
        rate_req_s=rate_req_s,
        input_tokens=c.input_tok,
        output_tokens=_lengths(demand, c.output_tok),
        duration_s=max(PLAYED_REQUESTS / rate_req_s, 60.0),
        shared_prefix_tok=round(cached * c.input_tok) or None,
        scenarios=0,
    )
    return _compared(
        result, demand, (option.pool, option.label), copies, (copies * each_tok_s, _power_w(plan, rows, count))
    )


def _lengths(demand: DemandTable, mean_tok: float) -> float | str:
    """Output lengths: lognormal where the class states their spread."""
    spread = demand.output_spread_ratio
    if not spread:
        return mean_tok
    sigma = float(np.sqrt(np.log1p(spread * spread)))
    median = mean_tok * float(np.exp(-0.5 * sigma * sigma))
    return f"lognormal:{median:.1f}:p90={median * np.exp(1.2816 * sigma):.1f}"


def _power_w(plan: PlanStudy, rows: np.ndarray, count: np.ndarray) -> float:
    return float((plan.problem.points.power_w[rows] * count).sum() / count.sum())


def _compared(
    result: SimulatedDeployment,
    demand: DemandTable,
    names: tuple[str, str],
    copies: int,
    planned: tuple[float, float],
) -> PlayedDeployment:
    requests, series = result.requests(), result.series()
    power = np.asarray(series["node_w"], float)
    return PlayedDeployment(
        pool=names[0],
        deployment=names[1],
        demand=demand.name,
        copies_count=copies,
        requests_count=len(requests["ttft_s"]),
        planned_tok_s=planned[0],
        played_tok_s=planned[0] * served_ratio(requests),
        percentile=demand.percentile,
        ttft_s=float(np.nanpercentile(requests["ttft_s"], demand.percentile)),
        ttft_limit_s=demand.slo_ttft,
        tpot_s=float(np.nanpercentile(requests["tpot_s"], demand.percentile)),
        tpot_limit_s=demand.slo_tpot,
        power_w=planned[1],
        peak_power_w=float(np.nanmax(power)) / copies if np.isfinite(power).any() else None,
    )


def served_ratio(requests: Mapping[str, Any]) -> float:
    """Tokens done when the last request arrives over those asked for a request's stay before: below 1 where it lags.

    The stay is that of the first quarter of requests, before any queue has grown. Both are of the same requests, so the
    chance of their number is not in it.
    """
    arrival, finish = (np.asarray(requests[name], float) for name in ("arrival_s", "finish_s"))
    tokens = np.asarray(requests["output_tok"], float)
    first = max(arrival.size // 4, 1)
    stay_s = float(np.nanmedian((finish - arrival)[:first]))
    end_s = float(arrival.max())
    asked = float(tokens[arrival <= end_s - stay_s].sum())
    done = float(tokens[finish <= end_s].sum())
    return min(done / asked, 1.0) if asked else 1.0


def _corrected(plan: PlanStudy, deployments: Sequence[_Played]) -> PlanStudy:
    """The plan made again without the points that are as slow as where one missed.

    They are taken from all deployments of the class and model: percentile over mean is much the same in all of
    them, and a plan that only changed to the next deployment would miss there as well.
    """
    points, here = plan.columns.points, plan.problem.points
    model = np.array([o.model for o in plan.options])
    keep = np.ones(points.count, dtype=bool)
    for use, d, result in deployments:
        if result.holds:
            continue
        cut = min(max(min(result.misses), LEAST_CUT_RATIO), MOST_CUT_RATIO)
        slowest_s = float(here.tpot_s[use.points[here.demand[use.points] == d]].max())
        alike = (points.demand == d) & (model[points.group] == model[use.group])
        keep &= ~(alike & (points.tpot_s > cut * slowest_s))
    columns = replace(plan.columns, points=points.taken(keep))
    return study(plan.file, extras=False, columns=columns, solver=plan.solver)


def played_document(plan: PlayedPlan) -> dict[str, Any]:
    """What was played, JSON types only."""
    return {
        "holds": plan.holds,
        "objective_by_round": list(plan.values),
        "deployments": [asdict(d) | {"holds": d.holds} for d in plan.deployments],
    }


def played_lines(plan: PlayedPlan) -> list[str]:
    """What was played, for people."""
    rounds = "" if len(plan.values) == 1 else f", corrected {len(plan.values) - 1} times"
    lines = [f"played in simulation{rounds}: {'it holds' if plan.holds else 'IT DOES NOT HOLD'}"]
    for d in plan.deployments:
        text = f"  {d.pool} {d.deployment}, {d.demand}: {prefixed(d.planned_tok_s, 'tok/s')} planned, "
        text += f"{prefixed(d.played_tok_s, 'tok/s')} played on {d.copies_count}"
        for name, limit_s, value_s in (("TTFT", d.ttft_limit_s, d.ttft_s), ("TPOT", d.tpot_limit_s, d.tpot_s)):
            of = "" if limit_s is None else f" of {prefixed(limit_s, 's')}"
            text += f"; {name} p{d.percentile:g} {prefixed(value_s, 's')}{of}"
        if d.peak_power_w is not None:
            text += f"; a replica {prefixed(d.power_w, 'W')} planned, peak {prefixed(d.peak_power_w, 'W')}"
        lines.append(text if d.holds else f"{text}: MISSED")
    return lines
