"""What a few rows of one's own are worth: K random rows of each cell calibrate, the others are scored.

A cell is one deployment as its user sees it: model, device, number of devices and task of energy runs; model, device,
engine, precision and kind of latency points. Rows that repeat a measurement count once: else a row would be
predicted by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.prediction.precision import resolver
from joulemill.prediction.scales import QUANTITIES, Cell, Scales, figure_factor, figure_width, prior_of, scale_of
from joulemill.validation.row import MeasuredRow
from joulemill.validation.scores import CalibrationDraw, Validation, kind_of_row, predict_rows, validation_of
from joulemill.validation.tables import MeasuredTable, read_table

IN_SAMPLE_NOTE = (
    "predictions are of the shipped coefficients, whose fit has seen the published tables: on those, errors are in "
    "sample but for the calibration; docs/validate.md has them with each family left out of the fit"
)


def cell_of(row: MeasuredRow) -> Cell:
    """The cell that a scale made from ``row`` holds for."""
    devices = row.parallelism.devices * row.parallelism.replicas
    kind = row.stratum or "aggregated"
    return Cell(row.model, row.device.name, devices, row.precision.name, row.engine, kind)


def cell_name(row: MeasuredRow) -> str:
    """The cell that a row is scored in."""
    cell, task = cell_of(row), row.groups.get("task")
    if task is not None:
        return f"{cell.model}, {cell.devices} × {cell.device}, {task}"
    return f"{cell.model}, {cell.device}, {cell.engine}, {cell.precision}, {cell.kind}"


def validate_calibrated(
    path: Path, count: int, seed: int, models: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> Validation:
    """As ``validate_table``, with ``count`` rows of each cell to calibrate on.

    InputError where the table cannot be read or no cell has more than ``count`` rows.
    """
    table = read_table(path, resolver(models))
    if table.dialect == "wall":
        raise InputError(f"{path}: node wall power does not calibrate; needed are serving runs or latency points")
    _drawn(table.rows, count, seed)
    tell(f"predicting {len(table.rows):,} rows …")
    values, _ = predict_rows(table.rows)
    return scored_with(table.rows, values, count, seed, table)


def scored_with(
    rows: Sequence[MeasuredRow], values: Mapping[str, Array], count: int, seed: int, table: MeasuredTable | None = None
) -> Validation:
    """Scores of predicted ``values`` (quantity → one a row) after ``count`` rows of each cell have scaled them."""
    drawn = _drawn(rows, count, seed)
    kept = [i for _, others in drawn for i in others]
    scaled = {q: np.full(len(rows), np.nan) for q in values}
    widths = {q: np.full(len(rows), np.nan) for q in values}
    for mine, others in drawn:
        scales = scales_of([rows[i] for i in mine], {q: v[list(mine)] for q, v in values.items()})
        for quantity in QUANTITIES:
            for i in others:
                width = figure_width(scales, quantity, rows[i].concurrency)
                if quantity in values and width is not None:
                    scaled[quantity][i] = values[quantity][i] * figure_factor(scales, quantity, rows[i].concurrency)
                    widths[quantity][i] = width
    chosen = MeasuredTable(
        table.dialect if table else "runs",
        [rows[i] for i in kept],
        list(table.skipped) if table else [],
    )
    about = CalibrationDraw(count, seed, len(drawn), sum(len(m) for m, _ in drawn), len(rows) - len(kept))
    picked = ({q: v[kept] for q, v in scaled.items()}, {q: v[kept] for q, v in widths.items()})
    return validation_of(chosen, *picked, about, (IN_SAMPLE_NOTE,) if table else ())


def _drawn(rows: Sequence[MeasuredRow], count: int, seed: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """As ``draw``; InputError where that leaves nothing to score."""
    drawn = draw(rows, count, seed)
    if not drawn:
        raise InputError(f"no cell has more than {count} rows, so none would be left to score; calibrate with fewer")
    return drawn


def draw(rows: Sequence[MeasuredRow], count: int, seed: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(rows that calibrate, rows that are scored) of each cell that has more than ``count``, drawn without replacement.

    The same seed draws the same rows whatever other cells the table holds.
    """
    cells: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.measured and row.is_representative:
            cells.setdefault(cell_name(row), []).append(i)
    draws = []
    for name, index in sorted(cells.items()):
        if len(index) > count:
            random = np.random.default_rng([seed, *name.encode()])
            order = [index[j] for j in random.permutation(len(index))]
            draws.append((tuple(order[:count]), tuple(order[count:])))
    return draws


def scales_of(rows: Sequence[MeasuredRow], values: Mapping[str, Array]) -> Scales:
    """Scales by quantity from the rows of one cell and what is predicted of them; nothing of what none measured."""
    scales = {}
    for quantity in QUANTITIES:
        if quantity not in values:
            continue
        measured = np.array([r.measured.get(quantity, np.nan) for r in rows], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = np.log(measured / values[quantity])
        known = [i for i in range(len(rows)) if np.isfinite(errors[i])]
        if known:
            prior = prior_of(quantity, kind_of_row(rows[0]), rows[0].architecture)
            scales[quantity] = scale_of([rows[i].concurrency for i in known], [float(errors[i]) for i in known], prior)
    return scales
