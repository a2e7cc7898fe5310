"""``joulemill monitor``: watch servers and meters as they run, with no load of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.monitor.loop import Monitor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, help="targets, meters and sites")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="end after this time, e.g. 60s (default: never)")
    parser.add_argument("--once", action="store_true", help="end after two periods: one interval of each target")
    parser.add_argument("--json", action="store_true", help="print what is known at the end as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Watch until told to end."""
    from joulemill.monitor.config import load_config
    from joulemill.monitor.loop import Monitor
    from joulemill.monitor.snapshot import TokenKind

    config = load_config(args.config)
    duration_s = parse_quantity(args.duration, "s", name="--for") if args.duration else None
    if args.once:
        duration_s = 2 * config.period_s + config.timeout_s + 2 * config.meter_period_s
    monitor = Monitor(config)
    asyncio.run(_watch(monitor, duration_s))
    now = monitor.snapshot()
    if args.json:
        sys.stdout.write(json.dumps(_document(now), indent=2) + "\n")
    else:
        for t in now.targets:
            output = t.tokens.get(TokenKind.OUTPUT)
            made = "output unknown" if output is None else f"{output:.0f} output tokens"
            joules = ", ".join(f"{j:.1f} J {scope} ({basis})" for (scope, _, basis), j in t.energy_j.items())
            state = "up" if t.up else f"down: {t.reason}"
            sys.stdout.write(f"{t.facts.target}: {state}; {made}; {joules or 'no joules known'}\n")
    return 0


async def _watch(monitor: Monitor, duration_s: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if duration_s is not None:
        loop.call_later(duration_s, stop.set)
    await monitor.run(stop)


def _document(now: object) -> object:

    if is_dataclass(now):
        return {f.name: _document(getattr(now, f.name)) for f in fields(now)}
    if isinstance(now, Mapping):
        return {"/".join(k) if isinstance(k, tuple) else str(k): _document(v) for k, v in now.items()}
    return [_document(v) for v in now] if isinstance(now, (tuple, list)) else now
