"""What follows from a prediction on the page: totals, curves, what would unbind, what moves J/token."""

from __future__ import annotations

import math

import pytest

import joulemill as jm
from joulemill.catalog.levers import paired_errors
from joulemill.explorer.answering import answer, concurrencies, curve
from joulemill.explorer.asking import FieldError, arguments, asked
from joulemill.explorer.sensitivity import sensitivity
from joulemill.physics.hardware.site import Site
from tests.support.explorer import PLAIN, READ

ASKED = asked(PLAIN | {"site.pue": "1.25", "site.carbon_gco2e_kwh": "300", "site.price_currency_kwh": "0.2"})
STATED = arguments(ASKED, READ)


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    return answer(ASKED, STATED)


def test_totals_are_the_predictions_joules_times_tokens(shown: dict) -> None:
    site_j_tok = shown["prediction"]["site"]["site_j_tok"]
    totals = shown["totals"]
    assert totals["scope"] == "site"
    wh = totals["million_tokens"]["energy_wh"]
    assert wh["value"] == pytest.approx(site_j_tok["value"] * 1e6 / 3600)
    assert wh["low"] == pytest.approx(site_j_tok["low"] * 1e6 / 3600)
    per_thousand = totals["thousand_requests"]
    assert per_thousand["energy_wh"]["value"] == pytest.approx(wh["value"] * 0.512)  # 512 output tokens a request
    assert per_thousand["carbon_gco2e"]["value"] == pytest.approx(per_thousand["energy_wh"]["value"] / 1e3 * 300)
    assert per_thousand["cost"]["value"] == pytest.approx(per_thousand["energy_wh"]["value"] / 1e3 * 0.2)
    rate = totals["tok_s_mw"]
    assert rate["value"] * site_j_tok["value"] == pytest.approx(1e6)
    assert rate["low"] * site_j_tok["high"] == pytest.approx(1e6)


def test_without_a_site_money_and_carbon_are_unknown_and_say_why() -> None:
    plain = asked(PLAIN)
    totals = answer(plain, arguments(plain, READ))["totals"]
    assert totals["scope"] == "node"
    assert totals["million_tokens"]["cost"]["value"] is None and totals["million_tokens"]["cost"]["reason"]


def test_a_curve_is_the_same_prediction_at_each_concurrency() -> None:
    drawn = curve(STATED)
    points = drawn["points"]
    for i in (0, len(points["concurrency"]) // 2, len(points["concurrency"]) - 1):
        one = jm.predict(**{**STATED, "concurrency": points["concurrency"][i]})
        assert points["node_j_tok"][i] == pytest.approx(one.energy.node.value, rel=1e-6)
        assert points["node_j_tok_high"][i] == pytest.approx(one.energy.node.high, rel=1e-6)
        assert points["tpot_s"][i] == pytest.approx(one.tpot_s.value, rel=1e-6)
    assert drawn["chosen"] == 32.0 and 32.0 in points["concurrency"]


@pytest.mark.parametrize(("most", "chosen"), [(1.0, 1.0), (5.5, 3.0), (413.9, 32.0), (1024.0, 1024.0)])
def test_a_curve_has_few_whole_points_in_order(most: float, chosen: float) -> None:
    grid = concurrencies(most, chosen)
    assert grid == sorted(set(grid)) and chosen in grid and len(grid) <= 41
    assert grid[0] == 1.0 and grid[-1] == int(most) and all(c == int(c) for c in grid)


def test_what_does_not_fit_is_said_beside_the_devices() -> None:
    large = asked(PLAIN | {"model": "deepseek-ai/DeepSeek-V3", "devices": "1"})
    with pytest.raises(FieldError) as caught:
        answer(large, arguments(large, READ))
    assert caught.value.field == "devices" and "GB" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "text"),
    [("power-cap", "1W"), ("precision", "bf17"), ("kv-dtype", "fp9"), ("engine", "vlm"), ("tp", "7"), ("ep", "3")],
)
def test_what_the_prediction_refuses_is_said_beside_the_field_that_is_to_blame(field: str, text: str) -> None:
    question = asked(PLAIN | {"output-tokens": "300", field: text})
    with pytest.raises(FieldError) as caught:
        answer(question, arguments(question, READ))
    assert caught.value.field == field


def test_where_power_binds_the_page_says_how_much_more_would_unbind_it() -> None:
    question = asked(PLAIN | {"devices": "64", "concurrency": "64", "site.pue": "1.2", "site.it_power_limit": "20 kW"})
    document = answer(question, arguments(question, READ))
    assert document["prediction"]["binding"]["name"] == "power"
    held = document["prediction"]["held_ratio"]
    assert held < 1.0 and f"limits the rate to {100 * held:.0f} %" in " ".join(document["unbind"])
    assert f"stops binding at {1 / held:.2f} ×" in " ".join(document["unbind"])
    more = arguments(
        asked(dict(question.flags) | {"site.pue": "1.2", "site.it_power_limit": f"{20 / held * 1.001} kW"}), READ
    )
    assert answer(question, more)["prediction"]["held_ratio"] == 1.0


def test_power_that_is_not_drawn_is_not_said_to_hold_anything_back() -> None:
    question = asked(PLAIN | {"devices": "64", "site.pue": "1.2", "site.it_power_limit": "120 kW"})
    document = answer(question, arguments(question, READ))
    assert document["prediction"]["held_ratio"] == 1.0 and document["prediction"]["binding"]["name"] == "power"
    assert not any("binding" in line for line in document["unbind"])
    assert any("more of it would not raise the rate" in note for note in document["prediction"]["notes"])


def test_sensitivity_is_the_ratio_of_two_predictions() -> None:
    shown = sensitivity(ASKED, STATED)
    rows = {(r["name"], r["to"]): r for r in shown["rows"]}
    before = jm.predict(**STATED)
    doubled = jm.predict(**{**STATED, "concurrency": 64})
    row = rows["concurrency", "64"]
    change = row["energy_change"]
    assert change["value"] == pytest.approx(doubled.energy.site.value / before.energy.site.value - 1)
    assert row["rate_change"]["value"] == pytest.approx(doubled.rate_tok_s.value / before.rate_tok_s.value - 1)
    assert change["low"] < change["value"] < change["high"] and "measured pairs" in change["source"]
    # the interval of a ratio is as wide, as a factor, as the pairs of its kind are off
    half = paired_errors()["batch"].half_width_ratio
    assert (1 + change["high"]) / (1 + change["value"]) == pytest.approx(math.exp(half))
    site = STATED["site"]
    assert isinstance(site, Site)
    pue = rows["PUE", "1.1"]["energy_change"]
    assert pue["value"] == pytest.approx(1.1 / 1.25 - 1) and pue["low"] is None
    assert shown["energy_j_tok"]["value"] == before.energy.site.value


def test_a_change_that_breaks_an_slo_says_so() -> None:
    question = asked(PLAIN | {"slo-tpot": "25ms"})
    stated = arguments(question, READ)
    assert jm.predict(**stated).meets
    rows = {(r["name"], r["to"]): r["meets"] for r in sensitivity(question, stated)["rows"]}
    assert rows["devices", "1"] is False and rows["devices", "4"] is True
    assert jm.predict(**{**stated, "devices": 1}).meets is False
