"""Units: how names end, and how "700 W" or "20ms" become SI floats at the edge.

Inside, everything is SI base: J, W, s, tok, byte, flop, Hz, °C, gCO2e, L, currency. Prefixes are converted here, once.
Pure.
"""

from __future__ import annotations

import re

from joulemill.errors import InputError

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
    "_l": "litre",
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
_NUMBER = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d].*?)?\s*$")


def parse_quantity(text: str, unit: str, *, name: str = "value") -> float:
    """Read ``text`` as a quantity in the SI base ``unit`` ("W", "J", "s", "B", "Hz", "" for a ratio).

    A bare number is taken to be in ``unit`` already. Raises InputError naming ``name`` when it does not fit.

    >>> parse_quantity("0.7 kW", "W")
    700.0
    >>> parse_quantity("20ms", "s")
    0.02
    >>> parse_quantity("80GiB", "B")
    85899345920.0
    """
    match = _NUMBER.match(text)
    if match is None:
        wanted = f"number with a unit; write it like '700 {unit}'" if unit else "number; write it like '700'"
        raise InputError(f"{name}: {text!r} is not a {wanted}")
    number, given = float(match.group(1)), match.group(2) or ""
    factor = _factor(given, unit)
    if factor is None:
        raise InputError(
            f"{name}: {text!r} has unit {given!r}; it needs {unit or 'no unit'} (prefixes such as k, M, m are fine)"
        )
    return number * factor


def _factor(given: str, unit: str) -> float | None:
    if given in ("", unit):
        return 1.0
    whole = _WHOLE.get(given)
    if whole is not None and whole[0] == unit:
        return whole[1]
    if unit and given.endswith(unit):
        prefix = given[: -len(unit)]
        return _PREFIX.get(prefix, _BINARY.get(prefix))
    return None
