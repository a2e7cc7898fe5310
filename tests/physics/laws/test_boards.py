"""Floors are watts of a board: at equal load a newer board costs no more J/token where memory is the bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.physics.model.precision import uniform
from joulemill.physics.serving.continuous_batching import Steady, steady
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.power import floor_w
from joulemill.physics.serving.shard import ShardTable, shard, shard_table
from tests.physics.laws.deployments import demand

DENSE = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.1-70B-Instruct",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-14B",
    "google/gemma-3-27b-it",
    "meta-llama/Llama-3.1-405B-Instruct",
)
BOARDS = ("h100", "h200", "b200", "b300", "gb200", "gb300", "gh200")
#: Not more than the other by more than 5 %: (newer, older).
ORDER = (("h200", "h100"), ("b200", "h200"), ("b300", "b200"), ("gb200", "b200"), ("gb300", "b200"), ("gh200", "h100"))
COUNT = 40_000
RATES = rates("vllm")


def memory_bound(t: ShardTable, found: Steady) -> np.ndarray:
    """Steps of which the bytes' own time at full bandwidth is three fifths, and arithmetic a tenth at most."""
    decode = found.decode
    bytes_s = decode.executed_byte / t.bandwidth_byte_s
    return (bytes_s > 0.6 * found.step_s) & (decode.compute_s < 0.1 * found.step_s)


@pytest.fixture(scope="module")
def boards() -> dict[str, tuple[ShardTable, Steady]]:
    """The same random deployments and loads on every board."""
    random = np.random.default_rng(5)
    kinds = [
        (find_model(n).architecture, uniform(p), Parallelism(t))
        for n in DENSE
        for p in ("bf16", "fp8")
        for t in (1, 2, 4, 8)
        if find_model(n).architecture.divides_over(t)
    ]
    rows = random.integers(len(kinds), size=COUNT)
    found = {}
    load = None
    for name in BOARDS:
        each = [shard(a, p, find_device(name), parallelism) for a, p, parallelism in kinds]
        table = shard_table(each).rows(rows)
        if load is None:
            load = demand(table, random)
            load = replace(load, computed_tok=np.ones(COUNT), output_tok=np.full(COUNT, 1024.0))
        table.columns["memory_byte"] = np.full(COUNT, 1e15)  # equal load: what fits a board is another question
        found[name] = table, steady(table, RATES, replace(load, limit_w=table.tdp_w))
    return found


@pytest.mark.parametrize(("newer", "older"), ORDER)
def test_memory_bound_decode_on_a_newer_board_costs_no_more(
    newer: str, older: str, boards: dict[str, tuple[ShardTable, Steady]]
) -> None:
    (t, new), (u, old) = boards[newer], boards[older]
    bound = memory_bound(t, new) & memory_bound(u, old)
    assert bound.sum() > 2000
    ratio = new.energy_j_tok[bound] / old.energy_j_tok[bound]
    assert ratio.max() <= 1.05, (newer, older, float(np.median(ratio)), float(ratio.max()))


def test_a_floor_does_not_grow_with_what_a_board_may_draw(boards: dict[str, tuple[ShardTable, Steady]]) -> None:
    floors = {name: float(floor_w(t, RATES.power)[0]) for name, (t, _) in boards.items()}
    assert floors["b300"] == floors["gb200"] == floors["b200"] == pytest.approx(306.0, rel=0.02)
    assert floors["gh200"] == floors["h100"] == pytest.approx(147.0, rel=0.03)
    assert all(floors[n] >= (find_device(n).resting_w or 0.0) for n in BOARDS)
