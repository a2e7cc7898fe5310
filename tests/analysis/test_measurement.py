"""A run is accounted once, whatever is made of it: the report, the page with its levers, the gate's samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.analysis import measurement
from joulemill.analysis.run import analyze, diagnosis_of
from joulemill.analysis.samples import load_run as load_samples_of
from joulemill.api.runs import open_run
from joulemill.recording.reader import read_run
from tests.support.h100_run import on_h100

pytestmark = pytest.mark.usefixtures("few_combinations")


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for every time that a run is accounted."""
    made: list[object] = []
    real = measurement.account_of

    def counting(record: object) -> object:
        made.append(record)
        return real(record)  # type: ignore[arg-type]

    monkeypatch.setattr(measurement, "account_of", counting)
    return made


def test_a_page_with_its_levers_accounts_the_run_once(tmp_path: Path, accounts: list[object]) -> None:
    folder = on_h100(tmp_path / "run")
    open_run(folder).to_html(tmp_path / "page.html")
    assert "Levers: change of energy per token" in (tmp_path / "page.html").read_text()
    assert len(accounts) == 1


def test_samples_of_the_gate_account_the_run_once(tmp_path: Path, accounts: list[object]) -> None:
    load_samples_of(on_h100(tmp_path / "run"))
    assert len(accounts) == 1


def test_report_and_diagnosis_are_of_one_measurement(tmp_path: Path) -> None:
    record = read_run(on_h100(tmp_path / "run"))
    assert analyze(record).candidates == diagnosis_of(record).candidates
