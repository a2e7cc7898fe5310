"""Sources that lie, go missing, come twice or late: nothing is *measured* unless all boards are there."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from simulated.readings import channel, reading

from joulemill.ledger.energy import EnergyResult, window_energy
from joulemill.ledger.identity import Identity, identity_of
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.ledger.scopes import compose, scope_energy
from joulemill.ledger.trace import traces

START, END, LONG_S = 10.0, 50.0, 60.0
TDP_W = 700.0
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Source:
    """One meter of one board."""

    def __init__(self, channel: Channel, readings: tuple[Reading, ...]) -> None:
        self.channel, self.readings = channel, readings

    def __repr__(self) -> str:
        return f"{self.channel.id}×{len(self.readings)}"


def source(meter: str, board: str, quantity: Quantity, watts: float, every_s: float = 0.5) -> Source:
    kind = "energy" if quantity is Quantity.ENERGY else "power"
    c = channel(
        f"{meter}:{board}:{kind}", meter=meter, device=board, quantity=quantity, update_period_s=0.1, rel_error=0.02
    )
    t = np.arange(0.0, LONG_S + 1e-9, every_s)
    values = 5e5 + watts * t if quantity is Quantity.ENERGY else np.full(len(t), watts)
    return Source(c, tuple(reading(c.id, x, v) for x, v in zip(t, values, strict=True)))


def measured(sources: list[Source], expected: int | None, board_w: float | None = TDP_W) -> EnergyResult:
    channels = list(dict.fromkeys(s.channel for s in sources))
    made = traces(channels, [r for s in sources for r in s.readings], board_w)
    results = {i: window_energy(t, START, END) for i, t in made.items()}
    refusals = {i: tuple(f for f in r.findings if f.fatal) for i, r in results.items() if r.energy_j is None}
    wanted = None if expected is None else {Scope.DEVICE: expected}
    composed = compose([t.channel for t in made.values()], refusals, wanted)
    result = scope_energy(composed[Scope.DEVICE], results, (START, END))
    for x in (result.energy_j, result.low_j, result.high_j):
        assert x is None or math.isfinite(x)
    return result


@st.composite
def node(draw: st.DrawFn) -> tuple[list[Source], list[str], float]:
    """A node of 1–6 boards metered by one to three meters: counters, gauges or both, by UUID; and its true watts."""
    count = draw(st.integers(1, 6))
    uuids = [f"GPU-{i:08x}-0000-4000-8000-{draw(st.integers(0, 2**48 - 1)):012x}" for i in range(count)]
    watts = draw(st.lists(st.floats(60.0, 690.0), min_size=count, max_size=count))
    meters = draw(st.lists(st.sampled_from(["nvml", "dcgm", "file:smi.csv"]), min_size=1, max_size=3, unique=True))
    kinds = draw(st.sampled_from([(Quantity.ENERGY,), (Quantity.POWER,), (Quantity.ENERGY, Quantity.POWER)]))
    made = [source(m, b, k, w) for m in meters for b, w in zip(uuids, watts, strict=True) for k in kinds]
    return made, uuids, math.fsum(watts)


def of(sources: list[Source], board: str) -> list[Source]:
    return [s for s in sources if s.channel.device == board]


def renamed(s: Source, board: str) -> Source:
    return moved(s, device=board, id=f"{s.channel.meter}:{board}:{s.channel.quantity.value}")


def moved(s: Source, **facts: Any) -> Source:
    c = replace(s.channel, **facts)
    return Source(c, tuple(replace(r, channel=c.id) for r in s.readings))


@FEW
@given(node())
def test_all_boards_by_any_meters_are_the_truth_once(made: tuple[list[Source], list[str], float]) -> None:
    sources, boards, watts = made
    for expected in (len(boards), None):
        assert measured(sources, expected).energy_j == pytest.approx(watts * (END - START), rel=1e-6)


@pytest.mark.finding("F12")
@FEW
@given(node(), st.data())
def test_a_board_that_is_dropped_refuses_the_sum(
    made: tuple[list[Source], list[str], float], data: st.DataObject
) -> None:
    sources, boards, _ = made
    gone = data.draw(st.lists(st.sampled_from(boards), min_size=1, unique=True))
    left = [s for s in sources if s.channel.device not in gone]
    assert measured(left, len(boards)).energy_j is None


@FEW
@given(node(), st.data(), st.sampled_from([5.0, 20.0, 45.0]))
def test_a_board_that_falls_silent_refuses_the_sum(
    made: tuple[list[Source], list[str], float], data: st.DataObject, at_s: float
) -> None:
    sources, boards, _ = made
    dead = data.draw(st.sampled_from(boards))
    cut = [
        Source(s.channel, tuple(r for r in s.readings if r.t_mono_s < at_s)) if s.channel.device == dead else s
        for s in sources
    ]
    for expected in (len(boards), None):
        assert measured(cut, expected).energy_j is None


@FEW
@given(node(), st.data())
def test_a_board_that_comes_twice_counts_once_or_refuses(
    made: tuple[list[Source], list[str], float], data: st.DataObject
) -> None:
    """Under its UUID again, by another exporter; or under its index."""
    sources, boards, watts = made
    twice = data.draw(st.sampled_from(boards))
    name = data.draw(st.sampled_from([twice, "0", "gpu0", "NVIDIA H100 80GB HBM3"]))
    again = [renamed(moved(s, meter="other"), name) for s in of(sources, twice)[:1]]
    for expected in (len(boards), len(boards) + 1, None):
        found = measured([*sources, *again], expected).energy_j
        assert found is None or found == pytest.approx(watts * (END - START), rel=1e-6)


@pytest.mark.finding("F13")
@FEW
@given(node(), st.data())
def test_boards_under_wrong_names_are_never_fewer_boards(
    made: tuple[list[Source], list[str], float], data: st.DataObject
) -> None:
    """Two boards under one name, under a product's name, or under one index: the sum is right, or refused."""
    sources, boards, watts = made
    some = data.draw(st.lists(st.sampled_from(boards), min_size=1, unique=True))
    name = data.draw(st.sampled_from([boards[0], "0", "NVIDIA H100 80GB HBM3", "GPU"]))
    other = [renamed(s, name) if s.channel.device in some else s for s in sources]
    found = measured(other, len(boards)).energy_j
    assert found is None or found == pytest.approx(watts * (END - START), rel=1e-6)
    names = {s.channel.device for s in other}
    if len(names) < len(boards) or (len(boards) > 1 and Identity.NONE in map(identity_of, names)):
        assert found is None


@FEW
@given(node(), st.data(), st.floats(0.0, 8.0))
def test_a_board_that_is_late_moves_the_sum_within_what_its_power_allows(
    made: tuple[list[Source], list[str], float], data: st.DataObject, late_s: float
) -> None:
    sources, boards, watts = made
    late = data.draw(st.sampled_from(boards))
    other = [
        Source(s.channel, tuple(replace(r, t_mono_s=r.t_mono_s + late_s) for r in s.readings))
        if s.channel.device == late
        else s
        for s in sources
    ]
    found = measured(other, len(boards))
    assert found.energy_j == pytest.approx(watts * (END - START), rel=1e-6)  # its power is steady


impossible = st.one_of(
    st.floats(1.51 * TDP_W, 1e300),
    st.sampled_from(
        [32767.0, 65535.0, 2147483632.0, 140737488355328.0, 9223372036854775792.0, math.inf, math.nan, -1.0]
    ),
)


@FEW
@given(node(), st.data(), impossible)
def test_a_reading_beyond_the_board_never_changes_a_total(
    made: tuple[list[Source], list[str], float], data: st.DataObject, watts: float
) -> None:
    """One gauge's reading put in, or in place of a good one."""
    sources, boards, truth_w = made
    truth_j = truth_w * (END - START)
    n = data.draw(st.integers(0, len(sources) - 1))
    s, k = sources[n], data.draw(st.integers(1, 119))
    value = watts if s.channel.quantity is Quantity.POWER or not watts > 0.0 else 1e6 + 1.0 + 60.0 * watts
    bad = replace(s.readings[k], value=value, t_mono_s=s.readings[k].t_mono_s + data.draw(st.sampled_from([0.0, 0.2])))
    rows = list(s.readings)
    rows[k : k + (bad.t_mono_s == s.readings[k].t_mono_s)] = [bad]
    found = measured([*sources[:n], Source(s.channel, tuple(rows)), *sources[n + 1 :]], len(boards))
    assert found.energy_j == pytest.approx(truth_j, rel=1e-6) and found.low_j <= truth_j <= found.high_j


@pytest.mark.finding("F8")
@FEW
@given(node(), st.data(), st.floats(1e6, 1e15), st.integers(25, 95))
def test_a_counter_that_jumps_is_refused_or_replaced(
    made: tuple[list[Source], list[str], float], data: st.DataObject, jump_j: float, at: int
) -> None:
    sources, boards, watts = made
    n = data.draw(st.integers(0, len(sources) - 1))
    s = sources[n]
    rows = tuple(replace(r, value=r.value + jump_j) if i >= at else r for i, r in enumerate(s.readings))
    found = measured([*sources[:n], Source(s.channel, rows), *sources[n + 1 :]], len(boards)).energy_j
    assert found is None or found == pytest.approx(watts * (END - START), rel=1e-6)


@FEW
@given(st.floats(60.0, 690.0), st.sampled_from([1e-6, 1e-3, 1e3, 1e6]), st.integers(25, 95), st.booleans())
def test_a_unit_that_changes_midway_is_refused(watts: float, factor: float, at: int, counter: bool) -> None:
    """mJ for J, J for MJ: a driver update, an exporter's new version."""
    s = source("nvml", "GPU-1", Quantity.ENERGY if counter else Quantity.POWER, watts)
    rows = tuple(replace(r, value=r.value * factor) if i >= at else r for i, r in enumerate(s.readings))
    found = measured([Source(s.channel, rows)], 1)
    if factor > 1.0 or counter:
        assert found.energy_j is None
    if factor < 1.0 and not counter:  # only another sensor, or the tokens that were made, tell
        right = source("dcgm", "GPU-1", Quantity.POWER, watts)
        both = measured([Source(s.channel, rows), right], 1)
        assert both.energy_j is None or both.low_j <= watts * (END - START) <= both.high_j
        assert both.energy_j is None or at > 60


@FEW
@given(st.floats(60.0, 690.0), st.integers(25, 60), st.integers(8, 30), st.booleans())
def test_a_counter_that_freezes_is_refused_or_catches_up(watts: float, at: int, reads: int, forgets: bool) -> None:
    s = source("nvml", "GPU-1", Quantity.ENERGY, watts)
    held = s.readings[at].value
    lost = (s.readings[at + reads].value - held) if forgets else 0.0
    rows = tuple(
        replace(r, value=held if at <= i < at + reads else r.value - lost * (i >= at + reads))
        for i, r in enumerate(s.readings)
    )
    found = measured([Source(s.channel, rows)], 1)
    if forgets:
        assert found.energy_j is None
    elif found.energy_j is not None:
        assert found.low_j <= watts * (END - START) <= found.high_j


@FEW
@given(st.floats(60.0, 690.0), st.integers(25, 95), st.booleans())
def test_a_counter_that_begins_anew_is_refused(watts: float, at: int, range_known: bool) -> None:
    s = source("nvml", "GPU-1", Quantity.ENERGY, watts)
    first = s.readings[at].value
    rows = tuple(replace(r, value=r.value - first) if i >= at else r for i, r in enumerate(s.readings))
    c = replace(s.channel, max_range=2.0**48 if range_known else None)
    assert measured([Source(c, rows)], 1).energy_j is None


@FEW
@given(node(), st.floats(0.1, 1.0))
def test_joules_scale(made: tuple[list[Source], list[str], float], factor: float) -> None:
    sources, boards, _ = made
    other = [Source(s.channel, tuple(replace(r, value=factor * r.value) for r in s.readings)) for s in sources]
    one, scaled = measured(sources, len(boards), None), measured(other, len(boards), None)
    assert scaled.energy_j == pytest.approx(factor * one.energy_j, rel=1e-6)
    assert scaled.half_width_j == pytest.approx(factor * one.half_width_j, rel=1e-4)


values = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0.0, 2e3))
times = st.one_of(st.floats(0.0, 60.0), st.floats(allow_nan=True, allow_infinity=True), st.integers(0, 60).map(float))


@pytest.mark.finding("F29")
@FEW
@example([(0.0, 0.0), (8.98846567431158e303, 0.0)], Quantity.ENERGY)
@example([(0.0, 1176.0), (3.0547037125952692e305, 1.0)], Quantity.POWER)
@given(st.lists(st.tuples(times, values), max_size=60), st.sampled_from([Quantity.ENERGY, Quantity.POWER]))
def test_whatever_is_read_totals_are_finite(rows: list[tuple[float, float | None]], quantity: Quantity) -> None:
    c = channel("m:GPU-1:x", device="GPU-1", quantity=quantity, rel_error=0.05)
    raw = tuple(Reading(c.id, t, t, v) for t, v in rows)
    found = measured([Source(c, raw)], None, None)
    assert found.energy_j is None or 0.0 <= found.low_j <= found.energy_j <= found.high_j < math.inf
