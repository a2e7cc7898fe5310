"""Which unit a trace's times are in: by the column's name, or by evidence; refused where neither tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.formats.traces.names import MOONCAKE, TIME_OPEN, TIME_SECONDS, TIME_UNITS, column_of, plain_name

#: Counts since 1970 of times from 2001 to 2096 → unit.
EPOCHS = ((1e9, 4e9, 1.0, "s"), (1e12, 4e12, 1e-3, "ms"), (1e15, 4e15, 1e-6, "µs"), (1e18, 4e18, 1e-9, "ns"))
#: Whole numbers that span more than this as seconds are no seconds (assumed: no trace of requests is longer).
LONGEST_S = 400 * 86400.0
#: No count of anything since 1970 is larger.
LARGEST = 10**19
#: What tells the place of the value of an index, for messages.
Place = Callable[[int], str]
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class TraceClock:
    """Times [s] from the first on, NaN where the trace says none; and how their unit is known."""

    at_s: Array
    note: str


def time_column(columns: Sequence[str]) -> str | None:
    """The column of arrival times; None where there is none."""
    return column_of(columns, (*TIME_UNITS, *TIME_SECONDS, *TIME_OPEN))


def read_clock(values: Sequence[object], name: str, columns: Sequence[str], where: Place, unit: str = "") -> TraceClock:
    """Times of ``values`` under the column ``name`` beside the other ``columns``; ``unit`` overrules what is told.

    Raises InputError at a value that is no time, and where the unit is
    not to be known.
    """
    numbers = _numbers(values)
    if numbers is None:
        return _stamps(values, name, where)
    _finite(numbers, values, name, where)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        raise InputError(f"{where(0)}: {name} holds no time")
    factor, reason = (UNITS[unit], "as stated") if unit else _unit(name, known, columns, where(0))
    return TraceClock((numbers - known.min()) * factor, f"{name}: read as {_word(factor)} ({reason})")


def _numbers(values: Sequence[object]) -> Array | None:
    """The values as numbers, NaN where empty; None where one is text that is no number."""
    exact = [v for v in values if isinstance(v, int)]
    base = min(exact) if len(exact) == len(values) and exact and 1e12 <= min(exact) < LARGEST else 0
    try:
        numbers = [math.nan if v is None or v == "" else float(v - base if base else v) for v in values]  # type: ignore[operator,arg-type]
    except (TypeError, ValueError):
        return None
    except OverflowError:
        return np.full(len(values), np.inf)
    return np.asarray(numbers, np.float64) + base


def _finite(numbers: Array, values: Sequence[object], name: str, where: Place) -> None:
    for index in np.flatnonzero(~np.isfinite(numbers)).tolist():
        if values[index] not in (None, ""):
            raise InputError(f"{where(index)}: {name} must be a finite time, not {values[index]!r}")


def _unit(name: str, numbers: Array, columns: Sequence[str], place: str) -> tuple[float, str]:
    plain = plain_name(name)
    if plain in TIME_UNITS:
        return TIME_UNITS[plain], "by its name"
    epoch = next((e for e in EPOCHS if e[0] <= numbers.min() and numbers.max() < e[1]), None)
    if epoch is not None:
        return epoch[2], f"counted in {epoch[3]} since 1970, by their size"
    if plain in TIME_OPEN and all(m in {plain_name(c) for c in columns} for m in MOONCAKE[:2]):
        return 1e-3, "beside input_length and output_length, as in Mooncake's traces"
    if np.any(numbers != np.rint(numbers)):
        return 1.0, "they have fractions"
    if plain in TIME_SECONDS and numbers.max() - numbers.min() <= LONGEST_S:
        return 1.0, "by custom"
    raise InputError(
        f"{place}: nothing tells the unit of {name} (whole numbers from {numbers.min():.0f} to {numbers.max():.0f}); "
        f"name the column {name}_s, {name}_ms, {name}_us or {name}_ns"
    )


def _word(factor: float) -> str:
    return {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}[factor]


def _stamps(values: Sequence[object], name: str, where: Place) -> TraceClock:
    at = np.full(len(values), np.nan)
    first: datetime | None = None
    for index, value in enumerate(values):
        if value is None or value == "":
            continue
        try:
            moment = datetime.fromisoformat(str(value).strip())
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            first = first or moment
            at[index] = (moment - first).total_seconds()
        except (ValueError, OverflowError):
            wrong = next((i for i, v in enumerate(values) if not _is_number(v)), index) if _is_number(value) else index
            raise InputError(f"{where(wrong)}: {name} is {str(values[wrong])[:60]!r}, not a time") from None
    if first is None:
        raise InputError(f"{where(0)}: {name} holds no time")
    return TraceClock(at - np.nanmin(at), f"{name}: read as dates with a time")


def _is_number(value: object) -> bool:
    return _numbers([value]) is not None
