"""HiGHS through ``highspy``: programs solved from where the one before ended, prices with the range they hold in."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from joulemill.errors import MachineError
from joulemill.planning.program import LinearProgram, SolverResult

#: Seconds that a program with whole numbers may take, and the gap at which its answer is good enough.
MOST_S, GAP_RATIO = 600.0, 1e-4


def is_installed() -> bool:
    """Whether ``highspy`` can be imported."""
    return importlib.util.find_spec("highspy") is not None


class HighsSolver:
    """One HiGHS instance: where a program has the matrix of the one before, only bounds and costs are passed."""

    def __init__(self, *, most_s: float = MOST_S, gap_ratio: float = GAP_RATIO, method: str = "choose") -> None:
        try:
            import highspy
        except ImportError:
            raise MachineError("this solver needs highspy: pip install 'joulemill[plan]'") from None
        self._module = highspy
        self._highs: Any = vars(highspy)["_Highs"]()  # highspy.Highs() prints a banner
        self._matrix: Any = None
        self._whole: Any = None
        options = highspy.HighsOptions()
        options.output_flag = False  # passed at once: set one by one, the first call prints a banner on stdout
        options.time_limit, options.mip_rel_gap, options.solver = most_s, gap_ratio, method
        options.primal_feasibility_tolerance = options.dual_feasibility_tolerance = 1e-9
        self._highs.passOptions(options)

    def solve(self, program: LinearProgram) -> SolverResult:
        """The optimum; MachineError where HiGHS fails."""
        whole, scale = bool(program.whole.any()), cost_scale(program)
        program = replace(program, cost=program.cost / scale)
        if program.matrix is self._matrix and whole == self._whole:
            self._change(program)
        else:
            self._pass(program, whole)
        self._highs.run()
        status = self._status()
        if status != "optimal" and not (status == "stopped" and whole):
            return SolverResult(status=status, values=np.empty(0), row_price=np.empty(0), value=float("nan"))
        answer, info = self._highs.getSolution(), self._highs.getInfo()
        price = np.empty(0) if whole else scale * np.asarray(answer.row_dual)
        values = np.asarray(answer.col_value)
        if not values.size or not np.isfinite(info.objective_function_value):
            return SolverResult(status="stopped", values=np.empty(0), row_price=np.empty(0), value=float("nan"))
        return SolverResult(
            status="optimal",
            values=values,
            row_price=price,
            value=scale * float(info.objective_function_value),
            gap_ratio=float(info.mip_gap) if whole else 0.0,
        )

    def ranges(self, rows: Sequence[int]) -> Sequence[tuple[float | None, float | None]]:
        """By HiGHS's ranging of the right-hand sides."""
        _, ranging = self._highs.getRanging()
        down, up = ranging.row_bound_dn.value_, ranging.row_bound_up.value_
        return [(_finite(down[r]), _finite(up[r])) for r in rows]

    def _status(self) -> str:
        status, kinds = self._highs.getModelStatus(), self._module.HighsModelStatus
        names = {
            kinds.kOptimal: "optimal",
            kinds.kInfeasible: "infeasible",
            kinds.kUnbounded: "unbounded",
            kinds.kUnboundedOrInfeasible: "infeasible",
            kinds.kTimeLimit: "stopped",
        }
        if status not in names:
            raise MachineError(f"HiGHS ended with {self._highs.modelStatusToString(status)}")
        return names[status]

    def _pass(self, program: LinearProgram, whole: bool) -> None:
        lp, matrix = self._module.HighsLp(), program.matrix
        lp.num_col_, lp.num_row_ = program.low.size, program.row_low.size
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.cost, program.low, program.high
        lp.row_lower_, lp.row_upper_ = program.row_low, program.row_high
        lp.a_matrix_.format_ = self._module.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        if whole:
            kind = self._module.HighsVarType
            lp.integrality_ = [kind.kInteger if w else kind.kContinuous for w in program.whole.tolist()]
        self._highs.clearModel()
        self._highs.passModel(lp)
        self._matrix, self._whole = matrix, whole

    def _change(self, program: LinearProgram) -> None:
        columns = np.arange(program.low.size, dtype=np.int32)
        rows = np.arange(program.row_low.size, dtype=np.int32)
        self._highs.changeColsCost(columns.size, columns, program.cost)
        self._highs.changeColsBounds(columns.size, columns, program.low, program.high)
        self._highs.changeRowsBounds(rows.size, rows, program.row_low, program.row_high)


def cost_scale(program: LinearProgram) -> float:
    """The largest cost: with costs near 1 a solver's tolerances mean what they say, whatever the goal's unit."""
    return float(np.abs(program.cost).max(initial=0.0)) or 1.0


def _finite(value: float) -> float | None:
    return float(value) if abs(value) < 1e29 else None
