"""A day on the page is the command's simulation, bounded, its faults beside their fields."""

from __future__ import annotations

import pytest

import joulemill as jm
from joulemill.explorer.asking import FieldError, arguments, asked
from joulemill.explorer.day import MOST_REQUESTS, day
from tests.support.explorer import PLAIN, READ

STATED = arguments(asked(PLAIN | {"site.pue": "1.2"}), READ)
SHORT = {"rate": "0.5req/s", "duration": "20min", "shape": "flat"}


def test_the_figures_are_those_of_the_simulation() -> None:
    shown = day(STATED, SHORT)
    run = jm.simulate(
        "Qwen/Qwen3-32B", "h100", devices=2, rate_req_s=0.5, duration_s=1200, site=STATED["site"], scenarios=0
    )
    assert shown["energy"]["site_j_tok"]["value"] == pytest.approx(run.energy.site.value)
    assert shown["latency"]["tpot_s"]["p50"] == pytest.approx(run.latency["tpot_s"]["p50"])
    assert list(shown["series"]) == ["none"] and shown["scope"] == "site"
    watts = shown["series"]["none"]["site_w"]
    assert sum(watts) / len(watts) == pytest.approx(shown["power"]["site_w"]["mean"], rel=0.01)


def test_a_cut_is_played_with_and_without_and_says_what_it_costs() -> None:
    shown = day(STATED, SHORT | {"cut": "10 %", "policy": "admission"})
    assert list(shown["series"]) == ["none", "admission"] and shown["shown"] == "admission"
    (event,) = shown["events"]
    assert (event["start_s"], event["end_s"]) == (600.0, 750.0)
    row = next(p for p in shown["policies"] if p["policy"] == "admission")
    assert row["kept"] is True and row["lost_tok"] > 0.0


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        ({"rate": "5 W"}, "day.rate"),
        ({"rate": f"{MOST_REQUESTS}req/s"}, "day.rate"),
        ({"duration": "long"}, "day.duration"),
        ({"shape": "square"}, "day.shape"),
        ({"cut": "150%"}, "day.cut"),
    ],
)
def test_what_cannot_be_played_is_said_beside_its_field(texts: dict[str, str], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        day(STATED, SHORT | texts)
    assert caught.value.field == field
