"""The order in which levers pay: from the plan without any, each time the best next one. Pure.

A lever is a choice that the columns offer: a format, a power cap, a prefix cache. Each step lets the plan use one lever
more and makes it again as a whole, so that a lever's gain is what it brings on top of those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulemill.planning.building import fleet_program
from joulemill.planning.problem import FleetProblem
from joulemill.planning.program import Solver
from joulemill.planning.pruning import efficient
from joulemill.planning.solving import Goal, Optimum, optimize


@dataclass(frozen=True, kw_only=True)
class AbatementStep:
    """The plan once ``lever`` may be used as well. The first step is the plan without levers (``lever`` empty).

    value        of the goal; None where no plan can be yet
    energy_j_tok site joules per token;  saved_w  site power that a token rate as of this step takes less than before
    """

    lever: str
    value: float | None
    rate_tok_s: float | None
    energy_j_tok: float | None
    saved_w: float | None


def abatement(
    problem: FleetProblem,
    point_levers: NDArray[np.int64],
    levers: Sequence[str],
    goals: Sequence[Goal],
    solver: Solver,
    tell: Callable[[float], None] | None = None,
) -> Sequence[AbatementStep]:
    """Steps from no lever to all of ``levers``. ``point_levers`` [points]: bit i is set where a point uses lever i.

    Whole numbers are left out: a step is to show the lever and not the rounding.
    """
    allowed, left = 0, list(range(len(levers)))
    before = _plan(problem, point_levers, allowed, goals, solver)
    steps = [_step("", None, before, goals[0])]
    while left:
        tried = [(_plan(problem, point_levers, allowed | 1 << i, goals, solver), i) for i in left]
        best, chosen = min(tried, key=lambda t: _rank(t[0], goals[0]))
        steps.append(_step(levers[chosen], before, best, goals[0]))
        allowed, before = allowed | 1 << chosen, best
        left.remove(chosen)
        if tell is not None:
            tell(1.0 - len(left) / len(levers))
    return steps


def _plan(
    problem: FleetProblem, point_levers: NDArray[np.int64], allowed: int, goals: Sequence[Goal], solver: Solver
) -> Optimum:
    rows = np.flatnonzero((point_levers & ~np.int64(allowed)) == 0)
    part = replace(problem, points=problem.points.taken(rows), whole=False, start_count=None)
    part = replace(part, points=part.points.taken(efficient(part.points, part.pools)))
    return optimize(fleet_program(part), goals, solver)


def _rank(optimum: Optimum, goal: Goal) -> tuple[float, float]:
    """By the goal, then by joules per token: a lever may save energy that the goal does not ask for."""
    if not optimum.values:
        return np.inf, np.inf
    return round(goal.sign * goal.value_of(optimum.values), 6), _energy_j_tok(optimum) or np.inf


def _step(lever: str, before: Optimum | None, now: Optimum, goal: Goal) -> AbatementStep:
    each = _energy_j_tok(now)
    earlier = None if before is None else _energy_j_tok(before)
    rate = now.values.get("served")
    saved = None if earlier is None or each is None or rate is None else (earlier - each) * rate
    value = goal.value_of(now.values) if now.values else None
    return AbatementStep(lever=lever, value=value, rate_tok_s=rate, energy_j_tok=each, saved_w=saved)


def _energy_j_tok(optimum: Optimum) -> float | None:
    rate, power_w = optimum.values.get("served"), optimum.values.get("energy")
    return power_w / rate if rate and power_w is not None else None
