"""Parsers of other tools' power files: lines in, points out. Sans-IO: a parser never opens anything.

A parser keeps what the header told it, so a file may be fed as it grows. A cell that says "not available" is a point
without a value and with that text as its error: never 0, never left out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Protocol

from joulemill.errors import InputError
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.timestamps import unix_s
from joulemill.units import parse_quantity


@dataclass(frozen=True, slots=True)
class Series:
    """What one column or field is: of which device, which quantity, at which scope.

    rel_error, skew_s   of the source where its maker or its rules state them
    inside              names of series of the same device that this one holds already
    """

    device: str
    name: str
    quantity: Quantity
    scope: Scope
    source: str
    rel_error: float | None = None
    skew_s: float | None = None
    period_s: float | None = None
    inside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a series; ``value`` None with ``error`` where the file says that there is none."""

    series: Series
    t_wall_s: float
    value: float | None
    error: str | None = None


class Parser(Protocol):
    """Takes a file line by line."""

    def feed(self, line: str) -> list[Point]:
        """Points of one line. Raises ValueError, saying what is wrong, for a line that cannot be read."""
        ...


class NvidiaSmi:
    """``nvidia-smi --query-gpu=timestamp,uuid,power.draw,… --format=csv[,nounits]``."""

    #: Field → name, quantity, factor to SI. Of two fields of one name the upper one is taken.
    FIELDS: Mapping[str, tuple[str, Quantity, float]] = {
        "power.draw.average": ("power-average", Quantity.POWER, 1.0),
        "power.draw": ("power-average", Quantity.POWER, 1.0),
        "power.draw.instant": ("power-instant", Quantity.POWER, 1.0),
        "enforced.power.limit": ("power-limit", Quantity.POWER_LIMIT, 1.0),
        "power.limit": ("power-limit", Quantity.POWER_LIMIT, 1.0),
        "clocks.sm": ("clock-sm", Quantity.CLOCK, 1e6),
        "clocks.current.sm": ("clock-sm", Quantity.CLOCK, 1e6),
        "temperature.gpu": ("temperature", Quantity.TEMPERATURE, 1.0),
        "utilization.gpu": ("utilization", Quantity.UTILIZATION, 1e-2),
    }
    DEVICE = ("uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "index", "name")

    def __init__(self, where: tzinfo | None) -> None:
        self._where = where
        self._columns: list[str] | None = None

    def feed(self, line: str) -> list[Point]:
        """Points of one line; the first is the header."""
        cells = [c.strip() for c in line.split(",")]
        if "timestamp" in (names := [re.sub(r"\s*\[.*\]$", "", c) for c in cells]):
            self._columns = names
            return []
        if self._columns is None:
            raise ValueError("no header with a 'timestamp' column; leave out nvidia-smi's noheader")
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} cells under {len(self._columns)} headings")
        row = dict(zip(self._columns, cells, strict=True))
        device = next((row[k] for k in self.DEVICE if k in row), "GPU")
        t = unix_s(row["timestamp"], self._where)
        named = {self.FIELDS[f][0]: f for f in reversed(list(self.FIELDS)) if f in row}
        return [self._point(device, t, f, row[f]) for f in named.values()]

    def _point(self, device: str, t: float, field: str, cell: str) -> Point:
        name, quantity, factor = self.FIELDS[field]
        averaged = name == "power-average"
        note = "a one-second average from Ampere on" if averaged else "as the driver gives it"
        series = Series(device, name, quantity, Scope.DEVICE, f"nvidia-smi {field}: {note}")
        if quantity is Quantity.POWER:
            inside = () if averaged else ("power-average",)
            series = replace(series, rel_error=0.05, period_s=1.0 if averaged else None, inside=inside)
        match = re.match(r"^(-?\d+(?:\.\d+)?)(?: ?(W|MHz|%|C))?$", cell)
        if match is None:
            return Point(series, t, None, f"nvidia-smi: {cell or 'empty'}")
        return Point(series, t, float(match.group(1)) * factor)


class PtDaemon:
    """SPEC PTDaemon's ``spl.txt`` as MLPerf Power keeps it: the wall power of the whole system under test.

    Accepted analysers are within 1 %. MLPerf's checker wants the clocks within 0.2 s; of another run nobody checked.
    """

    SERIES = Series(
        "wall", "power", Quantity.POWER, Scope.NODE, "PTDaemon wall analyser; 1 % is SPEC's limit for analysers",
        rel_error=0.01,
    )  # fmt: skip

    def __init__(self, where: tzinfo | None) -> None:
        self._where = where

    def feed(self, line: str) -> list[Point]:
        """Lines that do not begin with ``Time`` are PTDaemon's own talk."""
        cells = [c.strip() for c in line.split(",")]
        if cells[0] != "Time":
            return []
        row = dict(zip(cells[::2], cells[1::2], strict=False))
        if "Watts" not in row:
            raise ValueError("a Time without Watts")
        return [Point(self.SERIES, unix_s(row["Time"], self._where), float(row["Watts"]))]


class AiperfTelemetry:
    """AIPerf's ``gpu_telemetry_export.jsonl``: one record a GPU and scrape; energy in MJ (mega), violations in µs."""

    FIELDS: Mapping[str, tuple[str, Quantity, float, tuple[str, ...]]] = {
        "energy_consumption": ("energy", Quantity.ENERGY, 1e6, ("power",)),
        "amd_energy_consumption": ("energy", Quantity.ENERGY, 1e6, ("power",)),
        "gpu_power_usage": ("power", Quantity.POWER, 1.0, ()),
        "amd_power": ("power", Quantity.POWER, 1.0, ()),
        "gpu_temperature": ("temperature", Quantity.TEMPERATURE, 1.0, ()),
        "amd_temperature": ("temperature", Quantity.TEMPERATURE, 1.0, ()),
        "gpu_utilization": ("utilization", Quantity.UTILIZATION, 1e-2, ()),
        "power_violation": ("throttle-power", Quantity.THROTTLE_POWER, 1e-6, ()),
    }

    def feed(self, line: str) -> list[Point]:
        """One JSON object a line."""
        record = json.loads(line)
        t, device, data = int(record["timestamp_ns"]) * 1e-9, str(record["gpu_uuid"]), record["telemetry_data"]
        return [self._point(device, t, f, data[f], str(record.get("dcgm_url", ""))) for f in self.FIELDS if f in data]

    def _point(self, device: str, t: float, field: str, value: Any, url: str) -> Point:
        name, quantity, factor, inside = self.FIELDS[field]
        error = 0.05 if quantity in (Quantity.ENERGY, Quantity.POWER) else None
        series = Series(device, name, quantity, Scope.DEVICE, f"AIPerf {field} from {url}", error, inside=inside)
        if value is None:
            return Point(series, t, None, "AIPerf recorded null")
        return Point(series, t, float(value) * factor)


class DeclaredCsv:
    """Any CSV with a header, whose time column, value column, unit, scope and device the user states."""

    def __init__(self, series: Series, value: str, unit: str, moment: Callable[[str], float], time: str = "") -> None:
        self._series, self._value, self._unit, self._moment, self._time = series, value, unit, moment, time
        self._columns: list[str] | None = None
        self._delimiter = ","

    def feed(self, line: str) -> list[Point]:
        """Points of one line; the first is the header. The delimiter is a comma, semicolon or tab."""
        if self._columns is None:
            self._delimiter = max(",;\t", key=line.count)
            self._columns = self._header(line)
            return []
        cells = self._cells(line)
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} cells under {len(self._columns)} headings")
        row = dict(zip(self._columns, cells, strict=True))
        t, cell = self._moment(row[self._time]), row[self._value]
        if not cell or cell.lower() in ("nan", "null", "none", "na", "n/a", "[n/a]"):
            return [Point(self._series, t, None, f"the file says {cell or 'nothing'}")]
        dimension = "J" if self._series.quantity is Quantity.ENERGY else "W"
        return [Point(self._series, t, parse_quantity(f"{float(cell)!r} {self._unit}", dimension, name=self._value))]

    def _header(self, line: str) -> list[str]:
        columns = self._cells(line)
        self._time = self._time or columns[0]
        missing = [c for c in (self._time, self._value) if c not in columns]
        if missing:
            raise InputError(f"no column {', '.join(missing)}; the header has {', '.join(columns)}")
        return columns

    def _cells(self, line: str) -> list[str]:
        rows: Iterator[list[str]] = csv.reader([line], delimiter=self._delimiter)
        return [c.strip() for c in next(rows)]
