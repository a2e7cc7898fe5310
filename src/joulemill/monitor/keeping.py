"""Intervals on their way into the history: one thread writes them in batches, so that a slow disk stops no scrape.

What the disk does not take is tried again, in order, as far as memory allows; what then has to go is counted and told.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence

from joulemill.errors import JoulemillError
from joulemill.monitor.history import History
from joulemill.monitor.snapshot import Interval, SiteStretch, TargetFacts

_LOG = logging.getLogger("joulemill.monitor")
#: Intervals that wait at most: at 1,000 targets every 10 s, a quarter of an hour without a disk.
MOST_WAITING = 100_000
BATCH = 2000
EVERY_S = 1.0


class Keeper:
    """Takes intervals without delay; ``error`` is what the disk last said, None while it takes them."""

    def __init__(self, history: History, *, most: int = MOST_WAITING) -> None:
        self._history, self._most = history, most
        self._waiting: deque[tuple[Interval, TargetFacts] | SiteStretch] = deque()
        self._wake, self._ended = threading.Event(), False
        self.error: str | None = None
        self.lost_count = 0
        self._thread = threading.Thread(target=self._run, name="joulemill history", daemon=True)
        self._thread.start()

    def append(self, intervals: Sequence[Interval], facts: Mapping[str, TargetFacts]) -> None:
        """Take ``intervals`` over. Never waits for the disk."""
        for interval in intervals:
            self._wait((interval, facts[interval.target]))

    def append_site(self, stretch: SiteStretch) -> None:
        """Take a site's stretch over."""
        self._wait(stretch)

    def _wait(self, one: tuple[Interval, TargetFacts] | SiteStretch) -> None:
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.lost_count += 1
        self._waiting.append(one)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, as far as the disk takes it, and end."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(EVERY_S)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            try:
                rows = [one for one in batch if isinstance(one, tuple)]
                sites = [one for one in batch if not isinstance(one, tuple)]
                facts = {f.target: f for _, f in rows}
                self._history.append([i for i, _ in rows], facts, *([sites] if sites else []))
            except (OSError, JoulemillError) as fault:
                if self.error is None:
                    _LOG.error("the history does not take intervals: %s; they wait in memory", fault)
                self.error = str(fault)
                return
            if self.error is not None:
                _LOG.warning("the history takes intervals again; %d were lost", self.lost_count)
            self.error = None
            for one in batch:
                if self._waiting and self._waiting[0] is one:  # one may have been pushed out meanwhile
                    self._waiting.popleft()
