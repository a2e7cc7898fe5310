"""What makes a run unfit to be judged, and that the gate then does not judge it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from joulemill.analysis.report import Report
from joulemill.analysis.samples import load_run, of_report
from joulemill.decisions.gate.gate import Outcome, Terms, gate
from tests.support.recorded import recorded


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return load_run(recorded(tmp_path_factory.mktemp("runs") / "run"))[1]


def unsound(report: Report, fault: str) -> Report:
    window, requests, client = report.window, report.requests, report.client
    changed = {
        "drifting": {"window": dataclasses.replace(window, steady=False, note="drift +151 % across the window")},
        "short": {"window": dataclasses.replace(window, duration_s=2.0)},
        "empty": {"requests": dataclasses.replace(requests, in_window=4)},
        "client": {"client": dataclasses.replace(client, valid=False, reasons=("late by 2 s",))},
        "broken": {"status": "interrupted"},
    }
    return dataclasses.replace(report, run_id=fault, **changed[fault])


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("drifting", "the window was not steady (drift +151 % across the window)"),
        ("short", "the window is too short: 2.0 s"),
        ("empty", "too few requests ended in the window: 4"),
        ("client", "the client was the bottleneck: late by 2 s"),
        ("broken", "the run was interrupted"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_run_that_is_not_sound_is_never_judged(report: Report, fault: str, says: str, force: bool) -> None:
    sound, not_sound = of_report(report, "node", "sound"), of_report(unsound(report, fault), "node", "unsound")
    for base, new in ((not_sound, sound), (sound, not_sound)):
        verdict = gate([base], [new], Terms(0.05, without_quality=True, force=force))
        assert verdict.outcome is Outcome.UNDECIDED
        assert verdict.reasons[0].startswith(f"unsound: {says}")


def test_no_plan_is_made_from_a_run_that_is_not_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from joulemill.cli import main
    from joulemill.recording.writer import read_run, write_run

    record = read_run(recorded(tmp_path / "whole"))
    write_run(tmp_path / "cut", dataclasses.replace(record, status="interrupted", status_reason="Ctrl-C"))
    assert main(["gate", "--plan", str(tmp_path / "cut")]) == 3
    assert "the run was interrupted" in capsys.readouterr().out
