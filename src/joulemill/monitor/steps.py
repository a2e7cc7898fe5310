"""Small things that the loop is made of: what is to be watched, waiting, and work beside the loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.config import TargetConfig
from joulemill.monitor.snapshot import HistoryState, Interval, MeterHealth, SiteFacts, SiteStretch, TargetFacts
from joulemill.monitor.target import WatchedTarget
from joulemill.servers.boundary import reason_of

T = TypeVar("T")
_LOG = logging.getLogger("joulemill.monitor")


class IntervalSink(Protocol):
    """Where intervals are kept: takes them without delay."""

    def state(self) -> HistoryState:
        """How that goes."""

    def append(self, intervals: Sequence[Interval], facts: Mapping[str, TargetFacts]) -> None:
        """Keep ``intervals``."""

    def append_site(self, stretch: SiteStretch) -> None:
        """Keep what a site's meters said of one stretch."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What is to be watched: every target wanted, their sites, and those that go on as they stand."""

    wanted: Mapping[str, TargetConfig]
    sites: Mapping[str, SiteFacts]
    kept: Mapping[str, WatchedTarget]

    def fresh(self) -> list[TargetConfig]:
        """Those that are new, or stand otherwise than before."""
        return [t for n, t in self.wanted.items() if n not in self.kept]


async def stopped(stop: asyncio.Event, wait_s: float) -> bool:
    """Wait ``wait_s`` or until ``stop`` is set, and say whether it is."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(wait_s, 0.0))
    return stop.is_set()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` gives; None where ``stop`` came first, and ``work`` is given up."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)


async def beside(work: Callable[..., T], *arguments: object) -> T:
    """``work(*given)`` in a thread of its own, which nobody waits for where this is given up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: BaseException | None) -> None:
        if not future.done():
            if fault is not None:
                future.set_exception(fault)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        fault: BaseException | None = None
        try:
            result = work(*arguments)
        except BaseException as raised:
            fault = raised
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=run, name="joulemill beside", daemon=True).start()
    return await future


def health_of(meters: TargetMeters, target: str | None, site: str) -> list[MeterHealth]:
    """Each channel's state; meters that cannot even tell it have failed, and no other's."""
    try:
        return meters.health(target, site)
    except Exception as fault:
        _LOG.exception("the meters of %s tell no health", target or site)
        return [
            MeterHealth(
                meter="all",
                target=target,
                site=site,
                scope="",
                state="read_failed",
                age_s=None,
                detail=reason_of(fault),
            )
        ]
