"""Nodes that are chosen and clocks that are locked: what they change, what not, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

import joulemill as jm
from joulemill.catalog.devices import find_device
from joulemill.catalog.nodes import find_node, node_names, node_of, nodes_that_hold
from joulemill.errors import InputError
from joulemill.physics.hardware.node import node_power
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest

QUESTION = PredictionRequest(
    model="Qwen/Qwen3-32B", device="h100", devices=8, tp=2, concurrency=32.0, engine="vllm-0.11"
)


def test_a_liquid_cooled_node_saves_its_fans_and_nothing_else() -> None:
    air, liquid = answer(QUESTION), answer(replace(QUESTION, node="hgx-hopper-8-liquid"))
    assert liquid.prediction.device_power_w == air.prediction.device_power_w
    assert liquid.prediction.rate_tok_s == air.prediction.rate_tok_s
    saved_w = (air.prediction.node_power_w.value or 0.0) - (liquid.prediction.node_power_w.value or 0.0)
    fans_w = float(node_power(air.prediction.device_power_w.value or 0.0, find_node("hgx-hopper-8")).fan_w)
    left_w = float(node_power(air.prediction.device_power_w.value or 0.0, find_node("hgx-hopper-8-liquid")).fan_w)
    # The difference of the fans, and the conversion loss of what they no longer draw.
    assert fans_w - left_w < saved_w < 1.1 * (fans_w - left_w)
    assert left_w < 0.3 * fans_w


def test_a_server_of_two_boards_is_no_quarter_of_eight() -> None:
    two = PredictionRequest(model="Qwen/Qwen3-8B", device="l40s", devices=2, concurrency=16.0, node="pcie-2")
    share, own = answer(replace(two, node=None)).prediction, answer(two).prediction
    board_w = own.device_power_w.value or 0.0
    assert own.device_power_w == share.device_power_w
    assert (own.node_power_w.value or 0.0) > (share.node_power_w.value or 0.0)
    # More than a quarter of the eight-card host falls on two cards that have one of their own.
    eight, pair = find_node("pcie-8"), find_node("pcie-2")
    assert pair.host_idle_w > eight.host_idle_w / 4
    assert own.node_power_w.value == pytest.approx(float(node_power(board_w, pair).node_w))


def test_the_answer_says_which_cooling_it_assumed() -> None:
    assumed, stated = answer(QUESTION), answer(replace(QUESTION, node="hgx-hopper-8-liquid"))
    assert any("cooling: air" in note for note in assumed.every_note)
    assert not any("node is assumed" in note for note in stated.every_note)
    document = jm.predict("Qwen/Qwen3-32B", "h100", devices=8, concurrency=32, node="hgx-hopper-8-liquid").to_dict()
    assert document["deployment"]["node_used"]["cooling"] == "liquid"


def test_links_are_those_of_the_node() -> None:
    bridged = PredictionRequest(
        model="Qwen/Qwen3-32B", device="h100-nvl", devices=2, tp=2, concurrency=64.0, node="pcie-8-bridge"
    )
    bridge, plain = answer(bridged).prediction, answer(replace(bridged, node="pcie-8")).prediction
    assert (bridge.rate_tok_s.value or 0.0) > (plain.rate_tok_s.value or 0.0)
    few = replace(QUESTION, devices=16, tp=16)
    slow = answer(replace(few, node="hgx-hopper-8-2nic")).prediction
    assert (slow.rate_tok_s.value or 0.0) < (answer(few).prediction.rate_tok_s.value or 0.0)


def test_every_node_names_its_devices_and_the_usual_one_is_first() -> None:
    for name in node_names():
        assert find_node(name).cooling in ("air", "liquid")
    for device in ("h100", "b200", "l40s", "a100"):
        assert find_node(nodes_that_hold(device)[0]) == node_of(device)
    with pytest.raises(InputError, match="hgx-hopper-8"):
        answer(replace(QUESTION, node="pcie-2"))


def test_a_clock_in_hertz_is_its_share_of_the_highest() -> None:
    most = find_device("h100").max_clock_hz
    assert most == 1.98e9
    by_ratio, by_hz = answer(replace(QUESTION, clock_ratio=0.75)), answer(replace(QUESTION, clock_hz=0.75 * most))
    assert by_hz.prediction.device_j_tok.value == pytest.approx(by_ratio.prediction.device_j_tok.value)
    assert answer(replace(QUESTION, clock_hz=most)).prediction.rate_tok_s == answer(QUESTION).prediction.rate_tok_s
    for clock_hz, device, said in ((3e9, "h100", "clock_hz"), (1e9, "mi300x", "clock_ratio")):
        with pytest.raises(InputError, match=said):
            answer(replace(QUESTION, device=device, clock_hz=clock_hz))
    with pytest.raises(InputError, match="one of them"):
        replace(QUESTION, clock_hz=1e9, clock_ratio=0.5)


def test_tables_take_nodes_and_clocks() -> None:
    rows = {
        "model": "Qwen/Qwen3-32B",
        "device": "h100",
        "devices": 2,
        "concurrency": [32.0] * 3,
        "node": [None, "hgx-hopper-8-liquid", None],
        "clock_hz": [None, None, 1.2e9],
    }
    many = jm.predict_many(rows)
    for i in range(3):
        one = {k: v if not isinstance(v, list) else v[i] for k, v in rows.items()}
        single = jm.predict(**one).answer.prediction  # type: ignore[arg-type]
        assert many["node_power_w"][i] == pytest.approx(single.node_power_w.value)
        assert many["device_j_tok_high"][i] == pytest.approx(single.device_j_tok.high)
