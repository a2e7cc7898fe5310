"""A plan on the page is the command's, moved limits included; files stay closed."""

from __future__ import annotations

import pytest

import joulemill as jm
from joulemill.explorer.planned import Plans, limits_of, refuse_files
from tests.support.explorer import PLAN as TEXT


@pytest.fixture(scope="module")
def plans() -> Plans:
    return Plans()


def test_the_plan_and_a_moved_limit_are_the_commands(plans: Plans) -> None:
    shown = plans.document(TEXT, "lab.toml", [])
    assert shown["limits"] == [{"change": "site.lab.it_power_limit", "value_w": 12e3}]
    assert shown["power"][0]["limit_w"] == 12e3 and shown["status"] == "optimal" and shown["sentences"]
    moved = plans.document(TEXT, "lab.toml", ["site.lab.it_power_limit=6kW"])
    again = plans.document(TEXT.replace("12 kW", "6 kW"), "lab.toml", [])
    assert moved["output"]["rate_tok_s"] == pytest.approx(again["output"]["rate_tok_s"], rel=1e-9)
    assert moved["output"]["rate_tok_s"] < shown["output"]["rate_tok_s"]
    assert moved["copy"]["cli"] == "joulemill plan lab.toml --quick --set site.lab.it_power_limit=6kW"
    (flow,) = shown["flows"]
    assert (flow["demand"], flow["site"]) == ("chat", "lab")
    assert flow["rate_tok_s"] == pytest.approx(shown["output"]["rate_tok_s"])


def test_a_plan_names_no_files_on_the_page(plans: Plans) -> None:
    for text in (
        TEXT.replace('"h100"', '"/etc/own.toml"'),
        TEXT + 'trace = "/var/log/day.csv"\n',
        TEXT.replace("Qwen/Qwen3-8B", "/m"),
    ):
        with pytest.raises(jm.InputError, match="names a file"):
            plans.document(text, "lab.toml", [])
    refuse_files({"site": [{"name": "a"}]})


@pytest.mark.parametrize("text", ["[[site]", "site = 3", TEXT.replace("owned_count", "own_count")])
def test_nonsense_is_one_clear_error(plans: Plans, text: str) -> None:
    with pytest.raises(jm.InputError):
        plans.document(text, "lab.toml", [])


def test_only_limits_that_are_stated_are_moved() -> None:
    assert list(limits_of({"site": [{"name": "a", "pue": 1.2}, {"cooling_limit": "3 kW"}]})) == []
