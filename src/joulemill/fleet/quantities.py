"""Quantities as people write them in a plan's file, "30 MW" or "120 ktok/s", checked by pydantic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from joulemill.errors import InputError
from joulemill.units import parse_quantity

#: What may be asked of a class in tokens a second: more than the world makes is a slip (assumed).
MOST_RATE = 1e12
UNLIMITED = "unlimited"
#: A grid that is dirtier than burning peat is a slip (assumed).
MOST_CARBON_GCO2E_KWH = 3000.0
#: Hours of a day, and of a year.
HOURS = (24, 8760)
#: Years of 365 days and days, in seconds; ``parse_quantity`` knows d and h.
YEAR_S = 365 * 86400.0


def quantity(unit: str, *, least: float | None = None, most: float | None = None) -> Callable[[Any], Any]:
    """A reader of texts in ``unit``; a bare number is refused, as nothing tells 30 MW from 30 W."""

    def read(value: Any) -> Any:
        if value is None or is_unknown_text(value):
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"must be a quantity in {unit}")
        try:
            return parse_quantity(str(value), unit, name="", least=least, most=most)
        except InputError as fault:
            raise ValueError(str(fault).removeprefix(": ")) from None

    return read


def is_unknown_text(value: Any) -> bool:
    """Whether a value says that it is not known."""
    return isinstance(value, str) and value.strip().lower() in ("unknown", "")


def _rate(value: Any) -> Any:
    """ "120 ktok/s", "30 req/s" or "unlimited", or a list of the first two: ((number, unit), …)."""
    if isinstance(value, list):
        if len(value) not in HOURS:
            raise ValueError(f"takes one rate, or a list of 24 or 8,760, one per hour, not {len(value)}")
        return tuple(_one_rate(v) for v in value)
    return (_one_rate(value),)


def _one_rate(value: Any) -> tuple[float | None, str]:
    if value == UNLIMITED:
        return None, "tok/s"
    unit = "req/s" if isinstance(value, str) and value.rstrip().endswith("req/s") else "tok/s"
    if not isinstance(value, str):
        raise ValueError(f'{value!r} has no unit; write it like "120 ktok/s", "30 req/s" or "unlimited"')
    try:
        return parse_quantity(value, unit, name="", least=0.0, most=MOST_RATE), unit
    except InputError as fault:
        raise ValueError(str(fault).removeprefix(": ")) from None


def _hours(value: Any) -> Any:
    if value is not None and (not isinstance(value, list) or len(value) not in HOURS):
        count = f", not {len(value)}" if isinstance(value, list) else ""
        raise ValueError(f"takes a list of 24 or 8,760 numbers, one per hour{count}")
    return value


def _within(least: float, most: float) -> Callable[[Any], Any]:
    """Of hourly values, InputError's text for one that cannot be."""

    def read(values: Any) -> Any:
        stray = next((v for v in values or () if not least <= v <= most), None)
        if stray is not None:
            raise ValueError(f"has {stray:g}; all must lie between {least:g} and {most:g}")
        return values

    return read


def _cap(value: Any) -> Any:
    """ "500 W" → watts, "70 %" → minus the share of the TDP."""
    if not isinstance(value, str):
        raise ValueError(f'{value!r} has no unit; write it like "500 W" or "70 %"')
    try:
        if "%" in value:
            return -parse_quantity(value, "", name="", least=0.05, most=1.0)
        return parse_quantity(value, "W", name="", least=1.0, most=20e3)
    except InputError as fault:
        raise ValueError(str(fault).removeprefix(": ")) from None


Duration = Annotated[float | None, BeforeValidator(quantity("s", least=0.0, most=100 * YEAR_S))]
Latency = Annotated[float | None, BeforeValidator(quantity("s", least=1e-6, most=86400.0))]
Power = Annotated[float | None, BeforeValidator(quantity("W", least=0.0, most=100e9))]
#: (rate, unit) once or by hour; None: unlimited.
Rate = Annotated[tuple[tuple[float | None, str], ...], BeforeValidator(_rate)]
ByHour = Annotated[tuple[float, ...] | None, BeforeValidator(_hours)]
ShareByHour = Annotated[ByHour, AfterValidator(_within(0.0, 1.0))]
CarbonByHour = Annotated[ByHour, AfterValidator(_within(0.0, MOST_CARBON_GCO2E_KWH))]
#: Watts, or minus a share of the board's TDP.
PowerCap = Annotated[float, BeforeValidator(_cap)]
