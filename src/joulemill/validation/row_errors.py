"""Measured beside predicted, one line per row and quantity: which of one's own runs are off, and how far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.validation.row import MeasuredRow

#: Columns that say what a row is. Its number is that of its line in the file, where the names are line 1.
_ABOUT: Mapping[str, Callable[[MeasuredRow], object]] = {
    "row": lambda r: r.number,
    "model": lambda r: r.model,
    "device": lambda r: r.device.name,
    "devices": lambda r: r.parallelism.devices * r.parallelism.replicas,
    "engine": lambda r: r.engine,
    "precision": lambda r: r.precision.name,
    "concurrency": lambda r: r.concurrency,
    "input_tok": lambda r: r.input_tok,
    "output_tok": lambda r: r.output_tok,
}


@dataclass(frozen=True)
class PredictedRows:
    """Rows, their predicted ``values`` and half-widths (logarithms, 80 %): quantity → one per row."""

    rows: Sequence[MeasuredRow]
    values: Mapping[str, Array]
    widths: Mapping[str, Array]

    def columns(self) -> dict[str, list[object]]:
        """One line per row and quantity that was measured and predicted, in the table's order, as columns.

        What the row is (``concurrency``: per replica; ``devices``: of all replicas), the ``quantity``, whose name
        ends in its unit, ``measured``, ``predicted`` with its 80 % interval from ``low`` to ``high``,
        ``error_ratio``, predicted ÷ measured − 1, and ``inside``, whether the interval holds the measured value.
        """
        quantities = list(self.values)
        measured = np.array([[r.measured.get(q, np.nan) for q in quantities] for r in self.rows], dtype=np.float64)
        measured = measured.reshape(len(self.rows), len(quantities))
        predicted, widths = (self._matrix(m) for m in (self.values, self.widths))
        row, column = np.nonzero((measured > 0.0) & np.isfinite(measured) & (predicted > 0.0) & np.isfinite(predicted))
        kept = measured[row, column], predicted[row, column], widths[row, column]
        about = {name: [of(self.rows[i]) for i in row.tolist()] for name, of in _ABOUT.items()}
        about["quantity"] = [quantities[j] for j in column.tolist()]
        return {**about, **{name: list(x.tolist()) for name, x in _compared(*kept).items()}}

    def _matrix(self, values: Mapping[str, Array]) -> Array:
        """One row per row of the table, one column per quantity."""
        return np.stack([values[q] for q in self.values], axis=1) if self.values else np.empty((len(self.rows), 0))


def _compared(measured: Array, predicted: Array, width: Array) -> dict[str, NDArray[np.generic]]:
    """Measured and predicted values side by side, and how far they are apart."""
    return {
        "measured": measured,
        "predicted": predicted,
        "low": predicted * np.exp(-width),
        "high": predicted * np.exp(width),
        "error_ratio": predicted / measured - 1.0,
        "inside": np.abs(np.log(predicted / measured)) <= width,
    }
