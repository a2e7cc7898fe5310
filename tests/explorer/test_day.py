"""A day on the page is the command's simulation, bounded, its faults beside their fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import joulemill as jm
from joulemill.explorer.asking import FieldError, arguments, asked
from joulemill.explorer.day import MOST_REQUESTS, DroppedTrace, day, events_toml
from joulemill.importers.events_file import load_events
from joulemill.simulation.events import SiteEvent, SiteEvents
from tests.support.explorer import PLAIN, READ

BASE = PLAIN | {"site.pue": "1.2"}
STATED = arguments(asked(BASE), READ)
TRACE = "timestamp_s,input_tokens,output_tokens\n" + "".join(f"{i},{64 + i},{32 + i}\n" for i in range(0, 90, 3))
SHORT = {"rate": "0.5req/s", "duration": "20min", "shape": "flat"}


def play(texts: dict[str, str], trace: DroppedTrace | None = None) -> dict[str, Any]:
    question = asked(BASE | {f"day.{k}": v for k, v in (SHORT | texts).items()})
    return day(question, STATED, trace)


def test_the_figures_are_those_of_the_simulation() -> None:
    shown = play({})
    run = jm.simulate(
        "Qwen/Qwen3-32B", "h100", devices=2, rate_req_s=0.5, duration_s=1200, site=STATED["site"], scenarios=0
    )
    assert shown["energy"]["site_j_tok"]["value"] == pytest.approx(run.energy.site.value)
    assert shown["latency"]["tpot_s"]["p50"] == pytest.approx(run.latency["tpot_s"]["p50"])
    assert list(shown["series"]) == ["none"] and shown["scope"] == "site"
    over_time = shown["latency_series"]["none"]
    arrival_s, ttft_s = run.requests()["arrival_s"], run.requests()["ttft_s"]
    first = ttft_s[arrival_s < over_time["t_s"][1] - over_time["t_s"][0]]  # the first bin
    assert over_time["ttft_s"][0] == pytest.approx(first.mean()) and len(first) > 0
    watts = shown["series"]["none"]["site_w"]
    assert sum(watts) / len(watts) == pytest.approx(shown["power"]["site_w"]["mean"], rel=0.01)


def test_a_cut_is_played_with_and_without_and_says_what_it_costs() -> None:
    shown = play({"cut": "10 %", "policy": "admission"})
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
        ({"cut": "10%", "policy": "hope"}, "day.policy"),
        ({"duration": "1000h", "rate": "1e-5req/s"}, "day.duration"),
    ],
)
def test_what_cannot_be_played_is_said_beside_its_field(texts: dict[str, str], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        play(texts)
    assert caught.value.field == field


def test_a_trace_is_played_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(TRACE)
    shown = play({"rate": ""}, DroppedTrace("mine.csv", TRACE))
    run = jm.simulate(
        "Qwen/Qwen3-32B",
        "h100",
        devices=2,
        trace=tmp_path / "mine.csv",
        duration_s=1200,
        site=STATED["site"],
        scenarios=0,
    )
    assert shown["requests"]["offered"] == 30
    assert shown["energy"]["site_j_tok"]["value"] == pytest.approx(run.energy.site.value)
    low, high = shown["latency"]["tpot_s"]["interval"]["mean"]
    assert low < shown["latency"]["tpot_s"]["mean"] < high


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("mine.exe", TRACE, "CSV or JSON Lines"),
        ("mine.csv", "a,b\n1,2\n", "mine.csv"),
        ("mine.csv", "\n" * (MOST_REQUESTS + 2), "simulates at most 30,000"),
    ],
)
def test_what_is_no_trace_is_said_by_its_name(name: str, text: str, says: str) -> None:
    with pytest.raises(FieldError, match=says) as caught:
        play({"rate": ""}, DroppedTrace(name, text))
    assert caught.value.field == "day.trace" and "/tmp" not in str(caught.value)


def test_a_cut_as_the_text_of_an_events_file_says_the_same(tmp_path: Path) -> None:
    events = SiteEvents(
        events=(SiteEvent(name="10% less power", start_s=600.0, end_s=750.0, cut_ratio=0.1),),
        policies=("cap",),
        deferrable_ratio=0.4,
    )
    (tmp_path / "events.toml").write_text(events_toml(events))
    assert load_events(tmp_path / "events.toml") == events
    assert events_toml(SiteEvents()) == ""
