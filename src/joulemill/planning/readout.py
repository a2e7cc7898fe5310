"""A plan in words of the trade: which deployments run how often, what sites draw, what classes get. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.planning.building import FleetProgram
from joulemill.planning.problem import WAITING, Index, OperatingPoints
from joulemill.planning.program import KILO, SolverResult

#: Replicas below this share of their pool's, or below this number, are the solver's dust.
DUST_RATIO, DUST_COUNT = 1e-4, 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class DeploymentUse:
    """How a deployment of a pool is used.

    replica_count   replicas in the hour that has most;  count_by_hour  in each
    concurrency       requests in flight in one replica, mean over its replicas and hours
    rate_tok_s, power_w   of all its replicas, mean over the span
    rate_by_class_tok_s   [classes] what it makes for each
    points, count_by_point   its points that are used, and the replicas at each [points, hours]
    """

    group: int
    pool: int
    replica_count: float
    count_by_hour: Array
    concurrency: float
    rate_tok_s: float
    power_w: float
    rate_by_class_tok_s: Array
    points: Index
    count_by_point: Array

    @property
    def point_count(self) -> Array:
        """[points] replicas at each in the deployment's fullest hour."""
        return np.asarray(self.count_by_point[:, int(self.count_by_hour.argmax())])


@dataclass(frozen=True, eq=False, kw_only=True)
class SiteUse:
    """What a site draws [hours], and the IT power that it may draw (None: not stated)."""

    name: str
    it_w: Array
    facility_w: Array
    limit_w: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassUse:
    """What a class asks for and is served [hours]; infinite: it takes all."""

    name: str
    asked_tok_s: Array
    served_tok_s: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class PoolUse:
    """Devices of a pool: bought, busy and unused [hours], by state."""

    name: str
    owned_count: float
    bought_count: float
    busy_count: Array
    idle_count: Sequence[tuple[str, Array]]


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanUse:
    """The plan as it would run."""

    deployments: Sequence[DeploymentUse]
    sites: Sequence[SiteUse]
    classes: Sequence[ClassUse]
    pools: Sequence[PoolUse]
    replica_count: Array
    rate_tok_s: float


def plan_use(fleet: FleetProgram, plan: SolverResult) -> PlanUse:
    """The plan that the solver's values are."""
    problem, at, values = fleet.problem, fleet.at, plan.values
    share = problem.hour_s / problem.span_s
    running = values[at.points]
    in_pool = np.zeros((len(problem.pools), problem.hour_count))
    np.add.at(in_pool, problem.points.pool, running)
    running = np.where(running > np.maximum(DUST_RATIO * in_pool[problem.points.pool], DUST_COUNT), running, 0.0)
    served = values[at.served] * KILO
    running, first = _at_first(problem.points, running)
    groups = np.zeros((problem.points.group_count, problem.hour_count))
    replicas = values[at.replicas] if at.replicas.size else running
    np.add.at(groups, first if at.replicas.size else problem.points.group, replicas)
    return PlanUse(
        deployments=_deployments(fleet, running, share),
        sites=_sites(fleet, values),
        classes=[
            ClassUse(name=d.name, asked_tok_s=d.rate_tok_s, served_tok_s=served[i])
            for i, d in enumerate(problem.demands)
        ],
        pools=_pools(fleet, values),
        replica_count=groups,
        rate_tok_s=float((served * share).sum()),
    )


def _at_first(points: OperatingPoints, running: Array) -> tuple[Array, Index]:
    """Replicas at the first deployment whose points are all those in use, and for each deployment which that is.

    A power cap that binds at none of them is so advised to nobody.
    """
    used = running.sum(axis=1) > 0.0
    columns = (points.pool, points.demand, points.device_count, points.concurrency, points.rate_tok_s, points.power_w)
    keys = list(zip(*(c.tolist() for c in columns), strict=True))
    rows_of: dict[tuple[float, ...], dict[int, int]] = {}
    for row, group in enumerate(points.group.tolist()):
        rows_of.setdefault(keys[row], {})[group] = row
    moved, first = np.zeros_like(running), np.arange(points.group_count)
    for group in np.unique(points.group[used]).tolist():
        rows = np.flatnonzero((points.group == group) & used).tolist()
        first[group] = min(set.intersection(*(set(rows_of[keys[r]]) for r in rows)))
        for row in rows:
            moved[rows_of[keys[row]][int(first[group])]] += running[row]
    return moved, first


def _deployments(fleet: FleetProgram, running: Array, share: Array) -> Sequence[DeploymentUse]:
    points, classes = fleet.problem.points, len(fleet.problem.demands)
    uses = []
    for group in np.unique(points.group[running.sum(axis=1) > 0.0]).tolist():
        rows = np.flatnonzero((points.group == group) & (running.sum(axis=1) > 0.0))
        here = running[rows]
        by_hour = here.sum(axis=0)
        serving = rows[points.demand[rows] != WAITING]
        making = points.rate_tok_s[rows, None] * here
        by_class = np.zeros(classes)
        np.add.at(
            by_class, points.demand[serving], (points.rate_tok_s[serving, None] * running[serving] * share).sum(1)
        )
        uses.append(
            DeploymentUse(
                group=group,
                pool=int(points.pool[rows[0]]),
                replica_count=float(by_hour.max()),
                count_by_hour=by_hour,
                concurrency=float((points.concurrency[rows, None] * here).sum() / here.sum()),
                rate_tok_s=float((making * share).sum()),
                power_w=float((points.power_w[rows, None] * here * share).sum()),
                rate_by_class_tok_s=by_class,
                points=rows,
                count_by_point=here,
            )
        )
    return uses


def _sites(fleet: FleetProgram, values: Array) -> Sequence[SiteUse]:
    uses = []
    for s, site in enumerate(fleet.problem.sites):
        it_w = values[fleet.at.it[s]] * KILO
        known = [x for x in (site.it_limit_w,) if x is not None]
        if site.feed_limit_w is not None:
            known.append(
                min(float(((site.feed_limit_w - base_w) / slope).min()) for slope, base_w in site.hourly_lines)
            )
        limit_w = min(known) if known else None
        uses.append(SiteUse(name=site.name, it_w=it_w, facility_w=values[fleet.at.feed[s]] * KILO, limit_w=limit_w))
    return uses


def _pools(fleet: FleetProgram, values: Array) -> Sequence[PoolUse]:
    at = fleet.at
    return [
        PoolUse(
            name=pool.name,
            owned_count=pool.owned_count,
            bought_count=float(values[at.bought[p]]),
            busy_count=values[at.busy[p]],
            idle_count=[(state, values[at.idle[p][i]]) for i, (state, _) in enumerate(pool.idle_states)],
        )
        for p, pool in enumerate(fleet.problem.pools)
    ]
