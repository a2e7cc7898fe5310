from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.errors import MachineError
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from tests.support.surroundings import put


def chip(sysfs: Path, number: int, name: str, **files: str | int) -> None:
    root = sysfs / "class" / "hwmon" / f"hwmon{number}"
    put(root / "name", name + "\n")
    for file, text in files.items():
        put(root / file, f"{text}\n")


@pytest.fixture
def context(tmp_path: Path) -> MeterContext:
    return MeterContext(sysfs=tmp_path)


def test_an_acpi_power_meter_is_the_node(context: MeterContext) -> None:
    chip(context.sysfs, 0, "coretemp", temp1_input=50000)
    chip(context.sysfs, 1, "power_meter", power1_average=412_000_000, power1_average_interval=1000)
    meter = open_meters(["hwmon"], context)[0]
    (channel,) = meter.channels()
    assert (channel.scope, channel.quantity, channel.update_period_s) == (Scope.NODE, Quantity.POWER, 1.0)
    assert [r.value for r in meter.read()] == [412.0]


def test_graces_parts_are_not_added_to_their_whole(context: MeterContext) -> None:
    labels = ["Module Power Socket 0", "Grace Power Socket 0", "CPU Power Socket 0", "SysIO Power Socket 0"]
    for i, label in enumerate(labels):
        chip(context.sysfs, i, "power_meter", power1_average=(400 - i * 100) * 1_000_000, power1_oem_info=label)
    meter = open_meters(["hwmon"], context)[0]
    assert {c.scope: c.device.split("/")[1] for c in meter.channels()} == {
        Scope.NODE: labels[0],
        Scope.CPU: labels[1],
    }


def test_average_before_instant_and_energy_with_its_power(context: MeterContext) -> None:
    chip(context.sysfs, 0, "amdgpu", power1_average=200_000_000, power1_input=250_000_000, power1_label="PPT")
    chip(
        context.sysfs,
        1,
        "amd_energy",
        energy1_input=5_000_000,
        energy1_label="Esocket0",
        energy2_input=1,
        energy2_label="Ecore000",
    )
    values = {r.channel.split(":", 1)[1]: r.value for r in open_meters(["hwmon"], context)[0].read()}
    assert values == {"amdgpu-hwmon0/PPT:power": 200.0, "amd_energy-hwmon1/Esocket0:energy": 5.0}


def test_an_unknown_rail_needs_the_users_word(context: MeterContext) -> None:
    chip(context.sysfs, 0, "ina3221", power1_input=9_000_000, power1_label="VDD_IN")
    with pytest.raises(MachineError, match=r"there are: ina3221 VDD_IN\); say what one covers"):
        open_meters(["hwmon"], context)
    meter = open_meters(["hwmon:name=ina3221,label=VDD_IN,scope=node"], context)[0]
    assert meter.channels()[0].scope is Scope.NODE and meter.read()[0].value == 9.0


def test_none_at_all_and_a_broken_one(context: MeterContext) -> None:
    with pytest.raises(MachineError, match="none at all"):
        open_meters(["hwmon"], context)
    chip(context.sysfs, 0, "power_meter", power1_average="")
    with pytest.raises(MachineError, match="cannot be read"):
        open_meters(["hwmon"], context)
