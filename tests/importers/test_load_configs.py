"""Configurations of GuideLLM and AIPerf become the load that they would send; what describes none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.importers.asked_traffic import TrafficOptions, asked_traffic
from joulemill.importers.workload_files import workload_in
from joulemill.simulation.traffic import Traffic

DATA = {"prompt_tokens": 300, "output_tokens": 40}


def asked(tmp_path: Path, document: Any, **more: Any) -> Traffic:
    path = tmp_path / "load.json"
    path.write_text(json.dumps(document))
    return asked_traffic(TrafficOptions(trace=path, **more), context_tok=None).traffic


def rates(traffic: Traffic, *edges_s: float) -> list[int]:
    return np.histogram(traffic.arrival_ns / 1e9, edges_s)[0].tolist()


@pytest.mark.parametrize(
    "document",
    [
        {"profile": "constant", "rate": [2, 5], "max-seconds": "20", "data": DATA},
        {"rate_type": "constant", "rate": [2, 5], "max_seconds": 20, "data": "prompt_tokens=300,output_tokens=40"},
        {"profile": "constant", "rate": [2, 5], "max_seconds": 20, "data": json.dumps(DATA)},
        {
            "spec": {
                "profile": {"kind": "constant", "rate": [2, 5]},
                "constraints": [{"kind": "max_duration", "seconds": 20}],
                "data": [{"kind": "synthetic_text", **DATA}],
            }
        },
    ],
)
def test_a_scenario_of_guidellm_in_its_dialects(tmp_path: Path, document: dict[str, Any]) -> None:
    traffic = asked(tmp_path, document)
    assert rates(traffic, 0, 20, 40) == [40, 100]
    assert set(traffic.input_tok) == {300} and set(traffic.output_tok) == {40}


def test_a_closed_loop_keeps_as_many_in_flight(tmp_path: Path) -> None:
    scenario = {"profile": "concurrent", "rate": 3, "max_requests": 12, "data": DATA | {"prompt_tokens_stdev": 30}}
    traffic = asked(tmp_path, scenario)
    assert traffic.previous is not None and traffic.previous.tolist() == [-1, -1, -1, *range(9)]
    assert len(set(traffic.input_tok)) > 1
    assert asked(tmp_path, scenario, requests=20).requests_count == 20


def test_turns_of_guidellm_are_sessions(tmp_path: Path) -> None:
    data = DATA | {"turns": 3, "delay": 2.0}
    traffic = asked(tmp_path, {"profile": "constant", "rate": 1, "max_seconds": 10, "data": data})
    assert traffic.requests_count == 30 and traffic.session is not None and len(set(traffic.session)) == 10
    assert sorted(set(traffic.input_tok)) == [300, 640, 980]


AIPERF = {
    "benchmark": {
        "datasets": [{"name": "main", "type": "synthetic", "prompts": {"isl": {"mean": 300}, "osl": 40}}],
        "phases": [
            {"name": "warmup", "type": "concurrency", "concurrency": 4, "requests": 8},
            {"name": "low", "type": "constant", "rate": 2, "duration": "20s"},
            {"name": "high", "type": "constant", "rate": 5, "requests": 100},
        ],
    }
}


def test_aiperfs_phases_come_one_after_another_without_the_warmup(tmp_path: Path) -> None:
    traffic = asked(tmp_path, AIPERF)
    assert rates(traffic, 0, 20, 40) == [40, 100] and set(traffic.input_tok) == {300}


def test_aiperfs_short_forms(tmp_path: Path) -> None:
    short = {
        "dataset": {"type": "synthetic", "isl": {"mean": 200, "stddev": 50}, "osl": 30, "turns": {"mean": 2},
                    "turnDelay": {"mean": 2000}},
        "profiling": {"type": "poisson", "rate": 3, "duration": "1m"},
    }  # fmt: skip
    traffic = asked(tmp_path, short)
    assert traffic.previous is not None and traffic.think_ns is not None
    waits = traffic.think_ns[traffic.previous >= 0] / 1e9
    assert len(waits) == traffic.requests_count / 2
    assert waits.mean() == pytest.approx(2.0, abs=5 * 2.0 / np.sqrt(len(waits)))
    closed = short | {"profiling": {"type": "concurrency", "concurrency": 2, "requests": 6}}
    assert asked(tmp_path, closed).requests_count == 6


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"profile": "sweep", "rate": 5, "max_seconds": 20, "data": DATA}, "describes no load by itself"),
        ({"profile": "poisson", "rate": 5, "data": DATA}, "how long the load lasts"),
        ({"profile": "poisson", "max_seconds": 5, "data": DATA}, "a rate or a concurrency above 0"),
        ({"profile": "concurrent", "rate": [1, 5], "data": DATA}, "1, 5 users one after another"),
        ({"profile": "poisson", "rate": 5, "max_seconds": 9, "data": "hf.co/data"}, "synthetic data"),
        ({"profile": "poisson", "rate": 5, "max_seconds": 9, "data": {"output_tokens": 1}}, "a number of tokens"),
        ({"benchmark": {**AIPERF["benchmark"], "phases": [{"name": "warmup"}]}}, "no phase that is measured"),
        ({"benchmark": {**AIPERF["benchmark"], "phases": [{"type": "burst", "rate": 1}]}}, "'burst'"),
    ],
)
def test_what_describes_no_load_is_refused(tmp_path: Path, document: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        asked(tmp_path, document)


def test_other_files_configure_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for document in ({}, {"phases": 1, "datasets": [3]}, {"data": 1, "profile": None}, [1]):
        path.write_text(json.dumps(document))
        assert workload_in(path) is None
