"""How a figure is said to a person: prefixes, digits as the interval allows, basis and interval beside it. Pure."""

from __future__ import annotations

import math
from typing import Protocol

from joulemill.units import JOULE_PER_KWH

#: Units that take a prefix, as they are written.
_PREFIXED = {"J", "W", "Wh", "s", "J/tok", "FLOP", "FLOP/s", "FLOP/tok", "B", "B/s", "B/tok"}
#: What a unit of the schema is called beside a number: a prefix goes with a symbol, GB/s, not with a word.
_SYMBOLS = {"byte": "B", "flop": "FLOP"}
_STEPS = [
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
]
UNKNOWN = "unknown"
MILLION = 1e6
#: Smaller amounts of a token are said of a million.
LEAST_PER_TOKEN = 1e-2


class HasBounds(Protocol):
    """A value with its bounds, as a figure has them."""

    @property
    def value(self) -> float | None:
        """The number; None where it is not known."""

    @property
    def low(self) -> float | None:
        """Lower bound; None where none is claimed."""

    @property
    def high(self) -> float | None:
        """Upper bound; None where none is claimed."""


class StatedFigure(HasBounds, Protocol):
    """What a figure states: bounds, unit, how it is known, and why it is not."""

    @property
    def unit(self) -> str:
        """SI unit as text."""

    @property
    def basis(self) -> str | None:
        """How it is known."""

    @property
    def reason(self) -> str | None:
        """Why it is not known, or a caveat."""


def digits(value: float, significant: int = 3) -> str:
    """``value`` with so many significant digits, without an exponent between 1e-4 and 1e9.

    >>> digits(1234.5), digits(0.012345), digits(99.96)
    ('1,230', '0.0123', '100')
    """
    if value == 0:
        return "0"
    rounded = float(f"{value:.{significant}g}")
    magnitude = math.floor(math.log10(abs(rounded)))
    if magnitude < -4 or magnitude >= 9:
        return f"{value:.{significant - 1}e}"
    return f"{rounded:,.{max(0, significant - 1 - magnitude)}f}"


def count(value: float) -> str:
    """A count: in full where it is whole, and a mean, which need not be, with three digits.

    >>> count(1024.0), count(5.7218), count(1024.4)
    ('1,024', '5.72', '1,024')
    """
    return f"{value:,.0f}" if value == round(value) or value >= 100.0 else digits(value)


def quantity(value: float | None, unit: str, significant: int = 3) -> str:
    """A number with its unit, prefixed for people: 0.0123 J/tok → 12.3 mJ/tok; ratios as they are.

    >>> quantity(0.0123, "J/tok"), quantity(1500.0, "W"), quantity(None, "W")
    ('12.3 mJ/tok', '1.50 kW', 'unknown')
    >>> quantity(3.25e10, "byte/s"), quantity(1.6e10, "byte"), quantity(6.36e8, "flop/tok")
    ('32.5 GB/s', '16.0 GB', '636 MFLOP/tok')
    >>> quantity(4.97e-8, "EUR/tok"), quantity(3.6e8, "J/year"), quantity(1800.0, "s")
    ('0.0497 EUR per million tokens', '100 kWh/year', '1,800 s')
    """
    if value is None:
        return UNKNOWN
    if unit in ("", "1"):
        return digits(value, significant)
    unit = _written(unit)
    if _per_million(value, unit):
        return f"{digits(value * MILLION, significant)} {unit.removesuffix('/tok')} per million tokens"
    if unit == "J/year":
        return f"{digits(value / JOULE_PER_KWH, significant)} kWh/year"
    factor, prefix = _scale(value, unit)
    return f"{digits(value / factor, significant)} {prefix}{unit}"


def _written(unit: str) -> str:
    """``unit`` with its symbol in place of its name."""
    name, slash, per = unit.partition("/")
    return f"{_SYMBOLS.get(name, name)}{slash}{per}"


def _per_million(value: float, unit: str) -> bool:
    """Money, carbon and water of one token are too small for a person: they are said of a million."""
    return unit.endswith("/tok") and unit not in _PREFIXED and abs(value) < LEAST_PER_TOKEN


def _factor(value: float, unit: str) -> float:
    """What a value is divided by before it is said in ``unit``."""
    unit = _written(unit)
    if _per_million(value, unit):
        return 1.0 / MILLION
    if unit == "J/year":
        return JOULE_PER_KWH
    return _scale(value, unit)[0]


def _scale(value: float, unit: str) -> tuple[float, str]:
    """Factor and prefix. Nobody says kiloseconds."""
    size = abs(value)
    if size == 0 or unit not in _PREFIXED or (unit == "s" and size >= 1.0):
        return 1.0, ""
    return next(((factor, prefix) for factor, prefix in _STEPS if size >= factor * 0.9995), _STEPS[-1])


def interval(figure: StatedFigure, significant: int = 3) -> str:
    """The interval in the unit and to the decimals of the value, e.g. ``10.1–14.9``; empty where none is claimed."""
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    factor = _factor(figure.value, figure.unit)
    value = figure.value / factor
    return "–".join(_to_the_place_of(value, bound / factor, significant) for bound in (figure.low, figure.high))


def _to_the_place_of(value: float, bound: float, significant: int) -> str:
    """``bound`` to the decimals of ``value``; with digits of its own where these would leave nothing of it."""
    place = significant - 1 - math.floor(math.log10(abs(value))) if value else 0
    rounded = round(bound, place)
    if abs(rounded) < 10.0 ** (1 - place) or not -6 <= place <= 6:
        return digits(bound, significant)
    return f"{rounded:,.{max(0, place)}f}"


def say(figure: StatedFigure, significant: int = 3) -> str:
    """One line: value, unit, then interval and basis; or unknown and why: ``1.09 J/tok (0.79–1.51, modelled)``."""
    if figure.value is None:
        return f"{UNKNOWN} ({figure.reason})" if figure.reason else UNKNOWN
    beside = ", ".join(x for x in (interval(figure, significant), str(figure.basis or "")) if x)
    stated = quantity(figure.value, figure.unit, significant)
    return f"{stated} ({beside})" if beside else stated


def percent(value: float | None, decimals: int = 0) -> str:
    """A ratio as a percentage; unknown stays unknown."""
    return UNKNOWN if value is None else f"{100 * value:.{decimals}f} %"


def signed_percent(ratio: float, decimals: int = 1) -> str:
    """A rise or a fall as a percentage.

    >>> signed_percent(0.052), signed_percent(-0.12, 0), signed_percent(-0.0001)
    ('+5.2 %', '−12 %', '+0.0 %')
    """
    value = round(100.0 * ratio, decimals) + 0.0
    return f"{value:+.{decimals}f} %".replace("-", "−")


def title(name: str) -> str:
    """A name of the schema for people: ``memory_bandwidth`` → ``memory bandwidth``; known abbreviations in capitals."""
    capital = {
        "kv": "KV",
        "cpu": "CPU",
        "gpu": "GPU",
        "ttft": "TTFT",
        "tpot": "TPOT",
        "itl": "ITL",
        "pue": "PUE",
        "slo": "SLO",
    }
    return " ".join(capital.get(word, word) for word in name.split("_"))


def shortened(text: str, most: int) -> str:
    """``text`` in ``most`` characters: where it is longer, its middle is left out, as names differ at both ends.

    >>> shortened("Qwen3-235B-A22B-Instruct-2507-FP8", 20), shortened("Qwen3-8B", 20)
    ('Qwen3-235B…-2507-FP8', 'Qwen3-8B')
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def signed(change: HasBounds | None, *, bounds: bool = False) -> str:
    """A relative change for people: −12 % or +30 % (+13 to +56)."""
    if change is None or change.value is None:
        return "–"
    text = _percent(change.value)
    if bounds and change.low is not None and change.high is not None and change.low != change.high:
        return f"{text} % ({_percent(change.low)} to {_percent(change.high)})"
    return f"{text} %"


def _percent(ratio: float) -> str:
    percent = 100.0 * ratio
    decimals = 1 if abs(percent) < 9.95 else 0
    rounded = round(percent, decimals) + 0.0
    return "0" if rounded == 0.0 else f"{rounded:+.{decimals}f}".replace("-", "−")


#: Unit of a large amount → its larger units: from which value, what it is divided by, what it is called.
_LARGER = {
    "J": ((1e5, JOULE_PER_KWH, "kWh"),),
    "gCO2e": ((1e6, 1e6, "tCO2e"), (1e3, 1e3, "kgCO2e")),
}


def amount(value: float | None, unit: str) -> str:
    """A sum over many tokens or a long time, in the unit that bills and inventories use; a dash where unknown.

    The unit's period (``/year``) is left to the heading above it.

    >>> amount(1.13e10, "J/year"), amount(815e3, "J"), amount(1.1e6, "gCO2e/year"), amount(None, "EUR")
    ('3,140 kWh', '0.226 kWh', '1.10 tCO2e', '–')
    """
    if value is None:
        return "–"
    unit = unit.removesuffix("/year")
    for least, divisor, name in _LARGER.get(unit, ()):
        if abs(value) >= least:
            return f"{digits(value / divisor)} {name}"
    return quantity(value, unit)
