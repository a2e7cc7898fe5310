from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.energy import window_energy
from joulemill.ledger.record import Reading, Scope
from joulemill.ledger.scopes import compose, scope_energy
from joulemill.ledger.trace import trace
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.surroundings import HandClock, proc_tree, put, rapl_zone


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


@pytest.fixture
def context(tmp_path: Path, hand: HandClock) -> MeterContext:
    proc_tree(tmp_path / "proc")
    return MeterContext(sysfs=tmp_path / "sys", proc=tmp_path / "proc", clock=hand.clock)


def platform(
    context: MeterContext, package_j: float = 0, dram_j: float = 0, psys_j: float = 0, core_j: float = 0
) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1000 + package_j)
    rapl_zone(context.sysfs, "intel-rapl:0:0", "core", 500 + core_j)
    rapl_zone(context.sysfs, "intel-rapl:0:1", "dram", 200 + dram_j)
    rapl_zone(context.sysfs, "intel-rapl:1", "psys", 3000 + psys_j)


def used_j(meter: Meter, context: MeterContext, hand: HandClock, scope: Scope, **spent: float) -> float | None:
    """Joules of ``scope`` over ten seconds in which the zones advanced steadily by ``spent``, by the ledger."""
    readings: list[Reading] = []
    for i in range(11):
        platform(context, **{k: v * i / 10 for k, v in spent.items()})
        readings += meter.read()
        hand.pass_s(1.0)
    start_s = readings[0].t_mono_s
    window = (start_s, start_s + 10.0)
    results = {
        c.id: window_energy(trace(c, [r for r in readings if r.channel == c.id]), *window) for c in meter.channels()
    }
    return scope_energy(compose(meter.channels(), {})[scope], results, window).energy_j


@pytest.mark.parametrize(
    ("spec", "joules"), [("rapl", 110.0), ("rapl:scope=package", 110.0), ("rapl:scope=psys", 160.0)]
)
def test_package_100_dram_10_psys_160_is_110_or_160_never_270(
    context: MeterContext, hand: HandClock, spec: str, joules: float
) -> None:
    platform(context)
    meter = open_meters([spec], context)[0]
    used = used_j(meter, context, hand, Scope.NODE, package_j=100.0, dram_j=10.0, psys_j=160.0, core_j=70.0)
    assert used == pytest.approx(joules, rel=1e-6)


def test_what_is_inside_what(context: MeterContext) -> None:
    platform(context)
    inside = {c.device: set(c.includes) for c in open_meters(["rapl:scope=psys"], context)[0].channels()}
    assert inside["psys"] == {f"rapl:{z}:energy" for z in ("package-0", "package-0/core", "package-0/dram")}
    assert inside["package-0"] == {"rapl:package-0/core:energy"}
    assert inside["package-0/dram"] == set()


def test_scopes_and_facts(context: MeterContext) -> None:
    platform(context)
    by_device = {c.device: c for c in open_meters(["rapl:scope=psys"], context)[0].channels()}
    assert {d: c.scope for d, c in by_device.items()} == {
        "package-0": Scope.CPU,
        "package-0/core": Scope.CPU,
        "package-0/dram": Scope.MEMORY,
        "psys": Scope.NODE,
    }
    package = by_device["package-0"]
    assert package.max_range == pytest.approx(262143.32885)
    assert (package.basis, package.rel_error) == (Basis.MEASURED, 0.05)


def test_amd_counters_are_a_model_on_the_chip(context: MeterContext) -> None:
    proc_tree(context.proc, "AMD EPYC 7742 64-Core Processor")
    platform(context)
    channel = open_meters(["rapl"], context)[0].channels()[0]
    assert (channel.basis, channel.rel_error) == (Basis.CALIBRATED, 0.15)


def test_two_packages_and_mmio_copies(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    rapl_zone(context.sysfs, "intel-rapl:1", "package-1", 2.0)
    rapl_zone(context.sysfs, "intel-rapl:1:0", "dram", 3.0)
    rapl_zone(context.sysfs, "intel-rapl-mmio:0", "package-0", 99.0)
    meter = open_meters(["rapl"], context)[0]
    assert {r.channel: r.value for r in meter.read()} == {
        "rapl:package-0:energy": 1.0,
        "rapl:package-1:energy": 2.0,
        "rapl:package-1/dram:energy": 3.0,
    }


def test_mmio_stands_in_where_there_is_nothing_else(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl-mmio:0", "package-0", 99.0)
    assert [r.value for r in open_meters(["rapl"], context)[0].read()] == [99.0]


def test_zones_nested_as_in_the_device_tree(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    rapl_zone(context.sysfs, "intel-rapl:0/intel-rapl:0:0", "dram", 2.0)
    assert {r.value for r in open_meters(["rapl"], context)[0].read()} == {1.0, 2.0}


def test_unknown_zones_are_left_out(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    rapl_zone(context.sysfs, "intel-rapl:2", "npu-thing", 1.0)
    assert len(open_meters(["rapl"], context)[0].channels()) == 1


def test_a_wrap_loses_and_invents_nothing(context: MeterContext, hand: HandClock) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 900.0, range_j=1000.0)
    meter = open_meters(["rapl"], context)[0]
    readings: list[Reading] = []
    for i in range(21):
        rapl_zone(context.sysfs, "intel-rapl:0", "package-0", (900.0 + 50.0 * i) % 1000.0, range_j=1000.0)
        readings += meter.read()
        hand.pass_s(1.0)
    result = window_energy(trace(meter.channels()[0], readings), readings[0].t_mono_s, readings[0].t_mono_s + 20)
    assert result.energy_j == pytest.approx(1000.0)


def test_a_zone_that_vanishes_is_error_readings(context: MeterContext) -> None:
    platform(context)
    meter = open_meters(["rapl"], context)[0]
    shutil.rmtree(context.sysfs / "class" / "powercap" / "intel-rapl:0:1")
    by_channel = {r.channel: r for r in meter.read()}
    assert by_channel["rapl:package-0/dram:energy"].value is None
    assert "No such file" in (by_channel["rapl:package-0/dram:energy"].error or "")
    assert by_channel["rapl:package-0:energy"].value == 1000.0


def test_unreadable_gives_the_permission_recipe(context: MeterContext, monkeypatch: pytest.MonkeyPatch) -> None:
    platform(context)
    real = Path.read_text

    def guarded(self: Path, *args: str, **kwargs: str) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    with pytest.raises(MachineError) as told:
        open_meters(["rapl"], context)
    text = str(told.value)
    for needed in (
        "root only",
        "sudo chmod -R a+r",
        "/etc/udev/rules.d/",
        "usermod -aG power",
        "udevadm",
        "node_exporter",
    ):
        assert needed in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_for_real(context: MeterContext) -> None:
    platform(context)
    (context.sysfs / "class" / "powercap" / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(MachineError, match="root only"):
        open_meters(["rapl"], context)


def test_a_zone_without_its_counter_is_refused(context: MeterContext) -> None:
    put(context.sysfs / "class" / "powercap" / "intel-rapl:0" / "name", "package-0\n")
    with pytest.raises(MachineError, match="package-0 cannot be read"):
        open_meters(["rapl"], context)


def test_no_rapl_says_what_to_do(context: MeterContext) -> None:
    with pytest.raises(MachineError, match="modprobe intel_rapl_msr"):
        open_meters(["rapl"], context)
    proc_tree(context.proc, flags="fpu sse hypervisor lahf_lm")
    with pytest.raises(MachineError, match="virtual machine"):
        open_meters(["rapl"], context)


def test_psys_where_there_is_none(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    with pytest.raises(MachineError, match="no psys zone"):
        open_meters(["rapl:scope=psys"], context)
    with pytest.raises(InputError, match="package, psys"):
        open_meters(["rapl:scope=both"], context)
