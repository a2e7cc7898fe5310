"""One target as the monitor goes: its scrapes, its meters, its totals."""

from __future__ import annotations

import os
import time

import aiohttp

from joulemill.catalog.dialect import Dialect, dialect, dialects
from joulemill.ledger.record import ServerSample
from joulemill.monitor.accounting import Totals, gap, observed
from joulemill.monitor.config import TargetConfig
from joulemill.monitor.counters import increase_count, mean_tok, restarted
from joulemill.monitor.explain import explained
from joulemill.monitor.history import StoredTotals
from joulemill.monitor.metering import TargetMeters
from joulemill.monitor.snapshot import Interval, SiteFacts, TokenKind
from joulemill.servers.metrics import scrape


class Watched:
    """One target as the loop goes."""

    def __init__(self, config: TargetConfig, meters: TargetMeters, site: SiteFacts) -> None:
        self.config, self.meters, self.site = config, meters, site
        self.totals = Totals(config.facts(), time.time())
        self.dialect: Dialect | None = dialect(config.dialect) if config.dialect else None
        self.before: ServerSample | None = None
        self.since_mono_s = time.monotonic()
        self.reason: str | None = "not scraped yet"
        self.failures = 0

    def resume(self, stored: StoredTotals | None) -> None:
        """Go on from what was kept; the time since then nobody observed."""
        if stored is not None:
            self.totals.restore(stored)
            self.since_mono_s = time.monotonic() - max(time.time() - stored.last_end_s, 0.0)

    async def sample(self, session: aiohttp.ClientSession, timeout_s: float) -> ServerSample:
        """One look; until the server's dialect is known each is tried, so later pages are read for its names alone."""
        token = os.environ.get(self.config.token_env or "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = self.config.metrics_url
        if self.dialect is not None:
            return await scrape(session, url, self.dialect, headers=headers, timeout_s=timeout_s)
        first = await scrape(session, url, None, headers=headers, timeout_s=timeout_s)
        if first.error is None:
            tried = [(await scrape(session, url, d, headers=headers, timeout_s=timeout_s), d) for d in dialects()]
            self.dialect = max(tried, key=lambda pair: len(pair[0].values))[1]
        return first

    def explained(self, interval: Interval, before: ServerSample, after: ServerSample) -> Interval:
        """``interval`` with its limits; where they cannot be told it stands as it is."""
        lengths = [mean_tok(before, after, kind) for kind in (TokenKind.PROMPT, TokenKind.OUTPUT)]
        stated = (self.config.input_tok, self.config.output_tok)
        known = tuple(s if m is None else m for m, s in zip(lengths, stated, strict=True))
        preempted = increase_count(before.values, after.values, "preemptions_total")
        seen = {} if preempted is None else {"preemptions_total": preempted}
        return explained(interval, self.totals.facts, (known[0], known[1]), seen)

    def account(self, after: ServerSample) -> Interval | None:
        """The interval that ends with ``after``; None for a first good scrape with no time before it to tell of."""
        before, since = self.before, self.since_mono_s
        self.reason, self.since_mono_s = after.error, after.t_mono_s
        self.failures = self.failures + 1 if after.error else 0
        self.before = None if after.error else after
        if after.error is None and before is not None and not restarted(before, after):
            energy = self.meters.energy(before.t_mono_s, after.t_mono_s)
            return self.explained(observed(self.config.name, before, after, energy), before, after)
        if after.t_mono_s <= since:
            return None
        interval = gap(self.config.name, since, after)
        return interval if after.error else Interval(
            interval.target, interval.start_s, interval.end_s, observed=False,
            reason="no scrape before to compare with" if before is None else "the server restarted: its counters fell",
        )  # fmt: skip
