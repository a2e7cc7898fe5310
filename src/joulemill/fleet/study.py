"""A plan from its file: columns, program, optimum, prices, and what else is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from joulemill.fleet.classes import ServedClass, hour_count, served_classes
from joulemill.fleet.columns import DeploymentOption, PlanColumns, located, plan_columns
from joulemill.fleet.corrections import Corrections
from joulemill.fleet.highs import HighsSolver, is_installed
from joulemill.fleet.inventory import running_count
from joulemill.fleet.plan_file import PlanFile
from joulemill.fleet.problems import fleet_problem, goals_of, pruned
from joulemill.fleet.scipy_highs import ScipySolver
from joulemill.planning.abatement import AbatementStep, abatement
from joulemill.planning.building import FleetProgram, fleet_program
from joulemill.planning.frontier import FrontierPoint, power_frontier
from joulemill.planning.prices import LimitPrice, limit_prices
from joulemill.planning.problem import FleetProblem
from joulemill.planning.program import Solver
from joulemill.planning.readout import PlanUse, plan_use
from joulemill.planning.robustness import SCENARIOS, Scenario, ScenarioLoss, in_scenario, losses
from joulemill.planning.shortage import ShortLimit, shortage
from joulemill.planning.solving import Goal, Optimum, optimize

#: Share by which a latency target is loosened to see what that brings.
LOOSER_RATIO = 0.1
#: Share of the goal below which a gain is the solver's dust.
DUST_RATIO = 1e-7
STEADY_NOTE = "latency targets are met on average in a steady state; percentiles take --simulate"
Tell = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """Something of which there is too little for any plan. ``amount``: how much more of it alone would do; of a demand,
    how much less; None where it alone cannot."""

    name: str
    subject: str
    unit: str
    value: float
    amount: float | None
    less: bool = False


@dataclass(frozen=True, kw_only=True)
class TargetPrice:
    """What a looser latency target of a class brings: the goal's gain per second, over ``step_s``."""

    name: str
    subject: str
    value_s: float
    step_s: float
    gain: float
    price: float
    price_unit: str


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanStudy:
    """All that is known of a plan. ``status``: optimal, shortage, or stopped (time ran out before any plan).

    use, optimum   None where there is no plan
    predicted, columns   the points as predicted, and as ``corrections`` leave them
    losses         of this plan in worse cases;  robust_from  the goal's value without the robust plan's caution
    """

    file: PlanFile
    classes: Sequence[ServedClass]
    predicted: PlanColumns
    columns: PlanColumns
    corrections: Corrections | None = None
    problem: FleetProblem
    fleet: FleetProgram
    goals: Sequence[Goal]
    status: str
    optimum: Optimum | None = None
    use: PlanUse | None = None
    prices: Sequence[LimitPrice] = ()
    shortages: Sequence[Shortage] = ()
    notes: Sequence[str] = ()
    losses: Sequence[ScenarioLoss] = ()
    frontier: Sequence[FrontierPoint] = ()
    steps: Sequence[AbatementStep] = ()
    targets: Sequence[TargetPrice] = ()
    robust_from: float | None = None
    solver: Solver = field(repr=False)

    @property
    def value(self) -> float | None:
        """Of the first goal."""
        return None if self.optimum is None else self.goals[0].value_of(self.optimum.values)

    def names_of(self, group: int) -> tuple[str, str]:
        """Model and device of a deployment as ``predict`` takes them: names of the catalog, or paths of own files."""
        option = self.options[group]
        pool = next(p for p in self.file.tables.pool if p.name == option.pool)
        return located(option.model, self.file.folder), located(pool.device, self.file.folder)

    @property
    def options(self) -> Sequence[DeploymentOption]:
        """The deployments, by group."""
        return self.columns.options


def solver_here() -> Solver:
    """HiGHS by highspy, else by scipy."""
    return HighsSolver() if is_installed() else ScipySolver()


def study(
    file: PlanFile,
    *,
    extras: bool = True,
    tell: Tell | None = None,
    columns: PlanColumns | None = None,
    solver: Solver | None = None,
    corrections: Corrections | None = None,
) -> PlanStudy:
    """Make the plan; ``extras``: with its frontier, levers, worse cases and latency prices. InputError for nonsense.

    columns      predicted for an earlier plan that differs in limits and demands only
    corrections  what simulation said of points
    """
    say = tell or (lambda _name, _done: None)
    tables, folder = file.tables, file.folder
    classes = served_classes(tables, folder, hour_count(tables))
    predicted = columns or plan_columns(tables, classes, folder, lambda done: say("predicting", done))
    columns = corrections.columns(predicted, classes) if corrections else predicted
    say("solving", 0.0)
    goals, used = goals_of(tables), solver or solver_here()
    problem = pruned(_cautious(file, _nominal(file, classes, columns, corrections)))
    fleet = fleet_program(problem)
    plan = PlanStudy(
        file=file,
        classes=classes,
        predicted=predicted,
        columns=columns,
        corrections=corrections,
        problem=problem,
        fleet=fleet,
        goals=goals,
        status="shortage",
        notes=[*(n for c in classes for n in c.notes), *_notes(file, columns, corrections)],
        solver=used,
    )
    unserved = _unserved(plan)
    if unserved and (problem.serve_all or len(unserved) == len({c.name for c in classes})):
        return replace(plan, shortages=unserved)
    optimum = optimize(fleet, goals, used)
    if optimum.status != "optimal":
        short = [_short(m) for m in shortage(fleet, used)] if optimum.status == "infeasible" else []
        return replace(plan, status="shortage" if short else optimum.status, shortages=[*unserved, *short])
    prices = limit_prices(fleet, optimum, goals[0], used)
    plan = replace(
        plan,
        status="optimal",
        optimum=optimum,
        use=plan_use(fleet, optimum.plan),
        prices=prices,
        shortages=unserved,
        notes=[*plan.notes, *_notes_of(plan, optimum)],
    )
    say("solving", 1.0)
    return with_extras(plan, tell) if extras else plan


def _nominal(
    file: PlanFile, classes: Sequence[ServedClass], columns: PlanColumns, corrections: Corrections | None
) -> FleetProblem:
    """The problem with all points, without caution."""
    running = None if file.inventory is None else running_count(file.inventory, columns.options, file.tables)[0]
    problem = fleet_problem(file.tables, classes, columns, file.folder, running)
    return replace(problem, sites=corrections.with_room(problem.sites)) if corrections else problem


def _cautious(file: PlanFile, nominal: FleetProblem) -> FleetProblem:
    """The problem in the case that a robust plan is made for."""
    caution = _caution(file)
    return nominal if caution is None else in_scenario(nominal, caution)


def _caution(file: PlanFile) -> Scenario | None:
    robust = file.tables.objective.robust
    if robust is None:
        return None
    worst = ", prediction at its worst" if robust.at_worst else ""
    return Scenario(
        name=f"{robust.demand_ratio:g} × demand{worst}", demand_ratio=robust.demand_ratio, at_worst=robust.at_worst
    )


def _unserved(plan: PlanStudy) -> Sequence[Shortage]:
    """Classes that nothing can serve: by how much their targets are missed, or no device holds their models."""
    short = []
    for name, targets in plan.columns.missed.items():
        missed = [(t, limit, best) for t, (limit, best) in targets.items() if best > limit]
        short += [
            Shortage(name=t, subject=name, unit="s", value=limit, amount=best - limit) for t, limit, best in missed
        ]
        if not missed and targets:  # each target is met by some point, no point meets both
            t, (limit, _) = next(iter(targets.items()))
            short.append(Shortage(name=t, subject=name, unit="s", value=limit, amount=None))
    short += [
        Shortage(name="deployment", subject=name, unit="devices", value=0.0, amount=None)
        for name in plan.columns.refused
    ]
    return short


def _short(m: ShortLimit) -> Shortage:
    return Shortage(name=m.name, subject=m.subject, unit=m.unit, value=m.value, amount=m.amount, less=m.sense < 0)


def _notes(file: PlanFile, columns: PlanColumns, corrections: Corrections | None) -> list[str]:
    notes = [*(f"set: {change}" for change in file.changed), *columns.notes]
    notes += [f"demand {name!r}: {why}" for name, why in columns.refused.items()]
    if file.inventory is not None:
        notes += running_count(file.inventory, columns.options, file.tables)[1]
    horizon = file.tables.objective.horizon
    for p in file.tables.pool:
        if horizon is not None and p.purchasable_count and (p.lead_time or 0.0) > horizon:
            notes.append(f"pool {p.name!r}: its lead time is beyond the horizon, so nothing is bought there")
    if corrections is not None:
        notes.append("rates, powers and latencies are as simulation corrected the prediction; targets hold there")
    elif any(d.slo_ttft or d.slo_tpot for d in file.tables.demand):
        notes.append(STEADY_NOTE)
    peaks = {} if corrections is None else corrections.peak_ratio
    notes += [
        f"{site}: {100 * (1 - 1 / ratio):.2g} % of the power limits are kept for peaks"
        for site, ratio in peaks.items()
        if ratio > 1.0
    ]
    notes += [
        f"site {s.name!r}: pue_curve is over shares of it_power_limit; the limit's price holds the curve as it is in "
        "watts, while another it_power_limit stretches it"
        for s in file.tables.site
        if s.pue_curve is not None
    ]
    if any("off" in p.unused for p in file.tables.pool):
        notes.append(
            "a device that is off draws nothing here; standby supplies and management controllers are not counted"
        )
    return notes


def _notes_of(plan: PlanStudy, optimum: Optimum) -> Sequence[str]:
    notes = []
    if optimum.held_whole:
        gap = optimum.plan.gap_ratio
        notes.append(f"whole numbers: within {100 * gap:.3g} % of the best; prices hold for this number of replicas")
    caution = _caution(plan.file)
    if caution is not None:
        notes.append(f"planned for {caution.name}: rates and powers are of that case")
    if len({d.weight_ratio for d in plan.problem.demands}) > 1:
        notes.append("the objective and its prices count each class's tokens by its weight_ratio")
    if plan.problem.hour_count == 1:
        notes.append("one steady hour: state hourly values for a day")
    return notes


def with_extras(plan: PlanStudy, tell: Tell | None = None) -> PlanStudy:
    """The plan with its frontier, levers, worse cases and latency prices."""
    use, say = plan.use, tell or (lambda _name, _done: None)
    if use is None:
        return plan
    solver, goal = plan.solver, plan.goals[0]
    nominal = _nominal(plan.file, plan.classes, plan.columns, plan.corrections)
    frontier = power_frontier(plan.problem, solver, tell=lambda done: say("frontier", done))
    levers = plan.columns.levers()
    masks = _masks(plan.columns, levers)
    steps = (
        abatement(_cautious(plan.file, nominal), masks, levers, plan.goals, solver, lambda done: say("levers", done))
        if levers
        else ()
    )
    used = np.isin(nominal.points.group, [d.group for d in use.deployments])
    limited = any(np.isfinite(d.rate_tok_s).all() for d in nominal.demands)
    held = replace(nominal, points=nominal.points.taken(used))
    lost = losses(held, use, solver, SCENARIOS if limited else [s for s in SCENARIOS if s.demand_ratio == 1.0])
    say("worse cases", 1.0)
    before = None
    if plan.file.tables.objective.robust is not None:
        plain = optimize(fleet_program(pruned(nominal)), plan.goals, solver)
        before = goal.value_of(plain.values) if plain.values else None
    targets = _target_prices(plan, say)
    return replace(plan, frontier=frontier, steps=steps, losses=lost, targets=targets, robust_from=before)


def _masks(columns: PlanColumns, levers: Sequence[str]) -> np.ndarray:
    """[points] the levers that each uses, as bits."""
    bit = {name: 1 << i for i, name in enumerate(levers)}
    group = np.array([sum(bit[name] for name in o.levers) for o in columns.options], dtype=np.int64)
    return group[columns.points.group]


def _target_prices(plan: PlanStudy, say: Tell) -> Sequence[TargetPrice]:
    """What a tenth more of each latency target brings: the plan made again with the points that then meet it."""
    tables, goal = plan.file.tables, plan.goals[0]
    targets = [
        (d, key)
        for d in range(len(tables.demand))
        for key in ("slo_ttft", "slo_tpot")
        if getattr(tables.demand[d], key)
    ]
    prices = []
    for done, (d, key) in enumerate(targets, 1):
        demand = tables.demand[d]
        limit_s = getattr(demand, key)
        looser = demand.model_copy(update={key: limit_s * (1.0 + LOOSER_RATIO)})
        changed = tables.model_copy(update={"demand": (*tables.demand[:d], looser, *tables.demand[d + 1 :])})
        file = replace(plan.file, tables=changed)
        again = study(file, extras=False, solver=plan.solver, corrections=plan.corrections)
        if again.value is not None and plan.value is not None:
            gain, step_s = again.value - plan.value, limit_s * LOOSER_RATIO
            gain = gain if abs(gain) > DUST_RATIO * abs(plan.value) else 0.0
            prices.append(
                TargetPrice(
                    name=key,
                    subject=demand.name,
                    value_s=limit_s,
                    step_s=step_s,
                    gain=gain,
                    price=gain / step_s,
                    price_unit=f"{goal.unit}/s",
                )
            )
        say("latency targets", done / len(targets))
    return prices


def changed_study(plan: PlanStudy, file: PlanFile) -> PlanStudy:
    """The plan of a file that differs from ``plan``'s; columns are kept where only limits and demands' rates differ."""
    return study(
        file,
        extras=False,
        columns=plan.predicted if _same_columns(plan.file, file) else None,
        solver=plan.solver,
        corrections=plan.corrections,
    )


#: Keys that columns depend on, by table.
_OF_COLUMNS = {
    "pool": ("site", "device", "node"),
    "demand": (
        *("model", "models", "quality_target", "trace", "input_tokens", "output_tokens", "output_spread_ratio"),
        *("cached_ratio", "slo_ttft", "slo_tpot", "sites"),
    ),
}


def _same_columns(before: PlanFile, now: PlanFile) -> bool:
    if before.tables.model != now.tables.model or Path(before.folder) != Path(now.folder):
        return False
    if [s.name for s in before.tables.site] != [s.name for s in now.tables.site]:
        return False
    return all(
        [[getattr(e, k) for k in keys] for e in getattr(before.tables, kind)]
        == [[getattr(e, k) for k in keys] for e in getattr(now.tables, kind)]
        for kind, keys in _OF_COLUMNS.items()
    )
