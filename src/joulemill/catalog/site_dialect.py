"""The one dialect in which sites are written, for every command: keys, older spellings, and what each may hold.

Values are checked here as people wrote them (40 kW, 350 g a kWh), so that a message names their key and their value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from joulemill.errors import InputError
from joulemill.suggestions import nearest
from joulemill.units import parse_quantity

#: Other spellings that are read: of the monitor's own tables. Spelling → key of the site file.
SPELLINGS = {
    "pue_ratio": "pue",
    "power_limit_w": "it_power_limit",
    "it_power_limit_w": "it_power_limit",
    "facility_power_limit_w": "facility_power_limit",
    "cooling_limit_w": "cooling_limit",
    "carbon_g_kwh": "carbon_gco2e_kwh",
    "price_kwh": "price_currency_kwh",
    "carbon_by_hour_g_kwh": "carbon_by_hour_gco2e_kwh",
    "price_by_hour_kwh": "price_by_hour_currency_kwh",
}
#: Powers: text with a unit. What a site may be, from one small board to more than any site draws.
POWERS = ("it_power_limit", "facility_power_limit", "cooling_limit")
LEAST_POWER_W, MOST_POWER_W = 5.0, 100e9
#: Number → (least, most, what it is, what is usual). Beyond these bounds it is a slip of a unit or a comma.
NUMBERS: dict[str, tuple[float, float, str, str]] = {
    "pue": (1.0, 10.0, "facility energy ÷ IT energy", "1.1 is a very good site, 1.5 a usual one"),
    "carbon_gco2e_kwh": (0.0, 3000.0, "grams of CO2e a kWh", "20 to 1,100 on the world's grids"),
    "carbon_by_hour_gco2e_kwh": (0.0, 3000.0, "grams of CO2e a kWh", "20 to 1,100 on the world's grids"),
    "embodied_gco2e_h": (0.0, 1e12, "grams of CO2e an hour", "about 100 a server of eight boards"),
    "price_currency_kwh": (0.0, 1e6, "currency per kWh", "0.05 to 0.50 in EUR or USD"),
    "price_by_hour_currency_kwh": (-1e6, 1e6, "currency per kWh", "0.05 to 0.50 in EUR or USD"),
    "residual_currency_h": (0.0, 1e12, "currency per hour", "a few per hour for a server"),
    "water_l_kwh": (0.0, 100.0, "liters per kWh of IT energy", "0 to 2"),
    "grid_water_l_kwh": (0.0, 1000.0, "liters per kWh", "1 to 10"),
}
#: Below this a carbon intensity that is not 0 is in kilograms. Assumed: no grid, nor a source of power, is so clean.
LEAST_CARBON_G_KWH = 1.0
MOST_TEXT_CHARS = 300
BY_HOUR = ("carbon_by_hour_gco2e_kwh", "price_by_hour_currency_kwh")
TEXTS = ("name", "pue_basis", "carbon_kind", "embodied_source", "currency", "residual_source")
#: For the monitor, which reads the site's own meters; other commands leave them be.
OTHERS = ("carbon", "meters", "feeds_count")
KEYS = (*TEXTS[:1], *NUMBERS, *POWERS, *TEXTS[1:], *OTHERS)


def canonical(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``table`` under the keys of the site file, each value checked; unknown ones are left out.

    Raises InputError, beginning with ``where``, for an unknown key, a key said twice, or a value that cannot be.
    """
    values: dict[str, Any] = {}
    for written, value in table.items():
        key = SPELLINGS.get(written, written)
        if key not in KEYS:
            raise InputError(f"{where}: unknown key {written!r}; {_hint(written)}")
        if key in values:
            raise InputError(
                f"{where}: {key} is stated twice, as {' and '.join(_spelled(table, key))}; keep one of them"
            )
        if not is_unknown(value):
            values[key] = _checked(written, key, value, where)
    return values


def as_kept(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table that a run keeps, its bare powers in W: the first version allowed them, and took them as watts."""
    return {k: f"{v} W" if SPELLINGS.get(k, k) in POWERS and _is_bare(v) else v for k, v in table.items()}


def _is_bare(value: Any) -> bool:
    return _float(value) is not None and not is_unknown(value)


def is_unknown(value: Any) -> bool:
    """Whether a value says that it is not known: left empty, or "unknown"."""
    return value is None or (isinstance(value, str) and value.strip().lower() in ("unknown", ""))


def _spelled(table: Mapping[str, Any], key: str) -> list[str]:
    return [w for w in table if SPELLINGS.get(w, w) == key]


def _hint(written: str) -> str:
    close = nearest(written, (*KEYS, *SPELLINGS))
    return f"did you mean {close[0]}?" if close else f"it knows {', '.join(KEYS)}"


def _checked(written: str, key: str, value: Any, where: str) -> Any:
    if key in BY_HOUR:
        return _by_hour(written, key, value, where)
    if key in NUMBERS:
        return _number(written, key, value, where)
    if key in POWERS:
        return _power_w(written, value, where)
    if key in TEXTS:
        return _text(written, value, where)
    if key == "meters":
        return _specs(written, value, where)
    if key == "feeds_count" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(f"{where}: {written} = {value!r} is not a count; write the number of feeds, e.g. 2")
    return value


def _number(written: str, key: str, value: Any, where: str) -> float:
    least, most, what, usual = NUMBERS[key]
    subject = f"{where}: {written} = {_shown(value)}"
    number = _float(value)
    if number is None:
        raise InputError(f'{subject} is not a number; write {what}, or "unknown" where you do not know it')
    if key == "pue" and number < 1:
        raise InputError(
            f"{where}: {written} is {number:g}; PUE is facility energy ÷ IT energy, so it is at least 1 ({usual}). "
            f'Write {written} = "unknown" if you do not know it'
        )
    if not least <= number <= most:
        bound = f"{least:g} or more" if number < least else f"at most {most:,.0f}"
        raise InputError(f"{subject} cannot be: it is in {what} ({usual}), and must be {bound}")
    if key == "carbon_gco2e_kwh" and 0 < number < LEAST_CARBON_G_KWH:
        raise InputError(
            f"{subject} cannot be: it is in {what} ({usual}); if those are kilograms, write {1000 * number:g}"
        )
    return number


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def _power_w(written: str, value: Any, where: str) -> float:
    name = f"{where}: {written}"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InputError(f'{name} = {_shown(value)} is not a power; write it like "40 kW"')
    text = str(value)
    if written.endswith("_w") and _float(value) is not None:
        text = f"{value} W"
    return parse_quantity(text, "W", name=name, least=LEAST_POWER_W, most=MOST_POWER_W)


def _text(written: str, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f'{where}: {written} = {_shown(value)} is not text; write {written} = "…"')
    if len(value) > MOST_TEXT_CHARS:
        raise InputError(f"{where}: {written} has {len(value)} characters, more than {MOST_TEXT_CHARS}; shorten it")
    return " ".join(value.split())


def _by_hour(written: str, key: str, value: Any, where: str) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != 24:
        count = f", not {len(value)}" if isinstance(value, (list, tuple)) else ""
        raise InputError(f"{where}: {written} takes a list of 24 numbers, one per hour of the day (UTC){count}")
    return tuple(_number(written, key, v, where) for v in value)


def _specs(written: str, value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise InputError(f'{where}: {written} takes a list of meter SPECs, e.g. ["snmp:10.0.0.9,pdu=apc,scope=site"]')
    return tuple(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
