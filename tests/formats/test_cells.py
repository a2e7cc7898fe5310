"""Cells of logs and tables: numbers, their units, and what ends a cell for certain."""

from __future__ import annotations

import pytest

from joulemill.formats.cells import Header, ending, number


def test_numbers_and_their_units() -> None:
    assert number("300.25 W") == (300.25, "W") and number("1e3") == (1000.0, "") and number("-5 °C") == (-5.0, "°C")
    assert number("61") == (61.0, "") and number("97 %") == (97.0, "%") and number("0,125") == (0.125, "")
    for cell in ("", "W", "1.2.3", "1,234 W", "0x10", "1_000", "--1", "1 2"):
        with pytest.raises(ValueError):
            number(cell)


def test_what_ends_a_cell_for_certain() -> None:
    assert ending("300.00 W") == ending("12.50 W") != ending("300.0 W")
    assert ending("97") is None and ending("97 %") == ending("100 %")
    assert ending("[N/A]") == ("[N/A]",)
    assert Header.of("a, b [W]").spaced and not Header.of("a,b").spaced and Header.of("a;b,c;d").delimiter == ";"
