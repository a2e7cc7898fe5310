"""Watching until told to end: the monitor's loop, its page, its history and exports, started and closed in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError, JoulemillError
from joulemill.monitor.config import MonitorConfig
from joulemill.monitor.config_checks import notices
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import Snapshot
from joulemill.monitor.starting import StartingMonitor
from joulemill.servers.boundary import reason_of

if TYPE_CHECKING:
    from joulemill.monitor.history.store import History

#: How often ``once`` looks whether every target has had its interval [s].
LOOK_EVERY_S = 0.2
#: A smaller history would hold next to nothing (assumed).
LEAST_STORE_BYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How to watch, beside what.

    listen, token     HOST:PORT of the page and /metrics, and the token that they ask for
    store             SQLite file of the history, ``store_max_byte`` long at most; single intervals for ``raw_days``
    takeover          take over a history that another monitor writes
    otlp              also export by OTLP
    duration_s, once  end after this time; end when each target was scraped twice
    tell              hears what a user must see
    """

    listen: str | None = None
    token: str | None = None
    store: Path | None = None
    store_max_byte: float = 2e9
    raw_days: float = 1.0
    takeover: bool = False
    otlp: bool = False
    duration_s: float | None = None
    once: bool = False
    tell: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        if not LEAST_STORE_BYTE <= self.store_max_byte < float("inf"):
            raise InputError(f"`store_max` is {self.store_max_byte:g} byte; it must be at least 1 MB, e.g. 2 GB")
        if not 0 < self.raw_days < float("inf"):
            raise InputError(f"`raw_days` is {self.raw_days:g}; it must be a number of days, more than 0")


def watch(config: MonitorConfig, options: WatchOptions, again: Callable[[], MonitorConfig] | None = None) -> Snapshot:
    """Watch what ``config`` names; on SIGHUP go on with what ``again`` reads. What is known at the end."""
    page = _address(options)
    with ExitStack() as ending:
        listener = None if page is None else _bound(page, ending)
        history = keeper = None
        if options.store is not None:
            history = _history(options.store, options)
            ending.callback(history.close)
            keeper = HistoryWriter(history)
            ending.callback(keeper.close)
        stored_totals = (history.totals(), history.site_totals()) if history else (None, None)
        source = StartingMonitor(config, lambda: Monitor(config, keeper, *stored_totals))
        if options.otlp:
            ending.callback(_exported(source, config.period_s))
        app = None if page is None else _app(source, history, options.token)
        _announce(config, options)
        asyncio.run(_watch(source, options, (app, listener), again))
    return source.snapshot()


def _announce(config: MonitorConfig, options: WatchOptions) -> None:
    for line in notices(config, os.environ):
        options.tell(line)
    specs = sum(len(t.meters) for t in config.target)
    if specs:
        options.tell(f"opening {specs} meter SPECs of {sum(bool(t.meters) for t in config.target)} targets …")
    if options.once:
        options.tell(f"two scrapes of each target, {config.period_s:g} s apart, and its meters' readings of them")


def _bound(page: tuple[str, int], ending: ExitStack) -> socket.socket:
    """The page's address, taken before anything else is opened."""
    from joulemill.monitor.web.server import listen_at

    listener = listen_at(*page)
    ending.callback(listener.close)
    return listener


def _address(options: WatchOptions) -> tuple[str, int] | None:
    if options.listen is None:
        return None
    from joulemill.monitor.extra import needed
    from joulemill.monitor.web.server import check_open, listen_address

    host, port = listen_address(options.listen)
    check_open(host, options.token)
    needed()
    return host, port


def _exported(monitor: StartingMonitor, period_s: float) -> Callable[[], None]:
    """Export by OTLP from now on; what is returned ends it."""
    from joulemill.monitor.extra import needed
    from joulemill.monitor.web.otlp import exporter, start

    needed()
    return start(monitor, exporter(), period_s)


def _history(store: Path, options: WatchOptions) -> History:
    from joulemill.monitor.history.store import History

    return History.open(
        store, max_bytes=int(options.store_max_byte), raw_days=options.raw_days, takeover=options.takeover
    )


def _app(monitor: StartingMonitor, history: History | None, token: str | None) -> Any:
    from joulemill.monitor.web.app import create_app

    def levers(name: str) -> dict[str, Any]:
        from joulemill.monitor.advice.levers import levers_of  # loaded when it is asked for: the page is there sooner

        return levers_of(monitor.snapshot(), name)

    return create_app(monitor, history, token, levers)


async def _reload(
    monitor: Monitor, again: Callable[[], MonitorConfig], tell: Callable[[str], None] = lambda text: None
) -> None:
    """A faulty configuration changes nothing and is told; the page and /metrics show it too."""
    try:
        await monitor.reload(await asyncio.to_thread(again))
        tell("configuration read again")
    except Exception as fault:
        monitor.fault("configuration", reason_of(fault))
        tell(f"{reason_of(fault)}; the previous configuration stays in use")


def _on_hangup(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do ``work`` at each SIGHUP."""
    going: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = loop.create_task(work())
        going.add(task)
        task.add_done_callback(going.discard)

    loop.add_signal_handler(signal.SIGHUP, begin)


async def _watch(
    source: StartingMonitor,
    options: WatchOptions,
    served: tuple[Any, socket.socket | None],
    again: Callable[[], MonitorConfig] | None,
) -> None:
    """Serve the page from the start, open the meters beside it, then watch."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    early = asyncio.Event()
    if again is not None:  # one that comes while meters are opened is done after that
        loop.add_signal_handler(signal.SIGHUP, early.set)
    tasks = [_monitored(source, options, stop, again, early)]
    app, listener = served
    if listener is not None:
        from joulemill.monitor.web.server import serve_on

        tasks.append(serve_on(app, listener, stop, lambda at: options.tell(f"page: {at}/   metrics: {at}/metrics")))
    try:
        with _ended_by_signals(loop, stop, source):
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(_ending(task, stop))
    except* JoulemillError as faults:
        raise faults.exceptions[0] from None


@contextmanager
def _ended_by_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, source: StartingMonitor) -> Iterator[None]:
    """SIGINT and SIGTERM set ``stop``, where this is the main thread.

    Not by the loop's own handlers: those wait for its turn, which on a busy machine is long.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> None:
        source.hurry()
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _monitored(
    source: StartingMonitor,
    options: WatchOptions,
    stop: asyncio.Event,
    again: Callable[[], MonitorConfig] | None,
    early: asyncio.Event,
) -> None:
    monitor = await source.opened(stop)
    if monitor is None:
        return
    loop = asyncio.get_running_loop()
    if again is not None:
        _on_hangup(loop, lambda: _reload(monitor, again, options.tell))
        if early.is_set():
            await _reload(monitor, again, options.tell)
    if options.duration_s is not None:
        loop.call_later(options.duration_s, stop.set)
    first_look = asyncio.ensure_future(_until_each_was_seen(monitor, stop)) if options.once else None
    await monitor.run(stop)
    if first_look is not None:
        await first_look


async def _ending(task: Any, stop: asyncio.Event) -> None:
    """``task``; where it fails, the others end too."""
    try:
        await task
    except BaseException:
        stop.set()
        raise


async def _until_each_was_seen(monitor: Monitor, stop: asyncio.Event) -> None:
    """Stop when each target has had an interval between two scrapes, or does not answer."""
    while not stop.is_set():
        now = monitor.snapshot()
        waiting = [t for t in now.targets if t.latest is None or (t.up and not t.latest.observed)]
        if not waiting and (now.targets or now.config_error is not None):
            break
        await asyncio.sleep(LOOK_EVERY_S)
    stop.set()
