"""Prediction against measurement: a table of measured runs → errors, bias and coverage of the intervals.

Errors are relative: |predicted ÷ measured − 1|. Bias is the median of ln(predicted ÷ measured). Coverage is
the share of
measured values inside the 80 % interval of their prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import rates
from joulemill.physics.hardware.node import share_power
from joulemill.prediction.precision import resolver
from joulemill.prediction.spread import Kind, half_width_ratio, load_class
from joulemill.validation.predict import compiled, predicted
from joulemill.validation.row import MeasuredRow
from joulemill.validation.row_errors import PredictedRows
from joulemill.validation.tables import MeasuredTable, iter_notes, read_table

MOST_SKIPPED_SHOWN = 50
#: A table of one's own: the least columns, and what helps. One line of names, one row as an example.
TEMPLATE = (
    "model_id,gpu_model,num_gpus,weight_precision,max_num_seqs,avg_batch_size,avg_input_len,avg_output_len,"
    "output_throughput_tokens_per_sec,avg_power_watts,energy_per_token_joules,median_itl_ms\n"
    "Qwen/Qwen3-8B,H100,1,bfloat16,64,60.5,512,512,2950,610,0.207,19.8\n"
)
QUANTITIES = ("energy_j_tok", "rate_tok_s", "power_w", "itl_s", "ttft_s", "tpot_s", "node_power_w", "node_energy_j_tok")


@dataclass(frozen=True)
class Score:
    """Errors of one quantity over n rows, as fractions."""

    n: int
    median: float
    p90: float
    bias: float
    coverage: float


@dataclass(frozen=True)
class CalibrationDraw:
    """How rows were drawn to calibrate on: ``count`` a cell, from ``seed``; cells that had more, rows that calibrated,
    and rows that were not scored, those included."""

    count: int
    seed: int
    cells: int
    rows: int
    not_scored: int


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Scores by quantity; by (column, value, quantity); rows that could not be predicted, and why; what was
    assumed; how rows calibrated, if they did; the rows with their predictions."""

    dialect: str
    scores: Mapping[str, Score]
    by: Mapping[str, Mapping[str, Mapping[str, Score]]]
    rows: int
    skipped: Sequence[Mapping[str, object]]
    notes: Sequence[str]
    predicted: PredictedRows
    calibrating: CalibrationDraw | None = None


def validate_table(path: Path, models: Path | None = None, tell: Callable[[str], None] = lambda _: None) -> Validation:
    """Predict every row of ``path`` that can be predicted and compare; ``tell`` hears how far it is.

    InputError where the table cannot be read.
    """
    table = read_table(path, resolver(models))
    tell(f"predicting {len(table.rows):,} rows …")
    return validation_of(table, *predict_rows(table.rows))


def validation_of(
    table: MeasuredTable,
    values: Mapping[str, Array],
    widths: Mapping[str, Array],
    calibrating: CalibrationDraw | None = None,
    notes: tuple[str, ...] = (),
) -> Validation:
    """Scores of predicted ``values`` with half-widths (quantity → one a row of ``table``)."""
    errors = {q: _error(table.rows, q, values[q]) for q in QUANTITIES if q in values}
    skipped = list(table.skipped) + _unpredicted(table.rows, errors)
    columns = list(dict.fromkeys(k for r in table.rows for k in r.groups))
    by: dict[str, dict[str, dict[str, Score]]] = {}
    for column in columns:
        labels = np.array([r.groups.get(column, "not stated") for r in table.rows])
        by[column] = {str(x): _scores(errors, widths, labels == x) for x in sorted(set(labels))}
    every = np.ones(len(table.rows), dtype=bool)
    scores = _scores(errors, widths, every)
    left = len(table.rows) - (len(skipped) - len(table.skipped))
    all_notes = (*iter_notes(table.rows), *notes)
    return Validation(
        dialect=table.dialect,
        scores=scores,
        by=by,
        rows=left,
        skipped=skipped,
        notes=all_notes,
        predicted=PredictedRows(table.rows, values, widths),
        calibrating=calibrating,
    )


def predict_rows(rows: Sequence[MeasuredRow]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Predicted values and half-widths (logarithms, 80 %) by quantity, one a row."""
    values = {q: np.full(len(rows), np.nan) for q in QUANTITIES}
    widths = {q: np.full(len(rows), np.nan) for q in QUANTITIES}
    for engine in sorted({r.engine for r in rows}):
        index = np.array([i for i, r in enumerate(rows) if r.engine == engine])
        mine = [rows[i] for i in index]
        kinds = [(kind_of_row(r), load_class(r.concurrency, r.input_tok / r.output_tok)) for r in mine]
        quantities = predicted(compiled(mine), rates(engine))
        quantities |= _at_node(mine, quantities)
        for quantity, value in quantities.items():
            values[quantity][index] = value
            widths[quantity][index] = [half_width_ratio(quantity, *each) for each in kinds]
    return values, widths


def kind_of_row(row: MeasuredRow) -> Kind:
    """What the width of a row's interval depends on."""
    precision, moe = row.precision, row.architecture.is_moe
    tensors = (precision.attention, precision.dense, *((precision.experts,) if moe else ()))
    formats = tuple(sorted({f.name for f in tensors}))
    return Kind(
        engine=row.engine,
        device=row.device.name,
        vendor=row.device.vendor,
        formats=formats,
        is_moe=moe,
        pools=row.stratum,
        single=row.parallelism.devices == 1,
    )


def _at_node(rows: Sequence[MeasuredRow], quantities: Mapping[str, Array]) -> dict[str, Array]:
    """Power and energy at the plug of the node that each row's devices sit in, where rows measured that."""
    if not any("node_power_w" in r.measured for r in rows):
        return {}
    watts = np.array([_node_w(w, r) for w, r in zip(quantities["power_w"], rows, strict=True)])
    return {"node_power_w": watts, "node_energy_j_tok": watts / quantities["rate_tok_s"]}


def _node_w(devices_w: float, row: MeasuredRow) -> float:
    """NaN where the devices' power is not known."""
    if not np.isfinite(devices_w):
        return np.nan
    return float(
        share_power(devices_w, row.parallelism.devices * row.parallelism.replicas, node_of(row.device.name)).node_w
    )


def _error(rows: Sequence[MeasuredRow], quantity: str, value: Array) -> Array:
    measured = np.array([r.measured.get(quantity, np.nan) for r in rows], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.log(value / measured)
    return np.where(np.isfinite(error), error, np.nan)


def _unpredicted(rows: Sequence[MeasuredRow], errors: Mapping[str, Array]) -> list[dict[str, object]]:
    unpredicted = []
    for i, row in enumerate(rows):
        if not row.measured:
            unpredicted.append({"row": row.number, "why": "no measured quantity to compare with"})
        elif all(np.isnan(e[i]) for e in errors.values()):
            unpredicted.append({"row": row.number, "why": "the prediction is not finite"})
    return unpredicted


def _scores(errors: Mapping[str, Array], widths: Mapping[str, Array], mask: NDArray[np.bool_]) -> dict[str, Score]:
    scores = {}
    for quantity, error in errors.items():
        keep = mask & np.isfinite(error)
        if keep.any():
            e, w = error[keep], widths[quantity][keep]
            relative = np.abs(np.expm1(e))
            scores[quantity] = Score(
                int(keep.sum()),
                float(np.median(relative)),
                float(np.quantile(relative, 0.9)),
                float(np.median(e)),
                float(np.mean(np.abs(e) <= w)),
            )
    return scores


def document(validation: Validation) -> dict[str, Any]:
    """The JSON document: scores at the top level, ``by``, ``skipped``."""
    top: dict[str, Any] = {q: asdict(s) for q, s in validation.scores.items()}
    top["by"] = {
        column: {value: {q: asdict(s) for q, s in scores.items()} for value, scores in values.items()}
        for column, values in validation.by.items()
    }
    top["rows"] = validation.rows
    top["skipped"] = list(validation.skipped)
    top["notes"] = list(validation.notes)
    top["dialect"] = validation.dialect
    if validation.calibrating is not None:
        top["calibrating"] = asdict(validation.calibrating)
    return top
