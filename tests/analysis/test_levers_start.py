"""Levers of a run start from what it measured, and say where the prediction is of another machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.wording import quantity
from tests.support.recorded import recorded

pytestmark = pytest.mark.usefixtures("few_combinations")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 tok/s at 3.75 J/tok, where an H100 would make some hundreds."""
    return recorded(tmp_path_factory.mktemp("runs") / "run", model="Qwen/Qwen3-8B")


def test_the_measured_figures_come_first_and_the_gap_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["levers", str(run)])
    shown = capsys.readouterr().out
    places = [
        shown.index(t) for t in ("before, as measured: 3.7", "80.0 tok/s", "predicted:", "Warning: the run's rate")
    ]
    assert places == sorted(places)
    assert "Rank the levers by their relative changes only" in shown


def test_figures_after_a_change_are_measured_times_change(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["levers", str(run), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["measured"]["rate_tok_s"] == pytest.approx(80.0, rel=0.01)
    assert found["measured"]["energy_measured_over_predicted"] == pytest.approx(
        found["measured"]["energy_j_tok"] / found["before"]["energy_j_tok"]
    )
    best = found["front"][0]
    monkeypatch.setenv("COLUMNS", "200")
    main(["levers", str(run)])
    joules = best["after"]["energy_j_tok"] * found["measured"]["energy_measured_over_predicted"]
    line = next(
        x for x in capsys.readouterr().out.splitlines() if x.strip().endswith("  " + " + ".join(best["levers"]))
    )
    assert quantity(joules, "J/tok") in line


def test_a_deployment_that_was_not_run_has_no_measured_start(capsys: pytest.CaptureFixture[str]) -> None:
    main(["levers", "--model", "Qwen/Qwen3-8B", "--device", "h100", "--concurrency", "16", "--json"])
    assert json.loads(capsys.readouterr().out)["measured"] is None
