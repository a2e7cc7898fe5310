"""Figures: basis arithmetic, intervals, and what a figure refuses to be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis, Figure, unknown, weakest

BASES = st.sampled_from(list(Basis))


@pytest.mark.parametrize(
    ("bases", "result"),
    [
        ([], None),
        ([None], None),
        ([Basis.MEASURED, None], Basis.MEASURED),
        ([Basis.DECLARED], Basis.DECLARED),
        ([Basis.MEASURED, Basis.CALIBRATED], Basis.CALIBRATED),
        ([Basis.MEASURED, Basis.DECLARED], Basis.MODELLED),
        ([Basis.DATASHEET, Basis.DECLARED], Basis.MODELLED),
    ],
)
def test_weakest(bases: list[Basis | None], result: Basis | None) -> None:
    assert weakest(*bases) == result


@given(st.lists(BASES, min_size=2))
def test_a_mixture_with_an_estimate_is_never_measured(bases: list[Basis]) -> None:
    if any(b is not Basis.MEASURED for b in bases):
        assert weakest(*bases) is not Basis.MEASURED


@given(BASES, BASES)
def test_order_does_not_matter(a: Basis, b: Basis) -> None:
    assert weakest(a, b) == weakest(b, a)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Figure(value, "W", Basis.MEASURED)


def test_a_value_needs_a_basis() -> None:
    with pytest.raises(ValueError, match="basis"):
        Figure(1.0, "W")


@given(st.floats(0, 1e9), st.floats(1e-6, 1e6))
def test_scaling_scales_the_interval(value: float, factor: float) -> None:
    figure = Figure(value, "W", Basis.MEASURED, low=value * 0.9, high=value * 1.1).scaled(factor, "kW", Basis.DECLARED)
    assert figure.basis is Basis.MODELLED
    assert figure.value == value * factor
    assert figure.low is not None and figure.high is not None
    assert figure.low <= figure.value <= figure.high


def test_unknown_stays_unknown_with_its_reason() -> None:
    figure = unknown("J/tok", "no meter").scaled(2.0, "J/tok")
    assert figure.value is None and not figure.known
    assert figure.reason == "no meter"
