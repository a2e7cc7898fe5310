from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.ledger.record import Reading
from joulemill.meters.cadence import infer_update_period


def polled(update_s: float, poll_s: float, total_s: float) -> list[Reading]:
    """A 100 W counter that moves every ``update_s``, polled every ``poll_s``."""
    times = [i * poll_s for i in range(int(total_s / poll_s))]
    return [Reading("c", t, t, 100.0 * update_s * int(t / update_s + 1e-9)) for t in times]


@given(update_ms=st.integers(20, 1000), polls=st.integers(2, 40))
def test_the_period_is_found_within_one_poll(update_ms: int, polls: int) -> None:
    update_s = update_ms / 1e3
    period_s = infer_update_period(polled(update_s, update_s / polls, 12 * update_s))
    assert period_s == pytest.approx(update_s, abs=update_s / polls + 1e-9)


def test_dcgm_exporters_default_interval_shows() -> None:
    assert infer_update_period(polled(30.0, 1.0, 150.0)) == pytest.approx(30.0)


def test_polling_slower_than_the_sensor_bounds_the_period() -> None:
    assert infer_update_period(polled(0.02, 0.5, 10.0)) == pytest.approx(0.5)


def test_too_few_changes_claim_nothing() -> None:
    assert infer_update_period(polled(30.0, 1.0, 50.0)) is None
    assert infer_update_period([]) is None


def test_failed_reads_are_no_changes() -> None:
    readings = [r if i % 3 else Reading("c", r.t_mono_s, 0.0, None, "x") for i, r in enumerate(polled(1.0, 0.1, 10.0))]
    assert infer_update_period(readings) == pytest.approx(1.0, abs=0.11)
