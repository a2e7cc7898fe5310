"""Site figures: PUE once, unknown stays unknown, everything scales as it should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.hardware.site import ReferencePue, Site, it_limit_figure, site_figures

J_TOK = Figure(0.5, "J/tok", Basis.MEASURED, low=0.45, high=0.55)
WATT = Figure(1000.0, "W", Basis.MEASURED)
KWH = 3.6e6
FULL = Site(
    name="s",
    pue_ratio=1.2,
    carbon_gco2e_j=350 / KWH,
    carbon_kind="location",
    price_currency_j=0.12 / KWH,
    currency="EUR",
    water_l_j=0.5 / KWH,
    grid_water_l_j=2.0 / KWH,
)


def test_by_hand() -> None:
    """0.5 J/tok · 1.2 = 0.6 J/tok; a million tokens are 1/6 kWh: 58.3 g, 0.02 EUR; water (0.5 + 2·1.2) l/kWh of IT."""
    f = site_figures(J_TOK, WATT, FULL)
    million = 1e6
    assert f.site_j_tok.value == pytest.approx(0.6) and f.site_w.value == pytest.approx(1200)
    assert f.site_j_tok.low == pytest.approx(0.54) and f.site_j_tok.basis == Basis.MODELLED
    assert f.carbon_gco2e_tok.value == pytest.approx(350 / 6 / million)
    assert f.cost_currency_tok.value == pytest.approx(0.02 / million) and f.cost_currency_tok.unit == "EUR/tok"
    assert f.water_l_tok.value == pytest.approx(2.9 * 0.5e6 / KWH / million)


@given(pue=st.floats(1.0, 3.0), k=st.floats(0.01, 100.0))
def test_pue_is_applied_once_and_joules_scale(pue: float, k: float) -> None:
    site = Site(pue_ratio=pue, carbon_gco2e_j=1e-4, price_currency_j=1e-8, water_l_j=1e-7)
    one, scaled = site_figures(J_TOK, WATT, site), site_figures(J_TOK.scaled(k, "J/tok"), WATT.scaled(k, "W"), site)
    assert one.site_j_tok.value == pytest.approx(0.5 * pue) and one.site_w.value == pytest.approx(1000 * pue)
    for name in ("site_j_tok", "site_w", "carbon_gco2e_tok", "cost_currency_tok", "water_l_tok"):
        assert getattr(scaled, name).value == pytest.approx(k * getattr(one, name).value), name


@given(pue=st.floats(1.0, 3.0))
def test_a_meter_at_site_scope_is_not_scaled_again(pue: float) -> None:
    """Site figures fed back with scope "site" come out unchanged, water included (WUE counts IT energy)."""
    site = Site(pue_ratio=pue, carbon_gco2e_j=1e-4, water_l_j=1e-7, grid_water_l_j=1e-6)
    once = site_figures(J_TOK, WATT, site)
    again = site_figures(once.site_j_tok, once.site_w, site, scope="site")
    assert again.site_j_tok == once.site_j_tok and again.site_w == once.site_w
    assert again.carbon_gco2e_tok.value == pytest.approx(once.carbon_gco2e_tok.value)
    assert again.water_l_tok.value == pytest.approx(once.water_l_tok.value)


def test_device_scope_must_go_by_the_node() -> None:
    with pytest.raises(InputError, match="carry device figures to the node first"):
        site_figures(J_TOK, WATT, FULL, scope="device")


def test_unknown_pue_stays_unknown_and_references_are_labelled() -> None:
    references = (ReferencePue("survey mean", 1.54, "a survey"),)
    f = site_figures(
        J_TOK, WATT, Site(price_currency_j=1e-8, water_l_j=1e-7, grid_water_l_j=1e-7), references=references
    )
    for figure in (f.site_j_tok, f.site_w, f.carbon_gco2e_tok, f.cost_currency_tok, f.water_l_tok):
        assert figure.value is None and figure.reason
    assert "PUE is unknown" in str(f.site_j_tok.reason)
    (shown,) = f.at_reference
    assert shown.site_j_tok.value == pytest.approx(0.77) and "if PUE were 1.54" in str(shown.site_j_tok.reason)
    assert site_figures(J_TOK, WATT, FULL, references=references).at_reference == ()


def test_site_water_needs_no_pue_where_only_wue_counts() -> None:
    assert site_figures(J_TOK, WATT, Site(water_l_j=2e-7)).water_l_tok.value == pytest.approx(1e-7)


def test_no_meter_makes_no_joules() -> None:
    f = site_figures(unknown("J/tok", "no meter"), unknown("W", "no meter"), FULL)
    assert f.site_j_tok.value is None and "no meter" in str(f.site_j_tok.reason)
    assert f.carbon_gco2e_tok.value is None and f.water_l_tok.value is None


def test_it_limit_is_the_lesser_of_two() -> None:
    assert it_limit_figure(Site(pue_ratio=1.25, it_power_limit_w=50e3, facility_power_limit_w=50e3)).value == 40e3
    assert it_limit_figure(Site(it_power_limit_w=50e3, facility_power_limit_w=50e3)).value == 50e3
    assert "needs the PUE" in str(it_limit_figure(Site(facility_power_limit_w=50e3)).reason)
    assert it_limit_figure(Site()).value is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pue_ratio", 0.9, "at least 1"),
        ("pue_ratio", float("nan"), "at least 1"),
        ("it_power_limit_w", 0.0, "must be positive"),
        ("carbon_gco2e_j", -1.0, "0 or more"),
        ("carbon_kind", "green", "location, market"),
    ],
)
def test_impossible_sites_are_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Site(**{field: value})  # type: ignore[arg-type]
