"""From boards to the node: shares add up to the node once; other boards than expected refuse the sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.catalog.nodes import node_of
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.accounting.nodes import Nodes, chassis_of, node_key, node_name
from joulemill.physics.hardware.node import node_power


class Boards:
    """A dcgm-exporter's boards, read by nobody: the test hands readings in."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=f"dcgm:{n}:energy",
                meter="dcgm",
                device=n,
                scope=Scope.DEVICE,
                quantity=Quantity.ENERGY,
                basis=Basis.MEASURED,
            )
            for n in self.names
        )

    def read(self) -> tuple[Reading, ...]:
        return ()

    def close(self) -> None:
        pass


def meters(
    nodes: Nodes, name: str, numbers: Sequence[int], watts: float, *, count: int | None = 4, device: str | None = "h100"
) -> TargetMeters:
    names = [f"GPU-{i}" for i in numbers]
    chassis = replace(chassis_of(device), others=nodes.others("n1", name))
    expected = None if count is None else {Scope.DEVICE: count}
    made = TargetMeters([Boards(names)], 1.0, 1000.0, expected, chassis=chassis)
    made.take([Reading(f"dcgm:{n}:energy", float(t), t, watts * t) for t in range(40) for n in names])
    nodes.join("n1", name, made)
    return made


@given(st.floats(60.0, 700.0), st.floats(60.0, 700.0))
def test_shares_of_two_targets_add_up_to_the_node_once(first_w: float, second_w: float) -> None:
    nodes = Nodes()
    one, two = meters(nodes, "a", range(4), first_w), meters(nodes, "b", range(4, 8), second_w)
    shares = [m.energy(5.0, 35.0)["node"] for m in (one, two)]
    whole_w = float(node_power(4 * (first_w + second_w), node_of("h100")).node_w)
    assert sum(s.energy_j for s in shares) / 30 == pytest.approx(whole_w, rel=1e-6)
    assert {s.basis for s in shares} == {"modelled"}
    assert all(s.half_width_j and s.half_width_j > 0.03 * s.energy_j for s in shares)
    assert all(s.energy_j > m.energy(5.0, 35.0)["device"].energy_j for s, m in zip(shares, (one, two), strict=True))


def test_a_target_alone_on_half_a_node_carries_half_of_it() -> None:
    alone = meters(Nodes(), "a", range(4), 400.0).energy(5.0, 35.0)["node"]
    assert alone.energy_j / 30 == pytest.approx(float(node_power(3200.0, node_of("h100")).node_w) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("numbers", "count", "code"),
    [
        (range(8), 4, "unexpected_device"),
        (range(2), 4, "missing_device"),
        ((0,), 4, "missing_device"),
    ],
)
def test_fewer_or_more_boards_than_stated_refuse_the_sum_and_are_named(
    numbers: Sequence[int], count: int, code: str
) -> None:
    joules, findings = meters(Nodes(), "a", numbers, 300.0, count=count).account(5.0, 35.0)
    assert joules == {}
    refusing = {f.scope: f for f in findings if f.refused}
    assert refusing["device"].code == code
    assert "GPU-0" in refusing["device"].text and str(len(numbers)) in refusing["device"].text


def test_without_a_device_the_boards_are_known_and_the_node_says_why_not() -> None:
    joules, findings = meters(Nodes(), "a", range(4), 300.0, count=None, device=None).account(5.0, 35.0)
    assert set(joules) == {"device"}
    assert [(f.scope, f.refused) for f in findings] == [("node", True)] and "devices_count" in findings[0].text


def test_one_dead_board_refuses_the_sum_and_its_name_is_told() -> None:
    made = meters(Nodes(), "a", range(4), 300.0)
    lame = TargetMeters([Boards([f"GPU-{i}" for i in range(4)])], 1.0, 1000.0, {Scope.DEVICE: 4})
    lame.take([Reading(f"dcgm:GPU-{i}:energy", float(t), t, 300.0 * t) for t in range(40) for i in range(3)])
    assert "device" in made.energy(5.0, 35.0)
    joules, findings = lame.account(5.0, 35.0)
    assert joules == {} and any("GPU-3" in f.text and f.refused for f in findings)


@pytest.mark.parametrize(
    ("stated", "specs", "key"),
    [
        (None, ["prometheus:http://n1:9400/metrics,gpus=0+1"], "n1:9400"),
        (None, ["prometheus:http://n1:9400,gpus=0+1"], "n1:9400"),
        (None, ["prometheus:https://gateway/n1/metrics,gpus=0+1"], "gateway/n1/metrics"),
        (None, ["prometheus:http://prom:9090,via=api,where=Hostname:n1"], "target a"),
        ("rack3-7", ["prometheus:http://prom:9090,via=api"], "node rack3-7"),
        (None, ["nvml:gpus=0+1"], "this machine"),
        (None, [], "target a"),
    ],
)
def test_who_shares_a_node(stated: str | None, specs: Sequence[str], key: str) -> None:
    assert node_key(stated, specs, "a") == key


@pytest.mark.parametrize("dead_w", [0.0, 0.4])
def test_a_board_at_nothing_while_tokens_are_made_is_a_dead_sensor(dead_w: float) -> None:
    class Power(Boards):
        def channels(self) -> tuple[Channel, ...]:
            return tuple(replace(c, quantity=Quantity.POWER) for c in super().channels())

    names = [f"GPU-{i}" for i in range(4)]
    made = TargetMeters([Power(names)], 1.0, 1000.0, {Scope.DEVICE: 4}, chassis=chassis_of("h100"))
    made.take(
        [Reading(f"dcgm:{n}:energy", float(t), t, dead_w if n == "GPU-2" else 300.0) for t in range(40) for n in names]
    )
    assert made.energy(5.0, 35.0)["device"].energy_j == pytest.approx(30 * (900 + dead_w))
    joules, findings = made.account(5.0, 35.0, output_tok=100.0)
    assert joules == {}
    assert {(f.scope, f.code) for f in findings if f.refused} >= {("device", "dead_sensor"), ("node", "dead_sensor")}
    assert all("GPU-2" in f.text for f in findings if f.code == "dead_sensor")


def test_a_node_is_called_as_stated_else_by_its_exporter_else_not_at_all() -> None:
    assert node_name("gpu-1", ["nvml"]) == "gpu-1"
    assert node_name(None, ["prometheus:http://n1:9400/metrics,gpus=0"]) == "n1:9400"
    assert node_name(None, ["nvml"]) == "this machine" and node_name(None, []) is None
