"""The monitor: scrapes every target at its own moment of the period, accounts, keeps, and tells who listens."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import aiohttp

from joulemill.errors import JoulemillError
from joulemill.ledger.record import Scope
from joulemill.monitor.config import MonitorConfig, TargetConfig
from joulemill.monitor.facility import KEPT_STRETCHES, Facilities, Facility
from joulemill.monitor.history import StoredTotals
from joulemill.monitor.history_sites import StoredSite
from joulemill.monitor.metering import KEPT_INTERVALS, TargetMeters
from joulemill.monitor.nodes import Nodes, chassis_of, node_key
from joulemill.monitor.opening import RETRY_S, Opened, check_owners, close_all, open_targets
from joulemill.monitor.promql import Scraped, StoreReader, target_of
from joulemill.monitor.site_energy import at_site, used_pue
from joulemill.monitor.snapshot import Interval, SiteStretch, Snapshot, TargetFacts
from joulemill.monitor.sources import discovered
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

    def append_site(self, stretch: SiteStretch) -> None:
        """Keep what a site's meters said of one stretch."""


class Monitor:
    """Watches ``config``'s targets; ``history`` keeps the intervals. Opening its meters may raise InputError."""

    def __init__(
        self, config: MonitorConfig, history: History | None = None, restored: Mapping[str, StoredTotals] | None = None,
        restored_sites: Mapping[str, StoredSite] | None = None,
    ) -> None:  # fmt: skip
        self._config, self._history = config, history
        self._before = dict(restored or {})
        self._watched: dict[str, Watched] = {}
        self._facilities = Facilities(restored_sites)
        self._found: dict[int, list[TargetConfig]] = {}
        self._listeners: set[asyncio.Queue[Snapshot]] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._holding = Nodes()
        self._start: Callable[[Watched, float], asyncio.Task[None]] | None = None
        self.config_error: str | None = None
        self._take(config.target)

    def _take(self, targets: Sequence[TargetConfig]) -> None:
        """Watch ``targets`` and nothing else; those that are watched as they stand go on. All or none."""
        wanted = {t.name: t for t in targets}
        sites = {s.site: s for s in self._config.sites(tuple(wanted.values()))}
        kept = {n: w for n, w in self._watched.items() if wanted.get(n) == w.config and sites[w.config.site] == w.site}
        fresh: dict[str, Watched] = {}
        metered = self._facilities.opened(self._config)
        try:
            results = open_targets([t for n, t in wanted.items() if n not in kept])
            for name, result in results.items():
                fresh[name] = Watched(wanted[name], self._meters(wanted[name], result), sites[wanted[name].site])
            # Two targets on one meter would count its joules twice.
            owners = {f"target {n!r}": w.meters.opened for n, w in (*kept.items(), *fresh.items())}
            check_owners(owners | {f"site {n!r}": f.meters.opened for n, f in metered.items()})
        except BaseException:
            for watched in fresh.values():
                watched.meters.close()
            self._facilities.give_up(metered)
            raise
        self._facilities.go_on(metered)
        for name in self._watched.keys() - kept.keys():
            self._let_go(name)
        for watched in fresh.values():
            self._join(watched)
            watched.resume(self._before.get(watched.config.name))
        self._watched = {n: kept.get(n) or fresh[n] for n in wanted}
        self._begin(fresh.values())

    def _meters(self, target: TargetConfig, opened: Opened) -> TargetMeters:
        kept_s = max(KEPT_INTERVALS * self._config.period_s, KEPT_STRETCHES * self._config.site_period_s) + 10
        expected = None if target.devices_count is None else {Scope.DEVICE: target.devices_count}
        key = node_key(target.node, target.meters, target.name)
        chassis = replace(chassis_of(target.device), others=self._holding.others(key, target.name))
        return TargetMeters(
            opened.meters, self._config.meter_period_s, kept_s, expected, chassis=chassis, unopened=opened.dead
        )

    async def _reopen(self, stop: asyncio.Event) -> None:
        """Try dead meters again."""
        while not await _stopped(stop, RETRY_S):
            dead = [w.config for w in self._watched.values() if w.meters.unopened]
            results = await asyncio.to_thread(open_targets, dead) if dead else {}
            for name, result in results.items():
                watched = self._watched.get(name)
                if not result.meters or watched is None or not watched.meters.unopened:
                    close_all([result])
                    continue
                watched.meters = self._meters(watched.config, result)
                self._join(watched)
                watched.meters.start()

    def _join(self, watched: Watched) -> None:
        target = watched.config
        self._holding.join(node_key(target.node, target.meters, target.name), target.name, watched.meters)

    def _let_go(self, name: str) -> None:
        watched = self._watched.pop(name)
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()
        self._record(watched, watched.finish())
        self._holding.leave(name)
        watched.meters.close()
        self._before[name] = watched.totals.stored(time.time())  # where it comes back, it goes on from here

    def _begin(self, fresh: Collection[Watched]) -> None:
        if self._start is None:
            return
        for i, watched in enumerate(fresh):
            watched.meters.start()
            offset_s = self._config.period_s * i / max(len(fresh), 1)  # spread over the period
            self._tasks[watched.config.name] = self._start(watched, offset_s)

    def reload(self, config: MonitorConfig) -> None:
        """Go on with another configuration. Raises InputError and keeps the old one where it cannot be."""
        old = self._config
        self._config = config
        try:
            self._take([*config.target, *self._discovered(config)])
        except BaseException:
            self._config = old
            raise
        self.config_error = None

    def _discovered(self, config: MonitorConfig) -> list[TargetConfig]:
        named = {t.name for t in config.target}
        return [t for i in range(len(config.discover)) for t in self._found.get(i, ()) if t.name not in named]

    def snapshot(self) -> Snapshot:
        """What is known now."""
        every = list(self._watched.values())
        health = [h for w in every for h in w.meters.health(w.config.name, w.config.site)]
        health += [h for f in self._facilities for h in f.health()]
        sites = self._config.sites([w.config for w in every])
        kept = None if self._history is None else self._history.error
        metered = tuple(f.state() for f in self._facilities)
        return Snapshot(
            time.time(), tuple(w.state() for w in every), tuple(health), sites, self.config_error, kept, metered
        )

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
        in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)) as session,
                asyncio.TaskGroup() as group,
            ):
                if self._config.store is None:
                    self._start = lambda w, s: group.create_task(self._watch(w, session, in_flight, s, stop))
                self._begin(list(self._watched.values()))
                if self._config.store is not None:
                    group.create_task(self._read_store(StoreReader(self._config.store), session, stop))
                for i in range(len(self._config.discover)):
                    group.create_task(self._discover(i, session, stop))
                group.create_task(self._meter_sites(stop))
                group.create_task(self._tell(stop))
                group.create_task(self._reopen(stop))
        finally:
            self._start = None
            for facility in self._facilities:
                self._record_site(facility, facility.next(time.monotonic(), self._nodes(facility), at_once=True))
            self._facilities.close()
            for watched in self._watched.values():
                self._record(watched, watched.finish())
                watched.meters.close()

    async def _meter_sites(self, stop: asyncio.Event) -> None:
        """Sum the sites' own meters by stretches; in a thread, since a site may have a thousand nodes."""
        self._facilities.start()
        while not stop.is_set():
            for facility in self._facilities:
                nodes = self._nodes(facility)
                self._record_site(facility, await asyncio.to_thread(facility.next, time.monotonic(), nodes))
            await _stopped(stop, max(self._config.meter_period_s, self._config.site_period_s / 30))

    def _nodes(self, facility: Facility) -> dict[str, TargetMeters]:
        return {n: w.meters for n, w in self._watched.items() if w.config.site == facility.config.name}

    def _record_site(self, facility: Facility, stretch: SiteStretch | None) -> None:
        if stretch is None:
            return
        facility.add(stretch)
        if self._history is not None:
            self._history.append_site(stretch)

    async def _discover(self, index: int, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Ask one source again and again; where it fails, what it told last stands."""
        while not stop.is_set() and index < len(self._config.discover):
            asked = self._config.discover[index]
            try:
                found = await discovered(asked, session)
                if found != self._found.get(index):
                    before, self._found[index] = self._found.get(index), found
                    try:
                        self._take([*self._config.target, *self._discovered(self._config)])
                    except JoulemillError:
                        self._found[index] = before or []
                        raise
                self.config_error = None
            except JoulemillError as fault:
                self.config_error = str(fault)
            await _stopped(stop, asked.refresh_s)

    async def _read_store(self, reader: StoreReader, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Take in what the store has kept since the last time; where it is away, the time is read when it is back."""
        for watched in self._watched.values():
            watched.meters.start()
        while not stop.is_set():
            try:
                found = await reader.read(session, time.time())
                self.config_error = None
            except JoulemillError as fault:
                self.config_error = str(fault)
                found = []
            self._name_new(found, reader)
            for target in found:
                watched = self._watched[target.instance]
                for seen in reader.looks(target):
                    self._record(watched, watched.stored(seen))
            if found and reader.behind(time.time()):
                continue
            await _stopped(stop, self._config.period_s)

    def _name_new(self, found: Sequence[Scraped], reader: StoreReader) -> None:
        fresh = [target_of(f, reader.asked) for f in found if f.instance not in self._watched]
        if fresh:
            self._take([*(w.config for w in self._watched.values()), *fresh])
            for target in fresh:  # its time begins with its first page, not with ours
                self._watched[target.name].since_mono_s = math.inf

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
                watched.lag_s = max(time.monotonic() - due_s, 0.0)
                sample = await watched.sample(session, self._config.timeout_s)
            await _stopped(stop, watched.meters.settle_s if sample.error is None else 0.0)
            self._record(watched, watched.account(sample))
            due_s = max(due_s + self._wait_s(watched.failures), time.monotonic())

    def _record(self, watched: Watched, intervals: Sequence[Interval]) -> None:
        ratio = used_pue(watched.site, self._facilities.pue(watched.site.site, time.monotonic()))
        told = [at_site(i, ratio) for i in intervals]
        for interval in told:
            watched.totals.add(interval)
        if told and self._history is not None:
            self._history.append(told, {watched.config.name: watched.totals.facts})

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
