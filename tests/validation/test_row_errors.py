"""Each row's measured and predicted values: by hand, and against the scores of the same table."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

import joulemill as jm
from joulemill.cli import main
from joulemill.validation.scores import TEMPLATE

MODEL, RATE, POWER = 0, 8, 9


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The template's row, twice: once at half the rate, without a power; and a row of a model that nobody knows."""
    names, row = TEMPLATE.splitlines()
    cells = row.split(",")
    half = [*cells[:RATE], str(float(cells[RATE]) / 2), "", *cells[POWER + 1 :]]
    unknown = ["nobody/knows-this", *cells[1:]]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([names, row, ",".join(half), ",".join(unknown)]) + "\n")
    return path


def test_a_measured_value_stands_beside_its_prediction(mine: Path) -> None:
    frame = jm.validate(mine).rows_to_frame("pyarrow").to_pydict()
    assert set(frame["row"]) == {2, 3} and frame["device"][0] == jm.catalog.device("h100").name
    at = {(row, q): i for i, (row, q) in enumerate(zip(frame["row"], frame["quantity"], strict=True))}
    assert (2, "power_w") in at and (3, "power_w") not in at
    first, half = at[2, "rate_tok_s"], at[3, "rate_tok_s"]
    assert frame["measured"][first] == 2950.0 and frame["measured"][half] == 1475.0
    assert frame["predicted"][half] == frame["predicted"][first]
    assert 1 + frame["error_ratio"][half] == pytest.approx(2 * (1 + frame["error_ratio"][first]))
    for i, inside in enumerate(frame["inside"]):
        assert inside == (frame["low"][i] <= frame["measured"][i] <= frame["high"][i])
        assert math.sqrt(frame["low"][i] * frame["high"][i]) == pytest.approx(frame["predicted"][i])


def test_its_rows_have_the_errors_of_the_scores(mine: Path) -> None:
    errors = jm.validate(mine)
    frame = errors.rows_to_frame("pyarrow").to_pydict()
    for quantity, score in errors.scores.items():
        mask = np.array(frame["quantity"]) == quantity
        relative = np.abs(np.array(frame["error_ratio"])[mask])
        assert score.n == mask.sum() and score.median == pytest.approx(float(np.median(relative)))
        assert score.coverage == pytest.approx(float(np.mean(np.array(frame["inside"])[mask])))


def test_the_command_writes_them(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "errors.csv"
    assert main(["validate", str(mine), "--rows", str(out), "--json"]) == 0
    with out.open(newline="") as lines:
        written = list(csv.DictReader(lines))
    frame = jm.validate(mine).rows_to_frame("pyarrow").to_pydict()
    assert list(written[0]) == list(frame) and [r["quantity"] for r in written] == frame["quantity"]
    assert [float(r["predicted"]) for r in written] == pytest.approx(frame["predicted"])
    assert {r["inside"] for r in written} <= {"true", "false"}
    assert str(out) in capsys.readouterr().err


def test_rows_that_calibrate_have_no_error(mine: Path) -> None:
    frame = jm.validate(mine, calibrate_with=1).rows_to_frame("pyarrow").to_pydict()
    assert len(set(frame["row"])) == 1


def test_a_folder_is_refused_before_anything_is_predicted(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(mine), "--rows", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "--rows" in shown and "predicting" not in shown
