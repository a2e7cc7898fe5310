"""Points that somebody measured, to stand beside the curves: the user's tables and run folders, and published runs."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from joulemill.api.runs import Run, open_run
from joulemill.catalog.published_runs import PublishedRun, published_runs
from joulemill.errors import InputError
from joulemill.explorer.asking import names_a_file
from joulemill.figure import Figure
from joulemill.prediction.precision import resolver
from joulemill.validation.row import MeasuredRow
from joulemill.validation.tables import MeasuredTable, read_table

#: Rows drawn at most.
MOST_POINTS = 5000
#: Files of a run folder that are read; others that lie in it are passed over.
_ROWS = ("channels", "readings", "requests", "server", "machine", "quality", "events")
RUN_FILES = ("run.json", *(f"{name}.jsonl" for name in _ROWS))
#: Columns of tables that hold names of models and devices.
_NAME_COLUMNS = ("model_id", "gpu_model", "model_path", "system", "model", "sys_accelerator_model_name")


def points_of_text(text: str, name: str) -> dict[str, Any]:
    """Points of a CSV's text, or of a report document as JSON; ``name`` is what messages call it.

    Raises InputError where it is neither.
    """
    if text.lstrip().startswith("{"):
        return _in_folder({"report.json": text}, name, lambda folder: of_run(open_run(folder / "report.json"), name))
    _refuse_files(text, name)
    return _in_folder({"dropped.csv": text}, name, lambda folder: _of_table(folder / "dropped.csv", name))


def points_of_run(files: Mapping[str, str], name: str) -> dict[str, Any]:
    """The point of a run folder, whose files are given by name. Raises InputError where it is none."""
    run_files = {n: text for n, text in files.items() if n in RUN_FILES}
    return _in_folder(run_files, name, lambda folder: of_run(open_run(folder), name))


def points_of_file(path: Path) -> dict[str, Any]:
    """Points of a CSV file, a run folder or a report document. Raises InputError where it cannot be read."""
    if path.is_dir() or path.suffix == ".json":
        return of_run(open_run(path), path.name)
    return _of_table(path, path.name)


def _in_folder(files: Mapping[str, str], name: str, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What ``read`` makes of a folder with ``files``; its messages call the folder, and a file in it, ``name``."""
    with tempfile.TemporaryDirectory() as folder:
        for file, text in files.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        alone = Path(folder) / next(iter(files), "") if len(files) == 1 else Path(folder)
        try:
            return read(Path(folder))
        except InputError as fault:
            raise InputError(str(fault).replace(str(alone), name).replace(folder, name)) from None


def _refuse_files(text: str, name: str) -> None:
    """A table names models and devices of the catalog: a page must not make the server open files."""
    try:
        rows = list(csv.DictReader(StringIO(text)))
    except csv.Error as fault:
        raise InputError(f"{name}: cannot be read as CSV ({fault})") from None
    for number, row in enumerate(rows, start=2):
        for column in _NAME_COLUMNS:
            if names_a_file(str(row.get(column) or "").strip()):
                raise InputError(f"{name}, row {number}: {column} names a file; the page takes names of the catalog")


def _of_table(path: Path, name: str) -> dict[str, Any]:
    table: MeasuredTable = read_table(path, resolver(None))
    points = [_point(row) for row in table.rows[:MOST_POINTS]]
    return {
        "name": name,
        "points": points,
        "left_out": len(table.rows) - len(points),
        "skipped": [{"row": s["row"], "why": str(s["why"])} for s in table.skipped[:20]],
        "skipped_count": len(table.skipped),
    }


def _point(row: MeasuredRow) -> dict[str, Any]:
    measured = row.measured
    latency = measured.get("tpot_s", measured.get("itl_s"))
    return {
        "model": row.model,
        "device": row.device.label,
        "devices": row.parallelism.devices * row.parallelism.replicas,
        "concurrency": row.concurrency,
        "input_tok": row.input_tok,
        "output_tok": row.output_tok,
        "rate_tok_s": measured.get("rate_tok_s"),
        "device_j_tok": measured.get("energy_j_tok"),
        "node_j_tok": measured.get("node_energy_j_tok"),
        "tpot_s": latency,
        "ttft_s": measured.get("ttft_s"),
        "basis": "measured",
    }


def of_run(run: Run, name: str) -> dict[str, Any]:
    """The one point of a run, with the basis and the intervals of its report."""
    report = run.report
    figures = {
        "rate_tok_s": report.output.rate_tok_s,
        "device_j_tok": report.energy.device_j_tok,
        "node_j_tok": report.energy.node_j_tok,
        "site_j_tok": report.energy.site_j_tok,
    }
    energy = next((f for f in (report.energy.node_j_tok, report.energy.device_j_tok) if f.known), Figure(None, "J/tok"))
    point = {
        "model": report.conditions.model_name or "a model that is not stated",
        "device": report.conditions.device or "a device that is not stated",
        "devices": None,
        "concurrency": report.conditions.load_mean("requests in flight"),
        "output_tok": report.conditions.load_mean("output [tok]"),
        "tpot_s": report.latency.tpot_s.p50,
        "ttft_s": report.latency.ttft_s.p50,
        "basis": None if energy.basis is None else str(energy.basis),
    }
    for key, figure in figures.items():
        point |= {key: figure.value, f"{key}_low": figure.low, f"{key}_high": figure.high}
    return {"name": name, "points": [point], "left_out": 0, "skipped": [], "skipped_count": 0}


def published() -> list[dict[str, Any]]:
    """The catalog's published runs as points, each with where it was published and under which license."""
    return [_published(run) for run in published_runs()]


def _published(run: PublishedRun) -> dict[str, Any]:
    return {**vars(run), "basis": "measured"}
