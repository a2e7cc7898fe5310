"""Timestamps of other people's files, as Unix seconds. Pure: a zone is passed, never looked up.

A number is taken in the unit that the user states; without one it must look like Unix seconds. A date without a zone
is in the zone that is passed (None: this machine's own).
"""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from joulemill.errors import InputError

_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_NUMBER = re.compile(r"^\d{1,30}(\.\d{1,30})?([eE][+]?\d{1,3})?$", re.ASCII)
_SLASHES = re.compile(r"^\d{4}/\d\d/\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)
_FORMATS = (
    "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S",
    "%m-%d-%Y %H:%M:%S.%f",
    "%m-%d-%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S",
)
#: No time has more characters.
LONGEST = 80
#: 2001-09-09 to 2286-11-20: what a count of seconds since 1970, and the time of a reading, can sensibly be.
_UNIX_SECONDS = (1e9, 1e10)


def zone(name: str) -> tzinfo | None:
    """The time zone ``name`` ("UTC", "Europe/Berlin"); None for "" (this machine's). Raises InputError."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"tz={name}: no such time zone; write it like UTC or Europe/Berlin") from error


def unix_s(text: str, where: tzinfo | None, unit: str = "") -> float:
    """Unix seconds of ``text``: ISO 8601, ``2026/01/31 12:34:56.789``, ``12-31-2026 …`` (American), or a number.

    A comma may stand for the point before a fraction. Raises ValueError where it is none of these, a number whose unit
    must be stated, or a time that no reading has.
    """
    text = text[:LONGEST].strip()
    if _NUMBER.match(text):
        seconds = float(text) * _UNITS[unit or "s"]
        if not unit and not _UNIX_SECONDS[0] <= seconds < _UNIX_SECONDS[1]:
            raise ValueError(f"{text[:40]} is neither a date nor Unix time in seconds{_in_parts(float(text))}")
        return sensible_s(seconds, text)
    moment = _moment(text)
    try:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=where) if where is not None else moment.astimezone()
        return sensible_s(moment.timestamp(), text)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{text[:40]!r} is no time of a reading") from error


def _in_parts(number: float) -> str:
    """In which part of a second ``number`` would be a time, to say so; "" where in none."""
    likely = [u for u in ("ms", "us", "ns") if _UNIX_SECONDS[0] <= number * _UNITS[u] < _UNIX_SECONDS[1]]
    return f"; in {likely[0]} it would be a time" if likely else ""


def sensible_s(t_wall_s: float, text: object = "") -> float:
    """``t_wall_s`` itself. Raises ValueError where no reading can have been taken then, or it is no number."""
    if not _UNIX_SECONDS[0] <= t_wall_s < _UNIX_SECONDS[1]:
        raise ValueError(f"{str(text or t_wall_s)[:40]!r} is not a time between 2001 and 2286")
    return t_wall_s


def _moment(text: str) -> datetime:
    plain = text.replace(",", ".")
    try:
        return datetime.fromisoformat(plain.replace("/", "-", 2) if _SLASHES.match(plain) else plain)
    except ValueError:
        pass
    for form in _FORMATS:
        try:
            return datetime.strptime(plain, form)
        except ValueError:
            continue
    raise ValueError(f"{text[:40]!r} is not a time that can be read; use ISO 8601 or Unix seconds")
