"""A plan's tables and columns → the values that a program is built of: SI units, indices, hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from joulemill.arrays import Array
from joulemill.catalog.devices import find_device, load_device
from joulemill.catalog.idle_states import idle_ladder
from joulemill.catalog.nodes import find_node, node_of
from joulemill.errors import InputError
from joulemill.fleet.classes import HOUR_S, ServedClass, hour_count
from joulemill.fleet.columns import DeploymentOption, PlanColumns
from joulemill.fleet.pue import facility_lines
from joulemill.fleet.quantities import YEAR_S
from joulemill.fleet.tables import GOAL_VALUES, DemandTable, PlanTables, PoolTable, SiteTable
from joulemill.physics.hardware.node import Node, share_power
from joulemill.planning.problem import DemandClass, DevicePool, FacilityLimits, FleetProblem, Index
from joulemill.planning.pruning import efficient
from joulemill.planning.solving import Goal
from joulemill.units import JOULE_PER_KWH

DAY_S = 86400.0
TONNE_G = 1e6
#: Goals that need the PUE, because they count joules at the feed.
AT_FEED = ("energy", "carbon", "cost")


def goals_of(tables: PlanTables) -> Sequence[Goal]:
    """The goals in their order."""
    objective = tables.objective
    if objective.weights:
        return [Goal(dict(objective.weights))]
    return [Goal({GOAL_VALUES[name]: 1.0}) for name in goal_names(tables)]


def goal_names(tables: PlanTables) -> Sequence[str]:
    """The stated goals; else most tokens, then least energy where every PUE is stated."""
    if tables.objective.goal:
        return tables.objective.goal
    known = all(s.states_pue for s in tables.site)
    return ("most_tokens", "least_energy") if known else ("most_tokens",)


def fleet_problem(
    tables: PlanTables,
    classes: Sequence[ServedClass],
    columns: PlanColumns,
    folder: Path,
    running: Array | None = None,
) -> FleetProblem:
    """The problem, with all points; ``pruned`` leaves the efficient ones.

    running   [deployments] replicas that run today; None: starts cost nothing
    """
    hours = hour_count(tables)
    objective = tables.objective
    hour_s = np.full(hours, HOUR_S)
    days = hours * HOUR_S / DAY_S
    goal = goals_of(tables)[0]
    _check_pue(tables, goals_of(tables))
    _check_unlimited(classes, goal)
    carbon = objective.carbon_limit_tco2e_day
    if carbon is not None and any(_series(s, "carbon", hours) is None for s in tables.site):
        raise InputError("[objective] carbon_limit_tco2e_day needs carbon_gco2e_kwh of every site")
    points = columns.points
    if running is not None:
        start_s, start_j = _starts(tables, columns)
        points = replace(points, start_s=start_s, start_j=start_j)
    return FleetProblem(
        sites=[_site(s, hours, days) for s in tables.site],
        pools=[_pool(p, tables, folder) for p in tables.pool],
        demands=[_demand(d, c, tables) for d, c in zip(tables.demand, classes, strict=True)],
        points=points,
        hour_s=hour_s,
        whole=objective.whole,
        serve_all=goal.name != "tokens",
        budget_currency=objective.budget_currency,
        carbon_limit_gco2e=None if carbon is None else carbon * TONNE_G * days,
        start_count=running,
        server_of=_servers(columns.options),
    )


def pruned(problem: FleetProblem) -> FleetProblem:
    """The problem without the points that no plan needs."""
    counted = problem.whole or problem.start_count is not None
    return replace(problem, points=problem.points.taken(efficient(problem.points, problem.pools, whole=counted)))


def _site(s: SiteTable, hours: int, days: float) -> FacilityLimits:
    shape = np.ones(hours) if s.power_by_hour_ratio is None else np.array(s.power_by_hour_ratio)
    limit = s.carbon_limit_tco2e_day
    return FacilityLimits(
        name=s.name,
        it_limit_w=s.it_power_limit,
        feed_limit_w=s.facility_power_limit,
        cooling_limit_w=s.cooling_limit,
        carbon_limit_gco2e=None if limit is None else limit * TONNE_G * days,
        racks_count=s.racks_count,
        facility_lines=facility_lines(s),
        facility_ratio=None if s.pue_by_hour is None else np.array(s.pue_by_hour),
        cooling_ratio=None if s.cooling_by_hour_ratio is None else np.array(s.cooling_by_hour_ratio),
        shape_ratio=shape,
        carbon_gco2e_j=_series(s, "carbon", hours),
        price_currency_j=_series(s, "price", hours),
        water_l_j=None if s.water_l_kwh is None else s.water_l_kwh / JOULE_PER_KWH,
    )


def _series(s: SiteTable, what: str, hours: int) -> Array | None:
    """Carbon or price of a joule by hour; the hourly values before the constant."""
    constant, by_hour = (
        (s.carbon_gco2e_kwh, s.carbon_by_hour_gco2e_kwh)
        if what == "carbon"
        else (s.price_currency_kwh, s.price_by_hour_currency_kwh)
    )
    if by_hour is not None:
        return np.array(by_hour) / JOULE_PER_KWH
    return None if constant is None else np.full(hours, constant / JOULE_PER_KWH)


def _check_pue(tables: PlanTables, goals: Sequence[Goal]) -> None:
    at_feed = next((name for g in goals for name in g.weights if name in AT_FEED), None)
    for s in tables.site:
        need = at_feed and f"the goal {at_feed!r}"
        need = need or ("facility_power_limit" if s.facility_power_limit is not None else None)
        need = need or (
            "a carbon limit" if s.carbon_limit_tco2e_day or tables.objective.carbon_limit_tco2e_day else None
        )
        if need and not s.states_pue:
            raise InputError(f"site {s.name!r}: {need} needs the PUE: state pue, pue_curve or pue_by_hour")


def _check_unlimited(classes: Sequence[ServedClass], goal: Goal) -> None:
    for c in classes:
        if goal.name != "tokens" and not np.isfinite(c.rate_tok_s).all():
            raise InputError(
                f"demand {c.name!r}: an unlimited rate cannot be served at the least {goal.name}; state a rate, or "
                'goal = "most_tokens"'
            )


def _pool(p: PoolTable, tables: PlanTables, folder: Path) -> DevicePool:
    horizon, lead, price = tables.objective.horizon, p.lead_time or 0.0, p.price_currency_device
    late = horizon is not None and lead > horizon
    return DevicePool(
        name=p.name,
        site=next(i for i, s in enumerate(tables.site) if s.name == p.site),
        owned_count=p.owned_count,
        purchasable_count=0 if late else p.purchasable_count,
        price_currency=p.price_currency_device,
        capital_currency_s=None if price is None else price / (p.life_years * YEAR_S),
        per_rack_count=p.devices_per_rack,
        idle_states=_idle_states(p, folder),
    )


def _idle_states(p: PoolTable, folder: Path) -> Sequence[tuple[str, float]]:
    """State → watts of one device at the plug: its board, and its share of host, fans and conversion."""
    node = _node(p, folder)
    board = _board_w(p, folder)
    states = []
    for name in p.unused:
        watts = 0.0 if name == "off" else board.get(name)
        if watts is None:
            known = ", ".join(dict.fromkeys(["off", *(n for n, w in board.items() if w is not None)]))
            raise InputError(f"pool {p.name!r}: no watts are known of state {name!r} of {p.device}; known are {known}")
        count = node.device_count
        at_plug = 0.0 if name == "off" else float(share_power(np.array([watts * count]), count, node).node_w[0]) / count
        states.append((name, at_plug))
    return states


def _node(p: PoolTable, folder: Path) -> Node:
    try:
        return find_node(p.node) if p.node else node_of(p.device)
    except InputError as fault:
        raise InputError(f"pool {p.name!r}: {fault}") from None


def _board_w(p: PoolTable, folder: Path) -> dict[str, float | None]:
    if p.device.endswith(".toml"):
        device = load_device(folder / p.device)
        return {"bare": device.bare_w, "loaded": device.loaded_idle_w}
    ladder = {s.name: s.power_w.value for s in idle_ladder(p.device)}
    return ladder | {"bare": ladder.get("bare") or find_device(p.device).bare_w}


def _demand(d: DemandTable, c: ServedClass, tables: PlanTables) -> DemandClass:
    home = None if d.home is None else next(i for i, s in enumerate(tables.site) if s.name == d.home)
    return DemandClass(
        name=d.name,
        rate_tok_s=c.rate_tok_s,
        shift_ratio=d.shift_ratio,
        home=home,
        move_ratio=d.move_ratio,
        least_ratio=d.least_ratio,
        weight_ratio=d.weight_ratio,
    )


def _servers(options: Sequence[DeploymentOption]) -> Index:
    """[deployments] the same number for those that differ in their power cap alone: it is set while they serve."""
    keys = [(o.pool, o.model, o.devices, o.precision, o.kv_dtype, o.engine, o.cached_ratio) for o in options]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.intp)


def _starts(tables: PlanTables, columns: PlanColumns) -> tuple[Array, Array]:
    """Seconds and joules of a start of each deployment: as stated, or the load at the loaded replica's idle draw."""
    objective, points = tables.objective, columns.points
    seconds = np.full(len(columns.options), objective.start_time) if objective.start_time else points.start_s
    if objective.start_energy_kwh is not None:
        return seconds, np.full(seconds.size, objective.start_energy_kwh * JOULE_PER_KWH)
    loaded = points.demand < 0
    watts = np.zeros(seconds.size)
    watts[points.group[loaded]] = points.power_w[loaded]
    return seconds, watts * seconds
