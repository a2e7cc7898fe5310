"""Tables of measured runs: recognised, tolerant of what is missing, honest about what is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.reports.text.validation import text
from joulemill.validation.scores import document, validate_table
from tests.support.paths import SHARED

DATA = SHARED / "data"
RUNS = """model_id,gpu_model,num_gpus,avg_batch_size,avg_output_len,output_throughput_tokens_per_sec,avg_power_watts
Qwen/Qwen3-8B,H100,1,32,647,2928,478
nobody/has-this,H100,1,32,647,2928,478
Qwen/Qwen3-8B,H100,1,,647,2928,478
"""


def test_missing_columns_are_tolerated_and_bad_rows_are_listed(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text(RUNS)
    found = document(validate_table(table))
    assert found["rate_tok_s"]["n"] == 1 and "itl_s" not in found
    assert [s["row"] for s in found["skipped"]] == [3, 4]
    assert all(s["why"] for s in found["skipped"])
    assert found["rate_tok_s"]["median"] < 0.3
    assert any("input length" in n for n in found["notes"])


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns are not known"):
        validate_table(table)


@pytest.mark.skipif(not DATA.is_dir(), reason="measured data are not beside the project")
@pytest.mark.parametrize(
    ("file", "quantity", "most"),
    [
        ("serving_runs.csv", "energy_j_tok", 0.13),
        ("serving_runs.csv", "power_w", 0.09),
        ("serving_runs.csv", "rate_tok_s", 0.14),
        ("serving_latency.csv", "tpot_s", 0.15),
        ("mlperf_wall_power.csv", "node_power_w", 0.12),
    ],
)
def test_measured_tables_stay_within_their_errors(file: str, quantity: str, most: float) -> None:
    """Errors with the shipped coefficients; those on left-out families are in docs/fidelity.md."""
    found = validate_table(DATA / file, DATA / "models")
    score = found.scores[quantity]
    assert score.median <= most
    assert not found.skipped
    assert score.coverage >= 0.7
    assert quantity in text(found)
