"""Replies of the grid's services, and files, as points in SI. Every value passes through a checked ``Part``.

Average and marginal answer different questions (what does a kWh carry, what does one more kWh cause): the kind is read
from the reply where it tells, and always kept beside the figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from joulemill.errors import InputError
from joulemill.formats.untrusted import Part
from joulemill.physics.hardware.carbon import GridPoint
from joulemill.units import JOULE_PER_KWH

#: International avoirdupois pound [g], exact; lb/MWh → g/kWh divides by 1000.
GRAM_PER_POUND = 453.59237
HOUR_S = 3600.0
HALF_HOUR_S = 1800.0
#: No grid emits more; a greater number is in another unit. Assumed.
MOST_GCO2E_KWH = 5000.0
_WATTTIME_KINDS = {"co2_moer": "marginal", "co2_aoer": "average"}
_WATTTIME_STEP_S = 300.0


@dataclass(frozen=True)
class Signal:
    """Points of one place; ``kind`` is average or marginal; ``notes`` what the service says of their worth."""

    points: tuple[GridPoint, ...]
    kind: str
    place: str
    notes: tuple[str, ...] = ()


def electricity_maps(reply: Part, zone: str) -> Signal:
    """``history`` or ``past-range`` of v3. Raises InputError for another zone than was asked: it may guess by IP."""
    rows = list((reply["history"] if reply.has("history") else reply["data"]).each())
    named = {reply["zone"].text(), *(r["zone"].text() for r in rows)} - {None}
    if named - {zone}:
        raise InputError(f"{reply.where}answers for zone {', '.join(sorted(map(str, named)))}, not {zone}")
    known = [r for r in rows if r["carbonIntensity"].known]
    points = _spaced([(_time(r["datetime"]), _kwh(r["carbonIntensity"])) for r in known], HOUR_S)
    factors = sorted({str(r["emissionFactorType"].text()) for r in known if r["emissionFactorType"].known})
    notes = [f"emission factors {', '.join(factors)}"] if factors else []
    if any(r["isEstimated"].flag() for r in known):
        notes.append("some values are the service's estimates")
    return Signal(points, "average", zone, tuple(notes))


def watttime(reply: Part, region: str) -> Signal:
    """``/v3/historical``: lb/MWh, by ``meta.units``; anything else, as the percentile index, is refused."""
    meta = reply["meta"]
    units, signal = meta["units"].text(), meta["signal_type"].text()
    if units not in ("lbs_co2_per_mwh", "lbs CO2/MWh", "lbs_co2e_per_mwh"):
        raise InputError(f"{reply.where}unit {units!r} is no carbon per energy; ask for signal co2_moer or co2_aoer")
    if signal not in _WATTTIME_KINDS:
        raise InputError(f"{reply.where}signal {signal!r} is not known; ask for co2_moer or co2_aoer")
    if meta["region"].text() not in (None, region):
        raise InputError(f"{reply.where}answers for region {meta['region'].text()}, not {region}")
    step = meta["data_point_period_seconds"].number(least=1.0) or _WATTTIME_STEP_S
    rows = [
        (_time(r["point_time"]), _kwh(r["value"], GRAM_PER_POUND / 1000.0))
        for r in reply["data"].each()
        if r["value"].known
    ]
    return Signal(_spaced(rows, step), _WATTTIME_KINDS[signal], region, (f"signal {signal}",))


def united_kingdom(reply: Part, region: str) -> Signal:
    """``/intensity/{from}/{to}``, national or of a region: the actual value, else the forecast, which is said."""
    rows = reply["data"]["data"] if isinstance(reply["data"].value, dict) else reply["data"]
    points, forecast = [], False
    for row in rows.each():
        intensity = row["intensity"]
        value_part = intensity.first("actual", "forecast")
        if not value_part.known:
            continue
        forecast |= not intensity["actual"].known
        points.append(GridPoint(_time(row["from"]), _time(row["to"]), _kwh(value_part)))
    return Signal(tuple(points), "average", region, ("some values are forecasts",) if forecast else ())


def of_file(rows: Iterable[Part], kind: str, place: str) -> Signal:
    """Rows of ``time`` (ISO 8601 with zone, or Unix seconds), ``carbon_gco2e_kwh`` and, optional, ``end``."""
    row_list = list(rows)
    if row_list and not row_list[0].has("time", "carbon_gco2e_kwh"):
        raise row_list[0].wrong("a row with time and carbon_gco2e_kwh")
    known = [r for r in row_list if r["carbon_gco2e_kwh"].number() is not None]
    if all(r["end"].text() for r in known):
        return Signal(_ended(known), kind, place)
    return Signal(_spaced([(_time(r["time"]), _kwh(r["carbon_gco2e_kwh"])) for r in known], None), kind, place)


def _ended(rows: Sequence[Part]) -> tuple[GridPoint, ...]:
    points = tuple(GridPoint(_time(r["time"]), _time(r["end"]), _kwh(r["carbon_gco2e_kwh"])) for r in rows)
    for row, point in zip(rows, points, strict=True):
        if point.end_s <= point.start_s:
            raise InputError(f"{row.where}: ends before it begins")
    return points


def _spaced(rows: Sequence[tuple[float, float]], step_s: float | None) -> tuple[GridPoint, ...]:
    """Points from their starts: each lasts ``step_s``, or to the next one (the last as long as the one before)."""
    placed = sorted(rows)
    if not placed:
        return ()
    starts = [t for t, _ in placed]
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    if any(g <= 0.0 for g in gaps):
        raise InputError("two values of the grid signal have the same time; give one value for each time")
    if step_s is None and not gaps:
        raise InputError("one value of the grid alone does not tell how long it holds; give its end too")
    lasts: Callable[[float], float] = (lambda g: g) if step_s is None else (lambda g: min(g, step_s))
    lengths = [*map(lasts, gaps), gaps[-1] if step_s is None else step_s]
    return tuple(GridPoint(t, t + n, g) for (t, g), n in zip(placed, lengths, strict=True))


def _kwh(part: Part, gram: float = 1.0) -> float:
    """gCO2e/kWh (or another unit of ``gram`` each) → gCO2e/J."""
    value = part.number(least=0.0)
    if value is None:
        raise part.wrong("a number")
    if value * gram > MOST_GCO2E_KWH:
        raise InputError(f"{part.where}: {value * gram:g} gCO2e/kWh is more than any grid emits; check the unit")
    return value * gram / JOULE_PER_KWH


def _time(part: Part) -> float:
    """Unix seconds of a part: ISO 8601 with its zone, or a number of Unix seconds."""
    text = part.text() or ""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() and part.unix_s() is not None else _iso(text)
    except (ValueError, OverflowError):
        raise part.wrong('a time as "2026-11-24T02:00:00Z" or in Unix seconds') from None


def _iso(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC).timestamp()
