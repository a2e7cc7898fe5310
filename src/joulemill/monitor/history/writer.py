"""Intervals on their way into the history: one thread writes them in batches, so that a slow disk stops no scrape.

What the disk does not take is tried again, in order, as far as memory allows; what then has to go is counted and told.
An interval that cannot be kept is found by halving its batch, dropped and told; the others are kept. Where the thread
itself ends for whatever reason, that is told and it is begun again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from joulemill.monitor.history.owner import HistoryTakenOverError
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import HistoryState, Interval, SiteStretch, TargetFacts
from joulemill.servers.boundary import reason_of

_LOG = logging.getLogger("joulemill.monitor")
#: Intervals that wait at most: at 1,000 targets every 10 s, a quarter of an hour without a disk.
MOST_WAITING = 100_000
BATCH = 2000
EVERY_S = 1.0
#: A thread that ended is begun again at most so often [s] (assumed).
AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One interval with its target's facts, or a site's stretch."""

    interval: Interval | None
    facts: TargetFacts | None
    stretch: SiteStretch | None = None


class HistoryWriter:
    """Takes intervals without delay; ``error`` is what the disk last said, None while it takes them."""

    def __init__(self, history: History, *, most: int = MOST_WAITING) -> None:
        self._history, self._most = history, most
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self._wake, self._ended = threading.Event(), False
        self.error: str | None = None
        self.lost_count = self.refused_count = self.restarts_count = 0
        self.refused: str | None = None
        self._begun_s = 0.0
        self._begin()

    def _begin(self) -> None:
        self._begun_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="joulemill history", daemon=True)
        self._thread.start()

    def state(self) -> HistoryState:
        """How keeping goes, for page and metrics; a thread that has ended is begun again."""
        self._alive()
        return HistoryState(self.error, self.lost_count, self.refused_count, self.refused, self.restarts_count)

    def append(self, intervals: Sequence[Interval], facts: Mapping[str, TargetFacts]) -> None:
        """Take ``intervals`` over. Never waits for the disk."""
        for interval in intervals:
            self._wait(_Waiting(interval, facts[interval.target]))
        self._alive()

    def append_site(self, stretch: SiteStretch) -> None:
        """Take a site's stretch over."""
        self._wait(_Waiting(None, None, stretch))

    def _alive(self) -> None:
        with self._lock:
            if self._ended or self._thread.is_alive() or time.monotonic() - self._begun_s < AGAIN_S:
                return
            self.restarts_count += 1
            _LOG.error("the history writer had ended (%s); it is restarted", self.error or "no reason known")
            self._begin()

    def _wait(self, one: _Waiting) -> None:
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
        try:
            while not self._ended:
                self._wake.wait(EVERY_S)
                self._flush()
                self._beat()
            self._flush()
        except HistoryTakenOverError as fault:
            self._gave_up(fault)
        except BaseException as fault:
            self.error = f"what writes the history ended: {reason_of(fault)}"
            _LOG.exception("what writes the history ended")

    def _gave_up(self, fault: HistoryTakenOverError) -> None:
        """Another monitor keeps the history now: what waits is its to observe, not ours to add."""
        self.error, self._ended = str(fault), True
        self.lost_count += len(self._waiting)
        self._waiting.clear()
        _LOG.error("%s", fault)

    def _beat(self) -> None:
        try:
            beat: Callable[[], None] = getattr(self._history, "beat", lambda: None)
            beat()
        except OSError as fault:
            self.error = str(fault)

    def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            try:
                self._keep(batch)
            except OSError as fault:
                if self.error is None:
                    _LOG.error("the history does not take intervals: %s; they wait in memory", fault)
                self.error = str(fault)
                return
            if self.error is not None:
                _LOG.warning("the history takes intervals again; %d were lost", self.lost_count)
            self.error = None

    def _keep(self, batch: Sequence[_Waiting]) -> None:
        """Write ``batch``; one in it that cannot be kept is dropped. Raises OSError where the disk takes nothing."""
        try:
            self._written(batch)
        except (OSError, HistoryTakenOverError):
            raise
        except Exception as fault:
            if len(batch) > 1:
                self._keep(batch[: len(batch) // 2])
                self._keep(batch[len(batch) // 2 :])
                return
            self._refuse(batch[0], fault)
        for one in batch:
            if self._waiting and self._waiting[0] is one:  # one may have been pushed out meanwhile
                self._waiting.popleft()

    def _written(self, batch: Sequence[_Waiting]) -> None:
        rows = [one.interval for one in batch if one.interval is not None]
        facts = {one.facts.target: one.facts for one in batch if one.facts is not None}
        sites = [one.stretch for one in batch if one.stretch is not None]
        self._history.append(rows, facts, *([sites] if sites else []))

    def _refuse(self, one: _Waiting, fault: Exception) -> None:
        whose = one.interval.target if one.interval is not None else one.stretch.site if one.stretch else ""
        self.refused_count += 1
        self.refused = reason_of(ValueError(f"{whose!r:.100}: {reason_of(fault)}"))
        _LOG.error("an interval cannot be kept and is dropped: %s", self.refused)
