"""Quantities at the edge, against hand conversions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.units import parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("700", "W", 700.0),
        ("0.7 kW", "W", 700.0),
        ("20ms", "s", 0.02),
        ("2 min", "s", 120.0),
        ("1.5h", "s", 5400.0),
        ("1 kWh", "J", 3.6e6),
        ("80GB", "B", 80e9),
        ("80 GiB", "B", 80 * 2**30),
        ("1410 MHz", "Hz", 1.41e9),
        ("45%", "", 0.45),
        ("1e3", "", 1000.0),
        (".5", "", 0.5),
        ("-3 W", "W", -3.0),
    ],
)
def test_reads(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "W", "seven W", "7 J", "7 Ws", "7 qW", "0x10", "nan W", "1,000 W", "7 W W"])
def test_refuses_what_is_not_watts(text: str) -> None:
    with pytest.raises(InputError, match="--power-cap"):
        parse_quantity(text, "W", name="--power-cap")


@given(st.floats(-1e12, 1e12), st.sampled_from(["m", "", "k", "M", "G"]))
def test_prefix_scales(number: float, prefix: str) -> None:
    factor = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[prefix]
    assert parse_quantity(f"{number!r} {prefix}W", "W") == pytest.approx(number * factor, rel=1e-12)
