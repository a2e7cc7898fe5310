from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Scope
from joulemill.meters.local.zeus import SOC_FIELDS, joules
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters


@dataclass
class Apple:
    cpu_total_mj: int | None = 5000
    dram_mj: int | None = 700
    gpu_mj: int | None = 12000
    gpu_sram_mj: int | None = None
    ane_mj: int | None = 0
    efficiency_cores_mj: list[int] | None = None


@dataclass
class Jetson:
    cpu_energy_mj: float | None = 4000.0
    gpu_energy_mj: float | None = 6000.0
    total_energy_mj: float | None = 15000.0


@dataclass
class Package:
    cpu_mj: float = 80_000.0
    dram_mj: float | None = None


class Device:
    """``zeus.device`` by the calls of zeus 0.16 (held against the installed package below)."""

    def __init__(
        self, soc: Any = None, gpus_mj: tuple[int | None, ...] = (), packages: tuple[Package, ...] = ()
    ) -> None:
        self.soc, self.gpus_mj, self.packages = soc, gpus_mj, packages

    def get_soc(self) -> Any:
        if self.soc is None:
            raise RuntimeError("No observable SoC was found on the current machine.")
        measurement = self.soc

        class Soc:
            def get_total_energy_consumption(self) -> Any:
                return measurement

        return Soc()

    def get_gpus(self) -> Any:
        values = self.gpus_mj

        class Gpus:
            def __len__(self) -> int:
                return len(values)

            def supports_get_total_energy_consumption(self, gpu_index: int) -> bool:
                return values[gpu_index] is not None

            def get_total_energy_consumption(self, gpu_index: int) -> int:
                value = values[gpu_index]
                assert value is not None
                return value

        return Gpus()

    def get_cpus(self) -> Any:
        packages = self.packages

        class Cpus:
            def __len__(self) -> int:
                return len(packages)

            def supports_get_dram_energy_consumption(self, index: int) -> bool:
                return packages[index].dram_mj is not None

            def get_total_energy_consumption(self, index: int) -> Package:
                return packages[index]

        return Cpus()


def opened(device: Device, spec: str = "zeus") -> Meter:
    return open_meters([spec], MeterContext(libraries={"zeus.device": device}))[0]


def read(meter: Meter) -> dict[str, float | None]:
    return {r.channel: r.value for r in meter.read()}


def test_apple_rails_stand_side_by_side_and_an_absent_one_is_no_channel() -> None:
    meter = opened(Device(Apple()))
    assert read(meter) == {
        "zeus:cpu_total_mj": 5.0,
        "zeus:dram_mj": pytest.approx(0.7),
        "zeus:gpu_mj": 12.0,
        "zeus:ane_mj": 0.0,
    }
    assert {c.id: c.scope for c in meter.channels()}["zeus:dram_mj"] is Scope.MEMORY
    assert all(c.includes == () for c in meter.channels())


def test_a_jetsons_total_holds_its_rails() -> None:
    meter = opened(Device(Jetson()))
    total = next(c for c in meter.channels() if c.scope is Scope.NODE)
    assert set(total.includes) == {"zeus:cpu_energy_mj", "zeus:gpu_energy_mj"}
    assert read(meter)[total.id] == 15.0


def test_boards_without_a_counter_are_left_out() -> None:
    assert read(opened(Device(gpus_mj=(1_000_000, None, 3_000_000)), "zeus:part=gpu")) == {
        "zeus:gpu-0": 1000.0,
        "zeus:gpu-2": 3000.0,
    }


def test_packages_with_and_without_dram() -> None:
    device = Device(packages=(Package(dram_mj=9_000.0), Package(cpu_mj=70_000.0)))
    assert read(opened(device, "zeus:part=cpu")) == {
        "zeus:package-0": 80.0,
        "zeus:package-0/dram": 9.0,
        "zeus:package-1": 70.0,
    }


def test_a_rail_that_vanishes_is_an_error_reading_not_zero() -> None:
    board = Jetson()
    meter = opened(Device(board))
    board.gpu_energy_mj = None
    found = {r.channel: r for r in meter.read()}["zeus:gpu_energy_mj"]
    assert found.value is None and found.error is not None and "None" in found.error


@pytest.mark.parametrize("value", [None, True, "N/A"])
def test_no_number_is_no_joule(value: object) -> None:
    with pytest.raises(ValueError, match="gpu_mj is"):
        joules(Apple(gpu_mj=value), "gpu_mj")  # type: ignore[arg-type]


def test_refusals() -> None:
    with pytest.raises(MachineError, match="No observable SoC"):
        opened(Device())
    with pytest.raises(MachineError, match="no gpu with an energy counter"):
        opened(Device(gpus_mj=(None,)), "zeus:part=gpu")
    with pytest.raises(InputError, match="part=disk"):
        opened(Device(), "zeus:part=disk")


def test_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("joulemill.meters.meter.import_module", absent)
    with pytest.raises(MachineError, match=r"joulemill\[zeus\]"):
        open_meters(["zeus"], MeterContext())


@pytest.mark.skipif(importlib.util.find_spec("zeus") is None, reason="zeus is not installed: pip install zeus")
def test_the_fake_has_the_calls_and_fields_of_the_real_package() -> None:
    from zeus.device.cpu.common import CpuDramMeasurement, CPUs
    from zeus.device.gpu.common import GPUs
    from zeus.device.soc.apple import AppleSiliconMeasurement
    from zeus.device.soc.common import SoC
    from zeus.device.soc.jetson import JetsonMeasurement

    real = set(AppleSiliconMeasurement.__annotations__) | set(JetsonMeasurement.__annotations__)
    assert set(SOC_FIELDS) <= real
    assert {"cpu_mj", "dram_mj"} <= set(CpuDramMeasurement.__annotations__)
    assert list(inspect.signature(GPUs.get_total_energy_consumption).parameters) == ["self", "gpu_index"]
    assert list(inspect.signature(CPUs.get_total_energy_consumption).parameters) == ["self", "index"]
    assert list(inspect.signature(SoC.get_total_energy_consumption).parameters) == ["self"]
