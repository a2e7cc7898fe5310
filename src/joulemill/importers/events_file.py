"""A TOML file of what happens to a site → ``SiteEvents``.

start = "06:00"                    # time of day at which the traffic starts (UTC)
policies = ["cap", "clock"]        # to compare; the first is shown
deferrable = "40%"                 # share of the requests that may come later

[site]                             # what moves with the time of day, beyond the site file
outdoor_c = [...]                  # 24 values, one an hour of the day; or one number
carbon_gco2e_kwh = [...]
price_currency_kwh = [...]
fixed_share = "20%"                # of the facility's overhead at full load, that does not follow the load

[autoscale]                        # as --autoscale; every and patience may be left out
min = 1
max = 8
target = 16                        # requests of a replica, running and waiting
every = "10s"
patience = "5min"

[[event]]
name = "demand response"
start = "12:00"                    # a time of day, or a time since the start: "4h"
duration = "3h"
cut = "25%"                        # or site_limit = "30 kW", cooling_limit, pue, outdoor_c, load
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.files import read_bytes
from joulemill.formats.toml_text import load_toml
from joulemill.simulation.autoscale import KEYS as AUTOSCALE_KEYS
from joulemill.simulation.autoscale import Autoscale, parse_autoscale
from joulemill.simulation.events import SiteEvent, SiteEvents
from joulemill.simulation.policies import need_policy
from joulemill.simulation.schedule import Schedule, by_hour, constant
from joulemill.suggestions import meant
from joulemill.units import JOULE_PER_KWH, parse_quantity, parse_ratio

KEYS = ("start", "policies", "deferrable", "site", "autoscale", "event")
SITE_KEYS = ("outdoor_c", "carbon_gco2e_kwh", "price_currency_kwh", "fixed_share")
EVENT_KEYS = (
    "name",
    "start",
    "duration",
    "cut",
    "site_limit",
    "cooling_limit",
    "pue",
    "outdoor_c",
    "load",
)
#: Signals by the hour are laid out over this long, more than any simulation (assumed).
LONGEST_S = 32 * 86400.0
#: Plain digits alone: "²" counts as a digit elsewhere, and is no number.
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{1,2})")
#: What a signal can be: (least, most). Beyond these it is a slip of a unit.
BOUNDS = {
    "outdoor_c": (-60.0, 60.0),
    "carbon_gco2e_kwh": (0.0, 3000.0),
    "price_currency_kwh": (-1e6, 1e6),
    "pue": (1.0, 10.0),
}


def load_events(path: Path | str) -> SiteEvents:
    """Read an events file. Raises InputError naming the file and the key at fault."""
    where = f"events file {path}"
    try:
        table = load_toml(read_bytes(Path(path)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}") from None
    if not table:
        raise InputError(f"{where} says nothing; write what happens, e.g. [[event]] with start, duration and cut")
    return parse_events(table, where)


def parse_events(table: Mapping[str, Any], where: str = "events") -> SiteEvents:
    """Events of a table. Raises InputError beginning with ``where``."""
    _known(table, KEYS, where)
    start_s = _clock_s(table.get("start", "00:00"), f"{where}: start")
    site = table.get("site", {})
    if not isinstance(site, Mapping):
        raise InputError(f"{where}: site must be a table, [site]")
    _known(site, SITE_KEYS, f"{where}: [site]")
    events = table.get("event", [])
    if not isinstance(events, list) or not all(isinstance(e, Mapping) for e in events):
        raise InputError(f"{where}: event must be tables, [[event]]")
    signals = {key: _signal(site, key, start_s, f"{where}: [site]") for key in SITE_KEYS[:3]}
    return SiteEvents(
        start_s=start_s,
        events=tuple(_event(e, start_s, f"{where}: event {n}") for n, e in enumerate(events, 1)),
        policies=_policies(table.get("policies", []), where),
        deferrable_ratio=_ratio(table.get("deferrable", 0), f"{where}: deferrable"),
        fixed_ratio=_ratio(site.get("fixed_share", 0), f"{where}: [site] fixed_share"),
        outdoor_c=signals["outdoor_c"],
        carbon_gco2e=_per_joule(signals["carbon_gco2e_kwh"]),
        price_currency=_per_joule(signals["price_currency_kwh"]),
        autoscale=_autoscale(table.get("autoscale"), f"{where}: [autoscale]"),
    )


def _autoscale(stated: Any, where: str) -> Autoscale | None:
    if stated is None:
        return None
    if not isinstance(stated, Mapping):
        raise InputError(f"{where} must be a table")
    _known(stated, AUTOSCALE_KEYS, where)
    return parse_autoscale(",".join(f"{key}={value}" for key, value in stated.items()), where)


def _known(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            raise InputError(f"{where}: unknown key {key!r}; {meant(key, keys)}")


def _policies(stated: Any, where: str) -> tuple[str, ...]:
    if not isinstance(stated, list) or not all(isinstance(p, str) for p in stated):
        raise InputError(f'{where}: policies takes a list of names, e.g. ["cap", "clock"]')
    try:
        return tuple(need_policy(p) for p in stated)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _event(table: Mapping[str, Any], start_s: float, where: str) -> SiteEvent:
    _known(table, EVENT_KEYS, where)
    for key in ("start", "duration"):
        if key not in table:
            raise InputError(f'{where}: has no {key}; write {key} = "{"12:00" if key == "start" else "3h"}"')
    begins = str(table["start"])
    at_s = _since_start_s(begins, start_s, f"{where}: start")
    length_s = parse_quantity(str(table["duration"]), "s", name=f"{where}: duration", above=0.0)
    changed = {
        "cut_ratio": None if "cut" not in table else _ratio(table["cut"], f"{where}: cut"),
        "site_limit_w": _power(table, "site_limit", where),
        "cooling_limit_w": _power(table, "cooling_limit", where),
        "pue_ratio": _bounded(table, "pue", where),
        "outdoor_c": _bounded(table, "outdoor_c", where),
        "load_ratio": None if "load" not in table else _ratio(table["load"], f"{where}: load"),
    }
    if all(value is None for value in changed.values()):
        raise InputError(f"{where}: changes nothing; write one of {', '.join(EVENT_KEYS[3:])}")
    name = str(table.get("name", f"event at {begins}"))
    try:
        return SiteEvent(name=name, start_s=at_s, end_s=at_s + length_s, **changed)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _since_start_s(text: str, start_s: float, where: str) -> float:
    """A time of day after the start, or a time since it."""
    if ":" not in text:
        return parse_quantity(text, "s", name=where, least=0.0)
    return (_clock_s(text, where) - start_s) % 86400.0


def _clock_s(text: Any, where: str) -> float:
    written = _TIME_OF_DAY.fullmatch(str(text))
    hours, minutes = (int(part) for part in written.groups()) if written else (24, 0)
    if hours > 23 or minutes > 59:
        raise InputError(f'{where} = {str(text)[:40]!r} is not a time of day; write it like "12:00"')
    return hours * 3600.0 + minutes * 60.0


def _ratio(value: Any, where: str) -> float:
    return parse_ratio(str(value), name=where)


def _power(table: Mapping[str, Any], key: str, where: str) -> float | None:
    return None if key not in table else parse_quantity(str(table[key]), "W", name=f"{where}: {key}", above=0.0)


def _bounded(table: Mapping[str, Any], key: str, where: str) -> float | None:
    return None if key not in table else _number(table[key], key, where)


def _number(value: Any, key: str, where: str) -> float:
    least, most = BOUNDS[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(
            f"{where}: {key} = {str(value)[:40]} cannot be; it must be a number from {least:g} to {most:g}"
        )
    return float(value)


def _signal(site: Mapping[str, Any], key: str, start_s: float, where: str) -> Schedule | None:
    value = site.get(key)
    if value is None:
        return None
    if not isinstance(value, list):
        return constant(_number(value, key, where))
    if len(value) != 24:
        raise InputError(f"{where}: {key} takes 24 numbers, one per hour of the day, not {len(value)}")
    return by_hour([_number(v, key, where) for v in value], start_s, LONGEST_S)


def _per_joule(signal: Schedule | None) -> Schedule | None:
    return None if signal is None else Schedule(signal.at_s, signal.values / JOULE_PER_KWH)
