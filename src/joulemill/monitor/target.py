"""One target as the monitor goes: its scrapes, its meters, its totals."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from joulemill.catalog.server_dialects import Dialect, dialect
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import ServerSample
from joulemill.monitor.accounting.counters import increase_count, mean_tok
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.accounting.histograms import LATENCIES, Buckets, bucket_names, buckets, percentiles
from joulemill.monitor.accounting.nodes import node_name
from joulemill.monitor.accounting.restarts import PROCESS_START, CounterSeries, by_route, route_increases
from joulemill.monitor.accounting.totals import Totals, away_s, gap, observed
from joulemill.monitor.advice.ceilings import Context, explained, prepared
from joulemill.monitor.config import TargetConfig
from joulemill.monitor.snapshot import (
    NOT_YET,
    HistogramPercentiles,
    Interval,
    MeterFinding,
    ScopeEnergy,
    SiteFacts,
    StoredTotals,
    TargetState,
    TokenKind,
)
from joulemill.servers.boundary import read_in_thread
from joulemill.servers.metrics import Scrape, canonical, look

#: A store's looks further apart than this many of its usual spacings leave a gap (assumed: two scrapes may fail).
GAP_SPACINGS = 3.5
#: Predictions are made one at a time, so that they leave the processor to the scrapes.
_PREDICTING = ThreadPoolExecutor(1, thread_name_prefix="joulemill predict")
RESTARTED = "a counter was reset: tokens since the reset are counted"
FIRST = "no scrape before to compare with"
ENDED = "the monitor was ended before this interval was summed"
OTHER_SERVER = "the page is of another process than before: one address for several servers"


@dataclass(frozen=True, slots=True)
class PageDelta:
    """What a page told beside its values: a counter began anew, it is of the same servers, output tokens by route,
    and buckets of latencies.
    """

    restarted: bool = False
    comparable: bool = True
    routes: Mapping[str, float] = field(default_factory=dict)
    buckets: Mapping[str, Buckets] = field(default_factory=dict)


class WatchedTarget:
    """One target as the loop goes. ``until_s``: from then on (monotonic) nothing that takes long is begun."""

    def __init__(self, config: TargetConfig, meters: TargetMeters, site: SiteFacts) -> None:
        self.config, self.meters, self.site = config, meters, site
        self.totals = Totals(facts=config.facts(), since_s=time.time())
        self.dialect: Dialect | None = dialect(config.dialect) if config.dialect else None
        self.before: ServerSample | None = None
        self.since_mono_s = time.monotonic()
        self.reason: str | None = NOT_YET
        self.failures = 0
        self.scrape_s: float | None = None
        self.lag_s: float | None = None
        self.until_s = math.inf
        self._spacing_s = math.inf
        self._series: CounterSeries | None = None
        self._fresh = self._told = PageDelta()
        self._waiting: deque[tuple[Interval, float, float]] = deque()

    def resume(self, stored: StoredTotals | None, left_mono_s: float | None = None) -> None:
        """Go on from what was kept; the time since then nobody observed.

        ``left_mono_s``: when this very process let it go. Else two wall clocks tell, and either may have been wrong.
        """
        if stored is not None:
            self.totals.restore(stored)
            now_s = time.monotonic()
            self.since_mono_s = now_s - away_s(stored.last_end_s, time.time()) if left_mono_s is None else left_mono_s

    async def sample(self, session: aiohttp.ClientSession, timeout_s: float) -> ServerSample:
        """One look. Once the server's dialect is known, later pages are read for its names alone.

        The first look is taken twice: it also made the connection, so that when the server answered is not known well.
        """
        sample = await self._look(session, timeout_s)
        return sample if self.before is not None or sample.error else await self._look(session, timeout_s)

    async def _look(self, session: aiohttp.ClientSession, timeout_s: float) -> ServerSample:
        also = (PROCESS_START, *(bucket_names(self.dialect) if self.dialect else ()))
        token = os.environ.get(self.config.token_env or "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        asked_s = time.monotonic()
        scrape = await look(
            session, self.config.metrics_url, self.dialect, headers=headers, timeout_s=timeout_s, also=also
        )
        self.scrape_s = time.monotonic() - asked_s
        return await read_in_thread(self.followed, scrape)

    def failed(self, reason: str) -> ServerSample:
        """A look that raised ``reason``: none at all."""
        self._fresh = PageDelta()
        return ServerSample(time.monotonic(), time.time(), {}, reason)

    def gave_up(self, reason: str) -> list[Interval]:
        """What cannot be accounted, for ``reason``: the time since the last account is a gap; counting begins anew."""
        sample = self.failed(reason)
        since_s = self.since_mono_s
        self._waiting.clear()
        self._series, self._told, self.before = None, PageDelta(), None
        self.reason, self.since_mono_s, self.failures = reason, sample.t_mono_s, self.failures + 1
        return [gap(self.config.name, since_s, sample)] if sample.t_mono_s > since_s else []

    def followed(self, scrape: Scrape) -> ServerSample:
        """``seen`` with counters that never fall; what else it told is kept until it is accounted."""
        sample = scrape.sample
        self._fresh = PageDelta()
        if sample.error is not None or scrape.page is None or scrape.dialect is None:
            return sample
        if self._series is None or self.dialect is not scrape.dialect:
            self.dialect, self._series = scrape.dialect, CounterSeries(scrape.dialect)
        unrolled = self._series.take(scrape.page, sample.t_wall_s)
        label = self.config.route_label
        routes = by_route(unrolled.page, scrape.dialect, label) if label else {}
        of_latency = {what: buckets(unrolled.page, scrape.dialect, what) for what in LATENCIES}
        self._fresh = PageDelta(unrolled.restarted, unrolled.comparable, routes, of_latency)
        return replace(sample, values=canonical(unrolled.page, scrape.dialect))

    def stored(self, scrape: Scrape) -> list[Interval]:
        """The intervals that end with a look that a store kept; a hole between its looks is a gap, not an interval."""
        sample = self.followed(scrape)
        self.since_mono_s = min(self.since_mono_s, sample.t_mono_s)
        if self.before is not None:
            apart_s = sample.t_mono_s - self.before.t_mono_s
            self._spacing_s = min(self._spacing_s, apart_s)
            if apart_s > GAP_SPACINGS * self._spacing_s:
                self.before = None
        return self.account(sample)

    def state(self) -> TargetState:
        """The target now."""
        state = self.totals.state(self.site, up=self.reason is None, reason=self.reason)
        node = node_name(self.config.node, self.config.meters)
        return replace(state, scrape_s=self.scrape_s, lag_s=self.lag_s, node=node)

    async def prepared(self, after: ServerSample, stop: asyncio.Event) -> None:
        """Have the predictions made, beside the loop, that the interval up to ``after`` will be explained with."""
        before = self.before
        if before is None or after.error is not None or self.config.device is None:
            return
        interval = observed(self.config.name, before, after)
        context = self._context(before, after)
        prediction = asyncio.wrap_future(_PREDICTING.submit(prepared, interval, self.totals.facts, context))
        stopping = asyncio.ensure_future(stop.wait())
        waiting: list[asyncio.Future[Any]] = [prediction, stopping]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()

    def explained(self, interval: Interval, before: ServerSample, after: ServerSample) -> Interval:
        """``interval`` with its limits; where they cannot be told it says why."""
        if time.monotonic() > self.until_s:
            return replace(interval, binding_reason=ENDED, phi_reason=ENDED)
        return explained(interval, self.totals.facts, self._context(before, after))

    def _context(self, before: ServerSample, after: ServerSample) -> Context:
        lengths = [mean_tok(before, after, kind) for kind in (TokenKind.PROMPT, TokenKind.OUTPUT)]
        stated = (self.config.input_tok, self.config.output_tok)
        known = tuple(s if m is None else m for m, s in zip(lengths, stated, strict=True))
        preempted = increase_count(before.values, after.values, "preemptions_total")
        counters = {} if preempted is None else {"preemptions_total": preempted}
        return Context((known[0], known[1]), before.values.get("running_req"), counters, self.config.slo_s())

    def account(self, after: ServerSample) -> list[Interval]:
        """The intervals that are complete now: the one that ends with ``after``, or earlier ones that it lets go.

        An interval waits for the meters' readings; none overtakes another.
        """
        since_s = self.since_mono_s
        interval = self._interval(after)
        if interval is not None:
            self._waiting.append((interval, since_s, after.t_mono_s))
        return self._complete(lambda end_s: self.meters.settled(end_s, after.t_mono_s))

    def finish(self) -> list[Interval]:
        """The intervals that still wait, with what is known of them."""
        return self._complete(lambda _: True)

    def _complete(self, settled: Callable[[float], bool]) -> list[Interval]:
        intervals = []
        while self._waiting and (not self._waiting[0][0].observed or settled(self._waiting[0][2])):
            interval, start_s, end_s = self._waiting.popleft()
            energy, findings = self._joules(interval, start_s, end_s)
            intervals.append(replace(interval, energy=energy, findings=findings))
        return intervals

    def _joules(
        self, interval: Interval, start_s: float, end_s: float
    ) -> tuple[dict[str, ScopeEnergy], tuple[MeterFinding, ...]]:
        """An interval's joules and what was found of them; none where it was not observed, or no time is left."""
        if not interval.observed:
            return {}, ()
        if time.monotonic() > self.until_s and self.meters.opened:
            return {}, (MeterFinding("device", Reason.NOT_BRACKETED.value, ENDED, refused=True),)
        return self.meters.account(start_s, end_s, output_tok=interval.tokens.get(TokenKind.OUTPUT, 0.0))

    def _interval(self, after: ServerSample) -> Interval | None:
        """What ends with ``after``; None for a first good scrape with no time before it to tell of."""
        before, since = self.before, self.since_mono_s
        self.reason, self.since_mono_s = after.error, after.t_mono_s
        self.failures = self.failures + 1 if after.error else 0
        self.before = None if after.error else after
        pages_before, self._told = self._told, self._fresh
        if after.error is None and before is not None and self._told.comparable:
            observed_interval = observed(self.config.name, before, after)
            why = RESTARTED if self._told.restarted else None
            observed_interval = replace(
                observed_interval,
                reason=why,
                route_tokens=route_increases(pages_before.routes, self._told.routes),
                latency=_latency(pages_before, self._told),
            )
            return self.explained(observed_interval, before, after)
        if after.t_mono_s <= since:
            return None
        interval = gap(self.config.name, since, after)
        if after.error:
            return interval
        return replace(interval, reason=FIRST if before is None else OTHER_SERVER)


def _latency(before: PageDelta, after: PageDelta) -> dict[str, HistogramPercentiles]:
    percentiles_of = {w: percentiles(before.buckets.get(w, {}), after.buckets.get(w, {})) for w in LATENCIES}
    return {what: p for what, p in percentiles_of.items() if p is not None}
