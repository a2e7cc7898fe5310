from __future__ import annotations

import inspect
from dataclasses import replace
from itertools import pairwise

import pynvml
import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.fake_nvml import FakeBoard, FakeNvml
from tests.support.surroundings import HandClock


def opened(fake: FakeNvml, spec: str = "nvml", **context: object) -> Meter:
    surroundings = MeterContext(libraries={"pynvml": fake}, clock=HandClock().clock, environ={})
    return open_meters([spec], replace(surroundings, **context))[0]  # type: ignore[arg-type]


def values(meter: Meter) -> dict[str, float | None]:
    return {r.channel.split(":", 2)[2]: r.value for r in meter.read()}


def channel(meter: Meter, end: str) -> Channel:
    return next(c for c in meter.channels() if c.id.endswith(":" + end))


def test_the_fake_has_the_real_names_parameters_and_constants() -> None:
    names = [n for n in dir(FakeNvml) if n.startswith(("nvml", "NVML_"))]
    assert len(names) > 30
    for name in names:
        real, fake = getattr(pynvml, name), getattr(FakeNvml, name)
        if callable(fake):
            assert list(inspect.signature(fake).parameters)[1:] == list(inspect.signature(real).parameters), name
        else:
            assert fake == real, name


def test_the_real_answer_to_a_field_has_the_members_that_are_read() -> None:
    names = {name for name, *_ in pynvml.c_nvmlFieldValue_t._fields_}
    assert {"nvmlReturn", "valueType", "value"} <= names
    members = [name for name, *_ in pynvml.c_nvmlValue_t._fields_]
    order = {
        "DOUBLE": "dVal",
        "UNSIGNED_INT": "uiVal",
        "UNSIGNED_LONG": "ulVal",
        "UNSIGNED_LONG_LONG": "ullVal",
        "SIGNED_LONG_LONG": "sllVal",
        "SIGNED_INT": "siVal",
        "UNSIGNED_SHORT": "usVal",
    }
    for kind, member in order.items():
        assert members[getattr(pynvml, f"NVML_VALUE_TYPE_{kind}")] == member


def test_everything_is_in_si() -> None:
    meter = opened(FakeNvml(FakeBoard()))
    assert values(meter) == {
        "energy": 5000.0, "power-instant": 320.0, "power-average": 300.0, "power-limit": 700.0, "clock-sm": 1.98e9,
        "temperature": 61.0, "utilization": 0.97, "throttle-power": 4.0, "throttle-thermal": 1.5,
        "throttle-power-cap": 4.0, "throttle-power-brake": 0.0, "throttle-thermal-sw": 0.25, "throttle-thermal-hw": 0.0,
        "foreign-use": 0.0,
    }  # fmt: skip


def test_the_counter_holds_what_the_power_readings_show() -> None:
    meter = opened(FakeNvml(FakeBoard()))
    assert channel(meter, "energy").includes == ("nvml:GPU-3f5c:power-instant", "nvml:GPU-3f5c:power-average")
    assert {c.scope for c in meter.channels()} == {Scope.DEVICE}
    assert {c.device for c in meter.channels()} == {"GPU-3f5c"}


@pytest.mark.parametrize(
    ("name", "arch", "period_s", "says"),
    [
        ("NVIDIA H100 80GB HBM3", 9, 1.0, "one-second average"),
        ("NVIDIA A10", 7, 1.0, "one-second average"),
        ("NVIDIA A100-SXM4-80GB", 7, None, "instantaneous"),
        ("Tesla V100-SXM2-16GB", 5, None, "instantaneous"),
    ],
)
def test_power_is_an_average_from_ampere_on_but_not_on_ga100(
    name: str, arch: int, period_s: float | None, says: str
) -> None:
    average = channel(opened(FakeNvml(FakeBoard(name=name, arch=arch))), "power-average")
    assert average.update_period_s == period_s
    assert says in (average.source or "")


def test_what_a_board_does_not_support_is_no_channel() -> None:
    meter = opened(FakeNvml(FakeBoard(energy_mj=None, instant_mw=None, fields_ns={})))
    names = {c.id.rsplit(":", 1)[1] for c in meter.channels()}
    assert "power-average" in names
    assert not names & {"energy", "power-instant", "throttle-power-cap"}


def test_a_board_without_power_is_refused_not_zero() -> None:
    fake = FakeNvml(FakeBoard(energy_mj=None, instant_mw=None, power_mw=None, name="GRID V100"))
    with pytest.raises(MachineError, match="neither its energy nor its power"):
        opened(fake)
    assert fake.open == 0


def test_mig_or_a_doubled_listing_counts_a_board_once() -> None:
    board = FakeBoard(mig=[1, 1])
    meter = opened(FakeNvml(board, board))
    energies = [c for c in meter.channels() if c.quantity is Quantity.ENERGY]
    assert len(energies) == 1
    assert "all slices together" in (energies[0].source or "")


def test_a_superchips_module_counter_is_marked() -> None:
    fake = FakeNvml(FakeBoard(name="NVIDIA GH200 480GB", c2c=True, module_mw=560_000))
    meter = opened(fake)
    assert channel(meter, "module-energy").includes == (
        "nvml:GPU-3f5c:module-power-instant",
        "nvml:GPU-3f5c:module-power-average",
    )
    assert values(meter)["module-power-instant"] == 560.0
    assert "CPU, GPU and memory" in (channel(meter, "module-energy").source or "")


def test_a_superchips_gpu_alone_has_power_but_no_counter() -> None:
    fake = FakeNvml(FakeBoard(c2c=True, module_mw=560_000, average_field_mw=290_000))
    meter = opened(fake, "nvml:scope=gpu")
    assert not [c for c in meter.channels() if c.quantity is Quantity.ENERGY]
    assert values(meter)["power-instant"] == 320.0
    assert values(opened(fake, "nvml:scope=gpu"))["power-average"] == 290.0


def test_a_gpu_that_vanishes_is_an_error_on_its_channels_alone() -> None:
    here, gone = FakeBoard(uuid="GPU-a"), FakeBoard(uuid="GPU-b")
    meter = opened(FakeNvml(here, gone))
    gone.lost = True
    readings = meter.read()
    lost = [r for r in readings if r.channel.startswith("nvml:GPU-b:")]
    assert lost and all(r.value is None and "GPU is lost" in (r.error or "") for r in lost)
    assert all(r.value is not None for r in readings if r.channel.startswith("nvml:GPU-a:"))


def test_slow_facts_are_read_once_a_second() -> None:
    hand = HandClock()
    meter = opened(FakeNvml(FakeBoard()), clock=hand.clock)
    counts: list[int] = []
    for _ in range(21):
        counts.append(len(meter.read()))
        hand.pass_s(0.1)
    assert counts.count(3) == 18
    full = [i for i, n in enumerate(counts) if n == 14]
    assert len(full) == 3 and {b - a for a, b in pairwise(full)} <= {9, 10}


def test_the_counters_update_period_is_learnt_at_opening() -> None:
    hand = HandClock()
    board = FakeBoard()

    class Ticking(FakeNvml):
        def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeBoard) -> int:
            return 5_000_000 + 6_000 * int((hand.now_s - 100.0) / 0.02)

    meter = opened(Ticking(board), clock=hand.clock)
    assert channel(meter, "energy").update_period_s == pytest.approx(0.02, abs=0.003)


def test_a_subset_and_an_expected_count() -> None:
    fake = FakeNvml(FakeBoard(uuid="GPU-a"), FakeBoard(uuid="GPU-b"), FakeBoard(uuid="GPU-c"))
    assert {c.device for c in opened(fake, "nvml:gpus=0+GPU-c").channels()} == {"GPU-a", "GPU-c"}
    assert len({c.device for c in opened(fake, "nvml:count=3").channels()}) == 3
    with pytest.raises(MachineError, match="8 GPUs expected, NVML shows 3"):
        opened(fake, "nvml:count=8")
    with pytest.raises(InputError, match="no GPU 7; there are 0=GPU-a"):
        opened(fake, "nvml:gpus=7")


def test_a_visible_subset_is_told() -> None:
    told: list[str] = []
    fake = FakeNvml(FakeBoard(uuid="GPU-a"), FakeBoard(uuid="GPU-b"))
    opened(fake, environ={"CUDA_VISIBLE_DEVICES": "1"}, notice=told.append)
    assert len(told) == 1
    assert "nvml:gpus=1" in told[0]


def test_no_driver_says_what_to_do() -> None:
    with pytest.raises(MachineError, match="nvidia-smi"):
        opened(FakeNvml(driver=False))


def test_the_library_is_let_go_once() -> None:
    fake = FakeNvml(FakeBoard())
    meter = opened(fake)
    meter.close()
    meter.close()
    assert fake.open == 0


def test_a_reading_is_stamped_with_the_middle_of_its_call() -> None:
    hand = HandClock(step_s=0.01)
    reading: Reading = opened(FakeNvml(FakeBoard()), clock=hand.clock).read()[0]
    assert reading.t_wall_s - reading.t_mono_s == pytest.approx(1.7e9, abs=0.011)


@pytest.mark.parametrize(
    ("name", "ratio"), [("NVIDIA H100 80GB HBM3", 0.25), ("NVIDIA A100-SXM4-80GB", 0.25), ("NVIDIA A10", None)]
)
def test_boards_whose_sensor_looks_part_of_the_time_say_so(name: str, ratio: float | None) -> None:
    meter = opened(FakeNvml(FakeBoard(name=name)))
    powered = {c.sampled_ratio for c in meter.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)}
    others = {c.sampled_ratio for c in meter.channels() if c.quantity not in (Quantity.ENERGY, Quantity.POWER)}
    assert (powered, others) == ({ratio}, {None})
