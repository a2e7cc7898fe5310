from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from tests.support.fake_nvml import FakeBoard, FakeNvml
from tests.support.surroundings import HandClock, proc_tree, put, rapl_zone


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, told: list[str]) -> MeterContext:
    proc_tree(tmp_path / "proc")
    return MeterContext(
        sysfs=tmp_path / "sys",
        proc=tmp_path / "proc",
        clock=HandClock().clock,
        notice=told.append,
        environ={},
        libraries={"pynvml": FakeNvml(driver=False)},
    )


def with_gpus(context: MeterContext, *boards: FakeBoard) -> MeterContext:
    return replace(context, libraries={"pynvml": FakeNvml(*boards)})


def names(specs: list[str], context: MeterContext) -> list[str]:
    return [m.channels()[0].meter for m in open_meters(specs, context)]


def test_auto_takes_what_can_be_measured(context: MeterContext, told: list[str]) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    assert names(["auto"], with_gpus(context, FakeBoard())) == ["nvml", "rapl"]
    assert names(["auto"], context) == ["rapl"]
    assert told == []


def test_auto_never_takes_this_machines_watts_for_anothers(context: MeterContext, told: list[str]) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    assert open_meters(["auto"], replace(context, server_here=False)) == []
    assert len(told) == 1 and "runs on another machine" in told[0] and "--meter" in told[0]
    assert names(["rapl"], replace(context, server_here=False)) == ["rapl"]


def test_auto_says_that_the_host_is_missing(context: MeterContext, told: list[str]) -> None:
    assert names(["auto"], with_gpus(context, FakeBoard())) == ["nvml"]
    assert len(told) == 1 and "host's CPU is not measured" in told[0]


def test_no_sensor_is_a_model_and_a_warning_not_zero(context: MeterContext, told: list[str]) -> None:
    served = replace(context, server_pid=os.getpid(), proc=Path("/proc"))
    assert names(["auto"], served) == ["declared"]
    assert any("no energy sensor" in t and "modelled" in t for t in told)


def test_no_sensor_and_an_unknown_server_process_is_no_model_either(context: MeterContext, told: list[str]) -> None:
    assert open_meters(["auto"], context) == []
    assert any("joules stay unknown" in t for t in told)


def test_auto_says_when_a_gpu_is_there_but_cannot_be_metered(context: MeterContext, told: list[str]) -> None:
    for i, (vendor, kind) in enumerate([("0x10de", "0x030200"), ("0x10de", "0x030200"), ("0x8086", "0x030000")]):
        put(context.sysfs / "bus/pci/devices" / f"0000:0{i}:00.0" / "vendor", vendor + "\n")
        put(context.sysfs / "bus/pci/devices" / f"0000:0{i}:00.0" / "class", kind + "\n")
    names(["auto"], context)
    assert any(t.startswith("2 NVIDIA GPUs on the PCI bus, but not metered") for t in told)


def test_auto_takes_the_nodes_own_power_meter_too(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    put(context.sysfs / "class/hwmon/hwmon0/name", "power_meter\n")
    put(context.sysfs / "class/hwmon/hwmon0/power1_average", "412000000\n")
    assert names(["auto"], context) == ["rapl", "hwmon:name=power_meter"]


def test_cpu_rails_beside_a_superchips_module_counter_are_refused(context: MeterContext, told: list[str]) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    superchip = with_gpus(context, FakeBoard(c2c=True, module_mw=1))
    with pytest.raises(InputError, match="already inside the GPU module's counter"):
        open_meters(["nvml", "rapl"], superchip)
    assert names(["auto"], superchip) == ["nvml"]
    assert any("RAPL is left out" in t for t in told)
    assert names(["nvml:scope=gpu", "rapl"], superchip) == ["nvml:scope=gpu", "rapl"]


def test_a_model_of_the_node_beside_a_measured_device_is_refused(context: MeterContext) -> None:
    gpu = with_gpus(context, FakeBoard())
    with pytest.raises(InputError, match="say scope=cpu"):
        open_meters(["nvml", "declared:idle=60W,busy=180W"], gpu)
    assert len(names(["nvml", "declared:idle=60W,busy=180W,scope=cpu"], gpu)) == 2


def test_the_same_meter_twice_is_refused(context: MeterContext) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    with pytest.raises(InputError, match="give each `meter` once"):
        open_meters(["rapl", "rapl:scope=package"], context)


def test_a_file_of_specs(context: MeterContext, tmp_path: Path) -> None:
    rapl_zone(context.sysfs, "intel-rapl:0", "package-0", 1.0)
    file = put(tmp_path / "meters.toml", 'meters = ["nvml:count=1", "rapl"]\n')
    assert names([str(file)], with_gpus(context, FakeBoard())) == ["nvml:count=1", "rapl"]
    for text, says in (
        ("meters = 3", "must hold one line"),
        ("meters = [", "Unclosed|Invalid|array"),
        ("x = 1", "must hold"),
    ):
        with pytest.raises(InputError, match=says):
            open_meters([str(put(file, text))], context)
    with pytest.raises(InputError, match="cannot be read"):
        open_meters([str(tmp_path / "none.toml")], context)


def test_an_unknown_meter_names_those_there_are(context: MeterContext) -> None:
    with pytest.raises(InputError, match=r"no meter is called 'wattometer'; there are auto, nvml, rapl"):
        open_meters(["wattometer"], context)


def test_what_was_opened_is_closed_when_a_later_one_fails(context: MeterContext) -> None:
    fake = FakeNvml(FakeBoard())
    with pytest.raises(MachineError):
        open_meters(["nvml", "rapl"], replace(context, libraries={"pynvml": fake}))
    assert fake.open == 0
