from __future__ import annotations

from typing import Any

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Quantity
from joulemill.meters.local.amd import energy_j, socket_power_w
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.surroundings import HandClock


class Smi:
    """``amdsmi`` by its documented calls; boards are (uuid, watts, ratio of the counter to the truth)."""

    class AmdSmiClkType:
        GFX = 0

    class AmdSmiTemperatureType:
        HOTSPOT = 1

    class AmdSmiTemperatureMetric:
        CURRENT = 0

    def __init__(self, hand: HandClock, *boards: tuple[str, float | str, float | None]) -> None:
        self.hand, self.boards, self.open = hand, boards, 0

    def amdsmi_init(self) -> None:
        self.open += 1

    def amdsmi_shut_down(self) -> None:
        self.open -= 1

    def amdsmi_get_processor_handles(self) -> list[Any]:
        return list(self.boards)

    def amdsmi_get_gpu_device_uuid(self, handle: Any) -> str:
        return str(handle[0])

    def amdsmi_get_power_info(self, handle: Any) -> dict[str, Any]:
        return {"current_socket_power": handle[1], "average_socket_power": "N/A", "power_limit": 750}

    def amdsmi_get_energy_count(self, handle: Any) -> dict[str, Any]:
        if handle[2] is None:
            raise RuntimeError("AMDSMI_STATUS_NOT_SUPPORTED")
        joules = handle[2] * 500.0 * self.hand.now_s
        return {"energy_accumulator": int(joules / 15.3e-6), "counter_resolution": 15.3, "timestamp": 0}

    def amdsmi_get_clock_info(self, handle: Any, clk_type: int) -> dict[str, Any]:
        return {"clk": 2100, "min_clk": 500, "max_clk": 2100}

    def amdsmi_get_temp_metric(self, handle: Any, sensor_type: int, metric: int) -> int:
        return 65

    def amdsmi_get_gpu_activity(self, handle: Any) -> dict[str, Any]:
        return {"gfx_activity": 98, "umc_activity": "N/A", "mm_activity": "N/A"}


def opened(smi: Smi, told: list[str] | None = None, spec: str = "amd") -> Meter:
    notice = (told if told is not None else []).append
    return open_meters([spec], MeterContext(libraries={"amdsmi": smi}, clock=smi.hand.clock, notice=notice))[0]


def test_accumulator_times_resolution() -> None:
    assert energy_j({"energy_accumulator": 10**6, "counter_resolution": 15.3}) == pytest.approx(15.3)
    assert energy_j({"power": 10**6, "counter_resolution": 15.3}) == pytest.approx(15.3)
    with pytest.raises(ValueError, match="'N/A'"):
        energy_j({"energy_accumulator": "N/A", "counter_resolution": 15.3})


def test_current_power_before_average_and_all_bits_set_is_none() -> None:
    assert socket_power_w({"current_socket_power": "N/A", "average_socket_power": 240}) == 240.0
    assert socket_power_w({"current_socket_power": 0xFFFF, "average_socket_power": 240}) == 240.0
    with pytest.raises(ValueError, match="no socket power"):
        socket_power_w({"current_socket_power": 0, "average_socket_power": "N/A"})


def test_a_board_in_si() -> None:
    smi = Smi(HandClock(), ("u0", 500.0, 1.0))
    meter = opened(smi)
    values = {r.channel.rsplit(":", 1)[1]: r.value for r in meter.read()}
    assert values["power"] == 500.0 and values["clock"] == 2.1e9 and values["utilization"] == 0.98
    assert values["energy"] == pytest.approx(500.0 * smi.hand.now_s, rel=1e-6)
    energy = next(c for c in meter.channels() if c.quantity is Quantity.ENERGY)
    assert energy.includes == ("amd:u0:power",)
    meter.close()
    assert smi.open == 0


@pytest.mark.parametrize(("ratio", "believed"), [(1.0, True), (0.5, True), (0.01, False), (30.0, False)])
def test_a_counter_is_held_against_the_power(ratio: float, believed: bool) -> None:
    told: list[str] = []
    meter = opened(Smi(HandClock(), ("u0", 500.0, ratio)), told)
    assert any(c.quantity is Quantity.ENERGY for c in meter.channels()) is believed
    assert (told == []) is believed


def test_the_odd_die_of_an_mi250_is_no_second_board() -> None:
    meter = opened(Smi(HandClock(), ("even", 500.0, 1.0), ("odd", "N/A", None)), spec="amd:count=1")
    metering = {c.device for c in meter.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)}
    assert metering == {"even"}


def test_refusals() -> None:
    smi = Smi(HandClock(), ("u0", "N/A", None))
    with pytest.raises(MachineError, match="no board with power"):
        opened(smi)
    assert smi.open == 0
    with pytest.raises(MachineError, match="8 boards expected, amdsmi shows 1"):
        opened(Smi(HandClock(), ("u0", 500.0, 1.0)), spec="amd:count=8")
    with pytest.raises(MachineError, match="device-metrics-exporter"):
        open_meters(["amd"], MeterContext())


def test_boards_are_chosen_by_index_or_uuid_and_counted() -> None:
    smi = Smi(HandClock(), *((f"uuid-{i}", 500.0, None) for i in range(4)))
    assert {c.device for c in opened(smi, spec="amd:gpus=1+uuid-3,count=2").channels()} == {"uuid-1", "uuid-3"}
    with pytest.raises(InputError, match=r"no GPU 9; there are 0=uuid-0, 1=uuid-1"):
        opened(smi, spec="amd:gpus=0+9")
    with pytest.raises(MachineError, match="3 boards expected, amdsmi shows 4"):
        opened(smi, spec="amd:count=3")
    with pytest.raises(InputError, match="must be a whole number"):
        opened(smi, spec="amd:count=four")
