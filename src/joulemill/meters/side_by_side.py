"""Opens many meters at once, each within a bound of time: a BMC that does not answer holds up nobody else.

What an opening has to say is gathered and said once it is over, by the thread that asked: notices that differ only in
the source that they begin with become one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

#: A meter that is not open after this long does not open: a slow BMC takes half a minute for its tree [s].
OPENING_S = 60.0
#: Openings at one time; they mostly wait.
AT_ONCE = 64
#: Sources that a folded notice names.
NAMED = 4

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class JobTimeoutError(Exception):
    """A job did not end in time."""


class _OpeningJob(Generic[Result]):
    """One job in a thread of its own. Whoever comes second, its end or the end of patience, gives way."""

    def __init__(
        self, work: Callable[[], Result], ended: Callable[[], None], too_late: Callable[[Result], None]
    ) -> None:
        self._work, self._ended, self._too_late = work, ended, too_late
        self._lock = threading.Lock()
        self.outcome: Result | Exception | None = None
        self.until_s = 0.0

    def start(self, bound_s: float) -> None:
        """Begin; it has ``bound_s`` from here."""
        self.until_s = time.monotonic() + bound_s
        threading.Thread(target=self._run, name="joulemill-opening", daemon=True).start()

    def give_up(self) -> bool:
        """End the waiting. False where it has just ended by itself."""
        with self._lock:
            if self.outcome is None:
                self.outcome = JobTimeoutError()
                return True
        return False

    def _run(self) -> None:
        outcome: Result | Exception
        try:
            outcome = self._work()
        except Exception as error:  # whatever a vendor's library raises is the outcome of this job alone
            outcome = error
        with self._lock:
            if self.outcome is None:
                self.outcome = outcome
                self._ended()
                return
        if not isinstance(outcome, Exception):
            self._too_late(outcome)


def together(
    jobs: Mapping[Key, Callable[[], Result]],
    *,
    bound_s: float,
    too_late: Callable[[Result], None],
    at_once: int = AT_ONCE,
) -> dict[Key, Result | Exception]:
    """The result of each of ``jobs``, or what it raised; :class:`JobTimeoutError` where it took more than ``bound_s``.

    too_late  takes a result that came after all, to let go of it
    """
    waiting = deque(jobs.items())
    running: dict[Key, _OpeningJob[Result]] = {}
    outcomes: dict[Key, Result | Exception] = {}
    ended: queue.SimpleQueue[Key] = queue.SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                key, work = waiting.popleft()
                running[key] = _OpeningJob(work, lambda key=key: ended.put(key), too_late)  # type: ignore[misc]
                running[key].start(bound_s)
            for key in _over(running, ended):
                outcome = running.pop(key).outcome
                outcomes[key] = JobTimeoutError() if outcome is None else outcome
    finally:
        for job in running.values():
            job.give_up()
    return {key: outcomes[key] for key in jobs}


def _over(running: Mapping[Key, _OpeningJob[Result]], ended: queue.SimpleQueue[Key]) -> list[Key]:
    """Jobs that have ended, or whose time is up; waits for the first of them."""
    first_s = min(job.until_s for job in running.values())
    try:
        return [ended.get(timeout=max(0.0, first_s - time.monotonic()))]
    except queue.Empty:
        now_s = time.monotonic()
        return [key for key, job in running.items() if job.until_s <= now_s and job.give_up()]


def folded(notices: Iterable[str]) -> list[str]:
    """``notices`` without repetitions; those that differ only in the source before ": " become one.

    >>> folded(["a:1: no value moved", "b:1: no value moved", "c"])
    ['a:1, b:1: no value moved', 'c']
    """
    sources: dict[str, list[str]] = {}
    for text in dict.fromkeys(notices):
        source, colon, rest = text.partition(": ")
        alone = not colon or " " in source
        sources.setdefault(text if alone else rest, []).append("" if alone else source)
    lines = []
    for rest, names in sources.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        named = ", ".join(n for n in names[:NAMED] if n) + more
        lines.append(f"{named}: {rest}" if named else rest)
    return lines
