"""The monitor: scrapes every target at its own moment of the period, accounts, keeps, and tells who listens.

Each source (a page, a discovery document, a store, a meter, a site) is asked inside ``_always`` or ``_step``: whatever
it raises becomes its own failure, is told, and ends nothing else. Meters are opened and closed beside the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import aiohttp

from joulemill.errors import JoulemillError
from joulemill.ledger.record import Scope
from joulemill.meters.closing import let_go
from joulemill.monitor.accounting.energy import KEPT_INTERVALS, TargetMeters
from joulemill.monitor.accounting.nodes import Nodes, chassis_of, node_key
from joulemill.monitor.accounting.pue import at_site, used_pue
from joulemill.monitor.accounting.site import CLOSE_S, KEPT_STRETCHES, MeteredSites, SiteMeters, site_meters
from joulemill.monitor.accounting.totals import believable, believable_stretch
from joulemill.monitor.advice.alert_times import AlertTimes
from joulemill.monitor.advice.alerts import alerts
from joulemill.monitor.config import MonitorConfig, TargetConfig
from joulemill.monitor.config_checks import page_of
from joulemill.monitor.discovery.documents import discovered
from joulemill.monitor.discovery.prometheus_store import StoreReader, StoreTarget, target_of
from joulemill.monitor.opening import RETRY_S, OpenedMeters, check_owners, close_all, open_targets
from joulemill.monitor.snapshot import Interval, SiteStretch, Snapshot, StoredSite, StoredTotals
from joulemill.monitor.steps import IntervalSink, WatchPlan, beside, health_of, stopped, unless_stopped
from joulemill.monitor.target import WatchedTarget
from joulemill.servers.boundary import from_source, reason_of

_LOG = logging.getLogger("joulemill.monitor")
#: Where nobody listens, it is looked so often which alerts stand [s] (assumed).
ALERTS_S = 10.0
#: A target that fails is asked again after 2, 4, 8 … periods, at most this many (assumed).
MAX_BACK_OFF_PERIODS = 8
#: Scrapes in flight at once (assumed).
MAX_IN_FLIGHT = 100
#: Once the end has begun, intervals are summed so long [s] (assumed); what is left has tokens and no joules.
ENDING_S = 0.7
#: Targets that went and are remembered at most (assumed).
MOST_REMEMBERED = 50_000


class Monitor:
    """Watches ``config``'s targets; ``history`` keeps the intervals. Opening its meters may raise InputError."""

    def __init__(
        self,
        config: MonitorConfig,
        history: IntervalSink | None = None,
        restored: Mapping[str, StoredTotals] | None = None,
        restored_sites: Mapping[str, StoredSite] | None = None,
    ) -> None:
        self._config, self._history = config, history
        self._before = dict(restored or {})
        self._left_s: dict[str, float] = {}
        self._watched: dict[str, WatchedTarget] = {}
        self._facilities = MeteredSites(restored_sites)
        self._found: dict[int, list[TargetConfig]] = {}
        self._listeners: set[asyncio.Queue[Snapshot]] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._holding = Nodes()
        self._start: Callable[[WatchedTarget, float], asyncio.Task[None]] | None = None
        self._faults: dict[str, str] = {}
        self._taking = asyncio.Lock()
        self._alert_times = AlertTimes()
        self._until_s = math.inf
        self._summing = asyncio.Lock()
        plan = self._plan(config.target)
        self._go_on(plan, *self._opened(config, plan))

    @property
    def config_error(self) -> str | None:
        """What is wrong with the newest configuration and with where targets come from; None where nothing is."""
        return "; ".join(self._faults.values()) or None

    def fault(self, source: str, text: str | None) -> None:
        """Tell that ``source`` has failed, and how; None: that it has not."""
        if text is None:
            self._faults.pop(source, None)
        elif self._faults.get(source) != text:
            self._faults[source] = text
            _LOG.warning("%s", text)

    def _plan(self, targets: Sequence[TargetConfig], config: MonitorConfig | None = None) -> WatchPlan:
        config = config or self._config
        wanted: dict[str, TargetConfig] = {}
        for target in targets:
            wanted.setdefault(target.name, target)  # whoever had a name first keeps it
        sites = {s.site: s for s in config.sites(tuple(wanted.values()))}
        kept = {n: w for n, w in self._watched.items() if wanted.get(n) == w.config and sites[w.config.site] == w.site}
        return WatchPlan(wanted, sites, kept)

    def _opened(self, config: MonitorConfig, plan: WatchPlan) -> tuple[dict[str, SiteMeters], dict[str, OpenedMeters]]:
        """The meters that a plan needs; may take a while. Raises InputError, and opens none."""
        metered = self._facilities.opened(config)
        try:
            return metered, open_targets(plan.fresh())
        except BaseException:
            self._facilities.give_up(metered)
            raise

    def _go_on(self, plan: WatchPlan, metered: dict[str, SiteMeters], results: Mapping[str, OpenedMeters]) -> None:
        """Watch what is planned and nothing else; those that are watched as they stand go on. All or none."""
        fresh: dict[str, WatchedTarget] = {}
        try:
            for name, result in results.items():
                target = plan.wanted[name]
                fresh[name] = WatchedTarget(target, self._meters(target, result), plan.sites[target.site])
            owners = {f"target {n!r}": w.meters.opened for n, w in (*plan.kept.items(), *fresh.items())}
            check_owners(owners | {f"site {n!r}": f.meters.opened for n, f in metered.items()})
        except BaseException:
            let_go(w.meters for w in fresh.values())
            self._facilities.give_up(metered)
            raise
        self._facilities.go_on(metered)
        for name in self._watched.keys() - plan.kept.keys():
            self._let_go(name)
        for watched in fresh.values():
            self._join(watched)
            watched.resume(self._before.get(watched.config.name), self._left_s.get(watched.config.name))
        self._watched = {n: plan.kept.get(n) or fresh[n] for n in plan.wanted}
        self._begin(fresh.values())

    async def _take(self, targets: Callable[[], Sequence[TargetConfig]], config: MonitorConfig | None = None) -> None:
        """Watch ``targets()``, with meters opened beside the loop. Raises InputError and changes nothing."""
        async with self._taking:
            config = config or self._config
            plan = self._plan(targets(), config)
            opened = await beside(self._opened, config, plan)
            before, self._config = self._config, config
            try:
                self._go_on(plan, *opened)
            except BaseException:
                self._config = before
                raise

    def _meters(self, target: TargetConfig, opened: OpenedMeters) -> TargetMeters:
        kept_s = max(KEPT_INTERVALS * self._config.period_s, KEPT_STRETCHES * self._config.site_period_s) + 10
        expected = None if target.devices_count is None else {Scope.DEVICE: target.devices_count}
        key = node_key(target.node, target.meters, target.name)
        chassis = replace(chassis_of(target.device), others=self._holding.others(key, target.name))
        period_s, dead = self._config.meter_period_s, opened.dead
        return TargetMeters(opened.meters, period_s, kept_s, expected, chassis=chassis, unopened=dead)

    async def _reopen(self) -> float:
        """Try dead meters again."""
        dead = [w.config for w in self._watched.values() if w.meters.unopened]
        results = await beside(open_targets, dead) if dead else {}
        for name, result in results.items():
            watched = self._watched.get(name)
            if not result.meters or watched is None or not watched.meters.unopened:
                close_all([result])
                continue
            watched.meters = self._meters(watched.config, result)
            self._join(watched)
            watched.meters.start()
        for facility in self._facilities:
            if facility.meters.unopened:
                meters = await beside(site_meters, facility.config, self._config)
                if not meters.unopened:
                    facility.meters = meters
                    meters.start()
        return RETRY_S

    def _join(self, watched: WatchedTarget) -> None:
        target = watched.config
        self._holding.join(node_key(target.node, target.meters, target.name), target.name, watched.meters)

    def _let_go(self, name: str) -> None:
        watched = self._watched.pop(name)
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()
        self._record(watched, watched.finish())
        self._holding.leave(name)
        let_go([watched.meters])
        self._before[name] = watched.totals.stored(time.time())  # where it comes back, it goes on from here
        self._left_s[name] = time.monotonic()
        for known in (self._before, self._left_s):  # names that never come again must not fill the memory
            while len(known) > MOST_REMEMBERED:
                known.pop(next(iter(known)))

    def _begin(self, fresh: Collection[WatchedTarget]) -> None:
        if self._start is None:
            return
        for i, watched in enumerate(fresh):
            watched.meters.start()
            offset_s = self._config.period_s * i / max(len(fresh), 1)  # spread over the period
            self._tasks[watched.config.name] = self._start(watched, offset_s)

    async def reload(self, config: MonitorConfig) -> None:
        """Go on with another configuration. Raises InputError and keeps the old one where it cannot be."""
        await self._take(lambda: [*config.target, *self._discovered(config)], config)
        self.fault("configuration", None)

    def _discovered(self, config: MonitorConfig) -> list[TargetConfig]:
        """Targets that documents name, but those that the file names itself, by their name or their page."""
        named, pages = {t.name for t in config.target}, {page_of(t.metrics_url) for t in config.target}
        of_documents = (t for i in range(len(config.discover)) for t in self._found.get(i, ()))
        return [t for t in of_documents if t.name not in named and page_of(t.metrics_url) not in pages]

    def snapshot(self) -> Snapshot:
        """What is known now."""
        every = list(self._watched.values())
        health = [h for w in every for h in health_of(w.meters, w.config.name, w.config.site)]
        health += [h for f in self._facilities for h in health_of(f.meters, None, f.config.name)]
        sites = self._config.sites([w.config for w in every])
        kept = None if self._history is None else self._history.state()
        metered = tuple(f.state() for f in self._facilities)
        return Snapshot(
            at_s=time.time(),
            targets=tuple(w.state() for w in every),
            meters=tuple(health),
            sites=sites,
            config_error=self.config_error,
            history_error=None if kept is None else kept.error,
            metered=metered,
            kept=kept,
            alert_since_s=self._alert_times.since_s,
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
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT), cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                asyncio.TaskGroup() as group,
            ):
                if self._config.store is None:
                    self._start = lambda w, s: group.create_task(self._watch(w, session, in_flight, s, stop))
                self._begin(list(self._watched.values()))
                self._facilities.start()
                group.create_task(self._quiet(stop))
                for source, step in self._sources(session):
                    group.create_task(self._always(source, step, stop))
        finally:
            self._start = None
            for facility in self._facilities:
                with self._apart(f"site {facility.config.name}"):
                    if time.monotonic() < self._until_s:
                        self._record_site(
                            facility, facility.next(time.monotonic(), self._nodes(facility), at_once=True)
                        )
            for watched in self._watched.values():
                with self._apart(watched.config.name):
                    self._record(watched, watched.finish())
            let_go((holder.meters for holder in (*self._watched.values(), *self._facilities)), CLOSE_S)

    async def _quiet(self, stop: asyncio.Event) -> None:
        """Once the end has begun, meters read no more: hundreds of threads would hold up what is still to be done."""
        await stop.wait()
        self.hurry()

    def hurry(self) -> None:
        """The end has begun: little time is left for sums. A signal's handler may call it, wherever the loop is.

        Once: a handler that came in the middle of the first call would wait for locks that this very thread holds.
        """
        if math.isfinite(self._until_s):
            return
        self._until_s = time.monotonic() + ENDING_S
        for watched in tuple(self._watched.values()):
            watched.until_s = self._until_s
            watched.meters.quiet()

    def _sources(self, session: aiohttp.ClientSession) -> list[tuple[str, Callable[[], Awaitable[float]]]]:
        """Everything that is done again and again, beside the targets' own scrapes; each step says when next."""
        steps: list[tuple[str, Callable[[], Awaitable[float]]]] = [
            ("sites", self._meter_sites),
            ("listeners", self._tell),
            ("meters", self._reopen),
        ]
        if self._config.store is not None:
            for watched in self._watched.values():
                watched.meters.start()
            reader = StoreReader(self._config.store)
            steps.append(("store", lambda: self._read_store(reader, session)))
        for i in range(len(self._config.discover)):
            steps.append((f"discover {i}", lambda i=i: self._discover(i, session)))  # type: ignore[misc]
        return steps

    async def _always(self, source: str, step: Callable[[], Awaitable[float]], stop: asyncio.Event) -> None:
        """``step`` until ``stop``: what it raises is told as its source's, and it is tried again."""
        while not stop.is_set():
            wait_s = self._config.period_s
            try:
                wait_s = await unless_stopped(stop, from_source(source, step())) or 0.0
            except JoulemillError as fault:
                self.fault(source, str(fault))
            await stopped(stop, wait_s)

    @contextmanager
    def _apart(self, source: str) -> Iterator[None]:
        """What is raised inside is told as ``source``'s, and ends nothing."""
        try:
            yield
        except Exception as fault:
            self.fault(source, f"{source}: {reason_of(fault)}")

    async def _meter_sites(self) -> float:
        """Sum the sites' own meters by stretches; in a thread, since a site may have a thousand nodes."""
        for facility in self._facilities:
            with self._apart(f"site {facility.config.name}"):
                nodes = self._nodes(facility)
                self._record_site(facility, await asyncio.to_thread(facility.next, time.monotonic(), nodes))
        return max(self._config.meter_period_s, self._config.site_period_s / 30)

    def _nodes(self, facility: SiteMeters) -> dict[str, TargetMeters]:
        return {n: w.meters for n, w in self._watched.items() if w.config.site == facility.config.name}

    def _record_site(self, facility: SiteMeters, stretch: SiteStretch | None) -> None:
        if stretch is None:
            return
        stretch = believable_stretch(stretch)
        facility.add(stretch)
        if self._history is not None:
            self._history.append_site(stretch)

    async def _discover(self, index: int, session: aiohttp.ClientSession) -> float:
        """Ask one source; where it fails, what it told last stands."""
        if index >= len(self._config.discover):
            return MAX_BACK_OFF_PERIODS * self._config.period_s
        asked = self._config.discover[index]
        outcome = await discovered(asked, session)
        if list(outcome.targets) != self._found.get(index):
            before, self._found[index] = self._found.get(index), list(outcome.targets)
            try:
                await self._take(lambda: [*self._config.target, *self._discovered(self._config)])
            except JoulemillError:
                self._found[index] = before or []
                raise
        self.fault(f"discover {index}", outcome.fault_line(asked.where))
        return asked.refresh_s

    async def _read_store(self, reader: StoreReader, session: aiohttp.ClientSession) -> float:
        """Take in what the store has kept since the last time; where it is away, the time is read when it is back."""
        scraped = await reader.read(session, time.time())
        self.fault("store", "; ".join((reader.asked.url, *reader.faults)) if reader.faults else None)
        await self._name_new(scraped, reader)
        for target in scraped:
            watched = self._watched[target.instance]
            for scrape in reader.looks(target):
                self._step(watched, lambda w=watched, s=scrape: w.stored(s))  # type: ignore[misc]
        return 0.0 if scraped and reader.behind(time.time()) else self._config.period_s

    async def _name_new(self, scraped: Sequence[StoreTarget], reader: StoreReader) -> None:
        fresh = [target_of(f, reader.asked) for f in scraped if f.instance not in self._watched]
        if fresh:
            await self._take(lambda: [*(w.config for w in self._watched.values()), *fresh])
            for target in fresh:  # its time begins with its first page, not with ours
                self._watched[target.name].since_mono_s = math.inf

    async def _watch(
        self,
        watched: WatchedTarget,
        session: aiohttp.ClientSession,
        in_flight: asyncio.Semaphore,
        offset_s: float,
        stop: asyncio.Event,
    ) -> None:
        due_s = time.monotonic() + offset_s
        while not await stopped(stop, due_s - time.monotonic()):
            try:
                async with in_flight:
                    watched.lag_s = max(time.monotonic() - due_s, 0.0)
                    scraped = await unless_stopped(stop, watched.sample(session, self._config.timeout_s))
                if scraped is None:
                    return
                sample = scraped
            except Exception as fault:
                sample = watched.failed(reason_of(fault))
            settled_s = time.monotonic() + (watched.meters.settle_s if sample.error is None else 0.0)
            await watched.prepared(sample, stop)
            await stopped(stop, settled_s - time.monotonic())
            async with self._summing:  # one in each turn of the loop, so that the page and a signal wait for one alone
                self._step(watched, lambda: watched.account(sample))  # noqa: B023
                await asyncio.sleep(0)
            due_s = max(due_s + self._wait_s(watched.failures), time.monotonic())

    def _step(self, watched: WatchedTarget, work: Callable[[], Sequence[Interval]]) -> None:
        """Account one look; whatever is raised is this target's failure: its time since is a gap."""
        try:
            intervals = work()
        except Exception as fault:
            _LOG.exception("%s cannot be accounted", watched.config.name)
            intervals = watched.gave_up(reason_of(fault))
        with self._apart(watched.config.name):
            self._record(watched, intervals)

    def _record(self, watched: WatchedTarget, intervals: Sequence[Interval]) -> None:
        ratio = used_pue(watched.site, self._facilities.pue(watched.site.site, time.monotonic()))
        believed = [at_site(believable(i), ratio) for i in intervals]
        for interval in believed:
            watched.totals.add(interval)
        if believed and self._history is not None:
            self._history.append(believed, {watched.config.name: watched.totals.facts})

    def _wait_s(self, failures: int) -> float:
        if failures < 2:
            return self._config.period_s
        periods = min(2.0 ** min(failures - 1, 10), MAX_BACK_OFF_PERIODS)
        return self._config.period_s * periods * random.uniform(0.75, 1.0)

    async def _tell(self) -> float:
        if self._listeners or self._alert_times.due(ALERTS_S):
            now = self.snapshot()
            self._alert_times.look(alerts(now), now.at_s)
            now = replace(now, alert_since_s=self._alert_times.since_s)
            for queue in self._listeners:
                with suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
                queue.put_nowait(now)
        return self._config.period_s
