"""A recorded run as a meter: its readings come again, at the pace at which they were taken.

SPEC: ``replay:RUN``, the folder that ``joulemill bench`` wrote. Whatever stands downstream sees a sensor.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from joulemill.errors import InputError
from joulemill.ledger.record import Channel, Reading
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.recording.rows import rows_of

T = TypeVar("T")


class ReplayMeter:
    """Hands out recorded readings when their time has come again; their spacing is kept exactly."""

    def __init__(self, channels: tuple[Channel, ...], readings: list[Reading], context: MeterContext) -> None:
        self._channels, self._context = channels, context
        self._waiting = sorted(readings, key=lambda r: r.t_mono_s)
        first = self._waiting[0]
        self._shift_mono_s = context.clock.mono() - first.t_mono_s
        self._shift_wall_s = context.clock.wall() - first.t_wall_s
        self._next = 0

    def channels(self) -> tuple[Channel, ...]:
        """As they were recorded."""
        return self._channels

    def read(self) -> tuple[Reading, ...]:
        """What is due by now."""
        until_s = self._context.clock.mono() - self._shift_mono_s
        begin = self._next
        while self._next < len(self._waiting) and self._waiting[self._next].t_mono_s <= until_s:
            self._next += 1
        return tuple(self._shifted(r) for r in self._waiting[begin : self._next])

    def close(self) -> None:
        """Nothing is held open."""

    def _shifted(self, r: Reading) -> Reading:
        return replace(r, t_mono_s=r.t_mono_s + self._shift_mono_s, t_wall_s=r.t_wall_s + self._shift_wall_s)


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The recorded meters of the run in folder ``spec.target``. Raises InputError where it has no readings."""
    spec.only()
    folder = Path(spec.target)
    if not spec.target or not folder.is_dir():
        raise InputError(f"`meter` {spec.text}: {spec.target or 'nothing'} is no run folder; say replay:FOLDER")
    channels = tuple(replace(c, meter=spec.text) for c in _rows(folder / "channels.jsonl", Channel))
    known = {c.id for c in channels}
    readings = [r for r in _rows(folder / "readings.jsonl", Reading) if r.channel in known]
    if not readings:
        raise InputError(f"`meter` {spec.text}: the run in {folder} has no readings to replay")
    return ReplayMeter(channels, readings, context)


def _rows(path: Path, kind: type[T]) -> list[T]:
    """Rows of a JSONL file, checked; a torn last line is left out. Raises InputError with the line that is wrong."""
    if not path.is_file():
        raise InputError(f"{path} cannot be read: no such file; is it a run folder?")
    return list(rows_of(path, kind))
