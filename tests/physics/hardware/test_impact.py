"""Carbon, water and money of a token, worked out by hand."""

from __future__ import annotations

import pytest

from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.hardware.impact import Impact, impacts, total
from joulemill.physics.hardware.site import Site, site_figures

NODE = Figure(2.0, "J/tok", Basis.MEASURED, low=1.9, high=2.1, level=0.95)
RATE = Figure(100.0, "tok/s", Basis.MEASURED)
ANSWER = Figure(50.0, "tok", Basis.MEASURED)


def made(site: Site, answer: Figure = ANSWER) -> dict[str, Impact]:
    view = site_figures(NODE, Figure(200.0, "W", Basis.MEASURED), site)
    return {i.name: i for i in impacts(view, site, RATE, answer)}


def test_every_effect_by_hand() -> None:
    """2 J/tok at the node, PUE 1.5: 3 J/tok. At 360 g/kWh = 1e-4 g/J: 3e-4 g/tok; embodied 0.02 g/s ÷ 100 tok/s."""
    site = Site(
        pue_ratio=1.5,
        carbon_gco2e_j=1e-4,
        embodied_gco2e_s=0.02,
        price_currency_j=1e-7,
        currency="EUR",
        residual_currency_s=1e-3,
        water_l_j=1e-6,
    )
    found = made(site)
    carbon = found["carbon, operational and embodied"]
    assert found["operational carbon"].per_token.value == pytest.approx(3e-4)
    assert found["embodied carbon"].per_token.value == pytest.approx(2e-4)
    assert carbon.per_token.value == pytest.approx(5e-4)
    assert carbon.per_million_tokens.value == pytest.approx(500.0) and carbon.per_million_tokens.unit == "gCO2e"
    assert carbon.per_accepted_answer.value == pytest.approx(0.025)
    assert carbon.per_year.value == pytest.approx(5e-4 * 100 * 365 * 86400) and carbon.per_year.unit == "gCO2e/year"
    cost = found["cost, energy and other"]
    assert found["cost of energy"].per_token.value == pytest.approx(3e-7)
    assert found["amortized and other cost"].per_token.value == pytest.approx(1e-5)
    assert cost.per_million_tokens.value == pytest.approx(10.3) and cost.per_million_tokens.unit == "EUR"
    assert found["water"].per_token.value == pytest.approx(2e-6), "WUE is per joule of IT energy, not of the site's"


def test_embodied_carbon_of_a_year_does_not_depend_on_the_rate() -> None:
    yearly = made(Site(embodied_gco2e_s=0.02))["embodied carbon"].per_year
    assert yearly.value == pytest.approx(0.02 * 365 * 86400)


def test_what_is_not_stated_stays_unknown_with_the_reason() -> None:
    found = made(Site(pue_ratio=1.5, carbon_gco2e_j=1e-4), unknown("tok", "no answer was scored"))
    assert found["operational carbon"].per_token.known
    assert found["operational carbon"].per_accepted_answer.reason == "no answer was scored"
    assert not found["carbon, operational and embodied"].per_token.known, "half of a sum is not the sum"
    assert "embodied carbon is not stated" in str(found["carbon, operational and embodied"].per_token.reason)
    assert not found["cost of energy"].per_year.known


def test_sources_are_said() -> None:
    told = made(Site(embodied_gco2e_s=0.02, embodied_source="maker's LCA sheet"))["embodied carbon"].per_token
    assert "maker's LCA sheet" in str(told.source)
    silent = made(Site(embodied_gco2e_s=0.02))["embodied carbon"].per_token
    assert "its source is not stated" in str(silent.source)


def test_bounds_of_a_sum_add_up() -> None:
    both = total(Figure(3.0, "g", Basis.MEASURED, low=2.0, high=4.0, level=0.95), Figure(1.0, "g", Basis.DECLARED))
    assert (both.value, both.low, both.high, both.level) == (4.0, 3.0, 5.0, 0.95)
