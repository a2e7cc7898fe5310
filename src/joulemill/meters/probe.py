"""A meter made of probes: one function a channel. What every local sensor family is built from.

Knows nothing of any sensor. A probe that raises is an error reading of its own channel only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Channel, Reading
from joulemill.meters.meter import MeterContext


@dataclass(frozen=True, slots=True)
class Probe:
    """A channel and how to read it now, in the channel's SI unit; ``every_s`` spaces out what changes slowly."""

    channel: Channel
    read: Callable[[], float]
    every_s: float = 0.0


class ProbeMeter:
    """Reads its probes one after the other; each reading is stamped with the middle of its own call."""

    def __init__(
        self, probes: Sequence[Probe], context: MeterContext, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self._probes = tuple(probes)
        self._context = context
        self._on_close: Callable[[], None] | None = on_close
        self._due = [float("-inf")] * len(self._probes)

    def channels(self) -> tuple[Channel, ...]:
        """One a probe."""
        return tuple(p.channel for p in self._probes)

    def read(self) -> tuple[Reading, ...]:
        """The probes that are due."""
        readings: list[Reading] = []
        for i, probe in enumerate(self._probes):
            now = self._context.clock.mono()
            if now >= self._due[i]:
                # 0.9: a slow probe on a tick that comes a little early is not put off for a whole tick more
                self._due[i] = now + 0.9 * probe.every_s
                readings.append(self._once(probe, now))
        return tuple(readings)

    def close(self) -> None:
        """Let go of the sensor, once."""
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def _once(self, probe: Probe, began_s: float) -> Reading:
        clock = self._context.clock
        value: float | None = None
        error: str | None = None
        try:
            value = float(probe.read())
            if not math.isfinite(value):
                value, error = None, f"{Reason.NOT_FINITE.value}: the sensor says {value}"
        except Exception as failure:  # vendors' libraries raise what they like; the record must go on
            error = f"{type(failure).__name__}: {failure}"
        ended_s = clock.mono()
        return Reading(probe.channel.id, (began_s + ended_s) / 2, clock.wall() - (ended_s - began_s) / 2, value, error)
