"""Units: how names end, and how "700 W" or "20ms" become SI floats at the edge.

Inside, everything is SI base: J, W, s, tok, byte, flop, Hz, °C, gCO2e, L, currency. Prefixes are converted here, once.
Pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from joulemill.errors import InputError

JOULE_PER_KWH = 3.6e6

#: Endings of the names of public floats in the pure rooms, with what they mean. A test walks the rooms and checks them.
SUFFIXES: dict[str, str] = {
    "_j": "joule",
    "_w": "watt",
    "_s": "second",
    "_tok": "token (also as divisor: energy_j_tok is joules per token)",
    "_byte": "byte",
    "_flop": "floating-point operation",
    "_hz": "hertz",
    "_c": "degree Celsius",
    "_gco2e": "gram of CO2 equivalent",
    "_l": "liter",
    "_usd": "US dollar",
    "_currency": "the currency that the site states",
    "_req": "request",
    "_ratio": "dimensionless share or quotient",
    "_count": "dimensionless count",
    "_ns": "nanosecond, only where a clock's integer ticks are kept",
}

_PREFIX = {
    "n": 1e-9,
    "u": 1e-6,
    "µ": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_WHOLE = {
    "%": ("", 0.01), "min": ("s", 60.0), "h": ("s", 3600.0), "d": ("s", 86400.0),
    "Wh": ("J", 3600.0), "kWh": ("J", 3.6e6), "MWh": ("J", 3.6e9), "mWh": ("J", 3.6),
    "byte": ("B", 1.0), "bytes": ("B", 1.0), "sec": ("s", 1.0),
}  # fmt: skip
_NUMBER = re.compile(r"^\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*([^\s0-9].*?)?\s*$")
#: Units of plain numbers: a bare one says all.
_PLAIN = ("", "count", "devices", "req/s", "tok")
#: Unit → the units that people choose among, for the message that a bare number gets.
_CHOICES = {
    "s": ("ms", "s", "min"),
    "W": ("W", "kW", "MW"),
    "J": ("J", "kJ", "kWh"),
    "B": ("MB", "GB", "GiB"),
    "B/s": ("GB/s", "TB/s"),
    "Hz": ("MHz", "GHz"),
    "flop/s": ("Tflop/s", "Pflop/s"),
}
#: What stands behind a number where a decimal comma or a mark between thousands ends it too early.
_GROUPED = re.compile(r"[,_'’]\d", re.ASCII)
#: A bare share above this could be meant in per cent as well as not, so it is not guessed.
PLAIN_SHARE_RATIO = 0.2


def parse_quantity(
    text: str,
    unit: str,
    *,
    name: str = "value",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> float:
    """Read ``text`` as a quantity in the SI base ``unit`` ("W", "J", "s", "B", "Hz", "" for a ratio).

    Where there is a unit, a bare number is refused: nothing tells 50 ms from 50 s; only 0 needs none. ``least`` and
    ``most`` bound the value, ``above`` bounds it from below and is itself refused. Raises InputError with ``name``.

    >>> parse_quantity("0.7 kW", "W")
    700.0
    >>> parse_quantity("20ms", "s")
    0.02
    >>> parse_quantity("80GiB", "B")
    85899345920.0
    """
    match = _NUMBER.match(text)
    if match is None:
        bare = unit in _PLAIN
        wanted = "number; write it like '700'" if bare else f"number with a unit; write it like {_choices('20', unit)}"
        raise InputError(f"{name}: {_short(text)} is not a {wanted}")
    number, written = float(match.group(1)), match.group(2) or ""
    if not written and unit not in _PLAIN and number:
        raise InputError(f"{name}: {_short(text)} has no unit; write {_choices(match.group(1), unit)}")
    if _GROUPED.match(written):
        raise InputError(f"{name}: {_short(text)} has a mark inside its digits; leave it out, or write a point")
    factor = _factor(written, unit)
    if factor is None:
        raise InputError(f"{name}: {_short(text)} has unit {written!r}; it needs {_needed(unit, written)}")
    return _bounded(
        number * factor, text, name, _Range(unit, least if above is None else above, most, above is not None)
    )


def parse_ratio(text: str, *, name: str, least: float = 0.0, most: float = 1.0, plain: float | None = None) -> float:
    """Read a share or a relative change: "5%" or 0.05, between ``least`` and ``most``.

    A bare number that could be meant in per cent (5 for 5 %) is not guessed: a share is taken up to 1, a change up to
    0.2, or up to ``plain``. Raises InputError that asks for the per cent.

    >>> parse_ratio("5%", name="--max-increase")
    0.05
    """
    if _NUMBER.match(text) is None:
        raise InputError(f"{name}: {_short(text)} is not a number; write it like 5% or 0.05")
    value = parse_quantity(text, "", name=name)
    bare = "%" not in text
    largest = plain if plain is not None else 1.0 if most <= 1.0 else PLAIN_SHARE_RATIO
    if bare and value > largest:
        more = ", or a share between 0 and 1" if most <= 1.0 else ""
        asked = f"did you mean {text.strip()}%? Write the % sign{more}"
        raise InputError(f"{name}: {_short(text)} would be {value:,.0%}; {asked}")
    return _bounded(value, text, name, _Range("%", least, most))


def parse_count(text: str, *, name: str, least: int = 1, most: int | None = None) -> int:
    """Read a whole number between ``least`` and ``most``. Raises InputError with ``name``.

    >>> parse_count("64", name="--devices")
    64
    """
    if "%" in text:
        raise InputError(f"{name}: {_short(text)} is not a whole number")
    value = parse_quantity(text, "", name=name, least=least, most=most)
    if value != int(value):
        raise InputError(f"{name}: {_short(text)} is not a whole number")
    return int(value)


def say_quantity(value: float, unit: str) -> str:
    """``value`` in ``unit`` with the prefix that people would write, for messages and pages.

    >>> say_quantity(24e6, "W")
    '24 MW'
    >>> say_quantity(0.02, "s"), say_quantity(86400.0, "s")
    ('20 ms', '86,400 s')
    """
    if unit in _PLAIN or value == 0 or not math.isfinite(value):
        return f"{value:,.4g} {unit}".strip() if abs(value) < 1e4 else f"{value:,.0f} {unit}".strip()
    if unit == "s" and abs(value) >= 1.0:
        return f"{value:,.4g} s" if abs(value) < 1e4 else f"{value:,.0f} s"
    prefixes = [("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6)]
    prefix, factor = next(((p, f) for p, f in prefixes if abs(value) >= f * 0.9995), ("µ", 1e-6))
    return f"{value / factor:.4g} {prefix}{unit}"


@dataclass(frozen=True)
class _Range:
    """What a quantity may be: from ``low`` to ``high``, None is no bound; ``low`` itself may not be where ``open``."""

    unit: str
    low: float | None = None
    high: float | None = None
    open: bool = False

    def holds(self, value: float) -> bool:
        if self.low is not None and (value < self.low or (self.open and value == self.low)):
            return False
        return self.high is None or value <= self.high

    def words(self) -> str:
        if self.low is None:
            return f"be at most {self._say(self.high or 0.0)}"
        if self.high is None or self.high == math.inf:
            return f"be {'above' if self.open else 'at least'} {self._say(self.low)}"
        if self.open:
            return f"be above {self._say(self.low)} and at most {self._say(self.high)}"
        return f"lie between {self._say(self.low)} and {self._say(self.high)}"

    def _say(self, value: float) -> str:
        return f"{value * 100:,.4g} %" if self.unit == "%" else say_quantity(value, self.unit)


def _bounded(value: float, text: str, name: str, allowed: _Range) -> float:
    if not math.isfinite(value):
        raise InputError(f"{name}: {_short(text)} is an implausibly large number")
    if not allowed.holds(value):
        raise InputError(f"{name}: {_short(text)} cannot be; it must {allowed.words()}")
    return value


def _short(text: str) -> str:
    """The user's own text, quoted; its beginning only where it is very long."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _needed(unit: str, written: str) -> str:
    choices = _CHOICES.get(unit)
    if choices is None:
        return f"{unit}, or none" if unit in ("req/s", "tok") else unit if unit not in _PLAIN else "no unit"
    meant = next((c for c in choices if c.lower() == written.lower()), None)
    close = f"; did you mean {meant}?" if meant else " (prefixes such as k, M, m are fine)"
    return f"{unit}, e.g. {' or '.join(choices)}{close}"


def _choices(number: str, unit: str) -> str:
    choices = [f"{number}{c}" for c in _CHOICES.get(unit, (f" {unit}",))]
    return ", ".join(choices[:-1]) + " or " + choices[-1] if len(choices) > 1 else choices[0]


def _factor(written: str, unit: str) -> float | None:
    if written in ("", unit):
        return 1.0
    whole = _WHOLE.get(written)
    if whole is not None and whole[0] == unit:
        return whole[1]
    if unit and written.endswith(unit):
        prefix = written[: -len(unit)]
        return _PREFIX.get(prefix, _BINARY.get(prefix))
    return None
