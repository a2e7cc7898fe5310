from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.errors import ServerError
from joulemill.reports import run_levers
from joulemill.reports.run_levers import lever_cards


def test_what_is_no_folder_has_no_levers(tmp_path: Path) -> None:
    assert lever_cards(tmp_path / "report.json") == []


def test_a_run_whose_deployment_is_unknown_says_so_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps({"created_wall_s": 0.0, "model": {"name": "<script>alert(1)</script>"}})
    )
    (card,) = lever_cards(tmp_path)
    assert card["title"] == "Levers" and "No levers could be predicted" in card["body"]
    assert "<script>" not in card["body"]


def test_no_fault_of_the_prediction_costs_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise ServerError("anything <b>at all</b>")

    monkeypatch.setattr(run_levers, "question_of_run", fails)
    (card,) = lever_cards(tmp_path)
    assert "anything &lt;b&gt;at all&lt;/b&gt;" in card["body"]
