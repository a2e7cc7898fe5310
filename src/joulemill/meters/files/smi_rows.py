"""CSV logs of ``nvidia-smi``, ``amd-smi`` and srt-slurm's ``dcgm-power``: one row a board and poll.

Boards are told apart by UUID, serial number, PCI address or index, whichever the row has; a product's name is no
identity. A log without any is of a thing without a name, which the ledger counts only where there is one board.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo

from joulemill.formats.cells import Header, ending, number
from joulemill.formats.timestamps import unix_s
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.files.rows import NO_NAME, LogBoards, LogPoint, LogSeries, point

_UNIT = re.compile(r"\s?[\[(]([^\[\]()]{0,20})[\])]$")
#: Headers that are remembered.
MAX_HEADERS = 3
#: Unit → quantities that it is one of, and the factor to SI.
_UNITS: Mapping[str, tuple[frozenset[Quantity], float]] = {
    unit: (frozenset(quantities), factor)
    for quantities, factors in (
        ((Quantity.POWER, Quantity.POWER_LIMIT), {"W": 1.0, "mW": 1e-3, "kW": 1e3}),
        ((Quantity.ENERGY,), {"J": 1.0, "mJ": 1e-3, "kJ": 1e3, "uJ": 1e-6, "µJ": 1e-6}),
        ((Quantity.CLOCK,), {"MHz": 1e6, "Mhz": 1e6, "GHz": 1e9}),
        ((Quantity.TEMPERATURE,), {"C": 1.0, "°C": 1.0}),
        ((Quantity.UTILIZATION,), {"%": 1e-2}),
    )
    for unit, factor in factors.items()
}
_PLAIN = {Quantity.CLOCK: 1e6, Quantity.UTILIZATION: 1e-2}


@dataclass(frozen=True, kw_only=True)
class SmiDialect:
    """One program's columns.

    fields     column → name of the series and its quantity; of two columns of one name the upper one is taken
    identity   columns that tell boards apart, the best first
    averaged   the name that is an average over a second; what is inside what is said for each name
    first      column in which only "0" (or nothing) is a board; the others are partitions of one
    time       column of the time
    """

    program: str
    fields: Mapping[str, tuple[str, Quantity]]
    identity: tuple[str, ...]
    averaged: str
    inside: Mapping[str, tuple[str, ...]]
    first: str = ""
    hint: str = ""
    time: str = "timestamp"


NVIDIA_SMI = SmiDialect(
    program="nvidia-smi",
    fields={
        "power.draw.average": ("power-average", Quantity.POWER),
        "power.draw": ("power-average", Quantity.POWER),
        "power.draw.instant": ("power-instant", Quantity.POWER),
        "enforced.power.limit": ("power-limit", Quantity.POWER_LIMIT),
        "power.limit": ("power-limit", Quantity.POWER_LIMIT),
        "clocks.sm": ("clock-sm", Quantity.CLOCK),
        "clocks.current.sm": ("clock-sm", Quantity.CLOCK),
        "temperature.gpu": ("temperature", Quantity.TEMPERATURE),
        "utilization.gpu": ("utilization", Quantity.UTILIZATION),
    },
    identity=("uuid", "gpu_uuid", "serial", "gpu_serial", "pci.bus_id", "gpu_bus_id", "index", "minor_number"),
    averaged="power-average",
    inside={"power-instant": ("power-average",)},
    hint="log timestamp, and leave out nvidia-smi's noheader",
)
#: ``amd-smi monitor --csv -w 1`` and ``amd-smi metric --csv -w 1``, ROCm 6 and 7.
AMD_SMI = SmiDialect(
    program="amd-smi",
    fields={
        "total_energy_consumption": ("energy", Quantity.ENERGY),
        "current_socket_power": ("power", Quantity.POWER),
        "socket_power": ("power", Quantity.POWER),
        "power_usage": ("power", Quantity.POWER),
        "power": ("power", Quantity.POWER),
        "average_socket_power": ("power-average", Quantity.POWER),
        "max_power": ("power-limit", Quantity.POWER_LIMIT),
        "hotspot_temperature": ("temperature", Quantity.TEMPERATURE),
        "hotspot": ("temperature", Quantity.TEMPERATURE),
        "gpu_temp": ("temperature", Quantity.TEMPERATURE),
        "gfx_clk": ("clock-sm", Quantity.CLOCK),
        "gfx_clock": ("clock-sm", Quantity.CLOCK),
        "gfx_activity": ("utilization", Quantity.UTILIZATION),
        "gfx_util": ("utilization", Quantity.UTILIZATION),
        "gfx": ("utilization", Quantity.UTILIZATION),
    },
    identity=("uuid", "gpu_uuid", "asic_serial", "bdf", "gpu_bdf", "gpu", "gpu_id"),
    averaged="power-average",
    inside={"energy": ("power", "power-average"), "power": ("power-average",)},
    first="xcp",
    hint="amd-smi writes one with --csv -w 1",
)
#: ``samples.csv`` of srt-slurm's power packages: DCGM's power of every board by poll.
DCGM_POWER = SmiDialect(
    program="dcgm-power",
    fields={"power_w": ("power", Quantity.POWER)},
    identity=("gpu_uuid",),
    averaged="",
    inside={},
    hint="srt-slurm writes one as samples.csv",
    time="timestamp_unix",
)
#: Columns that nobody else writes: a log that has them is amd-smi's though it says no board.
_AMD_ONLY = frozenset(("current_socket_power", "socket_power", "average_socket_power", "total_energy_consumption"))


def dialect_of(line: str) -> SmiDialect | None:
    """The program whose header ``line`` is, if it is one of these: it has power or a board, and a column of theirs."""
    try:
        columns = {_name(c) for c in Header.of(line).columns}
    except ValueError:
        return None
    if "power.draw" in columns or ("timestamp" in columns and columns & NVIDIA_SMI.fields.keys()):
        return NVIDIA_SMI
    if {DCGM_POWER.time, *DCGM_POWER.identity, *DCGM_POWER.fields} <= columns:
        return DCGM_POWER
    named = bool(columns & {"gpu", "gpu_id", "bdf"} and columns & AMD_SMI.fields.keys())
    return AMD_SMI if named or ("timestamp" in columns and columns & _AMD_ONLY) else None


class SmiRows:
    """Parses one program's log. A header may come again, with other columns too."""

    def __init__(self, dialect: SmiDialect, where: tzinfo | None, boards: LogBoards | None = None) -> None:
        self._dialect, self._where = dialect, where
        self.boards = boards or LogBoards()
        self._headers: list[_SmiColumns] = []
        self._before: list[str] = []
        self._units: dict[str, str] = {}

    def feed(self, line: str) -> list[LogPoint]:
        """Points of one line. Raises ValueError for one that cannot be read."""
        time = self._dialect.time
        if time in line.lower() and (columns := _SmiColumns.of(line, time)) is not None:
            self._headers = [columns, *(h for h in self._headers if h != columns)][:MAX_HEADERS]
            return []
        columns, cells = self._row(line)
        row = dict(zip(columns.names, cells, strict=True))
        if row.get(self._dialect.first, "0") not in ("0", "", "N/A"):
            return []
        t = unix_s(row[time], self._where)
        device = self._device(row)
        self._before = cells
        if not self.boards.takes(device, tuple(row[k] for k in self._dialect.identity if _says(row.get(k, "")))):
            return []
        return [self._point(device, t, f, row[f], columns.units[f]) for f in self._taken(columns)]

    def whole(self, line: str) -> bool:
        """Whether a line without an end has all of its last cell, by the row before."""
        try:
            _, cells = self._row(line)
        except ValueError:
            return False
        last = ending(cells[-1])
        return bool(self._before) and last is not None and last == ending(self._before[-1])

    def _row(self, line: str) -> tuple[_SmiColumns, list[str]]:
        """``line`` under the latest header that it fits: one that was cut must not take the rows after it along."""
        if not self._headers:
            raise ValueError(f"no header with a {self._dialect.time!r} column; {self._dialect.hint}")
        faults = []
        for columns in self._headers:
            try:
                return columns, columns.header.row(line, columns.names.index(self._dialect.time))
            except ValueError as error:
                faults.append(error)
        raise faults[-1]

    def _taken(self, columns: _SmiColumns) -> list[str]:
        fields = self._dialect.fields
        named = {fields[f][0]: f for f in reversed(list(fields)) if f in columns.units}
        return list(named.values())

    def _device(self, row: Mapping[str, str]) -> str:
        asked = [k for k in self._dialect.identity if k in row]
        if not asked:
            return NO_NAME
        name = next((row[k] for k in asked if _says(row[k])), None)
        if name is None:
            raise ValueError(f"its {asked[0]} is {row[asked[0]][:40] or 'empty'}: it does not say which board it is of")
        return name

    def _point(self, device: str, t: float, field: str, cell: str, headed: str) -> LogPoint:
        name, quantity = self._dialect.fields[field]
        averaged = name == self._dialect.averaged
        note = "a one-second average from Ampere on" if averaged and self._dialect is NVIDIA_SMI else "as it gives it"
        series = LogSeries(
            device=device,
            name=name,
            quantity=quantity,
            scope=Scope.DEVICE,
            source=f"{self._dialect.program} {field}: {note}",
        )
        if quantity in (Quantity.POWER, Quantity.ENERGY):
            inside = self._dialect.inside.get(name, ())
            series = replace(series, rel_error=0.05, period_s=1.0 if averaged else None, inside=inside)
        try:
            value, unit = number(cell)
            return point(series, t, value * self._factor(field, quantity, unit, headed))
        except ValueError as error:
            text = str(error) if any(c.isdigit() for c in cell) else cell[:40] or "empty"
            return LogPoint(series, t, None, f"{self._dialect.program}: {text}")

    def _factor(self, field: str, quantity: Quantity, unit: str, headed: str) -> float:
        """To SI, by the cell's own unit, else the header's. Raises ValueError where the end of the cell is missing."""
        usual = self._units.setdefault(field, unit)
        if usual and not unit:
            raise ValueError(f"its unit {usual} is missing: it may be cut")
        if unit and unit not in _UNITS:
            raise ValueError(f"unit {unit} is not known")
        named = unit or headed
        if named not in _UNITS:
            return _PLAIN.get(quantity, 1.0)
        quantities, factor = _UNITS[named]
        if quantity not in quantities:
            raise ValueError(f"it is in {named}")
        return factor


@dataclass(frozen=True)
class _SmiColumns:
    """A header: its columns' names in lower case without units, and each one's unit ("" where it states none)."""

    header: Header
    names: tuple[str, ...]
    units: Mapping[str, str]

    @staticmethod
    def of(line: str, time: str) -> _SmiColumns | None:
        """The header in ``line``; None where it has no column ``time``."""
        header = Header.of(line)
        names = tuple(_name(c) for c in header.columns)
        stated = [_UNIT.search(c) for c in header.columns]
        units = {n: m.group(1) if m else "" for n, m in zip(names, stated, strict=True)}
        return _SmiColumns(header, names, units) if time in names else None


def _name(heading: str) -> str:
    return _UNIT.sub("", heading).strip().lower().replace(" ", "_")


def _says(cell: str) -> bool:
    return bool(cell) and not cell.startswith("[") and cell.upper() not in ("N/A", "NONE", "UNKNOWN")
