"""Figures of several runs: intervals that cover, the elasticity by hand, knees of servers with a known one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from joulemill.figure import Basis, Figure, unknown
from joulemill.statistics.repeats import combined, elasticity, kept_up, knee


def rate(value: float, half: float | None = None) -> Figure:
    if half is None:
        return Figure(value, "tok/s", Basis.MEASURED)
    return Figure(value, "tok/s", Basis.MEASURED, low=value * math.exp(-half), high=value * math.exp(half), level=0.95)


def test_mean_and_interval_by_hand() -> None:
    """Two points of two runs: s² = (2·0.05² + 2·0.05²)/2, t(2 degrees) = 4.303, so half = 4.303·0.0707/√2."""
    runs = [[rate(100 * math.exp(d)) for d in (-0.05, 0.05)], [rate(200 * math.exp(d)) for d in (-0.05, 0.05)]]
    first, second = combined(runs)
    assert first.value == pytest.approx(100) and second.value == pytest.approx(200)
    assert math.log((first.high or 0) / 100) == pytest.approx(4.3027 * math.sqrt(0.005) / math.sqrt(2), rel=1e-3)


def test_the_interval_is_never_less_than_the_runs_own() -> None:
    same = combined([[rate(100, 0.2), rate(100, 0.2)], [rate(50, 0.2), rate(50, 0.2)]])[0]
    assert math.log((same.high or 0) / 100) == pytest.approx(0.2 / math.sqrt(2))


def test_intervals_cover() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(1000):
        runs = [[rate(10.0 * k * math.exp(rng.normal(0, 0.03))) for _ in range(2)] for k in (1, 2, 3)]
        found = combined(runs)[1]
        hits += (found.low or 0) <= 20.0 <= (found.high or 0)
    assert 0.93 < hits / 1000 < 0.97


def test_unknown_stays_unknown() -> None:
    found = combined([[unknown("J/tok", "no meter")], [rate(3.0)]])
    assert found[0].value is None and found[0].reason == "no meter"
    assert found[1].value == pytest.approx(3.0) and found[1].low is None
    assert combined([[]])[0].value is None


def test_elasticity_by_hand() -> None:
    found = elasticity(rate(100, 0.1), rate(200, 0.1), 2.0)
    assert found.value == pytest.approx(1.0)
    assert (found.high or 0) - 1.0 == pytest.approx(math.hypot(0.1, 0.1) / math.log(2))
    # Half the threads at half the rate is an elasticity of one, too.
    assert elasticity(rate(100, 0.1), rate(50, 0.1), 0.5).value == pytest.approx(1.0)
    assert elasticity(rate(100), rate(100), 4.0).value == pytest.approx(0.0)
    assert elasticity(rate(100), unknown("tok/s", "failed"), 2.0).reason == "failed"


@pytest.mark.parametrize("b", [0.002, 0.01, 0.05])
def test_knee_of_a_server_whose_step_is_a_line(b: float) -> None:
    """t = 0.1 + b·B seconds a token: the knee is where both parts are equal, 0.1/b."""
    loads = [1, 2, 4, 8, 16, 32, 64]
    found = knee(loads, [rate(x / (0.1 + b * x), 0.02) for x in loads])
    assert found.value == pytest.approx(0.1 / b, rel=1e-6)
    assert found.low < 0.1 / b < found.high  # type: ignore[operator]


def test_no_knee_where_there_is_none() -> None:
    loads = [1.0, 2.0, 4.0]
    assert "not reached" in (knee(loads, [rate(10 * x, 0.02) for x in loads]).reason or "")
    assert "below" in (knee(loads, [rate(10 * x**-0.1, 0.02) for x in loads]).reason or "")
    assert "not decided" in (knee(loads, [rate(v, 2.5) for v in (16.5, 19.1, 15.3)]).reason or "")
    assert "three" in (knee(loads[:2], [rate(1.0), rate(2.0)]).reason or "")


def test_rates_that_are_kept_up_with() -> None:
    served = [Figure(v, "req/s", Basis.MEASURED) for v in (1.0, 1.98, 3.0, 3.1)]
    found = kept_up([1, 2, 4, 8], served)
    assert (found.low, found.high) == (2.0, 4.0)
    assert "every rate" in (kept_up([1, 2], served[:2]).reason or "")


def test_two_repeats_far_apart_have_no_interval_of_nine_orders() -> None:
    """One point, two runs a factor of two apart: t at one degree of freedom would give 4.99–345,000."""
    (figure,) = combined([[Figure(1000.0, "tok/s", Basis.MEASURED), Figure(2000.0, "tok/s", Basis.MEASURED)]])
    assert figure.value == pytest.approx(1414.2, rel=1e-3) and figure.low is None and figure.high is None
    assert "too few runs" in (figure.reason or "") and "100 %" in (figure.reason or "")
