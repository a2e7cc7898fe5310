"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis, Figure, unknown
from joulemill.wording import digits, interval, percent, quantity, say, title


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234.5, "1,230"),
        (0.012345, "0.0123"),
        (99.96, "100"),
        (9.999, "10.0"),
        (-3.14159, "-3.14"),
        (1e-7, "1.00e-07"),
    ],
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "J/tok", "12.3 mJ/tok"),
        (1500.0, "W", "1.50 kW"),
        (999.9, "W", "1.00 kW"),
        (None, "W", "unknown"),
        (0.5, "1", "0.500"),
        (2.5e12, "FLOP/s", "2.50 TFLOP/s"),
        (123.0, "tok/s", "123 tok/s"),
        (0.0, "J", "0 J"),
    ],
)
def test_quantity(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_interval_is_said_in_the_unit_of_its_value() -> None:
    figure = Figure(0.5, "J/tok", Basis.MODELLED, low=0.25, high=1.5)
    assert interval(figure) == "250–1,500"
    assert say(figure) == "500 mJ/tok (250–1,500, modelled)"


def test_unknown_says_why() -> None:
    assert say(unknown("J/tok", "no meter")) == "unknown (no meter)"
    assert percent(None) == "unknown"


def test_titles() -> None:
    assert title("kv_capacity") == "KV capacity"


@given(st.floats(1e-4, 1e8))
def test_digits_keep_three_significant(value: float) -> None:
    assert float(digits(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3)


def test_money_of_a_token_is_said_of_a_million_and_years_in_kilowatt_hours() -> None:
    cost = Figure(4.97e-8, "EUR/tok", Basis.MODELLED, low=4e-8, high=6e-8, level=0.95)
    assert say(cost) == "0.0497 EUR per million tokens (0.0400–0.0600, modelled)"
    year = Figure(3.17e8, "J/year", Basis.MODELLED, low=3.0e8, high=3.4e8, level=0.95)
    assert say(year) == "88.1 kWh/year (83.3–94.4, modelled)"
