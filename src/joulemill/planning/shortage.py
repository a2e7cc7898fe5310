"""What is short where no plan can be: the least that is missing, and the smallest set that cannot hold. Pure.

Each stated limit has a shortfall variable. Let loose at a cost relative to its limit, they say how much is missing in
all; one alone let loose says how much of that one would do. The conflicting set is what is left when every limit has
been dropped without which there is still no plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.planning.building import FleetProgram
from joulemill.planning.program import LimitRow, Solver

#: Share of a limit below which nothing of it is missing.
NOTHING_RATIO = 1e-7


@dataclass(frozen=True, kw_only=True)
class ShortLimit:
    """A limit of the conflicting set. ``amount``: how much more of it alone would do; None where it alone cannot.

    For a demand, ``amount`` is how much less of it.
    """

    name: str
    subject: str
    unit: str
    value: float
    amount: float | None
    sense: int


def shortage(fleet: FleetProgram, solver: Solver) -> tuple[ShortLimit, ...]:
    """The smallest set of limits that conflict, each with what of it alone would do. Empty where a plan can be."""
    weights = np.array([1.0 / max(abs(x.value) / x.unit_value, 1e-9) for x in fleet.limits])
    loose = _missing(fleet, solver, list(range(len(fleet.limits))), weights)
    if loose is None:
        return ()
    missed, prices = loose
    if not (missed * weights > NOTHING_RATIO).any():
        return ()
    suspects = [i for i, x in enumerate(fleet.limits) if abs(prices[x.row]) > 1e-12]
    conflicting = _irreducible(fleet, solver, suspects or list(range(len(fleet.limits))))
    return tuple(_alone(fleet, solver, i, weights) for i in conflicting)


def _missing(
    fleet: FleetProgram, solver: Solver, loosened: Sequence[int], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The least shortfalls of ``loosened`` limits, and the prices; None where even that is not enough."""
    at = fleet.shortfalls[list(loosened)]
    cost = np.zeros(fleet.program.low.size)
    cost[at] = weights[list(loosened)]
    most = [_most(fleet.limits[i]) for i in loosened]
    program = fleet.program.with_variables(at, 0.0, most)
    answer = solver.solve(replace(program, cost=cost, whole=np.zeros_like(program.whole)))
    return (answer.values[fleet.shortfalls], answer.row_price) if answer.optimal else None


def _most(limit: LimitRow) -> float:
    """A demand can at most be given up; a supply grow without end."""
    return np.inf if limit.sense > 0 else abs(limit.value) / limit.unit_value


def _irreducible(fleet: FleetProgram, solver: Solver, suspects: Sequence[int]) -> Sequence[int]:
    """The suspects less every one without which there is still no plan; all other limits are loose meanwhile."""
    kept, nothing = list(suspects), np.zeros(len(fleet.limits))
    everything = set(range(len(fleet.limits)))
    for candidate in suspects:
        others = [i for i in kept if i != candidate]
        if _missing(fleet, solver, sorted(everything - set(others)), nothing) is None:
            kept = others
    return kept


def _alone(fleet: FleetProgram, solver: Solver, i: int, weights: np.ndarray) -> ShortLimit:
    limit = fleet.limits[i]
    answer = _missing(fleet, solver, [i], weights)
    amount = None if answer is None else float(answer[0][i]) * limit.unit_value
    return ShortLimit(
        name=limit.name, subject=limit.subject, unit=limit.unit, value=limit.value, amount=amount, sense=limit.sense
    )
