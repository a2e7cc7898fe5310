"""Watching until told to end: the monitor's loop, its page, its history and exports, started and closed in order."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError, JoulemillError
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.monitor.config import MonitorConfig
    from joulemill.monitor.history.store import History
    from joulemill.monitor.loop import Monitor
    from joulemill.monitor.starting import Starting
if TYPE_CHECKING:
    pass


def watch(config: MonitorConfig, args: argparse.Namespace, again: Callable[[], MonitorConfig] | None = None) -> int:
    """Watch what ``config`` names, as the options ask; on SIGHUP go on with what ``again`` reads."""
    from joulemill.commands.monitor_text import tell
    from joulemill.monitor.history.writer import Keeper
    from joulemill.monitor.loop import Monitor
    from joulemill.monitor.starting import Starting

    duration_s = parse_quantity(args.duration, "s", name="--for") if args.duration else None
    page = _address(args)
    with ExitStack() as ending:
        listener = None if page is None else _bound(page, ending)
        history = keeper = None
        if args.store is not None:
            history = _history(args)
            ending.callback(history.close)
            keeper = Keeper(history)
            ending.callback(keeper.close)
        kept = (history.totals(), history.site_totals()) if history else (None, None)
        source = Starting(config, lambda: Monitor(config, keeper, *kept))
        if args.otlp:
            ending.callback(_exported(source, config.period_s))
        app = None if page is None else _app(source, history, page[2])
        _announce(config, args)
        asyncio.run(_watch(source, (duration_s, args.once), (app, listener), again))
    now = source.snapshot()
    tell(now, args.json)
    return 0 if any(t.up for t in now.targets) else 1


def _announce(config: MonitorConfig, args: argparse.Namespace) -> None:
    specs = sum(len(t.meters) for t in config.target)
    if specs:
        sys.stderr.write(f"opening {specs} meter SPECs of {sum(bool(t.meters) for t in config.target)} targets …\n")
    if args.once:
        sys.stderr.write(f"two scrapes of each target, {config.period_s:g} s apart, and its meters' readings of them\n")


def _bound(page: tuple[str, int, str | None], ending: ExitStack) -> socket.socket:
    """The page's address, taken before anything else is opened."""
    from joulemill.monitor.web.server import listen_at

    listener = listen_at(page[0], page[1])
    ending.callback(listener.close)
    return listener


def _address(args: argparse.Namespace) -> tuple[str, int, str | None] | None:
    if args.listen is None:
        return None
    from joulemill.monitor.extra import needed
    from joulemill.monitor.web.server import check_open, listen_address

    host, port = listen_address(args.listen)
    token = os.environ.get(args.token_env) if args.token_env else None
    if args.token_env and not token:
        raise InputError(f"--token-env {args.token_env}: the environment has no such variable, or it is empty")
    check_open(host, token)
    needed()
    return host, port, token


def _exported(monitor: Starting, period_s: float) -> Callable[[], None]:
    """Export by OTLP from now on; what is returned ends it."""
    from joulemill.monitor.extra import needed
    from joulemill.monitor.web.otlp import exporter, start

    needed()
    return start(monitor, exporter(), period_s)


def _history(args: argparse.Namespace) -> History:
    from joulemill.monitor.history.store import History

    most = parse_quantity(args.store_max, "B", name="--store-max")
    if not LEAST_STORE_BYTE <= most < math.inf:
        raise InputError(f"--store-max {args.store_max}: it must be at least 1 MB, e.g. 2 GB")
    if not 0 < args.raw_days < math.inf:
        raise InputError(f"--raw-days {args.raw_days:g}: it must be a number of days, more than 0")
    return History.open(args.store, max_bytes=int(most), raw_days=args.raw_days, takeover=args.takeover)


def _app(monitor: Starting, history: History | None, token: str | None) -> Any:
    from joulemill.monitor.web.app import create_app

    def levers(name: str) -> dict[str, Any]:
        from joulemill.monitor.advice.levers import levers_of  # loaded when it is asked for: the page is there sooner

        return levers_of(monitor.snapshot(), name)

    return create_app(monitor, history, token, levers)


async def _reload(monitor: Monitor, again: Callable[[], MonitorConfig]) -> None:
    """A faulty configuration changes nothing and is told; the page and /metrics show it too."""
    from joulemill.servers.boundary import reason_of

    try:
        await monitor.reload(await asyncio.to_thread(again))
        sys.stderr.write("configuration read again\n")
    except Exception as fault:
        monitor.fault("configuration", reason_of(fault))
        sys.stderr.write(f"{reason_of(fault)}; the configuration before it stands\n")


def _on_hangup(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do ``work`` at each SIGHUP."""
    going: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = loop.create_task(work())
        going.add(task)
        task.add_done_callback(going.discard)

    loop.add_signal_handler(signal.SIGHUP, begin)


async def _watch(
    source: Starting,
    until: tuple[float | None, bool],
    served: tuple[Any, socket.socket | None],
    again: Callable[[], MonitorConfig] | None,
) -> None:
    """Serve the page from the start, open the meters beside it, then watch."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    early = asyncio.Event()
    if again is not None:  # one that comes while meters are opened is done after that
        loop.add_signal_handler(signal.SIGHUP, early.set)
    tasks = [_monitored(source, until, stop, again, early)]
    app, listener = served
    if listener is not None:
        from joulemill.monitor.web.server import serve_on

        tasks.append(serve_on(app, listener, stop, _shown))
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(_ending(task, stop))
    except* JoulemillError as faults:
        raise faults.exceptions[0] from None


async def _monitored(
    source: Starting,
    until: tuple[float | None, bool],
    stop: asyncio.Event,
    again: Callable[[], MonitorConfig] | None,
    early: asyncio.Event,
) -> None:
    monitor = await source.opened(stop)
    if monitor is None:
        return
    loop = asyncio.get_running_loop()
    if again is not None:
        _on_hangup(loop, lambda: _reload(monitor, again))
        if early.is_set():
            await _reload(monitor, again)
    duration_s, once = until
    if duration_s is not None:
        loop.call_later(duration_s, stop.set)
    first_look = asyncio.ensure_future(_until_each_was_seen(monitor, stop)) if once else None
    await monitor.run(stop)
    if first_look is not None:
        await first_look


def _shown(where: str) -> None:
    sys.stderr.write(f"page: {where}/   metrics: {where}/metrics\n")


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


#: How often --once looks whether every target has had its interval [s].
LOOK_EVERY_S = 0.2


#: A smaller history would hold next to nothing (assumed).
LEAST_STORE_BYTE = 1e6
