"""Idle is a ladder in watts per board: what was measured, its order, and no mean power below it."""

from __future__ import annotations

import csv
import json
import statistics
from collections import defaultdict
from importlib.resources import files

import numpy as np
import pytest

from joulemill.catalog.devices import device_names, find_device
from joulemill.catalog.idle_states import STATES, idle_ladder
from joulemill.catalog.serving import rates
from joulemill.physics.serving.continuous_batching import steady
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import sample
from tests.support.paths import DATA

BOARDS = {"h100": "h100_dose_response.jsonl", "a100-pcie-80gb": "a100_dose_response.jsonl"}


@pytest.mark.parametrize("device", BOARDS)
def test_bare_and_loaded_idle_are_what_was_measured(device: str) -> None:
    path = DATA / "idle" / BOARDS[device]
    if not path.exists():
        pytest.skip("measured idle power lies beside the project, in ../shared/data/idle")
    watts: dict[str, list[float]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        watts["bare" if row["phase"] == "bare_idle" else "loaded"].append(row["power_w"])
    board = find_device(device)
    assert board.bare_w == pytest.approx(statistics.median(watts["bare"]), rel=0.07)
    assert board.resting_w == pytest.approx(statistics.median(watts["loaded"]), rel=0.07)


def test_h100_idles_at_122_w_with_a_model_loaded_not_at_70() -> None:
    assert find_device("h100").resting_w == pytest.approx(122.0, rel=0.02)


@pytest.mark.parametrize("name", device_names())
def test_the_ladder_rises_and_every_rung_says_where_it_is_from(name: str) -> None:
    rungs = {s.name: s.power_w for s in idle_ladder(name)}
    assert tuple(rungs) == STATES
    known = [f.value for f in (rungs["off"], rungs["bare"], rungs["sleep-1"], rungs["loaded"]) if f.value is not None]
    assert known == sorted(known)
    for figure in rungs.values():
        assert figure.source if figure.known else figure.reason, name


def test_every_fact_of_the_ladder_has_unit_and_source() -> None:
    text = files("joulemill.catalog").joinpath("data", "idle_states.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        assert row["unit"] in ("W", "s", "J") and row["source"], row
        assert bool(row["value"]) == bool(row["basis"]), row


def test_no_mean_power_lies_below_the_loaded_idle_of_its_board() -> None:
    at = sample(3)
    found = steady(at.table, rates("vllm"), at.demand)
    least = np.array([d.resting_w for d in at.device])
    assert np.all(found.power_w >= least)
    used = at.random.uniform(0.0, 1.0, least.size)
    assert np.all(used * found.power_w + (1.0 - used) * least >= least * (1 - 1e-12))


@pytest.mark.parametrize("device", ["h100", "h200", "b200", "a100", "l40s", "rtx-5090", "mi300x"])
def test_a_deployment_that_hardly_works_draws_its_loaded_idle(device: str) -> None:
    question = PredictionRequest(
        model="meta-llama/Llama-3.1-8B-Instruct", device=device, input_tokens=100.0, output_tokens=10.0, rate_req_s=1e-4
    )
    power, idle = answer(question).prediction.device_power_w.value, find_device(device).resting_w
    assert power is not None and idle is not None
    assert idle <= power < 1.01 * idle
