"""A target's meters on a clock that we set: every joule between two readings is told once, what is not read is not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.snapshot import ScopeEnergy


class Sensor:
    """A meter that is read by nobody: the test hands its readings in."""

    def __init__(
        self, quantity: Quantity = Quantity.ENERGY, scope: Scope = Scope.NODE, update_s: float | None = None
    ) -> None:
        self.quantity, self.scope, self.update_s = quantity, scope, update_s

    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(
                id="x:e",
                meter="x",
                device="N-1",
                scope=self.scope,
                quantity=self.quantity,
                basis=Basis.MEASURED,
                update_period_s=self.update_s,
            ),
        )

    def read(self) -> tuple[Reading, ...]:
        return ()

    def close(self) -> None:
        pass


def metered(
    times: Iterable[float], value: Callable[[float], float | None], sensor: Sensor | None = None
) -> TargetMeters:
    meters = TargetMeters([sensor or Sensor()], 1.0, 1000.0)
    meters.take([Reading("x:e", float(t), t, value(t)) for t in times])
    return meters


def node(meters: TargetMeters, start_s: float, end_s: float) -> ScopeEnergy:
    return meters.energy(start_s, end_s)["node"]


def test_joules_of_the_window_by_hand() -> None:
    found = node(metered(range(31), lambda t: 250.0 * t), 5.0, 15.0)
    assert found.energy_j == pytest.approx(2500)
    assert found.covered_ratio == 1.0


def test_what_is_not_bracketed_is_not_told_and_the_rest_says_how_much_of_the_window_it_is() -> None:
    meters = metered(range(31), lambda t: 250.0 * t)
    found = node(meters, 25.0, 35.0)
    assert found.energy_j == pytest.approx(250 * 5)
    assert found.covered_ratio == pytest.approx(0.5)
    assert meters.energy(31.0, 41.0) == {}


def test_a_hole_in_power_readings_gives_no_joules_while_a_counter_bridges_it() -> None:
    times = [float(t) for t in range(40) if not 10 < t < 30]
    power = metered(times, lambda _: 100.0, Sensor(Quantity.POWER))
    counter = metered(times, lambda t: 100.0 * t)
    hole = node(power, 5.0, 35.0)
    assert hole.energy_j == pytest.approx(100 * 10)
    assert hole.covered_ratio == pytest.approx(10 / 30)
    assert node(power, 1.0, 9.0).energy_j == pytest.approx(800)
    assert power.energy(12.0, 22.0) == {}
    assert node(counter, 5.0, 35.0).energy_j == pytest.approx(3000)
    assert sum(node(counter, a, b).energy_j for a, b in pairwise([5, 12, 22, 35])) == pytest.approx(3000)


def test_devices_alone_do_not_pass_for_the_node() -> None:
    meters = metered(range(30), lambda t: 9.0 * t, Sensor(scope=Scope.DEVICE))
    assert set(meters.energy(5.0, 25.0)) == {"device"}


def test_a_reset_is_a_hole_of_one_reading_and_adds_nothing() -> None:
    meters = metered(range(31), lambda t: 100.0 * t if t <= 10 else 100.0 * (t - 11) + 7)
    found = node(meters, 5.0, 20.0)
    assert found.energy_j == pytest.approx(1400)
    assert found.covered_ratio == pytest.approx(14 / 15)


def test_a_frozen_counter_tells_nothing_from_its_last_step_on_and_says_so() -> None:
    meters = metered(range(61), lambda t: 100.0 * min(t, 30))
    assert node(meters, 25.0, 35.0).energy_j == pytest.approx(500)
    assert meters.energy(35.0, 45.0) == {}
    assert meters.settled(45.0, 46.0)  # and nobody waits for it
    assert [h.state for h in meters.health("a", "s")] == ["stale_counter"]


def test_a_meter_that_answers_no_more_is_told_and_its_last_readings_are_not_stretched() -> None:
    meters = metered(range(61), lambda t: 100.0 * t if t <= 30 else None)
    assert [h.state for h in meters.health("a", "s")] == ["read_failed"]
    assert meters.energy(35.0, 45.0) == {}
    assert not meters.settled(45.0, 45.5)
    assert meters.settled(45.0, 60.0)


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        (lambda t: 100.0 * min(t, 30), "stale_counter", "does not change"),
        (lambda t: 100.0 * t if t <= 30 else None, "read_failed", "newest readings fail"),
        (lambda _: 9223372036854775792.0, "no_readings", "vendor_blank"),
        (lambda t: 100.0 * t if t < 1 else 2.0**63, "too_few_readings", "vendor_blank"),
    ],
)
def test_why_an_interval_has_no_joules_is_said(value: Callable[[float], float | None], code: str, says: str) -> None:
    energy, findings = metered(range(61), value).account(35.0, 45.0)
    assert energy == {}
    assert [(f.code, says in f.text) for f in findings if f.refused] == [(code, True)]


def test_a_meter_that_was_not_read_yet_is_no_fault() -> None:
    _, findings = metered([], lambda _: None).account(0.0, 5.0)
    assert [f.code for f in findings] == ["window_not_bracketed"]


def test_a_meter_that_never_answered_keeps_nobody_waiting() -> None:
    meters = metered([], lambda _: None)
    assert meters.settled(5.0, 5.0)
    assert meters.energy(0.0, 5.0) == {}
    assert [(h.state, h.age_s) for h in meters.health("a", "s")] == [("no_readings", None)]


def test_a_slow_meter_makes_the_interval_wait_for_its_next_step_but_not_for_ever() -> None:
    meters = metered(range(121), lambda t: 300.0 * (t // 30 * 30), Sensor(update_s=30.0))
    assert meters.settled(120.0, 120.0)
    assert not meters.settled(130.0, 131.0)
    assert meters.settled(130.0, 130.0 + 76.0)
    parts = [node(meters, t, t + 10.0) for t in range(30, 120, 10)]
    assert math.fsum(p.energy_j for p in parts) == pytest.approx(300 * 90)
    assert all(p.half_width_j is not None for p in parts)


def test_a_meter_that_one_reads_once_a_minute_is_waited_for_as_well() -> None:
    meters = metered(range(0, 241, 60), lambda t: 5.0 * t)
    assert not meters.settled(250.0, 260.0)
    meters.take([Reading("x:e", 300.0, 300.0, 1500.0)])
    assert meters.settled(250.0, 300.0)
    assert node(meters, 240.0, 250.0).energy_j == pytest.approx(50)


@given(
    st.lists(st.floats(0.5, 40.0), min_size=6, max_size=30),
    st.lists(st.floats(0.0, 900.0), min_size=31, max_size=31),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=40),
)
def test_consecutive_intervals_add_up_to_the_counters_difference(
    steps: list[float], watts: list[float], cuts: list[float]
) -> None:
    times, joules = [0.0], [1000.0]
    for step, power in zip(steps, watts, strict=False):
        times.append(times[-1] + step)
        joules.append(joules[-1] + (power + 1.0) * step)
    meters = TargetMeters([Sensor()], 1.0, 1e6)
    meters.take([Reading("x:e", t, t, e) for t, e in zip(times, joules, strict=True)])
    edges = sorted({times[0], *(c * times[-1] for c in cuts), times[-1]})
    told = [meters.energy(a, b).get("node") for a, b in pairwise(edges)]
    assert all(t is not None for t in told)
    total = math.fsum(t.energy_j for t in told if t is not None)
    assert total == pytest.approx(joules[-1] - joules[0], rel=1e-9)


def test_a_look_at_the_health_does_not_clean_the_readings_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    meters = metered(range(30), lambda t: 9.0 * t)
    meters.energy(5.0, 6.0)
    monkeypatch.setattr("joulemill.monitor.accounting.energy.traces", lambda *_: pytest.fail("cleaned anew"))
    meters.take([Reading("x:e", 31.0, 31.0, 279.0)])
    assert [h.state for h in meters.health("a", "s")] == ["ok"]


def test_a_stamp_far_ahead_makes_no_other_reading_old() -> None:
    now_s = time.monotonic()
    meters = metered((now_s + n for n in range(-20, 1)), lambda t: 250.0 * t)
    meters.take([Reading("x:e", now_s + 1e9, 1e9, 250.0 * now_s + 1.0)])
    assert node(meters, now_s - 15.0, now_s - 5.0).energy_j == pytest.approx(2500)
