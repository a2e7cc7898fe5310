"""Several meters of one node together: opened as a user would, sampled, and composed by the ledger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.ledger.energy import EnergyResult, window_energy
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.record import Quantity, Reading, Scope
from joulemill.ledger.scopes import Composition, compose, scope_energy
from joulemill.ledger.trace import trace
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from joulemill.meters.sampler import Sampler
from tests.support.node_pages import bmc, gpus
from tests.support.redfish_service import Service
from tests.support.surroundings import proc_tree, rapl_zone
from tests.support.web import Web, serving


def measured(
    meters: Sequence[Meter], for_s: float
) -> tuple[dict[Scope, Composition], dict[str, EnergyResult], tuple[float, float]]:
    readings: list[Reading] = []
    sampler = Sampler(meters, 0.05, readings.extend)
    sampler.start()
    time.sleep(for_s)
    sampler.stop()
    assert sampler.failure is None
    channels = [c for m in meters for c in m.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    by_id = {c.id: sorted((r for r in readings if r.channel == c.id), key=lambda r: r.t_mono_s) for c in channels}
    window = (max(r[0].t_mono_s for r in by_id.values()), min(r[-1].t_mono_s for r in by_id.values()))
    results = {c.id: window_energy(trace(c, by_id[c.id]), *window, max_gap_s=10.0) for c in channels}
    fatal: dict[str, tuple[Finding, ...]] = {i: r.findings for i, r in results.items() if r.energy_j is None}
    return compose(channels, fatal), results, window


@pytest.fixture
def context(tmp_path: Path) -> MeterContext:
    proc_tree(tmp_path / "proc")
    return MeterContext(sysfs=tmp_path / "sys", proc=tmp_path / "proc", environ={}, notice=lambda _: None)


def power_w(
    scope: Scope, found: tuple[dict[Scope, Composition], dict[str, EnergyResult], tuple[float, float]]
) -> float | None:
    compositions, results, window = found
    return scope_energy(compositions[scope], results, window).power_w


def served(page: Web, service: Web) -> None:
    begin = time.monotonic()
    page.pages["/metrics"] = lambda _: (200, {}, gpus(begin, 512.5))
    bmc(Service(service), 6200.0)


def test_gpus_within_a_node_are_not_added_to_it(context: MeterContext) -> None:
    """Eight boards of 512.5 W by dcgm-exporter are 4.1 kW; the BMC sees 6.2 kW for the node that holds them."""
    with serving() as page, serving() as service:
        served(page, service)
        meters = open_meters([f"prometheus:{page.url}", f"redfish:{service.url}"], context)
        found = measured(meters, 4.5)
        assert power_w(Scope.DEVICE, found) == pytest.approx(4100.0, rel=0.02)
        assert power_w(Scope.NODE, found) == pytest.approx(6200.0, rel=1e-6)
        for meter in meters:
            meter.close()


def test_without_a_node_meter_what_it_lacks_is_said(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1000.0)
    with serving() as page, serving() as service:
        served(page, service)
        meters = open_meters([f"prometheus:{page.url}"], context)
        compositions, results, window = measured(meters, 1.5)
        node = compositions[Scope.NODE]
        assert node.parts == ("devices",)
        assert set(node.missing) == {"cpu packages", "dram", "fans and conversion"}
        told = scope_energy(node, results, window).findings
        assert Reason.PARTIAL in {f.code for f in told}


def test_two_node_meters_that_differ_are_told_and_not_added(context: MeterContext) -> None:
    with serving() as one, serving() as other:
        bmc(Service(one), 6200.0)
        other.pages["/metrics"] = "ipmi_dcmi_power_consumption_watts 4000\n"
        meters = open_meters([f"redfish:{one.url}", f"prometheus:{other.url}"], replace(context))
        found = measured(meters, 4.5)
        assert power_w(Scope.NODE, found) in (pytest.approx(6200.0), pytest.approx(4000.0))
        compositions, results, window = found
        codes = {f.code for f in scope_energy(compositions[Scope.NODE], results, window).findings}
        assert Reason.DISAGREEMENT in codes
