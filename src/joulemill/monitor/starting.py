"""A monitor that is still opening its meters: the page answers meanwhile, and says that they are being opened."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from joulemill.monitor.config import MonitorConfig
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import NOT_YET, MeterHealth, Snapshot, TargetState

#: A listener that came before the monitor is told of it at most so much later [s].
LOOK_S = 0.2


class StartingMonitor:
    """Snapshots of ``config``'s targets until the monitor that ``make`` makes is there, then of that."""

    def __init__(self, config: MonitorConfig, make: Callable[[], Monitor]) -> None:
        self._config, self._make, self._since_s = config, make, time.time()
        self.monitor: Monitor | None = None

    async def opened(self, stop: asyncio.Event) -> Monitor | None:
        """Make the monitor beside the loop; None where ``stop`` came first. Raises what making it raises."""
        loop = asyncio.get_running_loop()
        opening: asyncio.Future[Monitor] = loop.create_future()
        either = asyncio.Event()
        thread = threading.Thread(target=self._thread, args=(loop, opening), name="joulemill opening", daemon=True)
        thread.start()
        opening.add_done_callback(lambda _: either.set())
        stopping = asyncio.ensure_future(stop.wait())
        stopping.add_done_callback(lambda _: either.set())
        await either.wait()
        stopping.cancel()
        if not opening.done():
            return None
        self.monitor = opening.result()
        return self.monitor

    def _thread(self, loop: asyncio.AbstractEventLoop, opening: asyncio.Future[Monitor]) -> None:
        outcome: Monitor | BaseException
        try:
            outcome = self._make()
        except BaseException as fault:
            outcome = fault
        with suppress(RuntimeError):  # the loop may be over: it was told to stop
            loop.call_soon_threadsafe(_settle, opening, outcome)

    def hurry(self) -> None:
        """The end has begun."""
        if self.monitor is not None:
            self.monitor.hurry()

    def snapshot(self) -> Snapshot:
        """What is known now: while meters are opened, the targets' names."""
        if self.monitor is not None:
            return self.monitor.snapshot()
        states = tuple(
            TargetState(facts=t.facts(), up=False, reason=NOT_YET, latest=None, since_s=self._since_s)
            for t in self._config.target
        )
        opening = tuple(
            MeterHealth(meter=spec, target=t.name, site=t.site, scope="", state="opening", age_s=None)
            for t in self._config.target
            for spec in t.meters
        )
        return Snapshot(at_s=time.time(), targets=states, meters=opening, sites=self._config.sites())

    async def subscribe(self) -> AsyncIterator[Snapshot]:
        """The newest snapshot once a period."""
        while self.monitor is None:
            await asyncio.sleep(LOOK_S)
        yield self.monitor.snapshot()
        async for now in self.monitor.subscribe():
            yield now


def _settle(opening: asyncio.Future[Monitor], outcome: Monitor | BaseException) -> None:
    if opening.cancelled():
        return
    if isinstance(outcome, BaseException):
        opening.set_exception(outcome)
    else:
        opening.set_result(outcome)
