"""Reads meters on an absolute schedule in the background and hands every reading on.

Each meter has a thread of its own, so a slow one (a BMC) never shifts the timestamps of a quick one (a GPU). A meter
that raises becomes error readings on all its channels and is tried again at the next tick. The threads count their own
CPU time, so a run can say what metering cost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.ledger.record import Reading
from joulemill.meters.meter import Clock, Meter

#: Sampling less often than once an hour is none [s].
LONGEST_S = 3600.0
Sink = Callable[[Sequence[Reading]], None]


@dataclass(frozen=True, slots=True)
class SamplerCost:
    """What metering cost so far.

    cpu_s       CPU time of the sampling threads (the meters' and the sink's work);  elapsed_s  time they ran
    reads_count reads made;  missed_count  ticks that were skipped because a read took longer than the period
    """

    cpu_s: float
    elapsed_s: float
    reads_count: int
    missed_count: int

    @property
    def core_ratio(self) -> float | None:
        """Share of one core; None before anything ran."""
        return self.cpu_s / self.elapsed_s if self.elapsed_s > 0 else None


class _Lane:
    """One meter's thread."""

    def __init__(self, meter: Meter, period_s: float, deliver: Sink, clock: Clock) -> None:
        self.meter, self.period_s, self.deliver, self.clock = meter, period_s, deliver, clock
        self.stopping, self.asked, self.answered = threading.Event(), threading.Event(), threading.Event()
        self._wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name="joulemill-meter", daemon=True)
        self.cpu_s = 0.0
        self.reads = self.missed = 0

    def _run(self) -> None:
        start = time.monotonic()
        tick = 0
        while not self.stopping.is_set():
            self._once()
            due = max(tick + 1, int((time.monotonic() - start) / self.period_s) + 1)
            self.missed += due - tick - 1
            tick = due
            self._wait_until(start + tick * self.period_s)
        self._once()
        self.answered.set()

    def stop(self) -> None:
        """End after one more read."""
        self.stopping.set()
        self._wake.set()

    def ask(self) -> None:
        """Read once beside the schedule; ``answered`` is set after a read that began later than this call."""
        self.answered.clear()
        self.asked.set()
        self._wake.set()

    def _wait_until(self, due_s: float) -> None:
        while not self.stopping.is_set():
            self._wake.wait(max(0.0, due_s - time.monotonic()))
            self._wake.clear()
            if not self.asked.is_set():
                return
            self.asked.clear()
            self._once()
            self.answered.set()

    def _once(self) -> None:
        self.deliver(self._readings())
        self.reads += 1
        self.cpu_s = time.thread_time()

    def _readings(self) -> tuple[Reading, ...]:
        try:
            return self.meter.read()
        except Exception as error:  # a sensor may fail in any way; the run goes on and its record says so
            text = f"{type(error).__name__}: {error}"
            mono, wall = self.clock.mono(), self.clock.wall()
            return tuple(Reading(c.id, mono, wall, None, text) for c in self.meter.channels())


class Sampler:
    """Samples ``meters`` every ``period_s`` seconds into ``sink``.

    ``sink`` is called by one thread at a time, in no fixed order between meters. ``start`` reads at once and ``stop``
    reads once more, so that a window between them is bracketed. Where the sink raises (a full disk), sampling ends
    and ``failure`` holds what it raised.
    """

    def __init__(self, meters: Sequence[Meter], period_s: float, sink: Sink, clock: Clock | None = None) -> None:
        if not 0 < period_s <= LONGEST_S:
            raise InputError(f"a sampling period must be more than 0 s and at most {LONGEST_S:g} s, not {period_s:g}")
        self._sink = sink
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._lanes = [_Lane(m, period_s, self._deliver, clock or Clock()) for m in meters]
        self._started_s: float | None = None
        self._stopped_s: float | None = None
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin; each meter is read at once. A sampler runs once."""
        self._started_s = time.monotonic()
        for lane in self._lanes:
            lane.thread.start()

    def read_now(self, timeout_s: float = 2.0) -> bool:
        """Read every meter beside the schedule; whether all had read when ``timeout_s`` were over."""
        with self._asking:
            for lane in self._lanes:
                lane.ask()
            deadline = time.monotonic() + timeout_s
            return all([lane.answered.wait(max(0.0, deadline - time.monotonic())) for lane in self._lanes])

    def quiet(self) -> None:
        """Begin to end, without waiting: each meter is read once more by its own thread."""
        for lane in self._lanes:
            lane.stop()

    def stop(self, timeout_s: float = 10.0) -> tuple[str, ...]:
        """Read each meter once more and end. Returns names of meters that did not come back within ``timeout_s``."""
        self.quiet()
        deadline = time.monotonic() + timeout_s
        for lane in self._lanes:
            if lane.thread.ident is not None:
                lane.thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._stopped_s = self._stopped_s or time.monotonic()
        return tuple(
            n for lane in self._lanes if lane.thread.is_alive() for n in {c.meter for c in lane.meter.channels()}
        )

    def cost(self) -> SamplerCost:
        """What metering has cost until now."""
        end = self._stopped_s or time.monotonic()
        elapsed = 0.0 if self._started_s is None else end - self._started_s
        lanes = self._lanes
        return SamplerCost(
            sum(x.cpu_s for x in lanes), elapsed, sum(x.reads for x in lanes), sum(x.missed for x in lanes)
        )

    def _deliver(self, readings: Sequence[Reading]) -> None:
        with self._lock:
            if self.failure is not None or self._stopped_s is not None or not readings:
                return  # a meter that comes back after stop() is too late: the sink may be closed
            try:
                self._sink(readings)
            except Exception as error:
                self.failure = error
                for lane in self._lanes:
                    lane.stop()
