"""A linear program, its named limits, and what a solver answers. Pure.

    minimize  cost · x   subject to   row_low ≤ A x ≤ row_high,  low ≤ x ≤ high,  x whole where ``whole``

Powers are in kW and rates in ktok/s inside, so that numbers stay near one another; ``LimitRow.unit_value`` carries a
limit back to SI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from joulemill.arrays import Array
from joulemill.planning.problem import Index

KILO = 1e3


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearProgram:
    """The arrays; ``matrix`` is sparse, by columns. Programs that differ in bounds and cost only share their matrix."""

    matrix: Any
    cost: Array
    row_low: Array
    row_high: Array
    low: Array
    high: Array
    whole: NDArray[np.bool_]

    def with_rows(self, rows: Index | Sequence[int], low: ArrayLike, high: ArrayLike) -> LinearProgram:
        """The same with other bounds of some rows."""
        row_low, row_high = self.row_low.copy(), self.row_high.copy()
        row_low[rows], row_high[rows] = low, high
        return replace(self, row_low=row_low, row_high=row_high)

    def with_variables(self, at: Index | Sequence[int], low: ArrayLike, high: ArrayLike) -> LinearProgram:
        """The same with other bounds of some variables."""
        new_low, new_high = self.low.copy(), self.high.copy()
        new_low[at], new_high[at] = low, high
        return replace(self, low=new_low, high=new_high)


@dataclass(frozen=True, eq=False, kw_only=True)
class SolverResult:
    """A solver's answer.

    status      optimal, infeasible, unbounded, or stopped (a limit of time, without proof)
    values      of the variables; empty where there are none
    value       cost at the optimum
    row_price   d cost / d bound of each row; empty for a program with whole numbers
    gap_ratio   proved distance from the optimum, of a program with whole numbers
    """

    status: str
    values: Array
    row_price: Array
    value: float
    gap_ratio: float = 0.0

    @property
    def optimal(self) -> bool:
        """Whether there is a plan."""
        return self.status == "optimal"


class Solver(Protocol):
    """Solves programs. One whose matrix is that of the call before starts from its answer."""

    def solve(self, program: LinearProgram) -> SolverResult:
        """The optimum."""

    def ranges(self, rows: Sequence[int]) -> Sequence[tuple[float | None, float | None]]:
        """From and to which bound of each active row the prices of the last program hold; None where not known."""


@dataclass(frozen=True, kw_only=True)
class LimitRow:
    """A limit that a person stated, as one row of the program: a variable equals it, or a sum stays below it.

    row         its row;  users  rows that draw on it: one an hour
    unit_value  SI units in one unit of the row
    sense       +1: more of it loosens (a supply); −1: more of it tightens (a demand)
    """

    name: str
    subject: str
    unit: str
    value: float
    row: int
    users: tuple[int, ...] = ()
    unit_value: float = 1.0
    sense: int = 1

    @property
    def label(self) -> str:
        """Name and whose it is."""
        return f"{self.name} of {self.subject}" if self.subject else self.name


@dataclass(kw_only=True)
class Assembly:
    """Variables, rows and coefficients as they are added, in blocks."""

    low: list[Array] = field(default_factory=list)
    high: list[Array] = field(default_factory=list)
    row_low: list[Array] = field(default_factory=list)
    row_high: list[Array] = field(default_factory=list)
    whole: list[NDArray[np.bool_]] = field(default_factory=list)
    parts: list[tuple[Index, Index, Array]] = field(default_factory=list)
    limits: list[LimitRow] = field(default_factory=list)
    column_count: int = 0
    row_count: int = 0

    def variables(
        self, shape: tuple[int, ...], low: ArrayLike = 0.0, high: ArrayLike = np.inf, *, whole: bool = False
    ) -> Index:
        """Add variables; their indices in ``shape``."""
        at = np.arange(self.column_count, self.column_count + int(np.prod(shape)), dtype=np.intp).reshape(shape)
        self.low.append(np.broadcast_to(np.asarray(low, float), shape).ravel())
        self.high.append(np.broadcast_to(np.asarray(high, float), shape).ravel())
        self.whole.append(np.full(at.size, whole))
        self.column_count += at.size
        return at

    def rows(self, shape: tuple[int, ...], low: ArrayLike, high: ArrayLike) -> Index:
        """Add rows; their indices in ``shape``."""
        at = np.arange(self.row_count, self.row_count + int(np.prod(shape)), dtype=np.intp).reshape(shape)
        self.row_low.append(np.broadcast_to(np.asarray(low, float), shape).ravel())
        self.row_high.append(np.broadcast_to(np.asarray(high, float), shape).ravel())
        self.row_count += at.size
        return at

    def put(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> None:
        """Coefficients; what is given for one is of all."""
        at_row, at_column, value = np.broadcast_arrays(
            np.asarray(rows, np.intp), np.asarray(columns, np.intp), np.asarray(values, float)
        )
        self.parts.append((at_row.ravel(), at_column.ravel(), value.ravel()))

    def limit(self, value: float, **named: Any) -> Index:
        """A variable that equals a stated limit, in its own row, so that the limit has one price for all hours."""
        unit_value = named.get("unit_value", 1.0)
        level = self.variables((), -np.inf)
        row = self.rows((), value / unit_value, value / unit_value)
        self.put(row, level, 1.0)
        self.limits.append(LimitRow(value=value, row=int(row), **named))
        return level

    def program(self, cost: Mapping[int, float] | Array | None = None) -> LinearProgram:
        """All of it as arrays; the cost is zero where none is given."""
        rows, columns, values = (np.concatenate(p) for p in zip(*self.parts, strict=True))
        matrix = sparse.csc_matrix((values, (rows, columns)), shape=(self.row_count, self.column_count))
        return LinearProgram(
            matrix=matrix,
            cost=np.zeros(self.column_count) if cost is None else np.asarray(cost, float),
            row_low=np.concatenate(self.row_low),
            row_high=np.concatenate(self.row_high),
            low=np.concatenate(self.low),
            high=np.concatenate(self.high),
            whole=np.concatenate(self.whole),
        )
