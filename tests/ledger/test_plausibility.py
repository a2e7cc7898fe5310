from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.readings import channel, reading
from simulated.runs import steady_run

from joulemill.ledger.findings import Reason
from joulemill.ledger.plausibility import (
    dead_sensor,
    most_w,
    numbers,
    plausible_record,
    power_limits_w,
    reading_fault,
    reading_faults,
    rise_fault,
    token_fault,
)
from joulemill.ledger.record import Quantity, Scope

POWER, ENERGY, TEMPERATURE = Quantity.POWER, Quantity.ENERGY, Quantity.TEMPERATURE


@pytest.mark.parametrize(
    ("quantity", "value", "reason"),
    [
        (POWER, None, Reason.READ_FAILED),
        (POWER, math.nan, Reason.NOT_FINITE),
        (POWER, math.inf, Reason.NOT_FINITE),
        (POWER, 2**1100, Reason.NOT_FINITE),
        (POWER, -300.0, Reason.NEGATIVE),
        (POWER, 32767.0, Reason.BLANK),
        (POWER, 65535.0, Reason.BLANK),
        (POWER, 140737488355328.0, Reason.BLANK),
        (POWER, 140737488355331.0, Reason.BLANK),
        (POWER, 2147483632.0, Reason.BLANK),
        (POWER, 12e3, Reason.IMPLAUSIBLE),
        (POWER, 9e307, Reason.IMPLAUSIBLE),
        (POWER, 699.0, None),
        (ENERGY, 9223372036854775792.0, Reason.BLANK),
        (ENERGY, 9223372036854775792.0 * 1e-3, Reason.BLANK),
        (ENERGY, 140737488355328 * 1e-3, Reason.BLANK),
        (ENERGY, 2147483632 * 1e-3, Reason.BLANK),
        (ENERGY, 18446744073709551615.0 * 1e-6, Reason.BLANK),
        (ENERGY, 65535.0, None),
        (ENERGY, 8e14, None),
        (ENERGY, 3.6e21, Reason.IMPLAUSIBLE),
        (TEMPERATURE, -10.0, None),
        (TEMPERATURE, 32767.0, Reason.BLANK),
        (TEMPERATURE, 2147483632.0, Reason.BLANK),
        (TEMPERATURE, 400.0, Reason.IMPLAUSIBLE),
        (Quantity.UTILIZATION, 3.0, Reason.IMPLAUSIBLE),
        (Quantity.UTILIZATION, 2147483632 * 1e-2, Reason.IMPLAUSIBLE),
        (Quantity.CLOCK, 1.98e9, None),
        (Quantity.CLOCK, 2147483632e6, Reason.BLANK),
        (Quantity.THROTTLE_POWER, -1.0, Reason.NEGATIVE),
    ],
)
def test_what_a_reading_can_be(quantity: Quantity, value: float | None, reason: Reason | None) -> None:
    assert reading_fault(quantity, value) is reason
    of_array = reading_faults(quantity, numbers([value]))
    assert [r for r, _ in of_array] == ([] if reason is None else [Reason.NOT_FINITE if value is None else reason])


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20), st.sampled_from(list(Quantity)))
def test_arrays_say_what_single_readings_say(values: list[float], quantity: Quantity) -> None:
    masks = reading_faults(quantity, values)
    for i, value in enumerate(values):
        reasons = [r for r, mask in masks if mask[i]]
        one = reading_fault(quantity, value)
        assert reasons == ([] if one is None else [one])


def test_the_boards_own_limit_bounds_its_power_with_a_margin() -> None:
    assert most_w(Scope.DEVICE, 700.0) == 1050.0
    assert most_w(Scope.DEVICE, 5e6) == most_w(Scope.DEVICE) == 1e4
    assert reading_fault(POWER, 900.0, limit_w=700.0) is None
    assert reading_fault(POWER, 1100.0, limit_w=700.0) is Reason.IMPLAUSIBLE
    assert reading_fault(POWER, 1e5, scope=Scope.NODE) is None
    assert reading_fault(POWER, 1e9, scope=Scope.NODE) is Reason.IMPLAUSIBLE


def test_joules_come_no_faster_than_power_allows() -> None:
    assert rise_fault(700.0, 1.0, limit_w=700.0) is None
    assert rise_fault(3.6e9, 1.0) is Reason.IMPLAUSIBLE
    assert rise_fault(3e4, 1.0, late_s=2.0) is None
    assert rise_fault(-1.0, 1.0) is Reason.NEGATIVE
    assert rise_fault(math.inf, 1.0) is Reason.NOT_FINITE


def test_a_sensor_that_counts_nothing_while_tokens_are_made_is_dead() -> None:
    assert dead_sensor(0.0, 100.0, 10.0)
    assert dead_sensor(3.0, 100.0, 10.0, limit_w=700.0)
    assert not dead_sensor(700.0, 100.0, 10.0, limit_w=700.0)
    assert not dead_sensor(0.0, 0.0, 10.0)


def test_tokens_come_no_faster_than_a_server_makes_them() -> None:
    assert token_fault(1e5, 1.0) is None
    for absurd in (2.0**53, 1.7e308, math.inf, math.nan, -1.0):
        assert token_fault(absurd, 10.0) is Reason.IMPLAUSIBLE_TOKENS
    assert token_fault(5e3, 10.0, most_tok_s=100.0) is Reason.IMPLAUSIBLE_TOKENS


def test_a_boards_limit_is_the_largest_that_it_states() -> None:
    limit = channel("m:a:power-limit", quantity=Quantity.POWER_LIMIT)
    values = [700.0, 350.0, 2147483632.0, None, -1.0]
    readings = [reading(limit.id, t, v) for t, v in enumerate(values)]
    assert power_limits_w([limit], readings) == {"a": 700.0}


def test_masks_are_disjoint_and_cover_only_what_cannot_be() -> None:
    masks = reading_faults(POWER, np.array([1.0, -1.0, math.nan, 32767.0, 5e4]))
    assert sum(int(m.sum()) for _, m in masks) == 4


def test_other_readers_of_a_run_never_meet_what_cannot_be() -> None:
    run = steady_run()
    clock = channel("m:a:clock", quantity=Quantity.CLOCK)
    values = [1.9e9, 2147483632e6, 1.9e9]
    more = replace(
        run,
        channels=(*run.channels, clock),
        readings=(*run.readings, *(reading(clock.id, t, v) for t, v in enumerate(values))),
    )
    clean = plausible_record(more)
    assert [r.value for r in clean.readings if r.channel == clock.id] == [1.9e9, None, 1.9e9]
    assert clean.readings[-2].error == "vendor_blank: 2.14748e+15"
    assert plausible_record(run) is run
