"""The simulation's values refuse what cannot be, and keep their promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.simulation.controls import uncontrolled
from joulemill.simulation.timeline import ReplicaState, Timeline
from joulemill.simulation.traffic import Traffic

THREE = Traffic(arrival_ns=[0, 5, 5], input_tok=[40, 40, 8], output_tok=[1, 2, 3])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"arrival_ns": [5, 0, 5]}, "sorted"),
        ({"arrival_ns": [0.5, 1.0, 2.0]}, "whole numbers"),
        ({"input_tok": [1, 2]}, "2 entries"),
        ({"output_tok": [1, 0, 1]}, "below 1"),
        ({"input_tok": [1, 2, 10**9]}, "above"),
        ({"block_hash": [1]}, "go together"),
        ({"block_hash": [1, 2], "block_offset": [0, 1, 1, 3]}, "rise from 0"),
        ({"block_hash": [1, 2, 3, 4], "block_offset": [0, 0, 0, 4]}, "more blocks"),
        ({"previous": [-1, 0, 0], "think_ns": [0, 0, 0]}, "wait for the same"),
        ({"previous": [-1, 1, -1], "think_ns": [0, 0, 0]}, "must come after"),
        ({"previous": [-1, 0, 1]}, "go together"),
    ],
)
def test_traffic_that_cannot_be(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        replace(THREE, **change)


def test_a_prompt_may_end_in_a_part_of_a_block() -> None:
    blocks = replace(THREE, block_hash=[7, 8, 9, 7], block_offset=[0, 3, 4, 4])  # type: ignore[arg-type]
    assert blocks.requests_count == 3
    assert blocks.block_hash is not None
    assert blocks.block_hash.dtype == np.int64


def intervals(**change: Any) -> Timeline:
    zero = np.zeros(2)
    columns: dict[str, Any] = {
        "replica": [0, 0],
        "start_ns": [0, 10],
        "end_ns": [10, 30],
        "state": [ReplicaState.BARE, ReplicaState.ACTIVE],
        "decode_req": zero,
        "waiting_req": zero,
        "kv_tok": zero,
        "prefill_tok": [0, 5],
        "cached_tok": [0, 0],
        "output_tok": [0, 1],
        "prefill_j": [0.0, 2e-8],
        "decode_j": [0.0, 4e-8],
        "idle_j": [1e-9, 0.0],
        "transition_j": zero,
    }
    return Timeline(**(columns | change))


def test_power_is_all_energy_over_time() -> None:
    line = intervals()
    assert line.device_power_w == pytest.approx([0.1, 3.0])
    assert line.device_j.sum() == pytest.approx(6.1e-8)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"start_ns": [0, 11]}, "where the last one ended"),
        ({"end_ns": [0, 30]}, "end after it starts"),
        ({"replica": [1, 0]}, "sorted by replica"),
        ({"state": [0, 8]}, "no state"),
        ({"idle_j": [0.0, -1.0]}, "below 0"),
    ],
)
def test_a_timeline_has_no_gap(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        intervals(**change)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"at_ns": [1]}, "start at 0"),
        ({"power_cap_w": [0.0]}, "above 0 W"),
        ({"clock_ratio": [1.1]}, "above 1"),
        ({"clock_ratio": [0.0]}, "above 0"),
        ({"replicas_active": [-2]}, "below -1"),
    ],
)
def test_controls_that_cannot_be(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        replace(uncontrolled(), **change)
