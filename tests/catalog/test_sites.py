"""Site files: what people write, converted once; errors that say what to do."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest

from joulemill.catalog.sites import load_site, parse_site, reference_pues, site_file
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.physics.hardware.site import Site
from tests.support.paths import ROOT


def test_the_example_reads_as_it_is_written() -> None:
    site = load_site(ROOT / "examples" / "site.toml")
    assert site.pue_ratio == 1.2 and site.pue_basis == Basis.DECLARED
    assert (site.it_power_limit_w, site.facility_power_limit_w, site.cooling_limit_w) == (40e3, 50e3, 45e3)
    assert site.carbon_gco2e_j == pytest.approx(350 / 3.6e6)
    assert site.price_currency_j == pytest.approx(0.12 / 3.6e6) and site.currency == "EUR"
    assert site.embodied_gco2e_s is None and site.residual_currency_s is None


def test_an_empty_file_knows_nothing() -> None:
    assert parse_site({}) == Site()
    assert parse_site({"pue": "unknown", "it_power_limit": " Unknown "}) == Site()


def test_a_table_called_site_and_powers_with_units(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[site]\npue = 1.1\nit_power_limit = '2500 W'\nresidual_currency_h = 36\n")
    site = load_site(path)
    assert site.it_power_limit_w == 2500.0 and site.residual_currency_s == pytest.approx(0.01)


def test_the_monitors_spellings_are_the_same_site() -> None:
    hours = [float(h) for h in range(24)]
    monitor = {"pue_ratio": 1.3, "power_limit_w": 24e6, "carbon_g_kwh": 320, "price_kwh": 0.11, "currency": "EUR"}
    file = {"pue": 1.3, "it_power_limit": "24 MW", "carbon_gco2e_kwh": 320, "price_currency_kwh": 0.11}
    assert parse_site(monitor) == parse_site(file | {"currency": "EUR"})
    whole = site_file(monitor | {"carbon_by_hour_g_kwh": hours, "meters": ["nvml"], "feeds_count": 2})
    assert whole.carbon_by_hour_gco2e_kwh == tuple(hours) and whole.meters == ("nvml",) and whole.feeds_count == 2
    assert whole.it_power_limit == 24e6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pue = 0.9", r"bad.toml: pue is 0.9; PUE is facility energy ÷ IT energy, so it is at least 1"),
        ("", "says nothing"),
        ("it_power_limit = 40", "it_power_limit: '40' has no unit; write 40W, 40kW or 40MW"),
        ('it_power_limit = "40"', "it_power_limit: '40' has no unit"),
        ('it_power_limit = "500mW"', "it_power_limit: '500mW' cannot be; it must lie between 5 W and 100 GW"),
        ('facility_power_limit = "1e30 W"', "facility_power_limit: '1e30 W' cannot be"),
        ("cooling_limit = true", "cooling_limit = True is not a power"),
        ("pue = 120", "pue = 120 cannot be: .*must be at most 10"),
        ("pue = inf", "pue = inf cannot be"),
        ("pue = nan", "pue = nan is not a number"),
        ("pue = true", "pue = True is not a number"),
        ("carbon_gco2e_kwh = 1e12", r"carbon_gco2e_kwh = 1000000000000\.0 cannot be: .*at most 3,000"),
        ("carbon_gco2e_kwh = -5", "carbon_gco2e_kwh = -5 cannot be: .*must be 0 or more"),
        ("pue = 1.2\npue_ratio = 1.3", "pue is stated twice, as pue and pue_ratio"),
        ("carbon_by_hour_g_kwh = [1, 2]", "carbon_by_hour_g_kwh takes a list of 24 numbers.*, not 2"),
        ("currency = 3", "currency = 3 is not text"),
        ("feeds_count = 0", "feeds_count = 0 is not a count"),
        ('carbon = {source = "uk", sorce = "uk"}', "unknown key carbon.sorce; did you mean source"),
        ('carbon = {sourc = "uk"}', "unknown key carbon.sourc; did you mean source"),
        ('carbon = "DE"', "write it like carbon = {source"),
        ("puee = 1.2", "unknown key 'puee'; did you mean pue"),
        ("zzz = 1", "it knows name, pue"),
        ('pue = "high"', "pue = 'high' is not a number.*\"unknown\""),
        ('it_power_limit = "40 kg"', "it_power_limit: '40 kg' has unit 'kg'; it needs W"),
        ('it_power_limit = "-3 kW"', "must lie between 5 W and"),
        ('carbon_kind = "green"', "location, market, marginal"),
        ('pue = 1.2\npue_basis = "felt"', "declared.*measured"),
        ("price_currency_kwh = -1", "0 or more"),
        ("pue = [1.2]", "pue ="),
        ("pue = ", "site file"),
    ],
)
def test_a_bad_file_says_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_site(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        load_site(tmp_path / "none.toml")


def test_references_are_cited_and_agree_with_the_region_table() -> None:
    references = {r.name: r for r in reference_pues()}
    assert all(r.source and r.pue_ratio >= 1 for r in references.values())
    table = ROOT.parent / "shared" / "data" / "cloud_regions.csv"
    if not table.exists():
        pytest.skip(f"needs {table.name} beside the project")
    with table.open(encoding="utf-8") as lines:
        aws = [
            float(row["power-usage-effectiveness"])
            for row in csv.DictReader(lines)
            if (row["year"], row["cloud-provider"]) == ("2024", "Amazon Web Services")
            and row["power-usage-effectiveness"]
        ]
    assert len(aws) == 22 and statistics.median(aws) == pytest.approx(references["large cloud"].pue_ratio)
