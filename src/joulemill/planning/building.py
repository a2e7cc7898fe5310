"""The program of a fleet: who draws on what, hour by hour. Pure.

    variables   x[point, hour] replicas · idle[pool, state, hour] devices · it, feed[site, hour] kW
                served, later, sooner[class, hour] ktok/s · bought, used[pool] · replicas, started[group, hour]
    energy      it   = Σ watts · x + Σ idle watts · idle + start joules · started
                feed ≥ slope · it + base                      for each line of the site's PUE
    devices     Σ devices · x + Σ idle = owned + bought
    demand      served ≤ Σ rate · x ;   served + later − sooner = demand   (≤ where not all must be served)

Every stated limit is one row, whatever the number of hours that draw on it, so that it has one price. Beside it stands
a shortfall variable, held at zero until somebody asks what is short (``shortage``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.planning.problem import WAITING, DemandClass, FleetProblem, Index
from joulemill.planning.program import KILO, Assembly, LimitRow, LinearProgram


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """Where the variables are; shapes as in the header. ``replicas``, ``started``: empty where not counted."""

    points: Index
    idle: tuple[Index, ...]
    it: Index
    feed: Index
    served: Index
    later: Index
    sooner: Index
    bought: Index
    used: Index
    busy: Index
    replicas: Index
    started: Index


@dataclass(frozen=True, eq=False, kw_only=True)
class FleetProgram:
    """A problem's program, where its variables are, its limits, and the goals' rows and costs."""

    problem: FleetProblem
    program: LinearProgram
    at: Layout
    limits: tuple[LimitRow, ...]
    shortfalls: Index
    goal_rows: Mapping[str, int]


def fleet_program(problem: FleetProblem) -> FleetProgram:
    """The program of ``problem``, without a goal yet."""
    a = Assembly()
    at = _variables(a, problem)
    _site_rows(a, problem, at)
    owned_at = _pool_rows(a, problem, at)
    _demand_rows(a, problem, at)
    _replica_rows(a, problem, at)
    _sum_limits(a, problem, at, owned_at)
    shortfalls = a.variables((len(a.limits),), 0.0, 0.0)
    for variable, limit in zip(shortfalls, a.limits, strict=True):
        a.put(limit.row, variable, -float(limit.sense))
    goal_rows = {name: _goal_row(a, problem, at, name) for name in GOAL_UNITS}
    return FleetProgram(
        problem=problem,
        program=a.program(),
        at=at,
        limits=tuple(a.limits),
        shortfalls=shortfalls,
        goal_rows={name: row for name, row in goal_rows.items() if row is not None},
    )


def _variables(a: Assembly, problem: FleetProblem) -> Layout:
    hours, points = problem.hour_count, problem.points
    sites, pools, demands = len(problem.sites), len(problem.pools), len(problem.demands)
    counted = problem.whole or problem.start_count is not None or problem.most_replicas is not None
    groups = points.group_count if counted else 0
    most = np.inf if problem.most_replicas is None else problem.most_replicas
    bought = np.array([p.purchasable_count for p in problem.pools])
    least = np.zeros(pools) if problem.bought_count is None else problem.bought_count
    movable = np.array([np.inf if d.shift_ratio > 0.0 else 0.0 for d in problem.demands])[:, None]
    return Layout(
        points=a.variables((points.count, hours)),
        idle=tuple(a.variables((len(p.idle_states), hours)) for p in problem.pools),
        it=a.variables((sites, hours)),
        feed=a.variables((sites, hours)),
        served=a.variables((demands, hours)),
        later=a.variables((demands, hours), 0.0, movable),
        sooner=a.variables((demands, hours), 0.0, movable),
        bought=a.variables((pools,), least, bought if problem.bought_count is None else least, whole=problem.whole),
        used=a.variables((pools,)),
        busy=a.variables((pools, hours)),
        replicas=a.variables((groups, hours), 0.0, most, whole=problem.whole),
        started=a.variables((groups if problem.start_count is not None else 0, hours)),
    )


def _site_rows(a: Assembly, problem: FleetProblem, at: Layout) -> None:
    """IT power, the feed, and the limits on power and heat."""
    points, hours = problem.points, problem.hour_count
    site_of_pool = np.array([p.site for p in problem.pools], dtype=np.intp)
    balance = a.rows(at.it.shape, 0.0, 0.0)
    a.put(balance, at.it, -1.0)
    a.put(balance[site_of_pool[points.pool]], at.points, points.power_w[:, None] / KILO)
    for pool, idle in zip(problem.pools, at.idle, strict=True):
        watts = np.array([w for _, w in pool.idle_states])
        a.put(np.broadcast_to(balance[pool.site], idle.shape), idle, watts[:, None] / KILO)
    if at.started.size:
        group_pool = _pool_of_groups(problem)
        watts = points.start_j[:, None] / problem.hour_s / KILO
        a.put(balance[site_of_pool[group_pool]], at.started, watts)
    for s, site in enumerate(problem.sites):
        cooling = np.ones(hours) if site.cooling_ratio is None else site.cooling_ratio
        # where energy is paid for, the feed must not be higher than it is: there is one line (checked where it is read)
        paid = site.price_currency_j is not None and bool((site.price_currency_j < 0.0).any())
        for slope, base_w in site.hourly_lines:
            line = a.rows((hours,), base_w / KILO, base_w / KILO if paid else np.inf)
            a.put(line, at.feed[s], 1.0)
            a.put(line, at.it[s], -slope)
        for name, limit_w, drawn in (
            ("it_power", site.it_limit_w, at.it[s]),
            ("facility_power", site.feed_limit_w, at.feed[s]),
            ("cooling", site.cooling_limit_w, at.it[s]),
        ):
            if limit_w is None:
                continue
            shape = cooling if name == "cooling" else site.shape_ratio
            users = a.rows((hours,), -np.inf, 0.0)
            level = a.limit(
                limit_w, name=name, subject=site.name, unit="W", users=tuple(users.tolist()), unit_value=KILO
            )
            a.put(users, drawn, 1.0)
            a.put(users, level, -shape)


def _pool_rows(a: Assembly, problem: FleetProblem, at: Layout) -> Sequence[Index]:
    """Devices busy, idle, owned and bought; where the number owned of each pool stands."""
    points = problem.points
    busy = a.rows(at.busy.shape, 0.0, 0.0)
    a.put(busy, at.busy, -1.0)
    a.put(busy[points.pool], at.points, points.device_count[:, None])
    if at.started.size:
        devices, pool = _devices_of_groups(problem), _pool_of_groups(problem)
        a.put(busy[pool], at.started, devices[:, None] * _start_ratio(problem))
    most = a.rows(at.busy.shape, 0.0, np.inf)
    a.put(most, at.used[:, None], 1.0)
    a.put(most, at.busy, -1.0)
    owned = []
    for p, owner in enumerate(problem.pools):
        there = a.rows((problem.hour_count,), 0.0, 0.0)
        a.put(there, at.busy[p], 1.0)
        a.put(np.broadcast_to(there, at.idle[p].shape), at.idle[p], 1.0)
        a.put(there, at.bought[p], -1.0)
        level = a.limit(owner.owned_count, name="devices", subject=owner.name, unit="devices")
        a.put(there, level, -1.0)
        owned.append(level)
    return owned


def _demand_rows(a: Assembly, problem: FleetProblem, at: Layout) -> None:
    """What is made, served, shifted and asked for."""
    points, hours = problem.points, problem.hour_count
    serving = np.flatnonzero(points.demand != WAITING)
    making = a.rows(at.served.shape, 0.0, np.inf)
    a.put(making, at.served, -1.0)
    a.put(making[points.demand[serving]], at.points[serving], points.rate_tok_s[serving, None] / KILO)
    for d, demand in enumerate(problem.demands):
        if not np.isfinite(demand.rate_tok_s).all():
            continue
        peak = float(demand.rate_tok_s.max())
        profile = demand.rate_tok_s / peak if peak > 0.0 else np.zeros(hours)
        asked = a.rows((hours,), 0.0 if problem.serve_all else -np.inf, 0.0)
        level = a.limit(
            peak,
            name="demand",
            subject=demand.name,
            unit="tok/s",
            users=tuple(asked.tolist()),
            unit_value=KILO,
            sense=-1 if problem.serve_all else 1,
        )
        a.put(asked, at.served[d], 1.0)
        a.put(asked, at.later[d], 1.0)
        a.put(asked, at.sooner[d], -1.0)
        a.put(asked, level, -profile)
        if demand.least_ratio > 0.0 and not problem.serve_all:
            _floor_rows(a, demand, at.served[d], profile)
        if demand.shift_ratio > 0.0:
            day = a.rows((), 0.0, 0.0)
            a.put(day, at.later[d], problem.hour_s)
            a.put(day, at.sooner[d], -problem.hour_s)
            share = a.rows((hours,), -np.inf, 0.0)
            a.put(share, at.later[d], 1.0)
            a.put(share, level, -demand.shift_ratio * profile)
        _home_rows(a, problem, at, d, level)


def _floor_rows(a: Assembly, demand: DemandClass, served: Index, profile: np.ndarray) -> None:
    """What of a class must be served, where the goal is not to serve all."""
    floor = a.rows(served.shape, 0.0, np.inf)
    least = demand.least_ratio * float(demand.rate_tok_s.max())
    users = tuple(floor.tolist())
    level = a.limit(
        least, name="least_demand", subject=demand.name, unit="tok/s", users=users, unit_value=KILO, sense=-1
    )
    a.put(floor, served, 1.0)
    a.put(floor, level, -profile)


def _home_rows(a: Assembly, problem: FleetProblem, at: Layout, d: int, level: Index) -> None:
    """Tokens of a class that has a home: at most the movable share is making elsewhere."""
    demand, points = problem.demands[d], problem.points
    if demand.home is None or demand.move_ratio >= 1.0:
        return
    site_of_pool = np.array([p.site for p in problem.pools], dtype=np.intp)
    away = np.flatnonzero((points.demand == d) & (site_of_pool[points.pool] != demand.home))
    peak = max(float(demand.rate_tok_s.max()), 1e-300)
    elsewhere = a.rows((problem.hour_count,), -np.inf, 0.0)
    a.put(elsewhere, at.points[away], points.rate_tok_s[away, None] / KILO)
    a.put(elsewhere, level, -demand.move_ratio * demand.rate_tok_s / peak)


def _replica_rows(a: Assembly, problem: FleetProblem, at: Layout) -> None:
    """Replicas as the sum over their points, and those that start."""
    if not at.replicas.size:
        return
    whole = a.rows(at.replicas.shape, 0.0, 0.0)
    a.put(whole, at.replicas, -1.0)
    a.put(whole[problem.points.group], at.points, 1.0)
    if not at.started.size or problem.start_count is None:
        return
    a.put(whole, at.started, _start_ratio(problem))
    server = np.arange(problem.points.group_count) if problem.server_of is None else problem.server_of
    least = np.zeros((int(server.max(initial=-1)) + 1, problem.hour_count))
    np.add.at(least[:, 0], server, -problem.start_count)
    start = a.rows(least.shape, least, np.inf)[server]
    a.put(start, at.started, 1.0)
    a.put(start, at.replicas, -1.0)
    a.put(start[:, 1:], at.replicas[:, :-1], 1.0)


def _sum_limits(a: Assembly, problem: FleetProblem, at: Layout, owned_at: Sequence[Index]) -> None:
    """Carbon, money and racks: sums that stay below a stated value."""
    carbon = [None if s.carbon_gco2e_j is None else s.carbon_gco2e_j * problem.hour_s for s in problem.sites]
    for s, site in enumerate(problem.sites):
        grams = carbon[s]
        if site.carbon_limit_gco2e is not None and grams is not None:
            _sum(a, site.carbon_limit_gco2e, at.feed[s], grams, name="carbon", subject=site.name, unit="gCO2e")
        if site.racks_count is not None:
            pools = [p for p, x in enumerate(problem.pools) if x.site == s and x.per_rack_count]
            each = np.array([1.0 / (problem.pools[p].per_rack_count or 1.0) for p in pools])
            owned = [owned_at[p] for p in pools]
            _racks(a, site.racks_count, np.array([*at.bought[pools], *owned]), np.array([*each, *each]), site.name)
    known = [s for s, grams in enumerate(carbon) if grams is not None]
    if problem.carbon_limit_gco2e is not None:
        grams_all = np.array([carbon[s] for s in known])
        _sum(a, problem.carbon_limit_gco2e, at.feed[known], grams_all, name="carbon", subject="", unit="gCO2e")
    if problem.budget_currency is not None:
        prices = np.array([p.price_currency or 0.0 for p in problem.pools])
        _sum(a, problem.budget_currency, at.bought, prices / KILO, name="budget", subject="", unit="currency")


def _sum(a: Assembly, value: float, variables: Index, each: np.ndarray, **named: str) -> None:
    row = a.rows((), -np.inf, value / KILO)
    a.put(row, variables, each)
    a.limits.append(LimitRow(value=value, row=int(row), users=(int(row),), unit_value=KILO, **named))  # type: ignore[arg-type]


def _racks(a: Assembly, racks: float, devices: Index, each: np.ndarray, site: str) -> None:
    """Racks of the devices bought and owned: one device more that is owned takes its place too."""
    row = a.rows((), -np.inf, racks)
    a.put(row, devices, each)
    a.limits.append(LimitRow(name="racks", subject=site, unit="racks", value=racks, row=int(row), users=(int(row),)))


#: Goal → unit of its value; all are means over the plan's span. Tokens are to be many, by their classes' worth; what is
#: served is the same without worth.
GOAL_UNITS = {
    "tokens": "tok/s",
    "served": "tok/s",
    "energy": "W",
    "carbon": "gCO2e/s",
    "cost": "currency/s",
    "devices": "devices",
}


def _goal_row(a: Assembly, problem: FleetProblem, at: Layout, goal: str) -> int | None:
    """A free row whose activity is the goal's value; None where a site does not state what it needs."""
    share = problem.hour_s / problem.span_s
    row = a.rows((), -np.inf, np.inf)
    if goal in ("tokens", "served"):
        worth = np.array([d.weight_ratio if goal == "tokens" else 1.0 for d in problem.demands])
        a.put(row, at.served, KILO * worth[:, None] * share)
    elif goal == "energy":
        a.put(row, at.feed, KILO * share)
    elif goal == "devices":
        a.put(row, at.used, 1.0)
    else:
        series = [s.carbon_gco2e_j if goal == "carbon" else s.price_currency_j for s in problem.sites]
        if any(x is None for x in series):
            return None
        a.put(row, at.feed, KILO * np.array(series) * share)
        if goal == "cost":
            a.put(row, at.bought, np.array([p.capital_currency_s or 0.0 for p in problem.pools]))
    return int(row)


def _pool_of_groups(problem: FleetProblem) -> Index:
    pool = np.zeros(problem.points.group_count, dtype=np.intp)
    pool[problem.points.group] = problem.points.pool
    return pool


def _devices_of_groups(problem: FleetProblem) -> np.ndarray:
    devices = np.zeros(problem.points.group_count)
    devices[problem.points.group] = problem.points.device_count
    return devices


def _start_ratio(problem: FleetProblem) -> np.ndarray:
    """[groups, hours] share of its first hour that a replica needs to start."""
    return np.minimum(problem.points.start_s[:, None] / problem.hour_s, 1.0)
