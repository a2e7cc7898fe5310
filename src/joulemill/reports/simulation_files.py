"""The folder of a simulated run: series and requests as CSV or Parquet, and the document."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from joulemill.errors import MachineError
from joulemill.recording.writer import free_folder
from joulemill.reports.table_files import Table, write_table
from joulemill.streams import json_text


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
