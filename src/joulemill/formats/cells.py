"""Cells of other people's tables: how a row falls apart, and what number a cell holds. Pure.

A comma may divide cells, decimals or thousands. Where it can mean one thing only it is read; where not, it is unknown.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

_SPACED = re.compile(r",\s+")
_LIST = re.compile(r"\[[^\[\]]*\]")
_NUMBER = re.compile(r"^([-+]?)(\d{1,300})(?:([.,])(\d{1,300}))?(?:[eE]([-+]?\d{1,4}))?\s*([^\d\s.,][^\d]{0,12})?$")
_ENDING = re.compile(r"([.,:]?)(\d+)(\D*)$")
_SECONDS = re.compile(r":\d\d$")
_FRACTION = re.compile(r"\d{1,9}")
#: Longest piece of a cell that a message repeats.
_SHOWN = 40


@dataclass(frozen=True)
class Header:
    """A table's first line: names of its columns, and what divides them.

    spaced  whether a blank follows every divider, as nvidia-smi writes it; a comma without one is then inside a cell
    """

    columns: tuple[str, ...]
    delimiter: str
    spaced: bool

    @staticmethod
    def of(line: str) -> Header:
        """The header in ``line``. Raises ValueError where it is none."""
        delimiter = max(",;\t", key=line.count)
        columns = tuple(cells_of(line, delimiter))
        return Header(columns, delimiter, delimiter == "," and len(_SPACED.split(line.strip())) == len(columns) > 1)

    def row(self, line: str, time: int = 0) -> list[str]:
        """The cells of ``line``, as many as there are columns; ``time`` is the column with the time.

        A fraction of a second that a comma divides is put together again. Raises ValueError for any other number.
        """
        wanted = len(self.columns)
        if self.spaced and ", " in line and '"' not in line:
            cells = [c.strip() for c in _SPACED.split(_without_lists(line.strip(), ","))]
        else:
            cells = cells_of(line, self.delimiter)
        if len(cells) == wanted + 1 and _SECONDS.search(cells[time]) and _FRACTION.fullmatch(cells[time + 1]):
            cells = [*cells[:time], f"{cells[time]}.{cells[time + 1]}", *cells[time + 2 :]]
        if len(cells) != wanted:
            raise ValueError(f"{len(cells)} cells under {wanted} headings")
        return cells


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a row; a comma inside quotes or inside a list ("[1, 2]") divides nothing. Raises ValueError."""
    try:
        row = next(iter(csv.reader([_without_lists(line, delimiter)], delimiter=delimiter, skipinitialspace=True)), [])
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return [c.strip() for c in row]


def _without_lists(line: str, delimiter: str) -> str:
    return _LIST.sub(lambda m: m.group().replace(delimiter, " "), line) if "[" in line else line


def number(cell: str) -> tuple[float, str]:
    """The number in ``cell`` and the unit behind it ("" for none). Raises ValueError where it is none, or two.

    >>> number("300,25 W")
    (300.25, 'W')
    """
    match = _NUMBER.match(cell) if cell.isascii() or "°" in cell or "µ" in cell else None
    if match is None:
        raise ValueError(f"{shown(cell)} is no number")
    sign, whole, mark, decimals, power, unit = match.groups()
    if mark == "," and len(decimals) == 3 and whole.strip("0"):
        raise ValueError(f"{shown(cell)}: its comma may divide thousands or decimals")
    text = f"{sign}{whole}.{decimals or 0}e{power or 0}"
    return float(text), (unit or "").strip()


def ending(cell: str) -> tuple[str | int, ...] | None:
    """What the end of a cell looks like, to compare with that of another row; None where it may go on unseen.

    "300.00 W" ends in a unit, "12.345" in three decimals; of "97" nobody can tell whether a digit is missing.
    """
    match = _ENDING.search(cell[-_SHOWN:])
    if match is None:
        return (cell,)
    mark, digits, tail = match.groups()
    if mark:
        return (mark, len(digits), tail)
    return (tail,) if tail.strip() else None


def shown(cell: str) -> str:
    """``cell`` as a message may repeat it: short and printable."""
    clean = "".join(c if c.isprintable() else "?" for c in cell[:_SHOWN])
    return repr(clean + ("…" if len(cell) > _SHOWN else ""))
