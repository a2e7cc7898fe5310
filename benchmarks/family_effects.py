"""What a model family adds to its rows, whatever the law says: random effects, estimated beside the coefficients.

Rows of one family on one engine share kernels that nobody models: how well its shapes were tuned, which of its parts
are fused. Without a place of its own that would bend the coefficients of all others. So in the fit

    ln measured = ln law(coefficients) + u(family, engine) + v(family, engine, device, precision, kind) + error

with u and v normal of mean 0 (``SPREADS``). Predictions for a new family have u = v = 0; their spread is in the
intervals, which come from left-out families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.validation.row import MeasuredRow

#: Standard deviations of u and v [ln], each of TPOT and of TTFT (assumed: near what left-out families show); and where
#: only what TTFT alone tells is fitted, which families must tell together.
SPREADS = ((0.06, 0.12), (0.1, 0.1))
NARROW = ((0.05, 0.04), (0.05, 0.04))


@dataclass(frozen=True)
class Effects:
    """Random effects of rows: ``members`` [column] are (quantity, rows), ``spread`` their standard deviations."""

    members: tuple[tuple[int, np.ndarray], ...]
    spread: np.ndarray
    shape: tuple[int, int]

    @property
    def count(self) -> int:
        return len(self.members)

    def added(self, u: np.ndarray) -> np.ndarray:
        """What effects ``u`` add to predicted logarithms [quantity, row]."""
        out = np.zeros(self.shape)
        for value, (quantity, rows) in zip(u, self.members, strict=True):
            out[quantity, rows] += value
        return out

    def jacobian(self, slope: np.ndarray) -> np.ndarray:
        """Derivatives of residuals [quantity · row, column]; ``slope`` are those by the logarithm itself."""
        out = np.zeros((*self.shape, self.count))
        for column, (quantity, rows) in enumerate(self.members):
            out[quantity, rows, column] = slope[quantity, rows]
        return out.reshape(-1, self.count)


NONE = Effects((), np.zeros(0), (0, 0))


def effects_of(
    rows: Sequence[MeasuredRow], family: Callable[[MeasuredRow], str], spreads_ln: tuple[tuple[float, ...], ...]
) -> Effects:
    """Effects of ``rows`` of latency points."""
    members: list[tuple[int, np.ndarray]] = []
    spread: list[float] = []
    for depth, spreads in enumerate(spreads_ln):
        keys = [_names(r, family)[depth] for r in rows]
        for name in sorted(set(keys)):
            mine = np.flatnonzero([k == name for k in keys])
            members += [(quantity, mine) for quantity in range(len(spreads))]
            spread += spreads
    return Effects(tuple(members), np.array(spread), (len(spreads_ln[0]), len(rows)))


def _names(row: MeasuredRow, family: Callable[[MeasuredRow], str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    whole = (family(row), row.engine)
    return whole, (*whole, row.device.name, row.groups["precision"], row.stratum)
