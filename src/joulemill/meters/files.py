"""Power files of other tools as a meter; a file that is being written is followed.

SPEC: ``file:PATH[,format=nvidia-smi|ptdaemon|aiperf|csv][,tz=ZONE][,skew=0.1s]`` and for ``csv``
``value=COLUMN,unit=kW[,time=COLUMN][,time_unit=ms][,scope=node|device|cpu|memory|rack|site][,device=NAME][,error=1%]``.
Times in the file are the writing machine's wall clock; ``skew`` bounds how far that is from ours:
without it the bound is unknown, and the energy is that of a window which may lie anywhere within some seconds.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.rows import AiperfTelemetry, DeclaredCsv, NvidiaSmi, Parser, Point, PtDaemon, Series
from joulemill.meters.timestamps import unix_s, zone
from joulemill.units import parse_quantity

FORMATS = ("nvidia-smi", "ptdaemon", "aiperf", "csv")
#: A row that is further in the future than this means another clock or time zone.
FUTURE_S = 1.0


class FileMeter:
    """Follows one file. Channels are the series that stood in it when it was opened."""

    def __init__(self, path: Path, parser: Parser, spec: Spec, context: MeterContext) -> None:
        self._path, self._parser, self._spec, self._context = path, parser, spec, context
        self._mono_of_wall = context.clock.mono() - context.clock.wall()
        self._offset = self._line = 0
        self._rest = b""
        self._late: set[str] = set()
        self._waiting = self._points(strict=True)
        self._ids = {_id(p.series): p.series for p in self._waiting}
        if not self._ids:
            raise InputError(f"--meter {spec.text}: there is no reading in {path} yet; start what writes it first")
        self._check_clock()

    def channels(self) -> tuple[Channel, ...]:
        """One a series."""
        return tuple(self._channel(i, s) for i, s in self._ids.items())

    def read(self) -> tuple[Reading, ...]:
        """What was written since the last time, with the file's own times."""
        points, self._waiting = self._waiting, []
        try:
            points += self._points(strict=False)
        except (OSError, ValueError) as error:
            return tuple(self._context.reading(i, None, str(error)) for i in self._ids)
        return tuple(self._reading(p) for p in points if self._known(p))

    def close(self) -> None:
        """Nothing is held open between reads."""

    def _points(self, *, strict: bool) -> list[Point]:
        found: list[Point] = []
        for line in self._lines():
            self._line += 1
            try:
                found += self._parser.feed(line) if line.strip() else []
            except InputError as error:
                raise InputError(f"--meter {self._spec.text}: {error}") from error
            except (ValueError, KeyError, TypeError) as error:
                text = f"{self._path}, line {self._line}: {error}"
                raise (InputError(text) if strict else ValueError(text)) from error
        return found

    def _lines(self) -> list[str]:
        """Whole lines since the last time; a last line without its end is taken once the file stands still."""
        size = self._path.stat().st_size
        if size < self._offset:
            raise ValueError(f"{self._path} became shorter: it was rotated or written anew")
        with self._path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        begin, self._offset = self._offset, self._offset + len(fresh)
        if begin == 0:
            fresh = fresh.removeprefix(codecs.BOM_UTF8)
        whole = [self._rest] if self._rest and not fresh else []
        *lines, self._rest = (self._rest + fresh).split(b"\n") if fresh else (*whole, b"")
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in lines]

    def _known(self, point: Point) -> bool:
        if (known := _id(point.series)) in self._ids:
            return True
        if known not in self._late:
            self._late.add(known)
            self._context.notice(f"{self._path}: {known} appeared after the meter was opened and is not counted")
        return False

    def _reading(self, point: Point) -> Reading:
        t = point.t_wall_s
        return Reading(_id(point.series), t + self._mono_of_wall, t, point.value, point.error)

    def _check_clock(self) -> None:
        ahead_s = max(p.t_wall_s for p in self._waiting) - self._context.clock.wall()
        if ahead_s > FUTURE_S:
            self._context.notice(
                f"{self._path}: its newest row is {ahead_s:.0f} s ahead of this machine's clock; "
                "if its times have another zone, say tz=UTC, else set the clocks right"
            )

    def _channel(self, name: str, series: Series) -> Channel:
        stated = self._spec.options.get("skew")
        return Channel(
            id=name,
            meter=self._spec.text,
            device=series.device,
            scope=series.scope,
            quantity=series.quantity,
            basis=Basis.MEASURED,
            update_period_s=series.period_s,
            rel_error=series.rel_error,
            clock_skew_s=series.skew_s if stated is None else parse_quantity(stated, "s", name="skew"),
            includes=tuple(f"file:{series.device}:{n}" for n in series.inside),
            source=f"{series.source}; {self._path.name}",
        )


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The file of ``spec``. Raises InputError where it cannot be read or understood."""
    path = Path(spec.target)
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = next((line for line in file if line.strip()), "")
    except OSError as error:
        raise InputError(f"--meter {spec.text}: {path} cannot be read: {error.strerror}") from error
    form = spec.option("format", _guess(head), FORMATS)
    return FileMeter(path, _parser(form, spec), spec, context)


def _id(series: Series) -> str:
    return f"file:{series.device}:{series.name}"


def _guess(head: str) -> str:
    if head.startswith("Time,") and ",Watts," in head:
        return "ptdaemon"
    if head.lstrip().startswith("{") and "telemetry_data" in head:
        return "aiperf"
    if "timestamp" in head and "power.draw" in head:
        return "nvidia-smi"
    return "csv"


def _parser(form: str, spec: Spec) -> Parser:
    where = zone(spec.option("tz", ""))
    if form == "csv":
        return _declared(spec)
    spec.only("format", "tz", "skew")
    if form == "aiperf":
        return AiperfTelemetry()
    return NvidiaSmi(where) if form == "nvidia-smi" else PtDaemon(where)


def _declared(spec: Spec) -> Parser:
    keys = ("value", "unit", "time", "time_unit", "scope", "device", "error")
    spec.only("format", "tz", "skew", *keys)
    if not {"value", "unit"} <= set(spec.options):
        raise InputError(
            f"--meter {spec.text}: a plain CSV needs value=COLUMN and unit=W (or kW, J, Wh, kWh); "
            f"formats that need neither: {', '.join(FORMATS[:-1])}"
        )
    unit, where = spec.options["unit"], zone(spec.option("tz", ""))
    time_unit = spec.option("time_unit", "", ("", "s", "ms", "us", "ns"))
    scope = Scope(spec.option("scope", "node", tuple(s.value for s in Scope)))
    error = parse_quantity(spec.options["error"], "", name="error") if "error" in spec.options else None
    quantity = _quantity(unit)
    name = f"{spec.options['value']}-{'energy' if quantity is Quantity.ENERGY else 'power'}"
    device = spec.option("device", scope.value)
    series = Series(device, name, quantity, scope, f"column {spec.options['value']} in {unit}", error)

    def moment(text: str) -> float:
        return unix_s(text, where, time_unit)

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
