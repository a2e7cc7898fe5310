"""A place in somebody else's document: its value, and the path to it for messages.

Everything that comes from a file passes through here, so that whatever a file holds, a parser sees checked values or
raises one InputError that names the place. An unknown number (absent, null, NaN, infinite) is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from joulemill.errors import InputError

#: Longer texts are cut: names, errors and versions are short; prompts and answers are not imported.
MAX_TEXT = 300
#: No number of a serving run is larger; beyond it sums and squares could overflow. Assumed.
MAX_NUMBER = 1e19
#: 2001-09-09 to 2286-11-20: what Unix seconds can sensibly be.
UNIX_SECONDS = (1e9, 1e10)


@dataclass(frozen=True, slots=True)
class Part:
    """``value`` as JSON types (or text cells of a CSV); ``where`` like ``file.json: benchmarks[0].requests``."""

    value: Any
    where: str

    def __getitem__(self, key: str) -> Part:
        """The member ``key``; a part with None where this is no object or has no such member."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Part(value, f"{self.where}{'' if self.where.endswith(': ') else '.'}{key}")

    def at(self, *keys: str) -> Part:
        """The member down a path."""
        part = self
        for key in keys:
            part = part[key]
        return part

    def has(self, *keys: str) -> bool:
        """Whether this is an object that has all of ``keys``."""
        return isinstance(self.value, dict) and all(k in self.value for k in keys)

    def first(self, *keys: str) -> Part:
        """The first member of ``keys`` that is there and not null; the last one where none is."""
        parts = [self[k] for k in keys]
        return next((p for p in parts if p.known), parts[-1])

    @property
    def known(self) -> bool:
        """Whether there is anything."""
        return self.value is not None

    def each(self) -> Iterator[Part]:
        """The items of a list; nothing where there is none. Raises InputError for anything but a list."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        for index, item in enumerate(self.value):
            yield Part(item, f"{self.where}[{index}]")

    def members(self) -> Iterator[tuple[str, Part]]:
        """The members of an object by name; nothing where there is none. Raises InputError for anything else."""
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        for key in self.value:
            yield clean(str(key)), self[str(key)]

    def text(self) -> str | None:
        """A text or number as clean text; None where absent, empty or anything else."""
        if isinstance(self.value, (str, int, float)) and not isinstance(self.value, bool):
            try:
                return clean(str(self.value)) or None
            except ValueError:  # an integer of more digits than Python turns into text
                return None
        return None

    def flag(self) -> bool | None:
        """True or false; None where it is neither."""
        return self.value if isinstance(self.value, bool) else None

    def number(self, least: float | None = None) -> float | None:
        """A number; None where unknown. Raises InputError for anything else, or below ``least``."""
        value = self._numeric()
        if value is None:
            return None
        if abs(value) > MAX_NUMBER:
            raise InputError(f"{self.where}: {value:.3g} is not a value of a serving run; is the file damaged?")
        if least is not None and value < least:
            raise InputError(f"{self.where}: {value:g} is below {least:g}; is the file damaged?")
        return value

    def option(self, least: float = 0.0) -> float | None:
        """A number where this is one; None for a word ("inf", "trace") or a value below ``least``: an odd option of a
        load says nothing about its figures."""
        try:
            return self.number(least)
        except InputError:
            return None

    def _numeric(self) -> float | None:
        value = self.value
        if value is None:
            return None
        if isinstance(value, str):
            return self._cell(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong("a number")
        try:
            number = float(value)
        except OverflowError:
            raise self.wrong("a number of a sensible size") from None
        return number if math.isfinite(number) else None

    def _cell(self, text: str) -> float | None:
        if text.strip().lower() in ("", "none", "null", "nan", "inf", "-inf", "infinity", "n/a", "na"):
            return None
        try:
            number = float(text)
        except ValueError:
            raise self.wrong("a number") from None
        return number if math.isfinite(number) else None

    def count(self) -> int | None:
        """A whole number from 0; None where unknown. Raises InputError for anything else."""
        value = self.number(least=0.0)
        if value is None:
            return None
        if value != int(value):
            raise self.wrong("a whole number")
        return self.value if isinstance(self.value, int) else int(value)  # Unix nanoseconds exceed a float's digits

    def unix_s(self) -> float | None:
        """Unix time in seconds; None where unknown. Raises InputError for what cannot be one."""
        value = self.number()
        if value is not None and not UNIX_SECONDS[0] <= value < UNIX_SECONDS[1]:
            raise InputError(f"{self.where}: {value:g} is not a Unix time in seconds")
        return value

    def wrong(self, wanted: str) -> InputError:
        """The error for a value that is not what it must be."""
        try:
            shown = ascii(self.value)
        except (RecursionError, ValueError):
            shown = type(self.value).__name__
        return InputError(f"{self.where}: must be {wanted}, is {shown[:60]}")


def clean(text: str) -> str:
    """``text`` that can be written and shown anywhere: no control characters, no lone surrogates, not long."""
    safe = text[: 4 * MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    kept = "".join(c if c.isprintable() else " " for c in safe).strip()
    return kept if len(kept) <= MAX_TEXT else kept[: MAX_TEXT - 1] + "…"
