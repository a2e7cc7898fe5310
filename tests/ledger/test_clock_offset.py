from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.figure import Basis
from joulemill.ledger.clock_offset import _busy_shares, busy_spans, estimate_offset, with_offsets
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.ledger.trace import Trace, trace

IDLE_W, BUSY_W = 100.0, 400.0
BUSY = busy_spans([(20.0, 50.0), (60.0, 90.0)])


def metered(late_s: float, *, period_s: float = 0.5, noise_w: float = 5.0, swing_w: float = BUSY_W - IDLE_W) -> Trace:
    """A power meter of a known offset: what it shows at t is the machine's mean power over its period at t − late."""
    rng = np.random.default_rng(7)
    t = np.arange(0.0, 110.0, period_s)
    share = _busy_shares(np.append(t, t[-1] + period_s), np.array([late_s + period_s / 2]), BUSY)[0]
    watts = IDLE_W + swing_w * share + rng.normal(0.0, noise_w, len(t))
    channel = Channel(
        id="m",
        meter="file:x",
        device="node",
        scope=Scope.NODE,
        quantity=Quantity.POWER,
        basis=Basis.MEASURED,
        update_period_s=period_s,
    )
    return trace(channel, [Reading("m", float(a), float(a), float(w)) for a, w in zip(t, watts, strict=True)])


def test_spans_that_touch_are_one_and_an_unfinished_request_is_none() -> None:
    assert busy_spans([(5.0, 7.0), (1.0, 3.0), (2.0, 4.0), (None, 9.0), (8.0, None)]).tolist() == [[1, 4], [5, 7]]


def test_share_of_a_stretch_by_hand() -> None:
    assert _busy_shares(np.array([0.0, 2.0, 4.0, 8.0]), np.zeros(1), busy_spans([(1.0, 3.0), (5.0, 8.0)]))[
        0
    ].tolist() == [
        0.5,
        0.5,
        0.75,
    ]


@settings(max_examples=25, deadline=None)
@given(st.floats(-8.0, 8.0), st.sampled_from([0.1, 0.5, 1.0]))
def test_a_known_offset_is_found_within_its_own_interval_and_a_period(late_s: float, period_s: float) -> None:
    found = estimate_offset(metered(late_s, period_s=period_s), BUSY)
    assert found is not None
    assert abs(found.offset_s - late_s) <= found.half_width_s + 0.5 * period_s
    assert found.half_width_s < 1.5


@pytest.mark.parametrize("swing_w", [0.0, 2.0])
def test_power_that_does_not_follow_the_load_decides_nothing(swing_w: float) -> None:
    assert estimate_offset(metered(3.0, swing_w=swing_w), BUSY) is None


def test_power_that_falls_under_load_is_not_the_load() -> None:
    assert estimate_offset(metered(0.0, swing_w=-80.0, noise_w=0.1), BUSY) is None


def test_a_load_without_edges_in_sight_decides_nothing() -> None:
    assert estimate_offset(metered(2.0), busy_spans([(-500.0, 500.0)])) is None
    assert estimate_offset(metered(2.0), busy_spans([])) is None


def test_an_offset_widens_the_bound_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.ledger.clock_offset.busy_spans", lambda spans: BUSY)
    late = with_offsets({"m": metered(4.0)}, [])["m"]
    assert late.channel.clock_skew_s == pytest.approx(4.0, abs=0.8)
    assert [f.code for f in late.findings] == [Reason.CLOCK_OFFSET] and "late" in late.findings[0].detail
    early = with_offsets({"m": metered(-4.0)}, [])["m"]
    assert "early" in early.findings[0].detail
    same = metered(0.0)
    assert with_offsets({"m": same}, [])["m"] is same
