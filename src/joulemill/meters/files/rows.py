"""Parsers of other tools' power files: lines in, points out. Sans-IO: a parser never opens anything.

A parser keeps what the header told it, so a file may be fed as it grows. A cell that says "not available", or a number
that no reading can be (a vendor's blank, watts beyond any board), is a point without a value and with that as its
error: never 0, never left out. A line that cannot be read is its own fault and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Protocol

from joulemill.errors import InputError
from joulemill.formats.cells import Header, ending, number, shown
from joulemill.formats.json_text import loads
from joulemill.formats.timestamps import sensible_s, unix_s
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Quantity, Scope
from joulemill.units import parse_quantity

#: The device of a log that does not say which board a row is of: no identity, for the ledger.
NO_NAME = "GPU"
#: More boards than any log has.
MAX_BOARDS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeries:
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
class LogPoint:
    """One value of a series; ``value`` None with ``error`` where the file says that there is none."""

    series: LogSeries
    t_wall_s: float
    value: float | None
    error: str | None = None


def point(series: LogSeries, t_wall_s: float, value: float) -> LogPoint:
    """A point of ``value``, or of none where no reading of this quantity can be that, with the reason."""
    fault = reading_fault(series.quantity, value, scope=series.scope)
    if fault is not None:
        return LogPoint(series, t_wall_s, None, f"{fault.value}: {value:.6g}")
    return LogPoint(series, t_wall_s, value)


class LogBoards:
    """Which boards of a log the user wants, by index or UUID (none: all), and which there are.

    there   what each board may be called, by the name that it has here
    """

    def __init__(self, wanted: Collection[str] = ()) -> None:
        self._wanted = frozenset(wanted)
        self.there: dict[str, tuple[str, ...]] = {}

    def takes(self, device: str, names: tuple[str, ...]) -> bool:
        """Whether a row of ``device``, which may be called any of ``names``, is wanted."""
        if device not in self.there and len(self.there) < MAX_BOARDS:
            self.there[device] = names
        return not self._wanted or not self._wanted.isdisjoint(names)

    def missing(self) -> list[str]:
        """Those that are wanted and not there."""
        named = {n for names in self.there.values() for n in names}
        return sorted(w for w in self._wanted if w not in named)


class LogParser(Protocol):
    """Takes a file line by line."""

    def feed(self, line: str) -> list[LogPoint]:
        """Points of one line. Raises ValueError, saying what is wrong, for a line that cannot be read.

        Raises InputError where no other line of the file will do either (a column that is not there).
        """
        ...

    def whole(self, line: str) -> bool:
        """Whether ``line``, which has no end yet, is certainly complete."""
        ...


class PtDaemon:
    """SPEC PTDaemon's ``spl.txt`` as MLPerf Power keeps it: the wall power of the whole system under test.

    Accepted analyzers are within 1 %. MLPerf's checker wants the clocks within 0.2 s; of another run nobody checked.
    """

    SERIES = LogSeries(
        device="wall",
        name="power",
        quantity=Quantity.POWER,
        scope=Scope.NODE,
        source="PTDaemon wall analyzer; 1 % is SPEC's limit for analyzers",
        rel_error=0.01,
    )

    def __init__(self, where: tzinfo | None) -> None:
        self._where = where

    def feed(self, line: str) -> list[LogPoint]:
        """Lines that do not begin with ``Time`` are PTDaemon's own talk."""
        row = self._pairs(line)
        if row is None:
            return []
        if "Watts" not in row:
            raise ValueError("a Time without Watts")
        return [point(self.SERIES, unix_s(row["Time"], self._where), number(row["Watts"])[0])]

    def whole(self, line: str) -> bool:
        """What stands behind the watts is of no interest."""
        row = self._pairs(line)
        return row is not None and list(row)[-1] not in ("Time", "Watts")

    def _pairs(self, line: str) -> dict[str, str] | None:
        cells = [c.strip() for c in line.split(",")]
        return dict(zip(cells[::2], cells[1::2], strict=False)) if cells[0] == "Time" and len(cells) > 1 else None


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

    def __init__(self, boards: LogBoards | None = None) -> None:
        self.boards = boards or LogBoards()

    def feed(self, line: str) -> list[LogPoint]:
        """One JSON object a line."""
        record = loads(line)
        if not isinstance(record, dict) or not isinstance(data := record.get("telemetry_data"), dict):
            raise ValueError("no record with telemetry_data")
        t_ns = record.get("timestamp_ns")
        if isinstance(t_ns, bool) or not isinstance(t_ns, int | float):
            raise ValueError(f"timestamp_ns is {str(t_ns)[:40]}")
        t, device = sensible_s(t_ns * 1e-9), _board(record)
        if not self.boards.takes(device, (device, str(record.get("gpu_index", ""))[:20])):
            return []
        url = str(record.get("dcgm_url", ""))[:200]
        return [self._point(device, t, f, data[f], url) for f in self.FIELDS if f in data]

    def whole(self, line: str) -> bool:
        """Half an object is none."""
        try:
            return isinstance(loads(line), dict)
        except ValueError:
            return False

    def _point(self, device: str, t: float, field: str, value: Any, url: str) -> LogPoint:
        name, quantity, factor, inside = self.FIELDS[field]
        error = 0.05 if quantity in (Quantity.ENERGY, Quantity.POWER) else None
        series = LogSeries(
            device=device,
            name=name,
            quantity=quantity,
            scope=Scope.DEVICE,
            source=f"AIPerf {field} from {url}",
            rel_error=error,
            inside=inside,
        )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return LogPoint(series, t, None, f"AIPerf recorded {'null' if value is None else str(value)[:40]}")
        return point(series, t, value * factor)


def _board(record: Mapping[str, Any]) -> str:
    """Which board a record is of: its UUID, else its index at its exporter. Raises ValueError without either."""
    uuid, index = record.get("gpu_uuid"), record.get("gpu_index")
    if isinstance(uuid, str) and uuid.strip():
        return uuid.strip()[:200]
    if isinstance(index, int) and not isinstance(index, bool):
        host = str(record.get("dcgm_url", "")).partition("://")[2].split("/")[0][:200]
        return f"{host}/gpu-{index}" if host else f"gpu-{index}"
    raise ValueError("neither gpu_uuid nor gpu_index: it does not say which board it is of")


class DeclaredCsv:
    """Any CSV with a header, whose time column, value column, unit, scope and device the user states."""

    def __init__(
        self, series: LogSeries, value: str, unit: str, moment: Callable[[str], float], time: str = ""
    ) -> None:
        self._series, self._value, self._unit, self._moment, self._time = series, value, unit, moment, time
        self._factor = parse_quantity(f"1 {unit}", "J" if series.quantity is Quantity.ENERGY else "W")
        self._header: Header | None = None
        self._before: list[str] = []

    def feed(self, line: str) -> list[LogPoint]:
        """Points of one line; the first is the header, which may come again. Comma, semicolon or tab divide."""
        if self._header is None:
            self._header = self._headed(line)
            return []
        if self._repeated(line):
            return []
        cells = self._row(line)
        row = dict(zip(self._header.columns, cells, strict=True))
        point = self._point(self._moment(row[self._time]), row[self._value])
        self._before = cells
        return [point]

    def whole(self, line: str) -> bool:
        """By what the row before ended in."""
        try:
            last = ending(self._row(line)[-1])
        except ValueError:
            return False
        return bool(self._before) and last is not None and last == ending(self._before[-1])

    def _point(self, t: float, cell: str) -> LogPoint:
        try:
            value, unit = number(cell)
        except ValueError as error:
            reason = str(error) if any(c.isdigit() for c in cell) else f"the file says {cell[:40] or 'nothing'}"
            return LogPoint(self._series, t, None, reason)
        if unit not in ("", self._unit):
            return LogPoint(self._series, t, None, f"{shown(cell)} where {self._unit} was stated")
        return point(self._series, t, value * self._factor)

    def _row(self, line: str) -> list[str]:
        if self._header is None:
            raise ValueError("no header")
        return self._header.row(line, self._header.columns.index(self._time))

    def _repeated(self, line: str) -> bool:
        """Whether ``line`` is a header again; one with other columns holds from here on."""
        if self._header is None or self._value not in line or self._time not in line:
            return False
        again = Header.of(line)
        if not {self._time, self._value} <= set(again.columns):
            return False
        self._header, self._before = again, []
        return True

    def _headed(self, line: str) -> Header:
        header = Header.of(line)
        self._time = self._time or (header.columns[0] if header.columns else "")
        missing = [c for c in (self._time, self._value) if c not in header.columns]
        if missing:
            names = ", ".join(shown(c)[1:-1] for c in header.columns[:50])
            raise InputError(f"no column {', '.join(missing)}; the header has {names}")
        return header
