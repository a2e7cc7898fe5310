"""HiGHS as scipy brings it: the solver of an installation without ``highspy``. Prices come without their range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import optimize, sparse

from joulemill.arrays import Array
from joulemill.errors import MachineError
from joulemill.fleet.highs import GAP_RATIO, MOST_S, cost_scale
from joulemill.planning.program import LinearProgram, SolverResult

#: scipy's status → ours.
STATUS = {0: "optimal", 1: "stopped", 2: "infeasible", 3: "unbounded"}


class ScipySolver:
    """Programs solved one by one, each from the beginning."""

    def __init__(self, *, most_s: float = MOST_S, gap_ratio: float = GAP_RATIO) -> None:
        self._options = {"time_limit": most_s, "mip_rel_gap": gap_ratio}

    def solve(self, program: LinearProgram) -> SolverResult:
        """The optimum; MachineError where HiGHS fails."""
        whole, scale = bool(program.whole.any()), cost_scale(program)
        program = replace(program, cost=program.cost / scale)
        answer = self._whole(program) if whole else _continuous(program)
        if answer.status not in STATUS:
            raise MachineError(f"HiGHS ended with: {answer.message}")
        if answer.x is None or answer.status not in (0, 1):
            return SolverResult(
                status=STATUS[answer.status], values=np.empty(0), row_price=np.empty(0), value=float("nan")
            )
        price = np.empty(0) if whole else scale * _prices(program, answer)
        gap = float(answer.mip_gap) if whole else 0.0
        return SolverResult(
            status="optimal", values=answer.x, row_price=price, value=scale * float(answer.fun), gap_ratio=gap
        )

    def ranges(self, rows: Sequence[int]) -> Sequence[tuple[float | None, float | None]]:
        """Not known: scipy has none. The caller finds them by solving at other bounds."""
        return [(None, None) for _ in rows]

    def _whole(self, program: LinearProgram) -> optimize.OptimizeResult:
        return optimize.milp(
            program.cost,
            integrality=program.whole.astype(int),
            bounds=optimize.Bounds(program.low, program.high),
            constraints=optimize.LinearConstraint(program.matrix, program.row_low, program.row_high),
            options=self._options,
        )


def _continuous(program: LinearProgram) -> optimize.OptimizeResult:
    rows = sparse.csr_matrix(program.matrix)
    equal = program.row_low == program.row_high
    above, below = ~equal & np.isfinite(program.row_high), ~equal & np.isfinite(program.row_low)
    return optimize.linprog(
        program.cost,
        A_ub=sparse.vstack([rows[above], -rows[below]]),
        b_ub=np.concatenate([program.row_high[above], -program.row_low[below]]),
        A_eq=rows[equal],
        b_eq=program.row_low[equal],
        bounds=np.column_stack([program.low, program.high]),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    )


def _prices(program: LinearProgram, answer: optimize.OptimizeResult) -> Array:
    """Marginals of both sides of each row, in the rows' order."""
    equal = program.row_low == program.row_high
    above, below = ~equal & np.isfinite(program.row_high), ~equal & np.isfinite(program.row_low)
    price = np.zeros(program.row_low.size)
    price[equal] = answer.eqlin.marginals
    price[above] += answer.ineqlin.marginals[: above.sum()]
    price[below] -= answer.ineqlin.marginals[above.sum() :]
    return price
