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
    everything = list(range(len(fleet.limits)))
    for whole in (False, True) if fleet.program.whole.any() else (False,):
        search = _Search(fleet, solver, weights, whole)
        loose = search.missing(everything)
        if loose is not None and (loose[0] * weights > NOTHING_RATIO).any():
            prices = loose[1]
            suspects = [i for i in everything if whole or abs(prices[fleet.limits[i].row]) > 1e-12]
            return tuple(search.alone(i) for i in search.irreducible(suspects or everything))
    return ()


@dataclass(frozen=True, eq=False)
class _Search:
    """Programs with some limits loose; ``whole``: its whole numbers stay whole, without which it may have a plan."""

    fleet: FleetProgram
    solver: Solver
    weights: np.ndarray
    whole: bool

    def missing(self, loosened: Sequence[int], *, free: bool = False) -> tuple[np.ndarray, np.ndarray] | None:
        """The least shortfalls of ``loosened`` limits, and the prices; None where even that is not enough.

        ``free``: any shortfall will do.
        """
        fleet = self.fleet
        at = fleet.shortfalls[list(loosened)]
        cost = np.zeros(fleet.program.low.size)
        cost[at] = 0.0 if free else self.weights[list(loosened)]
        most = [_most(fleet.limits[i]) for i in loosened]
        program = replace(fleet.program.with_variables(at, 0.0, most), cost=cost)
        if not self.whole:
            program = replace(program, whole=np.zeros_like(program.whole))
        answer = self.solver.solve(program)
        return (answer.values[fleet.shortfalls], answer.row_price) if answer.optimal else None

    def irreducible(self, suspects: Sequence[int]) -> Sequence[int]:
        """The suspects less every one without which there is still no plan; all other limits are loose meanwhile."""
        kept = list(suspects)
        everything = set(range(len(self.fleet.limits)))
        for candidate in suspects:
            others = [i for i in kept if i != candidate]
            if self.missing(sorted(everything - set(others)), free=True) is None:
                kept = others
        return kept

    def alone(self, i: int) -> ShortLimit:
        """A limit of the set, with how much of it alone would do."""
        limit, answer = self.fleet.limits[i], self.missing([i])
        amount = None if answer is None else float(answer[0][i]) * limit.unit_value
        return ShortLimit(
            name=limit.name, subject=limit.subject, unit=limit.unit, value=limit.value, amount=amount, sense=limit.sense
        )


def _most(limit: LimitRow) -> float:
    """A demand can at most be given up; a supply grow without end."""
    return np.inf if limit.sense > 0 else abs(limit.value) / limit.unit_value
