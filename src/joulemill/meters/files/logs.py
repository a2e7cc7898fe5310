"""Power files of other tools as a meter; a file that is being written is followed.

SPEC: ``file:PATH[,format=nvidia-smi|amd-smi|dcgm-power|ptdaemon|aiperf|csv][,tz=ZONE][,skew=0.1s]``, for logs of boards
``[,gpus=0+1][,count=8]`` and for ``csv``
``value=COLUMN,unit=kW[,time=COLUMN][,time_unit=ms][,scope=node|device|cpu|memory|rack|site][,device=NAME][,error=1%]``.
Times in the file are the writing machine's wall clock; ``skew`` bounds how far that is from ours:
without it the bound is unknown, and the energy is that of a window which may lie anywhere within some seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.formats.timestamps import unix_s, zone
from joulemill.ledger.identity import interleaved, listed
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.files.foreign_logs import foreign
from joulemill.meters.files.rows import (
    NO_NAME,
    AiperfTelemetry,
    DeclaredCsv,
    LogBoards,
    LogParser,
    LogPoint,
    LogSeries,
    PtDaemon,
)
from joulemill.meters.files.smi_rows import AMD_SMI, DCGM_POWER, NVIDIA_SMI, SmiRows, dialect_of
from joulemill.meters.files.text_lines import MAX_LINE, LineReader, first_lines
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.units import parse_quantity

_SMI = {dialect.program: dialect for dialect in (NVIDIA_SMI, AMD_SMI, DCGM_POWER)}
FORMATS = (*_SMI, "ptdaemon", "aiperf", "csv")
_SMI_ROW = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+, .* W\b")
#: A row that is further in the future than this means another clock or time zone.
FUTURE_S = 1.0


#: Points that one look at a file may give: a day of eight boards each second, three columns.
MAX_POINTS = 2_500_000
#: Bad lines that are told one by one; after that at every power of ten.
TOLD_LINES = 3
#: How long a file that is empty yet is waited for [s]: a block of 4,096 bytes takes nvidia-smi some seconds.
BEGIN_S = 10.0
#: How long a file that is being written is watched for its second poll, and how often [s].
POLL_S, POLL_STEP_S = 3.0, 0.1
#: A file that was not written for so long is not in the middle of a line [s].
STILL_S = 60.0


class FileMeter:
    """Follows one file. Channels are the series that stood in it when it was opened."""

    def __init__(self, path: Path, parser: LogParser, spec: Spec, context: MeterContext) -> None:
        self._path, self._parser, self._spec, self._context = path, parser, spec, context
        self._skew_s = spec.quantity("skew", "s")
        self._mono_of_wall = context.clock.mono() - context.clock.wall()
        self._reader = LineReader(path)
        self._bad = _BadLines(path, context)
        self._late: set[str] = set()
        self._told_half = False
        self._waiting = self._points()
        self._await_poll()
        self._bad.tell()
        self._ids = {_id(p.series): p.series for p in self._waiting}
        self._check_boards()
        self._check_offer()
        self._check_names()
        self._check_clock()

    def channels(self) -> tuple[Channel, ...]:
        """One a series."""
        return tuple(self._channel(i, s) for i, s in self._ids.items())

    def read(self) -> tuple[Reading, ...]:
        """What was written since the last time, with the file's own times. Lines that cannot be read are told."""
        points, self._waiting = self._waiting, []
        before = self._bad.count
        try:
            points += self._points()
        except (OSError, ValueError, InputError) as error:
            return tuple(self._context.reading(i, None, str(error)) for i in self._ids)
        self._bad.tell()
        if not points and self._bad.count > before:
            return tuple(self._context.reading(i, None, self._bad.latest) for i in self._ids)
        return tuple(self._reading(p) for p in points if self._known(p))

    def close(self) -> None:
        """Nothing is held open between reads."""

    def _points(self) -> list[LogPoint]:
        points: list[LogPoint] = []
        for number, line in self._lines():
            try:
                if line is None:
                    raise ValueError(f"longer than {MAX_LINE:,} characters")
                points += self._parser.feed(line) if line.strip() else []
            except InputError as error:
                raise InputError(f"`meter` {self._spec.text}: {error}") from error
            except ValueError as error:
                self._bad.add(number, str(error))
            if len(points) > MAX_POINTS:
                raise InputError(f"{self._path} holds more than {MAX_POINTS:,} readings: cut it to the time of the run")
        return points

    def _lines(self) -> Iterator[tuple[int, str | None]]:
        """Whole lines since the last time; a last one without its end once nothing can follow in it."""
        before = self._reader.offset
        yield from self._reader.fresh()
        rest = self._reader.rest
        if self._reader.offset != before or not rest.strip():
            return
        if self._parser.whole(rest):
            line = self._reader.take_rest()
            yield self._reader.number, line
        elif not self._told_half and _old(self._path, self._context):
            self._told_half = True
            self._context.notice(
                f"{self._path}: line {self._reader.number + 1} has no end: it is cut, or still being written, and is "
                "left out"
            )

    def _await_poll(self) -> None:
        """Wait until a file that is being written shows a whole poll: its boards come one after the other."""
        until_s = self._context.clock.mono() + POLL_S
        while self._context.clock.mono() < until_s and not self._polled() and not _old(self._path, self._context):
            self._context.clock.sleep(POLL_STEP_S)
            self._waiting += self._points()

    def _polled(self) -> bool:
        """Whether a series has come twice, so that every board had its turn; a log of one thing needs none."""
        return isinstance(self._parser, DeclaredCsv | PtDaemon) or len({_id(p.series) for p in self._waiting}) < len(
            self._waiting
        )

    def _check_offer(self) -> None:
        """Raise InputError where the file has nothing to meter."""
        if not self._ids:
            why = self._bad.first or f"there is no reading in {self._path} yet; start what writes it first"
            raise InputError(f"`meter` {self._spec.text}: {why}")
        powered = [p for p in self._waiting if p.series.quantity in (Quantity.ENERGY, Quantity.POWER)]
        if not powered:
            names = ", ".join(sorted({s.name for s in self._ids.values()}))
            raise InputError(
                f"`meter` {self._spec.text}: {self._path} has no column of watts or joules (only {names}); "
                "log power.draw too"
            )
        if all(p.value is None for p in powered):
            raise InputError(f"`meter` {self._spec.text}: no power in {self._path} can be used ({powered[0].error})")
        count, there = self._spec.count(), {p.series.device for p in powered}
        if count is not None and count != len(there):
            raise InputError(
                f"`meter` {self._spec.text}: {count} boards expected, {len(there)} in {self._path} ({listed(there)})"
            )

    def _check_boards(self) -> None:
        """Raise InputError where a board that the user named is not in the file."""
        if not isinstance(self._parser, SmiRows | AiperfTelemetry):
            return
        missing = self._parser.boards.missing()
        if missing:
            have = ", ".join("=".join(dict.fromkeys(reversed(n))) for n in self._parser.boards.there.values()) or "none"
            raise InputError(f"`meter` {self._spec.text}: no board {', '.join(missing)}; there are {have[:400]}")

    def _check_names(self) -> None:
        """A log without a column that tells boards apart: refused where it is of several, else told."""
        unnamed = [p for p in self._waiting if p.series.device == NO_NAME]
        if not unnamed:
            return
        times = [p.t_wall_s for p in unnamed if p.series.name == unnamed[0].series.name]
        what = "no column of it identifies the boards (uuid, pci.bus_id, index; a name does not)"
        backwards = any(later <= earlier for earlier, later in pairwise(times))
        if backwards or interleaved(times):
            raise InputError(
                f"`meter` {self._spec.text}: {self._path} is of several boards and {what}: log "
                "--query-gpu=timestamp,uuid,power.draw"
            )
        self._context.notice(f"{self._path}: {what}, so it counts only where one board is stated (--device NAME:1)")

    def _known(self, point: LogPoint) -> bool:
        if (known := _id(point.series)) in self._ids:
            return True
        if known not in self._late:
            self._late.add(known)
            self._context.notice(f"{self._path}: {known} appeared after the meter was opened and is not counted")
        return False

    def _reading(self, point: LogPoint) -> Reading:
        t = point.t_wall_s
        return Reading(_id(point.series), t + self._mono_of_wall, t, point.value, point.error)

    def _check_clock(self) -> None:
        ahead_s = max(p.t_wall_s for p in self._waiting) - self._context.clock.wall()
        if ahead_s > FUTURE_S:
            self._context.notice(
                f"{self._path}: its newest row is {ahead_s:.0f} s ahead of this machine's clock; "
                "if its times have another zone, say tz=UTC, else set the clocks right"
            )

    def _channel(self, name: str, series: LogSeries) -> Channel:
        return Channel(
            id=name,
            meter=self._spec.text,
            device=series.device,
            scope=series.scope,
            quantity=series.quantity,
            basis=Basis.MEASURED,
            update_period_s=series.period_s,
            rel_error=series.rel_error,
            clock_skew_s=series.skew_s if self._skew_s is None else self._skew_s,
            includes=tuple(f"file:{series.device}:{n}" for n in series.inside),
            source=f"{series.source}; {self._path.name}",
        )


class _BadLines:
    """Lines that could not be read, by number."""

    def __init__(self, path: Path, context: MeterContext) -> None:
        self._path, self._context = path, context
        self.count = self._told = 0
        self.first = self.latest = ""
        self._few: list[str] = []

    def add(self, number: int, why: str) -> None:
        """Line ``number`` is left out because of ``why``."""
        self.count += 1
        self.latest = f"{self._path}, line {number}: {why}"
        self.first = self.first or self.latest
        if len(self._few) < TOLD_LINES:
            self._few.append(f"line {number}: {why}")

    def tell(self) -> None:
        """Say which are left out, where that was not said yet."""
        if self.count <= self._told or (self._told >= TOLD_LINES and self.count < 10 * self._told):
            return
        more = f" and {self.count - len(self._few)} more" if self.count > len(self._few) else ""
        left = "a line is" if self.count == 1 else f"{self.count} lines are"
        self._context.notice(f"{self._path}: {left} left out, the others are kept: {'; '.join(self._few)}{more}")
        self._told = self.count


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The file of ``spec``. Raises InputError where it cannot be read or understood."""
    path = Path(spec.target)
    try:
        head = _head(path, spec, context)
        guess = _guess(head)
        if guess == AMD_SMI.program and "value" in spec.options:  # a table of the user's own that has such a column
            guess = "csv"
        if guess == "csv" and not {"value", "format"} & set(spec.options) and (why := foreign(head)) is not None:
            raise InputError(f"`meter` {spec.text}: {path} {why}")
        form = spec.option("format", guess, FORMATS)
        return FileMeter(path, _parser(form, spec), spec, context)
    except OSError as error:
        raise InputError(f"`meter` {spec.text}: {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"`meter` {spec.text}: {error}") from error


def _head(path: Path, spec: Spec, context: MeterContext) -> list[str]:
    """The first lines; a file that is just begun is given time for one. Raises InputError where it stays empty."""
    until_s = context.clock.mono() + BEGIN_S
    head, ended = first_lines(path)
    while not ended and context.clock.mono() < until_s and not _old(path, context):
        context.clock.sleep(POLL_STEP_S)
        head, ended = first_lines(path)
    if not head:
        raise InputError(
            f"`meter` {spec.text}: {path} is empty; start what writes it first (a program that writes through a pipe "
            "keeps back blocks of 4,096 bytes: put stdbuf -oL before it)"
        )
    return head


def _old(path: Path, context: MeterContext) -> bool:
    """Whether nobody is writing ``path``."""
    return abs(context.clock.wall() - path.stat().st_mtime) > STILL_S


def _id(series: LogSeries) -> str:
    return f"file:{series.device}:{series.name}"


def _guess(head: list[str]) -> str:
    for line in head:
        if line.startswith("Time,") and ",Watts," in line:
            return "ptdaemon"
        if line.lstrip().startswith("{") and "telemetry_data" in line:
            return "aiperf"
        if (dialect := dialect_of(line)) is not None:
            return dialect.program
        if _SMI_ROW.match(line):  # its header was left out, or is still to come
            return "nvidia-smi"
    return "csv"


def _parser(form: str, spec: Spec) -> LogParser:
    where = zone(spec.option("tz", ""))
    if form == "csv":
        return _declared(spec)
    if form == "ptdaemon":
        spec.only("format", "tz", "skew")
        return PtDaemon(where)
    spec.only("format", "tz", "skew", "gpus", "count")
    boards = LogBoards(spec.several("gpus"))
    if form == "aiperf":
        return AiperfTelemetry(boards)
    return SmiRows(_SMI[form], where, boards)


def _declared(spec: Spec) -> LogParser:
    keys = ("value", "unit", "time", "time_unit", "scope", "device", "error")
    spec.only("format", "tz", "skew", *keys)
    if not {"value", "unit"} <= set(spec.options):
        raise InputError(
            f"`meter` {spec.text}: a plain CSV needs value=COLUMN and unit=W (or kW, J, Wh, kWh); "
            f"formats that need neither: {', '.join(FORMATS[:-1])}"
        )
    unit, where = spec.options["unit"], zone(spec.option("tz", ""))
    time_unit = spec.option("time_unit", "", ("", "s", "ms", "us", "ns"))
    scope = Scope(spec.option("scope", "node", tuple(s.value for s in Scope)))
    error = spec.quantity("error", "")
    quantity = _quantity(unit)
    name = f"{spec.options['value']}-{'energy' if quantity is Quantity.ENERGY else 'power'}"
    device = spec.option("device", scope.value)
    series = LogSeries(
        device=device,
        name=name,
        quantity=quantity,
        scope=scope,
        source=f"column {spec.options['value']} in {unit}",
        rel_error=error,
    )

    def moment(text: str) -> float:
        try:
            return unix_s(text, where, time_unit)
        except ValueError as error:
            raise ValueError(f"{error}; time_unit=ms, us or ns states another unit") from error

    return DeclaredCsv(series, spec.options["value"], unit, moment, spec.option("time", ""))


def _quantity(unit: str) -> Quantity:
    """Whether ``unit`` is one of power or of energy. Raises InputError for any other."""
    for dimension, quantity in (("W", Quantity.POWER), ("J", Quantity.ENERGY)):
        try:
            parse_quantity(f"1 {unit}", dimension)
        except InputError:
            continue
        return quantity
    raise InputError(f"unit={unit}: it must be of power (W, kW) or energy (J, Wh, kWh)")
