from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.readings import channel, counted, reading, readings

from joulemill.figure import Basis
from joulemill.ledger.energy import sub_window_energy_j, window_energy
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Quantity
from joulemill.ledger.trace import trace
from joulemill.statistics.normal import Z_95

POWER = {"quantity": Quantity.POWER}


def codes(result) -> set[Reason]:
    return {f.code for f in result.findings}


def test_constant_power_by_counter_is_exact_and_its_interval_is_the_lag() -> None:
    t = trace(channel(), counted("meter:a:energy", 100.0, 60.0))
    e = window_energy(t, 10.25, 40.25)
    assert e.energy_j == pytest.approx(3000.0)
    assert e.power_w == pytest.approx(100.0)
    assert e.kind == "counter" and e.basis is Basis.MEASURED
    assert e.half_width_j == pytest.approx(0.5 * 100.0)  # nothing but the read interval is uncertain
    known = trace(channel(update_period_s=0.001), counted("meter:a:energy", 100.0, 60.0))
    assert window_energy(known, 10.25, 40.25).half_width_j == pytest.approx(0.1)


def test_linear_ramp_by_power_is_its_closed_form() -> None:
    c = channel(**POWER)
    t = trace(c, readings(c.id, np.arange(0, 61, 1.0), lambda x: 50 + 2 * x))
    e = window_energy(t, 10.3, 50.7)
    assert e.energy_j == pytest.approx(50 * 40.4 + (50.7**2 - 10.3**2))
    assert e.kind == "integrated"


def test_systematic_terms_enter_as_stated() -> None:
    c = channel(**POWER, rel_error=0.05, resolution=2.0, clock_skew_s=0.5)
    e = window_energy(trace(c, readings(c.id, np.arange(0, 61, 1.0), lambda x: 200 + 0 * x)), 10, 50, idle_power_w=80.0)
    assert e.half_width_j == pytest.approx(np.hypot(np.hypot(0.05 * 8000, 1.0 * 40), 0.5 * 120))


def test_counter_before_and_after_a_wrap() -> None:
    c = channel(max_range=1000.0, update_period_s=0.001)
    raw = [reading(c.id, t, (700 + 50 * t) % 1000.0) for t in np.arange(0, 60.5, 0.5)]
    e = window_energy(trace(c, raw), 5.0, 55.0)
    assert e.energy_j == pytest.approx(2500.0)
    assert Reason.WRAPPED in codes(e)


def test_a_reset_refuses_its_window_and_no_other() -> None:
    c = channel()
    raw = [reading(c.id, t, 50 * t if t < 30 else 50 * (t - 30)) for t in np.arange(0, 60.5, 0.5)]
    tr = trace(c, raw)
    hit = window_energy(tr, 10.0, 50.0)
    assert hit.energy_j is None and hit.low_j is None and Reason.RESET in codes(hit)
    assert window_energy(tr, 32.0, 52.0).energy_j == pytest.approx(1000.0)
    assert np.isnan(sub_window_energy_j(tr, np.array([10.0, 20.0, 40.0, 50.0]))).tolist() == [False, True, False]


def test_a_reset_of_a_counter_that_may_wrap_is_no_wrap() -> None:
    c = channel(max_range=262144.0)
    raw = [reading(c.id, t, 50 * t if t < 30 else 50 * (t - 30)) for t in np.arange(0, 60.5, 0.5)]
    assert Reason.RESET in codes(window_energy(trace(c, raw), 10.0, 50.0))


def test_a_window_outside_the_readings_is_refused() -> None:
    t = trace(channel(), counted("meter:a:energy", 100.0, 60.0))
    for window, words in (
        ((-1.0, 30.0), "the first reading came 1 s after the window began"),
        ((30.0, 60.1), "the last reading came 0.1 s before the window ended"),
    ):
        refused = window_energy(t, *window)
        assert codes(refused) == {Reason.NOT_BRACKETED} and words in refused.findings[0].detail


def test_a_gap_refuses_a_gauge_and_a_counter_only_at_its_edge() -> None:
    t = np.concatenate((np.arange(0, 20, 0.5), np.arange(30, 60.5, 0.5)))
    gauge = channel(**POWER)
    assert window_energy(trace(gauge, readings(gauge.id, t, lambda x: 0 * x + 9)), 5, 50).energy_j is None
    counter = trace(channel(), readings("meter:a:energy", t, lambda x: 9 * x))
    inside = window_energy(counter, 5, 50)
    assert inside.energy_j == pytest.approx(405) and Reason.GAP in codes(inside)
    assert window_energy(counter, 25, 50).energy_j is None


def test_a_gap_that_can_hide_a_whole_turn_is_refused() -> None:
    t = np.concatenate((np.arange(0, 20, 0.5), np.arange(40, 60.5, 0.5)))
    c = channel(max_range=900.0)
    e = window_energy(trace(c, readings(c.id, t, lambda x: (50 * x) % 900.0)), 5, 55)
    assert e.energy_j is None and Reason.WRAP_AMBIGUOUS in codes(e)


def test_failed_negative_and_infinite_reads_are_told_and_never_zero() -> None:
    raw = counted("meter:a:energy", 100.0, 60.0)
    raw[20] = reading("meter:a:energy", 10.0, None, "permission denied")
    raw[30] = reading("meter:a:energy", 15.0, -1.0)
    raw[40] = reading("meter:a:energy", 20.0, float("nan"))
    e = window_energy(trace(channel(), raw), 5.0, 55.0)
    assert e.energy_j == pytest.approx(5000.0)
    assert codes(e) == {Reason.READ_FAILED, Reason.NEGATIVE, Reason.NOT_FINITE}


def test_only_failed_reads_are_no_joules() -> None:
    e = window_energy(trace(channel(), [reading("meter:a:energy", t, None, "gone") for t in range(9)]), 1, 5)
    assert e.energy_j is None and {Reason.NO_READINGS, Reason.READ_FAILED} <= codes(e)


def test_late_and_repeated_readings_change_nothing() -> None:
    raw = counted("meter:a:energy", 100.0, 60.0)
    shuffled = [*raw[:30], raw[31], raw[30], *raw[32:], raw[50]]
    e = window_energy(trace(channel(), shuffled), 5.0, 55.0)
    assert e.energy_j == pytest.approx(5000.0)
    assert codes(e) == {Reason.LATE, Reason.DUPLICATE}


def test_two_values_at_one_time_refuse() -> None:
    raw = [*counted("meter:a:energy", 100.0, 60.0), reading("meter:a:energy", 30.0, 7.0)]
    assert Reason.CONFLICT in codes(window_energy(trace(channel(), raw), 5, 55))


def staircase(period_s: float, power_w: float, duration_s: float, every_s: float) -> list:
    t = np.arange(0, duration_s + 1e-9, every_s)
    return [reading("meter:a:energy", x, power_w * period_s * np.floor(x / period_s + 1e-9)) for x in t]


def test_an_exporter_that_collects_every_30_s_is_found_and_its_steps_are_used() -> None:
    tr = trace(channel(), staircase(30.0, 400.0, 400.0, 0.333))
    assert tr.period_s == pytest.approx(30.0, rel=0.02)
    e = window_energy(tr, 100.0, 160.0)
    assert Reason.COARSE in codes(e)  # 60 s hold two updates: told, and the length that would do
    assert any("600 s" in f.detail or "599 s" in f.detail for f in e.findings)
    assert e.low_j <= 24000.0 <= e.high_j
    assert e.energy_j == pytest.approx(24000.0, rel=0.02)  # raw differences would say 12, 24 or 36 kJ
    assert Reason.WINDOW_TOO_SHORT in codes(window_energy(tr, 100.0, 150.0))


@pytest.mark.parametrize("phase_s", [1.0, 7.0, 13.0, 22.0, 29.0])
def test_a_load_that_starts_between_two_slow_updates_is_inside_the_interval(phase_s: float) -> None:
    """90 W until 200 s, then 600 W until 500 s, collected every 30 s: interpolation is off, the interval knows it."""
    t = np.arange(0.0, 700.0, 0.333)
    collected = np.maximum(np.floor((t - phase_s) / 30.0) * 30.0 + phase_s, 0.0)
    joules = 90.0 * collected + 510.0 * np.clip(collected - 200.0, 0.0, 300.0)
    tr = trace(channel(), [reading("meter:a:energy", x, y) for x, y in zip(t, joules, strict=True)])
    for a, b in ((200.5, 499.5), (200.5, 330.0), (250.0, 499.5)):
        e = window_energy(tr, a, b)
        assert e.low_j <= 600.0 * (b - a) <= e.high_j


def test_a_counter_that_never_moves_is_no_zero() -> None:
    e = window_energy(trace(channel(), [reading("meter:a:energy", t, 5.0) for t in range(60)]), 10, 50)
    assert e.energy_j is None and Reason.STALE in codes(e)


def test_a_counter_that_dies_refuses_from_its_last_step() -> None:
    raw = [reading("meter:a:energy", t, 100 * min(t, 30.0)) for t in np.arange(0, 60.5, 0.5)]
    tr = trace(channel(), raw)
    assert Reason.STALE in codes(window_energy(tr, 10, 50))
    assert window_energy(tr, 5, 25).energy_j == pytest.approx(2000)


def test_no_length_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="length"):
        window_energy(trace(channel(), counted("meter:a:energy", 1.0, 9.0)), 3.0, 3.0)


powers = st.lists(st.floats(1.0, 900.0), min_size=30, max_size=60)


def random_trace(watts: list[float], quantity: Quantity, shift_s: float = 0.0, factor: float = 1.0):
    c = channel(quantity=quantity)
    t = shift_s + np.arange(len(watts), dtype=float)
    values = np.cumsum([0.0, *watts[:-1]]) if quantity is Quantity.ENERGY else np.array(watts)
    return trace(c, [reading(c.id, x, factor * v) for x, v in zip(t, values, strict=True)])


@given(powers, st.sampled_from([Quantity.ENERGY, Quantity.POWER]), st.floats(0.3, 0.7))
def test_a_split_window_adds_up(watts: list[float], quantity: Quantity, cut: float) -> None:
    tr = random_trace(watts, quantity)
    a, b = 1.3, len(watts) - 2.2
    m = a + cut * (b - a)
    whole = window_energy(tr, a, b).energy_j
    assert window_energy(tr, a, m).energy_j + window_energy(tr, m, b).energy_j == pytest.approx(whole, rel=1e-12)
    assert sub_window_energy_j(tr, np.linspace(a, b, 9)).sum() == pytest.approx(whole, rel=1e-12)


@given(powers, st.sampled_from([Quantity.ENERGY, Quantity.POWER]), st.floats(0.01, 10.0), st.floats(-1e4, 1e4))
def test_joules_scale_and_do_not_care_when(watts: list[float], quantity: Quantity, factor: float, shift: float) -> None:
    one = window_energy(random_trace(watts, quantity), 2.5, 20.5)
    other = window_energy(random_trace(watts, quantity, shift, factor), 2.5 + shift, 20.5 + shift)
    assert other.energy_j == pytest.approx(factor * one.energy_j, rel=1e-6)
    assert other.half_width_j == pytest.approx(factor * one.half_width_j, rel=1e-4)


@given(powers, st.integers(1, 200), st.floats(0.05, 0.95))
def test_the_interval_holds_the_truth_whatever_the_power_did(watts: list[float], seed: int, phase: float) -> None:
    """A fine-grained truth, read once a second: E(t) between reads is unknown, and the interval must say so."""
    rng = np.random.default_rng(seed)
    fine = np.repeat(watts, 20) * rng.uniform(0.9, 1.1, 20 * len(watts))
    t = np.arange(len(fine) + 1) / 20
    e = np.concatenate(([0.0], np.cumsum(fine) / 20))
    tr = trace(channel(), [reading("meter:a:energy", x, y) for x, y in zip(t[::20], e[::20], strict=True)])
    a, b = 2 + phase, len(watts) - 2 + phase
    truth = np.interp(b, t, e) - np.interp(a, t, e)
    found = window_energy(tr, a, b)
    assert found.low_j - 1e-6 <= truth <= found.high_j + 1e-6


def test_one_reading_is_no_energy() -> None:
    alone = trace(channel(), [reading(channel().id, 5.0, 100.0)])
    assert [f.code for f in alone.findings if f.fatal] == [Reason.TOO_FEW_READINGS]
    refused = window_energy(alone, 0.0, 10.0)
    assert refused.energy_j is None and Reason.TOO_FEW_READINGS in {f.code for f in refused.findings}


def test_a_sensor_that_looks_a_quarter_of_the_time_is_less_sure_of_a_restless_power() -> None:
    t = np.arange(0.0, 60.0, 0.1)
    watts = 500.0 + 40.0 * np.where(np.arange(len(t)) % 2, 1.0, -1.0)
    raw = readings("meter:a:power", t, lambda x: np.interp(x, t, watts))
    gauge = channel("meter:a:power", quantity=Quantity.POWER, update_period_s=0.1)
    whole, part = (window_energy(trace(replace(gauge, sampled_ratio=s), raw), 10.0, 50.0) for s in (None, 0.25))
    # successive differences of 80 W: sigma = 80/sqrt(2)
    extra = math.sqrt(part.half_width_j**2 - whole.half_width_j**2)
    assert part.energy_j == whole.energy_j
    assert extra == pytest.approx(0.75 * Z_95 * 80.0 / math.sqrt(2.0) * 40.0, rel=1e-6)


def test_part_time_sampling_is_not_shrunk_by_measuring_longer_and_is_nothing_for_a_steady_power() -> None:
    rng = np.random.default_rng(7)
    t = np.arange(0.0, 400.0, 0.1)
    noise = rng.normal(500.0, 30.0, len(t))
    gauge = channel("meter:a:power", quantity=Quantity.POWER, update_period_s=0.1, sampled_ratio=0.25)
    restless = trace(gauge, readings(gauge.id, t, lambda x: np.interp(x, t, noise)))
    short, long = (window_energy(restless, 10.0, end) for end in (20.0, 390.0))
    assert long.half_width_j / long.energy_j > 0.8 * short.half_width_j / short.energy_j > 0.05
    steady = trace(gauge, readings(gauge.id, t, lambda x: 500.0 + 0.0 * x))
    assert window_energy(steady, 10.0, 390.0).half_width_j < 1e-6


def test_a_steady_counter_read_at_odd_moments_does_not_look_restless() -> None:
    """Reads every 100 ms (and a little) of a counter that updates every 20 ms: the steps differ, the power does not."""
    rng = np.random.default_rng(3)
    t = np.cumsum(0.1 + 0.004 * rng.random(2000))
    counter = channel(update_period_s=0.02, sampled_ratio=0.25)
    made = trace(counter, readings(counter.id, t, lambda x: 500.0 * 0.02 * np.floor(x / 0.02)))
    found = window_energy(made, 20.0, 180.0)
    assert found.half_width_j < 0.03 * found.energy_j
