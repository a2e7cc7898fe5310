"""``joulemill.meter``: the joules of any block of code, by the meters of this machine or of others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from types import TracebackType
from typing import Any

import numpy as np

from joulemill.api.results import Result
from joulemill.catalog.devices import find_device
from joulemill.catalog.nodes import node_of
from joulemill.errors import InputError
from joulemill.figure import Figure
from joulemill.jsonable import plain
from joulemill.ledger.record import Channel, Reading, Scope
from joulemill.ledger.scope_account import ScopeAccount, scope_accounts
from joulemill.ledger.trace import traces
from joulemill.ledger.unmetered import DeviceNodeModel, NodeModel, PackageNodeModel
from joulemill.meters.meter import Clock, Meter, MeterContext, log_notice
from joulemill.meters.opening import check_overlap, open_meters
from joulemill.meters.sampler import Sampler


def meter(
    *meters: str | Meter, period_s: float = 0.2, device: str | None = None, devices: int = 1, clock: Clock | None = None
) -> Metering:
    """Meters to open for a ``with`` block, in which windows are metered:

        with joulemill.meter("nvml", "rapl") as m:
            with m.window("generate") as w:
                model.generate(prompts)
        w.energy.node

    meters     SPECs as ``joulemill bench --meter`` takes them: ``nvml``, ``rapl``, ``declared:idle=60W,busy=180W``,
               ``redfish:https://bmc`` …; none, or ``auto``: what this machine has, else a power model of its CPU by the
               CPU time of this process. An object with ``channels()``, ``read()`` and ``close()`` is a meter too
    period_s   how often meters are read; they are read at the edges of each window as well
    device, devices   what is metered, by a name of the catalog, where no meter sees the whole node: its rest is then
               modelled, and fewer metered devices than this are refused

    Raises InputError for a SPEC that is not understood or meters that would count a joule twice.
    """
    if isinstance(period_s, bool) or not isinstance(period_s, Real) or not period_s > 0:
        raise InputError(f"`period_s` is {period_s!r}; it must be a number above 0")
    return Metering(meters or ("auto",), period_s, _Metered.of(device, devices), clock or Clock())


@dataclass(frozen=True)
class ScopeFigures:
    """One quantity of every scope that may be metered. A node holds its devices, CPUs and memory: never add them."""

    device: Figure
    cpu: Figure
    memory: Figure
    node: Figure


@dataclass(frozen=True)
class _Metered:
    """What the user says is metered: what holds it, how many there are, the power limit of one."""

    holder: NodeModel | None = None
    count: int | None = None
    board_w: float | None = None

    @classmethod
    def of(cls, device: str | None, count: int) -> _Metered:
        if count < 1:
            raise InputError(f"`devices` is {count}; it must be at least 1")
        if device is None:
            return cls()
        hardware = find_device(device)
        if hardware.kind == "cpu":
            return cls(PackageNodeModel())
        return cls(DeviceNodeModel(node_of(device), count), count, hardware.tdp_w)


class Metering:
    """Open meters, read in the background. Enter it, then enter windows; each has its joules once it is left."""

    def __init__(self, meters: tuple[str | Meter, ...], period_s: float, metered: _Metered, clock: Clock) -> None:
        self._wanted, self._period_s, self._metered, self._clock = meters, period_s, metered, clock
        self._meters: list[Meter] = []
        self._channels: tuple[Channel, ...] = ()
        self._readings: list[Reading] = []
        self._sampler: Sampler | None = None
        self._notices: list[str] = []
        self.windows: list[MeteredWindow] = []

    def __repr__(self) -> str:
        state = "open" if self._meters else "not open" if self._sampler is None else "closed"
        return f"<metering, {state}: {len(self.windows)} windows>"

    @property
    def notices(self) -> tuple[str, ...]:
        """What the meters had to say: a sensor that is missing, a share that is assumed. Each is logged as well."""
        return tuple(self._notices)

    def __enter__(self) -> Metering:
        """Open the meters and begin to read them. Raises InputError or MachineError where one cannot be opened."""
        if self._sampler is not None:
            raise InputError("this metering was used before; call joulemill.meter again")
        context = MeterContext(server_pid=os.getpid(), clock=self._clock, notice=self._notice)
        opened = open_meters([m for m in self._wanted if isinstance(m, str)], context)
        self._meters = [*opened, *(m for m in self._wanted if not isinstance(m, str))]
        try:
            check_overlap([m.channels() for m in self._meters])
            self._sampler = Sampler(self._meters, self._period_s, self._readings.extend, self._clock)
            self._sampler.start()
        except InputError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Read the meters once more, and close them."""
        if self._sampler is not None:
            self._sampler.stop()
        self._close()

    @contextmanager
    def window(self, name: str = "window") -> Iterator[MeteredWindow]:
        """A window of the block; windows may nest and overlap. It ends with the block, also where this raises."""
        if self._sampler is None or not self._meters:
            raise InputError("no meter is open: use `with joulemill.meter(…) as m:` and m.window() in its block")
        self._sampler.read_now()
        opened = MeteredWindow(name, self, self._clock.mono())
        self.windows.append(opened)
        try:
            yield opened
        finally:
            opened.end_s = self._clock.mono()
            self._sampler.read_now()

    def _notice(self, text: str) -> None:
        self._notices.append(text)
        log_notice(text)

    def _close(self) -> None:
        self._channels = tuple(c for m in self._meters for c in m.channels())
        for each in self._meters:
            each.close()
        self._meters = []

    def _accounts(self, start_s: float, end_s: float) -> dict[Scope, ScopeAccount]:
        channels = tuple(c for m in self._meters for c in m.channels()) or self._channels
        cleaned = traces(channels, tuple(self._readings), self._metered.board_w)
        expected = {} if self._metered.count is None else {Scope.DEVICE: self._metered.count}
        edges_s = np.array([start_s, end_s])
        return scope_accounts(cleaned, expected, edges_s, np.zeros(1), None, holder=self._metered.holder)


class MeteredWindow(Result):
    """Joules between two moments of a metered block; its figures are unknown until it is over.

    name, start_s, end_s   the window on the monotonic clock; ``end_s`` is None until it is over
    """

    def __init__(self, name: str, metering: Metering, start_s: float) -> None:
        self.name, self.start_s = name, start_s
        self.end_s: float | None = None
        self._metering = metering

    @property
    def duration_s(self) -> float:
        """Length. Raises InputError until the window is over."""
        return self._end_s() - self.start_s

    @property
    def energy(self) -> ScopeFigures:
        """Joules by scope, each with its interval; or unknown, with the reason. InputError until the window is over."""
        by_scope = self._metering._accounts(self.start_s, self._end_s())
        device, cpu, memory, node = (by_scope[s].energy for s in (Scope.DEVICE, Scope.CPU, Scope.MEMORY, Scope.NODE))
        return ScopeFigures(device, cpu, memory, node)

    @property
    def power(self) -> ScopeFigures:
        """Mean watts by scope over the window."""
        per_second, e = 1.0 / self.duration_s, self.energy
        return ScopeFigures(*(f.scaled(per_second, "W") for f in (e.device, e.cpu, e.memory, e.node)))

    def to_dict(self) -> dict[str, Any]:
        """Name, duration and joules by scope, as JSON types."""
        energy = self.energy
        return {
            "name": self.name,
            "duration_s": self.duration_s,
            "energy": {scope: plain(getattr(energy, scope)) for scope in ("device", "cpu", "memory", "node")},
        }

    def _line(self) -> str:
        if self.end_s is None:
            return f"window {self.name}, not over yet"
        known = {s: f for s in ("node", "device", "cpu", "memory") if (f := getattr(self.energy, s)).known}
        energy_text = next((f"{figure} at the {scope}" for scope, figure in known.items()), str(self.energy.node))
        return f"window {self.name}, {self.duration_s:.3g} s: {energy_text}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        energy = self.energy
        return ((scope, str(getattr(energy, scope))) for scope in ("node", "device", "cpu", "memory"))

    def _end_s(self) -> float:
        if self.end_s is None:
            raise InputError(f"the window {self.name!r} is not over yet; read its joules after its block")
        return self.end_s
