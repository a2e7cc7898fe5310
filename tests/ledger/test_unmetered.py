"""A node of which only parts are metered: modelled where its holder is known, else unknown, never the parts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.readings import channel
from simulated.runs import BUSY_W, IDLE_W, steady_run

from joulemill.catalog.nodes import find_node
from joulemill.figure import Basis
from joulemill.ledger.account import account
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import RunRecord, Scope
from joulemill.ledger.unmetered import PACKAGE_SHARES, DeviceNodeModel, PackageNodeModel
from joulemill.physics.hardware.node import share_power
from tests.support.manifests import manifest_of, members_of

HOPPER = find_node("hgx-hopper-8")


def run(scope: Scope, name: str = "nvml:g:energy") -> RunRecord:
    return steady_run(channels=(channel(name, scope=scope, update_period_s=0.01),))


def test_boards_alone_are_no_node() -> None:
    found = account(run(Scope.DEVICE))
    node = found.scopes[Scope.NODE]
    assert found.scopes[Scope.DEVICE].power.value == pytest.approx(BUSY_W)
    assert node.energy.value is None and node.j_tok.value is None and node.power.value is None
    assert [f.code for f in node.findings if f.fatal] == [Reason.PARTIAL]
    assert "fans and conversion missing" in (node.energy.reason or "") and "which devices these are" in (
        node.energy.reason or ""
    )
    assert found.main is Scope.DEVICE and found.request_j.basis is Basis.MEASURED


def test_boards_in_a_known_server_are_its_power_by_the_node_model() -> None:
    found = account(run(Scope.DEVICE), holder=DeviceNodeModel(HOPPER, 1))
    node = found.scopes[Scope.NODE]
    by_hand = share_power(BUSY_W, 1, HOPPER)
    assert node.power.value == pytest.approx(float(by_hand.node_w), rel=1e-3)
    assert node.power.low <= float(by_hand.low_w) + 1 and node.power.high >= float(by_hand.high_w) - 1
    assert node.power.basis is Basis.MODELLED and found.scopes[Scope.DEVICE].power.basis is Basis.MEASURED
    assert node.idle_power.value == pytest.approx(float(share_power(IDLE_W, 1, HOPPER).node_w), rel=1e-3)
    assert sum(j or 0.0 for j in node.sub_window_j) == pytest.approx(node.energy.value)
    assert found.main is Scope.DEVICE  # what is measured as a whole comes before what is modelled


def test_packages_of_a_machine_without_accelerators_are_an_assumed_share() -> None:
    found = account(run(Scope.CPU, "rapl:package-0"), holder=PackageNodeModel())
    node = found.scopes[Scope.NODE]
    assert node.power.low == pytest.approx(BUSY_W / PACKAGE_SHARES[1], rel=0.02)
    assert node.power.high == pytest.approx(BUSY_W / PACKAGE_SHARES[0], rel=0.02)
    assert node.j_tok.low > found.scopes[Scope.CPU].j_tok.value and node.j_tok.basis is Basis.MODELLED
    assert "devices" not in node.composition.missing and "fans and conversion" in node.composition.missing


def test_boards_beside_a_cpu_server_are_meant_where_the_user_named_their_meter() -> None:
    found_by_auto = run(Scope.DEVICE)
    of_auto = account(found_by_auto, holder=PackageNodeModel()).scopes[Scope.DEVICE]
    assert of_auto.energy.value is None and Reason.UNEXPECTED_DEVICE in {f.code for f in of_auto.findings}
    spec = found_by_auto.channels[0].meter + ",gpus=0"
    named = replace(found_by_auto, manifest=manifest_of({**members_of(found_by_auto), "options": {"meters": [spec]}}))
    assert account(named, holder=PackageNodeModel()).scopes[Scope.DEVICE].power.value == pytest.approx(BUSY_W)
    stated = replace(named, manifest=manifest_of({**members_of(named), "expected": {"device": 2}}))
    assert account(stated, holder=PackageNodeModel()).scopes[Scope.DEVICE].energy.value is None


def test_packages_beside_boards_do_not_tell_the_boards() -> None:
    found = account(run(Scope.CPU, "rapl:package-0"), holder=DeviceNodeModel(HOPPER, 8))
    assert found.scopes[Scope.NODE].energy.value is None


def test_a_node_meter_needs_no_model() -> None:
    whole = account(run(Scope.NODE), holder=DeviceNodeModel(HOPPER, 8)).scopes[Scope.NODE]
    assert whole.power.value == pytest.approx(BUSY_W) and whole.power.basis is Basis.MEASURED


def test_a_refused_part_is_not_completed() -> None:
    broken = run(Scope.DEVICE)
    cut = replace(broken, readings=broken.readings[:40])
    assert account(cut, holder=DeviceNodeModel(HOPPER, 1)).scopes[Scope.NODE].energy.value is None


@given(st.floats(10.0, 800.0), st.floats(0.0, 400.0), st.integers(1, 16))
def test_a_node_is_never_less_than_its_metered_parts(device_w: float, cpu_w: float, count: int) -> None:
    found = DeviceNodeModel(HOPPER, count).whole({Scope.DEVICE: device_w * count, Scope.CPU: cpu_w})
    assert found is not None
    assert device_w * count + cpu_w <= found.low_w <= found.node_w <= found.high_w
    packages = PackageNodeModel().whole({Scope.CPU: device_w, Scope.MEMORY: cpu_w})
    assert packages is not None and device_w + cpu_w < packages.low_w < packages.node_w < packages.high_w
