"""Points that the user measured, from a CSV dropped on the page, to stand beside the curves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.prediction.precision import resolver
from joulemill.validation.row import MeasuredRow
from joulemill.validation.tables import MeasuredTable, read_table

#: Rows drawn at most.
MOST_POINTS = 5000


def points_of_text(text: str, name: str) -> dict[str, Any]:
    """Points of a CSV's text; ``name`` is what messages call it. Raises InputError where it is no known table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dropped.csv"
        path.write_text(text, encoding="utf-8")
        try:
            table = read_table(path, resolver(None))
        except InputError as fault:
            raise InputError(str(fault).replace(str(path), name)) from None
    return document(table, name)


def points_of_file(path: Path) -> dict[str, Any]:
    """Points of a CSV file. Raises InputError where it cannot be read."""
    return document(read_table(path, resolver(None)), path.name)


def document(table: MeasuredTable, name: str) -> dict[str, Any]:
    """Rows as points: what ran, and what was measured, in SI units; unknown is null."""
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
        "concurrency": row.batch_req,
        "rate_tok_s": measured.get("rate_tok_s"),
        "device_j_tok": measured.get("energy_j_tok"),
        "node_j_tok": measured.get("node_energy_j_tok"),
        "tpot_s": latency,
        "ttft_s": measured.get("ttft_s"),
        "basis": "measured",
    }
