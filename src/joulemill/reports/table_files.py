"""Columns on disk, as CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.errors import InputError

Table = Mapping[str, Any]


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
