"""Levers inside the site's limits, and advice that names an idea once."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.analysis.levers_savings import savings
from joulemill.cli import main
from joulemill.decisions.levers.case import Settings
from joulemill.decisions.levers.study import _alike, distinct
from joulemill.physics.hardware.site import Site
from joulemill.prediction.levers import LeversAnswer, levers_answer
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from joulemill.reports.text.levers import document, show
from tests.support.screen import on_screen

pytestmark = pytest.mark.usefixtures("few_combinations")

SITE = Site(pue_ratio=1.2, price_currency_j=1e-7, currency="EUR", it_power_limit_w=1000.0)


def studied(**change: object) -> LeversAnswer:
    question = PredictionRequest(
        **{"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 2, "concurrency": 32.0, **change}
    )  # type: ignore[arg-type]
    return levers_answer(question, {"to": "h200"}, Settings(), frozenset())


@pytest.fixture(scope="module")
def held() -> LeversAnswer:
    return studied(facility=SITE)


def test_every_outcome_stays_inside_the_sites_power(held: LeversAnswer) -> None:
    """Node power = rate × site J/tok ÷ PUE; none draws more than the site delivers, before or after."""
    before = held.study.before
    assert before.rate_tok_s == pytest.approx(held.answer.prediction.rate_tok_s.value)
    assert before.binding == "power" and not held.meets
    for outcome in (before, *(e.after for e in held.study.effects if e.after is not None)):
        assert outcome.scope == "site"
        assert outcome.rate_tok_s * outcome.energy_j_tok / 1.2 <= 1000.0 * (1 + 1e-9)


def test_joules_a_token_are_those_without_the_limit(held: LeversAnswer) -> None:
    free = answer(
        PredictionRequest(
            model="Qwen/Qwen3-32B", device="h100", devices=2, concurrency=32.0, facility=Site(pue_ratio=1.2)
        )
    )
    assert held.study.before.energy_j_tok == pytest.approx(free.prediction.site.site_j_tok.value)


def test_what_is_missed_is_said_first_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.toml").write_text('pue = 1.2\nit_power_limit = "1 kW"\n')
    words = ["levers", "--model", "Qwen/Qwen3-32B", "--device", "h100", "--devices", "2", "--concurrency", "32"]
    assert main([*words, "--site", str(tmp_path / "s.toml")]) == 1
    assert capsys.readouterr().out.startswith("DOES NOT MEET WHAT IS ASKED: short of power by")
    assert main(["levers", "--model", "llama3.3:70b", "--device", "h100"]) == 1
    assert capsys.readouterr().out.startswith("DOES NOT FIT")


def test_ideas_are_listed_once(held: LeversAnswer) -> None:
    kept = distinct(held.study.combinations, 5)
    assert kept and kept[0].names == next(c.names for c in held.study.combinations if c.names)
    for i, one in enumerate(kept):
        assert not any(_alike(set(one.names), set(other.names)) for other in kept[:i])
    assert document(held)["distinct"][0]["levers"] == list(kept[0].names)


def test_savings_have_their_currency_and_their_period(held: LeversAnswer) -> None:
    """A million tokens: joules saved × 1e-7 EUR/J; an idea (size of the batch, format of the weights) once."""
    found = savings(held)
    families = [next(e.lever.family for e in held.study.effects if e.lever.name == s.lever) for s in found]
    assert len(set(families)) == len(families) > 1
    for saved in found:
        assert saved.currency == "EUR" and saved.cost_currency == pytest.approx(saved.energy_j * 1e-7)
        assert 0 < saved.energy_j < held.study.before.energy_j_tok * 1e6
    page = on_screen(show, held)
    assert "Saved per million output tokens" in page and " EUR" in page


def test_a_fixed_demand_is_never_exceeded() -> None:
    found = studied(concurrency=None, rate_req_s=2.0)
    assert found.meets
    for e in found.study.effects:
        if e.after is not None and e.lever.family != "length":
            assert e.after.rate_tok_s <= 2.0 * 512 * (1 + 1e-9), e.lever.name
