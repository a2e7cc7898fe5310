"""`joulemill validate` on a table of one's own: its template, progress, rows counted once, no empty tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main


@pytest.fixture
def template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["validate", "--template"]) == 0
    path = tmp_path / "mine.csv"
    path.write_text(capsys.readouterr().out)
    return path


def test_the_template_is_a_table_that_can_be_validated(template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(template), "--json"]) == 0
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    assert said["rows"] == 1 and said["skipped"] == [] and said["rate_tok_s"]["n"] == 1
    assert "predicting 1 rows" in shown.err


def test_a_row_is_predicted_or_skipped_never_both(template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, row = template.read_text().splitlines()
    unmeasured = ",".join([*row.split(",")[:8], "", "", "", ""])
    template.write_text("\n".join([head, row, unmeasured, row.replace("H100", "H1000")]) + "\n")
    assert main(["validate", str(template), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 1 and [s["row"] for s in said["skipped"]] == [4, 3]


def test_empty_tables_are_not_printed(template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, row = template.read_text().splitlines()
    template.write_text("\n".join([head, ",".join([*row.split(",")[:8], "", "", "", ""])]) + "\n")
    assert main(["validate", str(template)]) == 1
    shown = capsys.readouterr().out
    assert "by model" not in shown and "skipped row 2: no measured quantity" in shown


def test_a_missing_table_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 2
    assert "--template" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("slip", "known"), [("weight_precison", "weight_precision"), ("avg_batchsize", "avg_batch_size")]
)
def test_a_misspelt_column_is_refused_rather_than_left_out(
    slip: str, known: str, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template.write_text(template.read_text().replace(known, slip))
    assert main(["validate", str(template)]) == 2
    assert f"column '{slip}' is not known; did you mean {known}?" in capsys.readouterr().err
