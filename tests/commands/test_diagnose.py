"""``joulemill diagnose`` and the flags of several runs: exit codes, JSON, one clear line for what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from simulated.runs import steady_run

from joulemill.cli import main
from joulemill.recording.writer import write_run
from tests.support.lone_requests import with_lone
from tests.support.manifests import manifest_of


def test_a_decided_run_is_zero_and_names_the_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", with_lone(0.9 / 19))
    assert main(["diagnose", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "demand" == found["candidates"][0]["name"]
    assert found["candidates"][0]["seen_for"] and all(c["overturned_by"] for c in found["candidates"])
    assert main(["diagnose", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "overturned by" in told and "sequences at once" in told


def test_an_undecided_run_is_three_and_says_what_would_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", replace(steady_run(), manifest=manifest_of({"options": {"concurrency": 4}})))
    assert main(["diagnose", str(tmp_path / "run")]) == 3
    assert "What would decide" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["sweep", "speed=1,2"], ["sweep"], ["probe", "--url", "http://127.0.0.1:9"], ["probe", "--board", "fan"]]
)
def test_series_that_cannot_be(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
