from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.errors import ServerError
from joulemill.reports.html import levers_of_run as run_levers
from joulemill.reports.html.levers_of_run import lever_cards
from tests.support.h100_run import on_h100

pytestmark = pytest.mark.usefixtures("few_combinations")


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


def what_each_does(cards: list[dict[str, str]]) -> str:
    return next(c["body"] for c in cards if c["title"] == "What each lever does")


def test_the_levers_are_those_of_the_site_that_the_page_shows(tmp_path: Path) -> None:
    """PUE 1.5 to a good site's 1.1 is 27 % less; a later --site takes the place of the run's own."""
    run = on_h100(tmp_path / "run", site={"pue": 1.5})
    assert "<b>pue</b>" in what_each_does(lever_cards(run))
    assert "-27 %" in what_each_does(lever_cards(run)).replace("−", "-")
    good, page = tmp_path / "good.toml", tmp_path / "page.html"
    good.write_text("pue = 1.08\ncarbon_gco2e_kwh = 300\n")
    assert main(["report", str(run), "--site", str(good), "--html", str(page)]) == 0
    text = page.read_text()
    assert "PUE is 1.08 already" in text and "<b>carbon-shift</b>" in text
    bare = lever_cards(on_h100(tmp_path / "bare", site=None))
    assert "<b>pue</b>" not in what_each_does(bare) and "--site FILE states it" in bare[-1]["body"]
