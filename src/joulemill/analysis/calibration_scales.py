"""Measured rows, of a table or of recorded runs, → scales of the deployments that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from joulemill.analysis.calibration import row_of_run
from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.prediction.precision import resolver
from joulemill.prediction.scale_file import ScaleFile
from joulemill.prediction.scales import QUANTITIES, Cell, Scales, canonical_model, check_error
from joulemill.validation.calibrated_scores import cell_of, scales_of
from joulemill.validation.row import MeasuredRow
from joulemill.validation.scores import predict_rows
from joulemill.validation.tables import read_table


def scales_of_table(path: Path, models: Path | None = None) -> ScaleFile:
    """Scales of every deployment in a table of measured rows. InputError where a row cannot serve, and why."""
    table = read_table(path, resolver(models))
    if table.dialect == "wall":
        raise InputError(f"{path}: node wall power does not calibrate; needed are serving runs or latency points")
    if table.skipped:
        first = table.skipped[0]
        raise InputError(
            f"{path}: row {first['row']} cannot be predicted ({first['why']}); correct it, or leave it out"
        )
    rows = [r for r in table.rows if r.is_representative and r.measured]
    return ScaleFile(_by_cell(rows, str(path)), (str(path),))


def scales_of_runs(
    runs: Sequence[Path], model: str, device: str | Device, devices: int, precision: str | None
) -> ScaleFile:
    """Scales of one deployment from its runs, each a run folder or a report. InputError where one cannot serve."""
    rows = [row_of_run(path, model, device, devices, precision) for path in runs]
    notes = tuple(n for r in rows for n in r.notes)
    return ScaleFile(_by_cell(rows, str(runs[0])), tuple(str(r) for r in runs), notes)


def _by_cell(rows: Sequence[MeasuredRow], where: str) -> dict[Cell, Scales]:
    if not rows:
        raise InputError(f"{where}: holds nothing measured to calibrate on")
    complete = [replace(r, measured=completed(r)) for r in rows]
    values, _ = predict_rows(complete)
    for quantity in QUANTITIES:
        for row, value in zip(complete, values[quantity], strict=True):
            if quantity in row.measured:
                check_error(float(np.log(row.measured[quantity] / value)), quantity, f"{where}, row {row.number}")
    members: dict[Cell, list[int]] = {}
    for i, row in enumerate(complete):
        cell = cell_of(row)
        members.setdefault(cell._replace(model=canonical_model(cell.model)), []).append(i)
    return {
        cell: scales_of([complete[i] for i in index], {q: v[index] for q, v in values.items()})
        for cell, index in members.items()
    }


def completed(row: MeasuredRow) -> dict[str, float]:
    """What a row measured, with the third of rate, power and J/token where two are known."""
    known = dict(row.measured)
    rate, power, energy = (known.get(n) for n in ("rate_tok_s", "power_w", "energy_j_tok"))
    if energy is None and rate and power:
        known["energy_j_tok"] = power / rate
    elif power is None and rate and energy:
        known["power_w"] = energy * rate
    elif rate is None and power and energy:
        known["rate_tok_s"] = power / energy
    return known
