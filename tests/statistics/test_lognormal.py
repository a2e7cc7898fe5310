"""Products and quotients of figures, against numbers drawn from the lognormals that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis, Figure, unknown
from joulemill.statistics.lognormal import probability_less_ratio, product, quotient


def spread(value: float, factor: float) -> Figure:
    return Figure(value, "u", Basis.MEASURED, low=value / factor, high=value * factor)


def test_against_drawn_numbers() -> None:
    rng = np.random.default_rng(1)
    a, b = spread(3.0, 1.2), spread(5.0, 1.5)
    drawn_a = 3.0 * np.exp(rng.standard_normal(400_000) * math.log(1.2) / 1.96)
    drawn_b = 5.0 * np.exp(rng.standard_normal(400_000) * math.log(1.5) / 1.96)
    for figure, drawn in ((product(a, b, "x"), drawn_a * drawn_b), (quotient(a, b, "x"), drawn_a / drawn_b)):
        low, mid, high = np.percentile(drawn, [2.5, 50, 97.5])
        assert (figure.low, figure.value, figure.high) == pytest.approx((low, mid, high), rel=0.01)
    assert probability_less_ratio(a, b) == pytest.approx(float(np.mean(drawn_a < drawn_b)), abs=0.002)


@given(
    a=st.floats(1e-3, 1e3), b=st.floats(1e-3, 1e3), fa=st.floats(1.0, 3.0), fb=st.floats(1.0, 3.0), k=st.floats(0.1, 10)
)
def test_laws(a: float, b: float, fa: float, fb: float, k: float) -> None:
    x, y = spread(a, fa), spread(b, fb)
    there = quotient(product(x, y, "ab"), Figure(b, "b", Basis.DECLARED), "a")
    assert there.value == pytest.approx(a) and there.basis == Basis.MODELLED
    assert probability_less_ratio(x, y) + probability_less_ratio(y, x) == pytest.approx(1)
    bigger = spread(b * (1 + k), fb)
    assert probability_less_ratio(x, bigger) >= probability_less_ratio(x, y) - 1e-12


def test_the_half_that_faces_the_other_counts() -> None:
    """A quotient's upper end takes the divisor's lower one."""
    lopsided = Figure(1.0, "u", Basis.MEASURED, low=0.5, high=1.0)
    result = quotient(Figure(1.0, "u", Basis.MEASURED), lopsided, "1")
    assert (result.low, result.high) == (pytest.approx(1.0), pytest.approx(2.0))


def test_exact_unknown_and_zero() -> None:
    one, zero = Figure(1.0, "u", Basis.MEASURED), Figure(0.0, "u", Basis.MEASURED)
    assert product(one, one, "u").low is None
    assert product(one, unknown("u", "no sensor"), "u").reason == "no sensor"
    assert quotient(one, zero, "u").value is None and quotient(zero, one, "u").value == 0.0
    assert product(zero, one, "u").value == 0.0
    assert (probability_less_ratio(one, one), probability_less_ratio(zero, one)) == (0.5, 1.0)
    assert product(Figure(1.0, "u", Basis.MEASURED, low=0.0, high=2.0), one, "u").low == 0.0
