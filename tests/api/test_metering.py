"""jm.meter against closed forms: constant power times the time of the block, counters with known steps, refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

import joulemill as jm
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.meter import Clock


class Source:
    """A meter of things that draw constant power, on a clock that the test turns by hand."""

    def __init__(self, time: Turned, watts: dict[Scope, float], rel_error: float = 0.0) -> None:
        self.time, self.watts, self.rel_error, self.closed = time, watts, rel_error, 0

    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=f"fake:{s}",
                meter="fake",
                device=f"{s}-0",
                scope=s,
                quantity=Quantity.ENERGY,
                basis=jm.Basis.MEASURED,
                resolution=1e-6,
                update_period_s=0.001,
                rel_error=self.rel_error,
            )
            for s in self.watts
        )

    def read(self) -> tuple[Reading, ...]:
        now = self.time.mono()
        return tuple(Reading(f"fake:{s}", now, now, w * now) for s, w in self.watts.items())

    def close(self) -> None:
        self.closed += 1


class Turned:
    """Real time, run faster: half an hour of readings in a second, so that every window holds many."""

    def __init__(self, times: float = 20.0) -> None:
        self.times, self.start_s = times, time.monotonic()

    def mono(self) -> float:
        return 1000.0 + self.times * (time.monotonic() - self.start_s)

    def clock(self) -> Clock:
        return Clock(self.mono, self.mono, time.sleep)


def metered(watts: dict[Scope, float], **more: object) -> tuple[jm.MeteredWindow, Source]:
    turned = Turned()
    source = Source(turned, watts, rel_error=0.01)
    with (
        jm.meter(source, period_s=0.01, clock=turned.clock(), **more) as m,  # type: ignore[arg-type]
        m.window("work") as w,
    ):
        time.sleep(0.25)
    return w, source


def test_constant_power_gives_watts_times_seconds() -> None:
    w, source = metered({Scope.NODE: 400.0, Scope.DEVICE: 250.0})
    for figure, watts in ((w.energy.node, 400.0), (w.energy.device, 250.0)):
        assert figure.value == pytest.approx(watts * w.duration_s, rel=1e-6)
        assert figure.unit == "J" and figure.basis is jm.Basis.MEASURED
        assert figure.low < figure.value < figure.high and figure.high <= 1.02 * figure.value  # type: ignore[operator]
    assert w.power.node.value == pytest.approx(400.0, rel=1e-6)
    assert source.closed == 1


def test_windows_add_up_to_the_whole_and_may_nest() -> None:
    turned = Turned()
    with jm.meter(Source(turned, {Scope.NODE: 300.0}), period_s=0.01, clock=turned.clock()) as m:  # noqa: SIM117
        with m.window("both") as both:
            with m.window("first") as first:
                time.sleep(0.15)
            with m.window("second") as second:
                time.sleep(0.2)
    parts = (first.energy.node.value or 0.0) + (second.energy.node.value or 0.0)
    between = both.duration_s - first.duration_s - second.duration_s
    assert both.energy.node.value == pytest.approx(parts + 300.0 * between, rel=1e-6)
    assert [w.name for w in m.windows] == ["both", "first", "second"]


def test_parts_are_no_node_unless_what_holds_them_is_stated() -> None:
    alone, _ = metered({Scope.DEVICE: 500.0})
    assert alone.energy.device.value == pytest.approx(500.0 * alone.duration_s, rel=1e-6)
    assert alone.energy.node.value is None and "partial_coverage" in (alone.energy.node.reason or "")
    held, _ = metered({Scope.DEVICE: 500.0}, device="h100")
    node = held.energy.node
    assert node.basis is jm.Basis.MODELLED and node.low is not None
    assert node.low > 500.0 * held.duration_s  # a node is more than its devices
    short, _ = metered({Scope.DEVICE: 500.0}, device="h100", devices=8)
    assert short.energy.device.value is None and "missing_device" in (short.energy.device.reason or "")


def test_a_declared_power_model_of_constant_power() -> None:
    """idle = busy: then P is stated, whatever the CPU does, and E = P·t within the error that is stated too."""
    with jm.meter("declared:idle=120W,busy=120W,error=10%", period_s=0.05) as m, m.window("sleep") as w:
        time.sleep(0.5)
    energy = w.energy.node
    assert energy.value == pytest.approx(120.0 * w.duration_s, rel=0.02)  # readings some ms apart on a busy machine
    assert energy.basis is jm.Basis.DECLARED and str(energy).endswith("declared)")
    assert energy.high == pytest.approx(1.1 * energy.value, rel=0.02)  # type: ignore[operator]
    assert w.energy.device.value is None and "no_meter" in (w.energy.device.reason or "")
    assert w.to_dict()["energy"]["node"]["basis"] == "declared"
    assert repr(w).startswith("<window sleep, 0.5") and "at the node>" in repr(w)


def test_auto_always_meters_something_and_says_how() -> None:
    with jm.meter() as m, m.window() as w:
        sum(i * i for i in range(2_000_000))
        time.sleep(0.3)
    known = [f for f in (w.energy.node, w.energy.cpu, w.energy.device) if f.known]
    assert known and all(f.value is not None and f.value > 0.0 and f.basis is not None for f in known)


def test_a_window_that_raises_is_over_and_a_meter_that_fails_is_told() -> None:
    class Failing(Source):
        def read(self) -> Sequence[Reading]:  # type: ignore[override]
            raise OSError("the sensor went away")

    turned = Turned()
    with pytest.raises(KeyError), jm.meter(Failing(turned, {Scope.NODE: 1.0}), clock=turned.clock()) as m:  # noqa: SIM117
        with m.window("short") as w:
            raise KeyError("stopped")
    assert w.end_s is not None and w.energy.node.value is None
    assert "the sensor went away" in (w.energy.node.reason or "")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(jm.InputError, match="no meter is called 'nvlm'"):
        jm.meter("nvlm").__enter__()
    with pytest.raises(jm.InputError, match="no meter is open"), jm.meter("declared:idle=1W,busy=1W").window():
        pass
    with pytest.raises(jm.InputError, match="`devices` is 0"):
        jm.meter("nvml", device="h100", devices=0)
    with jm.meter("declared:idle=1W,busy=1W") as m, m.window("open") as w:
        assert "not over yet" in repr(w)
        with pytest.raises(jm.InputError, match="'open' is not over yet"):
            _ = w.energy
    with pytest.raises(jm.InputError, match="used before"):
        m.__enter__()


def test_threads_end_with_the_block() -> None:
    before = threading.active_count()
    with jm.meter("declared:idle=1W,busy=1W"):
        assert threading.active_count() > before
    assert threading.active_count() == before
