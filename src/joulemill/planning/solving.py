"""Goals in their order, and whole numbers: from a fleet's program to an optimum and its prices. Pure.

Several goals are met one after the other: each is held at its best, within ``HELD_RATIO``, while the next is pursued.
Prices are of the first goal. A program with whole numbers has no prices of its own: its whole numbers are held, and the
prices are those of the program that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from joulemill.errors import InputError
from joulemill.planning.building import GOAL_UNITS, FleetProgram
from joulemill.planning.program import KILO, LinearProgram, Solver, SolverResult

#: Share by which an earlier goal may be missed for a later one: above a solver's tolerance, below what anyone notices;
#: with whole numbers, whose tolerance is wider.
HELD_RATIO, HELD_WHOLE_RATIO = 1e-9, 1e-6
MAXIMIZED = ("tokens", "served")


@dataclass(frozen=True)
class Goal:
    """What is sought: a weighted sum of goals' values. One name with weight 1 is the plain case."""

    weights: Mapping[str, float]

    @property
    def name(self) -> str:
        """What messages and documents call it."""
        return next(iter(self.weights)) if len(self.weights) == 1 else "weighted"

    @property
    def unit(self) -> str:
        """Unit of its value."""
        return GOAL_UNITS[self.name] if len(self.weights) == 1 else "weighted"

    def value_of(self, values: Mapping[str, float]) -> float:
        """The goal's value where those of the single goals are ``values``."""
        return float(sum(weight * values[name] for name, weight in self.weights.items()))

    @property
    def sign(self) -> float:
        """−1 where much of it is good."""
        return -1.0 if self.name in MAXIMIZED else 1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Optimum:
    """What was found.

    plan      the answer to the last goal, whole where it must be
    priced    the program that the prices are of, solved last, so that the solver can be asked for their ranges
    prices    its answer;  held_whole  whether its whole numbers were held
    values    value of each goal at the plan
    """

    status: str
    plan: SolverResult
    priced: LinearProgram
    prices: SolverResult
    held_whole: bool
    values: Mapping[str, float]


def optimize(fleet: FleetProgram, goals: Sequence[Goal], solver: Solver) -> Optimum:
    """The best plan for ``goals``, in order. InputError where a goal needs what a site does not state."""
    if not goals:
        raise InputError(f"no goal is stated; use {', '.join(GOAL_UNITS)}")
    first = program = replace(fleet.program, cost=cost_of(fleet, goals[0]))
    plan = _tightened(fleet, solver.solve(program))
    for before, goal in pairwise(goals):
        if not plan.optimal:
            break
        program = replace(_held(fleet, program, before, plan), cost=cost_of(fleet, goal))
        further = _tightened(fleet, solver.solve(program))
        if not further.optimal:  # the room that the goals before leave is below the solver's tolerance
            break
        plan = further
    if not plan.optimal:
        return Optimum(status=plan.status, plan=plan, priced=program, prices=plan, held_whole=False, values={})
    whole = bool(program.whole.any())
    if whole:
        first = fixed(first, plan)
    prices = _tightened(fleet, solver.solve(first)) if whole or len(goals) > 1 else plan
    values = {name: _activity(fleet, name, plan) for name in fleet.goal_rows}
    return Optimum(status="optimal", plan=plan, priced=first, prices=prices, held_whole=whole, values=values)


def _tightened(fleet: FleetProgram, plan: SolverResult) -> SolverResult:
    """The plan with feed power and devices in use as they are: what no goal pays for, a solver may leave higher."""
    if not plan.values.size:
        return plan
    at, values = fleet.at, plan.values.copy()
    for s, site in enumerate(fleet.problem.sites):
        it_kw = values[at.it[s]]
        values[at.feed[s]] = np.max([slope * it_kw + base_w / KILO for slope, base_w in site.hourly_lines], axis=0)
    values[at.used] = values[at.busy].max(axis=1)
    return replace(plan, values=values)


def cost_of(fleet: FleetProgram, goal: Goal) -> np.ndarray:
    """The cost vector of a goal, to be minimized. InputError where a site does not state what it needs."""
    cost = np.zeros(fleet.program.low.size)
    for name, weight in goal.weights.items():
        row = fleet.goal_rows.get(name)
        if row is None:
            what = {"carbon": "carbon_gco2e_kwh", "cost": "price_currency_kwh"}.get(name, name)
            raise InputError(f"the goal {name!r} needs {what} of every site")
        sign = -1.0 if name in MAXIMIZED else 1.0
        cost += sign * weight * row_of(fleet.program, row)
    return cost


def row_of(program: LinearProgram, row: int) -> np.ndarray:
    """Coefficients of one row."""
    return np.asarray(program.matrix.getrow(row).toarray()).ravel()


def fixed(program: LinearProgram, plan: SolverResult) -> LinearProgram:
    """The program with its whole numbers held where the plan has them, and no longer whole."""
    at = np.flatnonzero(program.whole)
    held = np.round(plan.values[at])
    return replace(program.with_variables(at, held, held), whole=np.zeros_like(program.whole))


def _held(fleet: FleetProgram, program: LinearProgram, goal: Goal, plan: SolverResult) -> LinearProgram:
    """The program in which ``goal`` may not get worse."""
    if len(goal.weights) != 1:
        raise InputError("a weighted goal can only be the last")
    row = fleet.goal_rows[goal.name]
    value = _activity(fleet, goal.name, plan)
    room = (HELD_WHOLE_RATIO if program.whole.any() else HELD_RATIO) * max(abs(value), 1e-9)
    low, high = (value - room, np.inf) if goal.sign < 0 else (-np.inf, value + room)
    return program.with_rows([row], low, high)


def _activity(fleet: FleetProgram, name: str, plan: SolverResult) -> float:
    return float(row_of(fleet.program, fleet.goal_rows[name]) @ plan.values)
