"""The folder of a simulated run: series and requests as CSV or Parquet, and the document."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.errors import InputError, MachineError
from joulemill.recording.writer import free_folder
from joulemill.streams import json_text

Table = Mapping[str, Any]


def write_folder(series: Table, requests: Table, document: dict[str, Any], out: Path | None, form: str) -> Path:
    """Write all three into ``out``, or a new folder under ``runs/``; ``document`` learns where the tables are.

    Raises MachineError where it cannot be written, InputError where Parquet is asked for and not to be had.
    """
    try:
        folder = out or free_folder(Path("runs"), time.time())
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in (("series", series), ("requests", requests)):
            path = folder / f"{name}.{form}"
            write_table(table, path)
            document[name if name == "series" else "requests_table"] = str(path)
        (folder / "simulation.json").write_text(json_text(document), encoding="utf-8")
    except OSError as fault:
        raise MachineError(
            f"{out or 'runs'}: cannot be written ({fault.strerror or fault}); choose another --out DIR"
        ) from fault
    return folder


def write_table(table: Table, path: Path) -> None:
    """``table`` as Parquet or CSV, by the name of ``path``; what is not finite is empty."""
    if path.suffix == ".parquet":
        _write_parquet(table, path)
        return
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(_cells(column) for column in table.values()), strict=True))


def _cells(column: Any) -> Sequence[Any]:
    values = np.asarray(column)
    if values.dtype.kind != "f":
        return [str(v).lower() if isinstance(v, bool) else v for v in values.tolist()]
    return [f"{v:.10g}" if v - v == 0.0 else "" for v in values.tolist()]


def _write_parquet(table: Table, path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install 'joulemill[parquet]'; or --format csv") from None
    pq.write_table(pa.table({name: np.asarray(column) for name, column in table.items()}), path, compression="zstd")
