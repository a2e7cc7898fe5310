"""``joulemill audit``: exit codes, JSON, run folders and foreign files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from simulated.runs import steady_run

from joulemill.analysis.serialization import to_json
from joulemill.cli import main
from joulemill.recording.writer import write_run
from tests.support import foreign_results
from tests.support.whole_report import whole


def test_complete_is_zero_and_incomplete_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    report.write_text(to_json(whole()), encoding="utf-8")
    assert main(["audit", str(report), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["complete"] and document["points_in_order"] == document["points"]
    write_run(tmp_path / "run", steady_run())
    assert main(["audit", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().out
    assert "incomplete" in told and "precision" in told and "--device" in told


def test_files_of_other_tools_are_graded_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = foreign_results.write_lines(tmp_path / "profile_export.jsonl", foreign_results.aiperf_lines())
    summary = foreign_results.write_json(tmp_path / "s.json", foreign_results.aiperf_summary())
    assert main(["audit", str(lines), str(summary), "--json"]) == 1
    grades = {g["name"]: g for g in json.loads(capsys.readouterr().out)["grades"]}
    assert grades["latency"]["status"] == "stated"
    assert grades["J/token, node"]["status"] == "missing" and "--meter-file" in grades["J/token, node"]["fill"]


def test_what_is_no_report_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(tmp_path / "nothing")]) == 2
    assert "no such run" in capsys.readouterr().err
