"""The monitor: scrapes every target at its own moment of the period, accounts, keeps, and tells who listens."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import aiohttp

from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import check_overlap, open_all
from joulemill.monitor.config import MonitorConfig
from joulemill.monitor.history import StoredTotals
from joulemill.monitor.metering import KEPT_INTERVALS, TargetMeters
from joulemill.monitor.snapshot import Interval, Snapshot, TargetFacts
from joulemill.monitor.watched import Watched

#: A target that fails is asked again after 2, 4, 8 … periods, at most this many (assumed).
MAX_BACK_OFF_PERIODS = 8
#: Scrapes in flight at once (assumed).
MAX_IN_FLIGHT = 100


class History(Protocol):
    """Where intervals are kept: takes them without delay, and says in ``error`` what keeps it from it."""

    error: str | None

    def append(self, intervals: Sequence[Interval], facts: Mapping[str, TargetFacts]) -> None:
        """Keep ``intervals``."""


class Monitor:
    """Watches ``config``'s targets; ``history`` keeps the intervals. Opening its meters may raise InputError."""

    def __init__(
        self, config: MonitorConfig, history: History | None = None, restored: Mapping[str, StoredTotals] | None = None
    ) -> None:
        self._config, self._history = config, history
        sites = {s.site: s for s in config.sites()}
        self._watched: list[Watched] = []
        self._listeners: set[asyncio.Queue[Snapshot]] = set()
        self.config_error: str | None = None
        channels = []
        try:
            for target in config.target:
                opened = (
                    open_all(target.meters, MeterContext(server_here=target.here, server_pid=target.server_pid))
                    if target.meters
                    else []
                )
                meters = TargetMeters(opened, config.meter_period_s, KEPT_INTERVALS * config.period_s + 10)
                self._watched.append(Watched(target, meters, sites[target.site]))
                self._watched[-1].resume((restored or {}).get(target.name))
                channels += [m.channels() for m in opened]
            check_overlap(channels)  # two targets on one meter would count its joules twice
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        for watched in self._watched:
            watched.meters.close()

    def snapshot(self) -> Snapshot:
        """What is known now."""
        states = tuple(w.totals.state(w.site, up=w.reason is None, reason=w.reason) for w in self._watched)
        health = tuple(h for w in self._watched for h in w.meters.health(w.totals.facts))
        return Snapshot(time.time(), states, health, self._config.sites(), self.config_error, self._history_error())

    def _history_error(self) -> str | None:
        return None if self._history is None else self._history.error

    async def subscribe(self) -> AsyncIterator[Snapshot]:
        """The newest snapshot once a period; a listener that is slow misses the ones between."""
        queue: asyncio.Queue[Snapshot] = asyncio.Queue(1)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until ``stop`` is set; meters are let go at the end. A Monitor runs once."""
        for watched in self._watched:
            watched.meters.start()
        in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)) as session,
                asyncio.TaskGroup() as group,
            ):
                for i, watched in enumerate(self._watched):
                    offset_s = self._config.period_s * i / len(self._watched)
                    group.create_task(self._watch(watched, session, in_flight, offset_s, stop))
                group.create_task(self._tell(stop))
        finally:
            self._close()

    async def _watch(
        self,
        watched: Watched,
        session: aiohttp.ClientSession,
        in_flight: asyncio.Semaphore,
        offset_s: float,
        stop: asyncio.Event,
    ) -> None:
        due_s = time.monotonic() + offset_s
        while not await _stopped(stop, due_s - time.monotonic()):
            async with in_flight:
                sample = await watched.sample(session, self._config.timeout_s)
            await _stopped(stop, watched.meters.settle_s if sample.error is None else 0.0)
            self._take(watched, watched.account(sample))
            due_s = max(due_s + self._wait_s(watched.failures), time.monotonic())
        self._take(watched, watched.finish())

    def _take(self, watched: Watched, intervals: Sequence[Interval]) -> None:
        for interval in intervals:
            watched.totals.add(interval)
        if self._history is not None and intervals:
            self._history.append(intervals, {watched.config.name: watched.totals.facts})

    def _wait_s(self, failures: int) -> float:
        if failures < 2:
            return self._config.period_s
        periods = min(2.0 ** min(failures - 1, 10), MAX_BACK_OFF_PERIODS)
        return self._config.period_s * periods * random.uniform(0.75, 1.0)

    async def _tell(self, stop: asyncio.Event) -> None:
        while not await _stopped(stop, self._config.period_s):
            if not self._listeners:
                continue
            now = self.snapshot()
            for queue in self._listeners:
                with suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
                queue.put_nowait(now)


async def _stopped(stop: asyncio.Event, wait_s: float) -> bool:
    """Wait ``wait_s`` or until ``stop`` is set, and say whether it is."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(wait_s, 0.0))
    return stop.is_set()
