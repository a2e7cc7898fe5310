from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.meter import MeterContext
from joulemill.meters.sampler import Sampler
from tests.support.lateness import lateness


class Scripted:
    """A meter that takes ``slow_s`` to read and fails on the reads in ``fails``."""

    def __init__(self, name: str, slow_s: float = 0.0, fails: Sequence[int] = ()) -> None:
        self.name, self.slow_s, self.fails, self.reads = name, slow_s, set(fails), 0
        self.context = MeterContext()

    def channels(self) -> tuple[Channel, ...]:
        one = Channel(
            id=f"{self.name}:e",
            meter=self.name,
            device="d",
            scope=Scope.NODE,
            quantity=Quantity.ENERGY,
            basis=Basis.MEASURED,
        )
        two = Channel(
            id=f"{self.name}:p",
            meter=self.name,
            device="d",
            scope=Scope.NODE,
            quantity=Quantity.POWER,
            basis=Basis.MEASURED,
        )
        return (one, two)

    def read(self) -> tuple[Reading, ...]:
        self.reads += 1
        time.sleep(self.slow_s)
        if self.reads in self.fails:
            raise OSError("No such device")
        return (self.context.reading(f"{self.name}:e", float(self.reads)),)

    def close(self) -> None: ...


def sampled(meters: list[Scripted], period_s: float, for_s: float) -> tuple[list[Reading], Sampler]:
    seen: list[Reading] = []
    sampler = Sampler(meters, period_s, seen.extend)
    sampler.start()
    time.sleep(for_s)
    assert sampler.stop() == ()
    return seen, sampler


def times(readings: list[Reading], name: str) -> list[float]:
    return [r.t_mono_s for r in readings if r.channel == f"{name}:e"]


def test_the_schedule_does_not_drift() -> None:
    """Each read takes 15 ms of a 40 ms period; sleeping the period after each would lose a quarter of the ticks."""
    readings, sampler = sampled([Scripted("a", 0.015)], 0.04, 0.82)
    stamps = times(readings, "a")
    offsets = [(t - stamps[0]) / 0.04 for t in stamps[:-1]]  # the last is the read of stop()
    late = [o - round(o) for o in offsets]
    assert sorted(late)[len(late) // 2] < 0.25
    assert sampler.cost().reads_count + sampler.cost().missed_count >= 20


def test_a_slow_meter_does_not_delay_another() -> None:
    readings, _ = sampled([Scripted("slow", 0.3), Scripted("quick")], 0.02, 0.7)
    assert len(times(readings, "quick")) > 3 * len(times(readings, "slow"))


def test_ticks_that_a_slow_read_overran_are_counted_as_missed() -> None:
    _, sampler = sampled([Scripted("slow", 0.1)], 0.02, 0.5)
    assert sampler.cost().missed_count >= 4 * (sampler.cost().reads_count - 2)


def test_a_failing_read_is_an_error_reading_on_every_channel_and_sampling_goes_on() -> None:
    readings, _ = sampled([Scripted("a", fails=[2])], 0.02, 0.2)
    failed = [r for r in readings if r.value is None]
    assert {r.channel for r in failed} == {"a:e", "a:p"}
    assert all("No such device" in (r.error or "") for r in failed)
    assert [r.value for r in readings if r.value is not None][:3] == [1.0, 3.0, 4.0]


def test_starting_and_stopping_bracket_the_window() -> None:
    begin = time.monotonic()
    with lateness() as late:
        readings, _ = sampled([Scripted("a")], 30.0, 0.1)
    stamps = times(readings, "a")
    assert len(stamps) == 2
    assert stamps[0] - begin < 0.09 + late.worst_s and stamps[1] - begin >= 0.09


def test_a_sink_that_fails_ends_sampling_and_is_told() -> None:
    def full(_: Sequence[Reading]) -> None:
        raise OSError(28, "No space left on device")

    sampler = Sampler([Scripted("a")], 0.01, full)
    sampler.start()
    time.sleep(0.1)
    sampler.stop()
    assert isinstance(sampler.failure, OSError)
    assert sampler.cost().reads_count <= 2


def test_a_meter_that_hangs_is_named_and_cannot_write_later() -> None:
    gate = threading.Event()

    class Hung(Scripted):
        def read(self) -> tuple[Reading, ...]:
            gate.wait(5)
            return super().read()

    seen: list[Reading] = []
    sampler = Sampler([Hung("bmc")], 0.01, seen.extend)
    sampler.start()
    assert sampler.stop(timeout_s=0.05) == ("bmc",)
    gate.set()
    time.sleep(0.05)
    assert seen == []


def test_its_own_cost_is_cpu_time_not_waiting() -> None:
    _, sampler = sampled([Scripted("a", 0.02)], 0.03, 0.5)
    ratio = sampler.cost().core_ratio
    assert ratio is not None
    assert 0 < ratio < 0.3


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="more than 0 s"):
        Sampler([], 0.0, lambda _: None)
