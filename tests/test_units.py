"""Quantities at the edge, against hand conversions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.units import parse_count, parse_quantity, parse_ratio, say_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("0", "W", 0.0),
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


@pytest.mark.parametrize(
    ("text", "unit", "choices"),
    [("50", "s", "50ms, 50s or 50min"), ("40", "W", "40W, 40kW or 40MW"), ("-5", "s", "-5ms"), ("80", "B", "80MB")],
)
def test_a_bare_number_is_asked_for_its_unit(text: str, unit: str, choices: str) -> None:
    with pytest.raises(InputError, match=f"--x: '{text}' has no unit; write {choices}"):
        parse_quantity(text, unit, name="--x")


@pytest.mark.finding("F44")
@pytest.mark.parametrize("text", ["9" * 400 + " W", "1e400 W", "1e308 GW"])
def test_a_number_without_end_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="implausibly large") as caught:
        parse_quantity(text, "W", name="--power-cap")
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("text", "bounds", "words"),
    [
        ("500kW", {"least": 1.0, "most": 1e4}, "lie between 1 W and 10 kW"),
        ("500mW", {"least": 1.0}, "be at least 1 W"),
        ("2 kW", {"most": 1e3}, "be at most 1 kW"),
        ("-1 W", {"above": 0.0}, "be above 0 W"),
        ("0", {"above": 0.0, "most": 5.0}, "be above 0 W and at most 5 W"),
    ],
)
def test_bounds_are_named_with_the_text_of_the_user(text: str, bounds: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=f"--power-cap: '{text}' cannot be; it must {words}"):
        parse_quantity(text, "W", name="--power-cap", **bounds)


def test_shares_ask_for_the_per_cent() -> None:
    assert parse_ratio("5%", name="--x") == parse_ratio("0.05", name="--x") == 0.05
    assert parse_ratio("500%", name="--x", most=float("inf")) == 5.0 and parse_ratio("0.7", name="--x") == 0.7
    with pytest.raises(InputError, match=r"--x: '5' would be 500%; did you mean 5%\? Write the % sign"):
        parse_ratio("5", name="--x", most=float("inf"))
    with pytest.raises(InputError, match="did you mean 70%"):
        parse_ratio("70", name="--x")
    with pytest.raises(InputError, match="must lie between 0 % and 100 %"):
        parse_ratio("170%", name="--x")
    with pytest.raises(InputError, match="must be at least 0 %"):
        parse_ratio("-5%", name="--x", most=float("inf"))


def test_counts_are_whole_and_bounded() -> None:
    assert parse_count("64", name="--devices") == 64 and parse_count("1e3", name="--devices") == 1000
    for text, words in (("1.5", "whole"), ("0", "at least 1"), ("2000000", "between 1 and 1,000,000"), ("x", "number")):
        with pytest.raises(InputError, match=words):
            parse_count(text, name="--devices", most=None if text == "0" else 1_000_000)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (24e6, "W", "24 MW"),
        (0.02, "s", "20 ms"),
        (90.0, "s", "90 s"),
        (0.0, "W", "0 W"),
        (1e6, "", "1,000,000"),
        (700.0, "W", "700 W"),
        (989e12, "flop/s", "989 Tflop/s"),
    ],
)
def test_quantities_are_said_with_a_prefix(value: float, unit: str, said: str) -> None:
    assert say_quantity(value, unit) == said
