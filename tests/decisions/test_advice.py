"""Advice on histories whose truth is known: by hand, and never more than there is to save."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.decisions.advice import (
    DAY_S,
    HOUR_S,
    Hour,
    TargetHistory,
    consolidate,
    enough,
    ranked,
    shift,
    unload,
)


def seen(name: str, hours: list[tuple[float, float]], *, idle_w: float = 200.0, busy_w: float = 600.0) -> TargetHistory:
    """``hours``: (share idle, tok/s while busy) of consecutive hours from midnight on."""
    made = [
        Hour(
            n * HOUR_S,
            HOUR_S,
            idle * HOUR_S,
            HOUR_S * (idle * idle_w + (1 - idle) * busy_w),
            HOUR_S * idle * idle_w,
            HOUR_S * (1 - idle) * rate,
        )
        for n, (idle, rate) in enumerate(hours)
    ]
    return TargetHistory(
        target=name, model="m", site="hall", basis="measured", scope="node", error_ratio=0.05, hours=tuple(made)
    )


def test_a_replica_that_sleeps_at_night_pays_to_unload() -> None:
    night = seen("a", [(1.0, 0.0)] * 8 + [(0.0, 100.0)] * 16)
    (advice,) = unload([night], reload_s=90.0, longest_idle_s={"a": 8 * HOUR_S})
    # Of 200 W an open context takes 30 % (assumed): 60 W for 8 h, less one reload of 90 s at 600 W; even after 15 min.
    assert advice.saved_j == pytest.approx(60 * 8 * 3600 - 90 * 600)
    assert "15 min" in advice.text and "context" in " ".join(advice.assumed)
    # Of a known board no more comes back than its context: 30 W of the 200 W that it idles at.
    (known,) = unload([replace(night, context_w=30.0)], reload_s=90.0, longest_idle_s={"a": 8 * HOUR_S})
    assert known.saved_j == pytest.approx(30 * 8 * 3600 - 90 * 600)
    assert advice.low_j < advice.saved_j < advice.high_j and advice.assumed


def test_short_pauses_do_not_pay() -> None:
    busy = seen("a", [(0.2, 100.0)] * 24)
    assert unload([busy], reload_s=90.0, longest_idle_s={"a": 200.0}) == []
    assert unload([seen("a", [(0.0, 100.0)] * 24)], longest_idle_s={}) == []


def test_two_half_empty_replicas_are_one() -> None:
    group = [seen("a", [(0.5, 100.0)] * 24), seen("b", [(0.7, 100.0)] * 23 + [(0.0, 130.0)])]
    # busiest hour: 50 + 130 = 180 tok/s; best seen of one 130; at 70 %: 91 a replica: two are needed
    assert consolidate(group) == []
    calm = [
        seen("a", [(0.7, 100.0)] * 23 + [(0.0, 100.0)]),
        seen("b", [(0.8, 100.0)] * 24),
        seen("c", [(0.9, 9.0)] * 24),
    ]
    (advice,) = consolidate(calm)
    assert advice.text.startswith("2 of 3 replicas") and advice.saved_j == pytest.approx(60 * DAY_S)


def test_replicas_at_other_sites_or_of_other_models_are_not_counted_together() -> None:
    import dataclasses

    a = seen("a", [(0.9, 100.0)] * 24)
    assert consolidate([a, dataclasses.replace(a, target="b", site="else")]) == []
    assert consolidate([a, dataclasses.replace(a, target="b", model="x")]) == []


def test_shifting_by_hand() -> None:
    flat = seen("a", [(0.0, 100.0)] * 12 + [(0.0, 10.0)] * 12)
    cheap = [1.0] * 12 + [3.0] * 12  # the second half of the day costs three times as much, and is as full
    assert shift([flat], {"hall": cheap}, "carbon") == []  # no cheap hour has room: all draw 600 W
    day = [Hour(n * HOUR_S, HOUR_S, 0.0, 1000.0 if n < 12 else 2000.0, 0.0, 1.0) for n in range(24)]
    uneven = TargetHistory(
        target="a", model="m", site="hall", basis="measured", scope="node", error_ratio=0.0, hours=tuple(day)
    )
    (advice,) = shift([uneven], {"hall": cheap}, "carbon", flexible_ratio=0.5)
    # 12 hours give 1000 J each; each cheap hour has room for 1000 J: all moves, 2 saved a joule.
    assert advice.carbon_gco2e == pytest.approx(12 * 1000 * 2.0) and advice.saved_j == 0.0
    assert shift([uneven], {"hall": [1.0] * 24}, "carbon") == []


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 500)), min_size=24, max_size=24),
    st.lists(st.floats(0.1, 10), min_size=24, max_size=24),
    st.floats(0.01, 1),
)
def test_no_advice_saves_more_than_there_is(hours, rates, flexible: float) -> None:
    fleet = [seen("a", hours), seen("b", list(reversed(hours)))]
    idle_j_day = sum(h.idle_j for s in fleet for h in s.hours)
    for a in unload(fleet, longest_idle_s={"a": DAY_S, "b": DAY_S}):
        assert 0 < a.saved_j <= idle_j_day + 1e-6
    for a in shift(fleet, {"hall": rates}, "cost", flexible_ratio=flexible):
        busy = [
            sum(h.energy_j - h.idle_j for s in fleet for h in s.hours if h.start_s == n * HOUR_S) for n in range(24)
        ]
        most = flexible * sum(j * (r - min(rates)) for j, r in zip(busy, rates, strict=True))
        assert a.cost_currency is not None and 0 < a.cost_currency <= most * (1 + 1e-9)


def test_a_short_history_and_small_savings_are_answers() -> None:
    assert not enough([seen("a", [(0.5, 1.0)] * 3)]) and enough([seen("a", [(0.5, 1.0)] * 7)])
    night = seen("a", [(1.0, 0.0)] * 8 + [(0.0, 100.0)] * 16)
    found = unload([night], longest_idle_s={"a": 8 * HOUR_S})
    assert ranked(found, [night]) == found
    huge = seen("b", [(0.0, 1.0)] * 24, busy_w=1e9)
    assert ranked(found, [night, huge]) == []
