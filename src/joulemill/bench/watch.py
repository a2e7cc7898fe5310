"""What goes on beside the load of a run: meters in their threads, the server's counters, the machine, the progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from joulemill.bench.machine.quiet import LoopProbe, MachineWatch
from joulemill.bench.progress import Progress
from joulemill.formats.plain_text import plain_text
from joulemill.ledger.record import Phase
from joulemill.meters.closing import let_go
from joulemill.meters.meter import Meter
from joulemill.meters.sampler import Sampler
from joulemill.recording.writer import RunWriter
from joulemill.servers.metrics import scrape

_TICK_S = 0.5
#: How long meters may take for their last reading; the same, and to be let go of, in a hurry [s]. Assumed.
_LAST_READ_S, _HURRIED_S, _CLOSE_S = 10.0, 1.0, 0.5


@dataclass(frozen=True)
class Source:
    """Where the server's counters are; ``metrics_url`` None: it has none."""

    metrics_url: str | None
    headers: Mapping[str, str]
    secrets: tuple[str, ...] = ()


class Watch:
    """Samples until ``close``. ``watching`` raises what went wrong in the background (a full disk), else never ends.

    ``hurried``: the run was told to stop, and ``close`` waits little for meters.
    """

    def __init__(self, writer: RunWriter, display: Progress, *, period_s: float, doing: Callable[[], str]) -> None:
        self.writer, self.display, self.period_s, self.doing = writer, display, period_s, doing
        self.phase_name: str | None = None
        self.hurried = False
        self._phase_start_s = time.monotonic()
        self._meters: list[Meter] = []
        self._sampler: Sampler | None = None
        self._probe = LoopProbe()
        self._tasks: list[asyncio.Task[None]] = [asyncio.create_task(self._tell())]
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._scrape: Callable[[], Coroutine[Any, Any, None]] | None = None

    def meter(self, meters: list[Meter], period_s: float) -> None:
        """Begin to read ``meters``, which are closed in the end."""
        self._meters = meters
        for opened in meters:
            self.writer.channels(opened.channels())
        self._sampler = Sampler(meters, period_s, self.writer.readings)
        self._sampler.start()

    def machine(self, server_pid: int | None, check: Callable[[], None] = lambda: None) -> None:
        """Begin to look at this machine, and each time whether the embedded server lives (``check`` raises if not)."""
        self._spawn(self._look(MachineWatch(server_pid), check))

    def server(self, session: aiohttp.ClientSession, source: Source) -> None:
        """Begin to read the server's counters, where it has them."""
        url = source.metrics_url
        if url is None:
            return

        async def once() -> None:
            sample = await scrape(session, url, None, headers=source.headers)
            if sample.error is not None:
                sample = replace(sample, error=plain_text(sample.error, source.secrets))
            self.writer.server(sample)

        self._scrape = once
        self._spawn(self._scraping())

    async def watching(self) -> None:
        """Wait for a fault of the background, and raise it."""
        await asyncio.shield(self._fault)

    async def counters(self) -> None:
        """Read the server's counters now, beside their schedule: at the edges of phases."""
        if self._scrape is not None:
            await self._scrape()

    @contextmanager
    def phase(self, name: str, total_s: float | None) -> Iterator[None]:
        """A phase of the run. One that is left by an exception has no end."""
        self._phase_start_s = time.monotonic()
        self.phase_name = name
        self.writer.phase_start(Phase(name, self._phase_start_s, time.time()))
        self.display.phase(name, total_s)
        yield
        self.writer.phase_end(name, time.monotonic())

    async def close(self) -> None:
        """Read the meters once more and end; what metering cost goes into the events. Harmless when called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._probe.stop()
        if self._fault.done():
            self._fault.exception()
        sampler, self._sampler = self._sampler, None
        try:
            if sampler is not None:
                await self._close_sampler(sampler)
        finally:
            await self._close_meters()

    async def _close_meters(self) -> None:
        meters, self._meters = self._meters, []
        if self.hurried:
            await asyncio.to_thread(let_go, meters, _CLOSE_S)
            return
        for meter in meters:
            meter.close()

    async def _close_sampler(self, sampler: Sampler) -> None:
        stuck = await asyncio.to_thread(sampler.stop, _HURRIED_S if self.hurried else _LAST_READ_S)
        cost = sampler.cost()
        self.writer.event(
            "metering", cpu_s=cost.cpu_s, elapsed_s=cost.elapsed_s, reads=cost.reads_count, missed=cost.missed_count
        )
        if stuck:
            self.display.note(f"meters that did not answer at the end: {', '.join(stuck)}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._fault.done():
            self._fault.set_exception(error)

    async def _look(self, watch: MachineWatch, check: Callable[[], None]) -> None:
        async for _ in _ticks(self.period_s):
            self.writer.machine(watch.sample(self._probe.worst_s()))
            if self._sampler is not None and self._sampler.failure is not None:
                raise self._sampler.failure
            check()

    async def _scraping(self) -> None:
        await self.counters()
        async for _ in _ticks(self.period_s):
            await self.counters()

    async def _tell(self) -> None:
        async for _ in _ticks(_TICK_S):
            self.display.advance(time.monotonic() - self._phase_start_s, self.doing())


async def _ticks(period_s: float) -> AsyncIterator[None]:
    """Yields at start + k·period; a tick that is missed is left out."""
    due_s = time.monotonic()
    while True:
        due_s = max(due_s + period_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())
        yield
