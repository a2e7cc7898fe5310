"""A user's table: a cell that is no measurement is skipped with its reason, never read as one that was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.prediction.precision import resolver
from joulemill.validation.tables import MeasuredTable, read_table

COLUMNS = {
    "model_id": "Qwen/Qwen3-8B",
    "gpu_model": "h100",
    "num_gpus": "1",
    "avg_batch_size": "32",
    "avg_input_len": "512",
    "avg_output_len": "512",
    "output_throughput_tokens_per_sec": "2900",
    "avg_power_watts": "500",
}


def table_with(folder: Path, column: str, text: str) -> MeasuredTable:
    row = COLUMNS | {column: text}
    path = folder / "rows.csv"
    path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n", encoding="utf-8")
    return read_table(path, resolver())


@pytest.mark.parametrize(
    ("column", "text", "says"),
    [
        ("output_throughput_tokens_per_sec", "-2900", "is -2900; it must be a positive number"),
        ("output_throughput_tokens_per_sec", "inf", "must be a positive number"),
        ("output_throughput_tokens_per_sec", "0", "is 0; where nothing was measured, leave it empty"),
        ("output_throughput_tokens_per_sec", "fast", "is 'fast', not a number"),
        ("output_throughput_tokens_per_sec", "2900 tok/s", "not a number"),
        ("avg_power_watts", "-500", "avg_power_watts is -500"),
        ("num_gpus", "1.5", "num_gpus is 1.5; it must be a whole number"),
        ("num_gpus", "1e12", "must be at most 1,000,000"),
        ("num_gpus", "", "holds no positive number"),
        ("avg_batch_size", "1e9", "must be at most 100,000"),
        ("avg_input_len", "-9", "avg_input_len is -9"),
        ("avg_output_len", "1e12", "must be at most 100,000,000"),
    ],
)
def test_a_cell_that_cannot_be_skips_its_row_and_says_why(tmp_path: Path, column: str, text: str, says: str) -> None:
    table = table_with(tmp_path, column, text)
    assert not table.rows and says in str(table.skipped[0]["why"]) and table.skipped[0]["row"] == 2


@pytest.mark.parametrize("text", ["", "nan", "NaN", "None", "n/a", "-", " "])
def test_a_cell_that_says_nothing_is_one_that_was_not_measured(tmp_path: Path, text: str) -> None:
    (row,) = table_with(tmp_path, "output_throughput_tokens_per_sec", text).rows
    assert dict(row.measured) == {"power_w": 500.0}
