"""``joulemill monitor``: watch servers and meters as they run, with no load of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError
from joulemill.streams import print_json
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.monitor.config import MonitorConfig
    from joulemill.monitor.history import History
    from joulemill.monitor.loop import Monitor
    from joulemill.monitor.snapshot import SiteState, Snapshot

#: How often --once looks whether every target has had its interval [s].
LOOK_EVERY_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.description = (
        "Watch model servers and their meters: metrics pages are scraped, joules and tokens accounted by interval; "
        "what is not observed is a gap. With --listen it shows a page and /metrics, with --store it keeps a history. "
        "Exit code 1 where at the end no target could be scraped."
    )
    parser.add_argument("config", metavar="CONFIG.toml", nargs="?", type=Path, help="targets, meters and sites")
    parser.add_argument("--demo", action="store_true", help="watch the embedded server under a light load instead")
    parser.add_argument("--listen", metavar="HOST:PORT", help="show the page and /metrics there, e.g. 127.0.0.1:9477")
    parser.add_argument("--token-env", metavar="NAME", help="environment variable with the token that the page wants")
    parser.add_argument("--store", metavar="FILE", type=Path, help="keep the history in this SQLite file")
    parser.add_argument("--store-max", metavar="SIZE", default="2 GB", help="the file's bound (default: 2 GB)")
    parser.add_argument("--raw-days", metavar="N", type=float, default=1.0, help="keep single intervals so long")
    parser.add_argument("--otlp", action="store_true", help="also export by OTLP (OTEL_EXPORTER_OTLP_ENDPOINT)")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="end after this time, e.g. 60s (default: never)")
    parser.add_argument("--once", action="store_true", help="end when each target has had one interval")
    parser.add_argument("--json", action="store_true", help="print what is known at the end as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Watch until told to end."""
    from joulemill.monitor.config import load_config

    if args.demo and args.config is None:
        from joulemill.verbs import monitor_demo

        return monitor_demo.run(args)
    if args.config is None or args.demo:
        raise InputError("name a CONFIG.toml (examples/monitor.toml shows one), or say --demo")
    return watch(load_config(args.config), args, lambda: load_config(args.config))


def watch(config: MonitorConfig, args: argparse.Namespace, again: Callable[[], MonitorConfig] | None = None) -> int:
    """Watch what ``config`` names, as the options ask; on SIGHUP go on with what ``again`` reads."""
    from joulemill.monitor.keeping import Keeper
    from joulemill.monitor.loop import Monitor

    duration_s = parse_quantity(args.duration, "s", name="--for") if args.duration else None
    page = _address(args)
    with ExitStack() as ending:
        history = keeper = None
        if args.store is not None:
            history = _history(args)
            ending.callback(history.close)
            keeper = Keeper(history)
            ending.callback(keeper.close)
        kept = (history.totals(), history.site_totals()) if history else (None, None)
        monitor = Monitor(config, keeper, *kept)
        if args.otlp:
            ending.callback(_exported(monitor, config.period_s))
        app = None if page is None else _app(monitor, history, page[2])
        if page is not None:
            from joulemill.monitor.serve import shown

            where = shown(page[0], page[1])
            sys.stderr.write(f"page: {where}/   metrics: {where}/metrics\n")
        asyncio.run(_watch(monitor, duration_s, args.once, (app, page), again))
    now = monitor.snapshot()
    _tell(now, args.json)
    return 0 if any(t.up for t in now.targets) else 1


def _address(args: argparse.Namespace) -> tuple[str, int, str | None] | None:
    if args.listen is None:
        return None
    from joulemill.monitor.extra import needed
    from joulemill.monitor.serve import check_open, listen_address

    host, port = listen_address(args.listen)
    token = os.environ.get(args.token_env) if args.token_env else None
    if args.token_env and not token:
        raise InputError(f"--token-env {args.token_env}: the environment has no such variable, or it is empty")
    check_open(host, token)
    needed()
    return host, port, token


def _exported(monitor: Monitor, period_s: float) -> Callable[[], None]:
    """Export by OTLP from now on; what is returned ends it."""
    from joulemill.monitor.extra import needed
    from joulemill.monitor.otlp import exporter, start

    needed()
    return start(monitor, exporter(), period_s)


def _history(args: argparse.Namespace) -> History:
    from joulemill.monitor.history import History

    most = int(parse_quantity(args.store_max, "B", name="--store-max"))
    if args.raw_days <= 0:
        raise InputError(f"--raw-days {args.raw_days:g}: it must be more than 0")
    return History.open(args.store, max_bytes=most, raw_days=args.raw_days)


def _app(monitor: Monitor, history: History | None, token: str | None) -> Any:
    from joulemill.monitor.levers import levers_of
    from joulemill.monitor.web import create_app

    return create_app(monitor, history, token, lambda name: levers_of(monitor.snapshot(), name))


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
    monitor: Monitor,
    duration_s: float | None,
    once: bool,
    served: tuple[Any, Any],
    again: Callable[[], MonitorConfig] | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if again is not None:
        _on_hangup(loop, lambda: _reload(monitor, again))
    if duration_s is not None:
        loop.call_later(duration_s, stop.set)
    app, page = served
    tasks = [monitor.run(stop)]
    if once:
        tasks.append(_until_each_was_seen(monitor, stop))
    if page is not None:
        from joulemill.monitor.serve import serve

        tasks.append(serve(app, page[0], page[1], stop))
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(_ending(task, stop))
    except* InputError as faults:
        raise faults.exceptions[0] from None


async def _ending(task: Any, stop: asyncio.Event) -> None:
    """``task``; where it fails, the others end too."""
    try:
        await task
    except BaseException:
        stop.set()
        raise


async def _until_each_was_seen(monitor: Monitor, stop: asyncio.Event) -> None:
    """Stop when each target has had an interval, be it a gap."""
    while not stop.is_set() and any(t.latest is None for t in monitor.snapshot().targets):
        await asyncio.sleep(LOOK_EVERY_S)
    stop.set()


def _tell(now: Snapshot, as_json: bool) -> None:
    from joulemill.monitor.snapshot import TokenKind

    if as_json:
        print_json(_document(now))
        return
    for t in now.targets:
        output = t.tokens.get(TokenKind.OUTPUT)
        made = "output unknown" if output is None else f"{output:.0f} output tokens"
        joules = ", ".join(f"{j:.1f} J {scope} ({basis})" for (scope, _, basis), j in t.energy_j.items())
        state = "up" if t.up else f"down: {t.reason}"
        sys.stdout.write(f"{t.facts.target}: {state}; {made}; {joules or 'no joules known'}\n")
    for s in now.metered:
        sys.stdout.write(f"{s.site}: {_site(s)}\n")


def _site(s: SiteState) -> str:
    """A metered site in one line."""
    from joulemill.monitor.site_energy import power_of, pue_now

    told = []
    for e in s.latest.energy.values() if s.latest is not None else ():
        watts, half = power_of(e, s.latest.duration_s if s.latest else 0.0)
        if watts is not None:
            told.append(f"{watts:.1f} W {e.scope} ({e.basis}{'' if half is None else f', ± {half:.1f} W'})")
    pue = pue_now(s)
    if pue is None or pue.value is None:
        return "; ".join([*told, f"PUE unknown: {'not metered' if pue is None else pue.reason}"])
    bounds = "" if pue.low is None or pue.high is None else f", {pue.low:.3f} to {pue.high:.3f}"
    return "; ".join([*told, f"PUE {pue.value:.3f} ({pue.basis}{bounds})"])


def _document(now: object) -> object:
    if is_dataclass(now):
        return {f.name: _document(getattr(now, f.name)) for f in fields(now)}
    if isinstance(now, Mapping):
        return {"/".join(k) if isinstance(k, tuple) else str(k): _document(v) for k, v in now.items()}
    return [_document(v) for v in now] if isinstance(now, (tuple, list)) else now
