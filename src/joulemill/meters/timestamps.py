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
_NUMBER = re.compile(r"^\d+(\.\d+)?([eE][+]?\d+)?$")
_FORMATS = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S", "%m-%d-%Y %H:%M:%S.%f", "%m-%d-%Y %H:%M:%S")
#: 2001-09-09 to 2286-11-20: what a count of seconds since 1970 can sensibly be.
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

    Raises ValueError where it is none of these, or a number whose unit must be stated.
    """
    text = text.strip()
    if _NUMBER.match(text):
        seconds = float(text) * _UNITS[unit or "s"]
        if not unit and not _UNIX_SECONDS[0] <= seconds < _UNIX_SECONDS[1]:
            raise ValueError(f"{text} is not Unix time in seconds; say time_unit=ms, us or ns")
        return seconds
    moment = _moment(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=where) if where is not None else moment.astimezone()
    return moment.timestamp()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise ValueError(f"{text!r} is not a time that can be read; use ISO 8601 or Unix seconds")
