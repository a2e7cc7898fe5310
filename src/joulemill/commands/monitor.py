"""``joulemill monitor``: watch servers and meters as they run, with no load of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.monitor_watch import watch
from joulemill.errors import InputError

if TYPE_CHECKING:
    pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    from joulemill.commands import monitor_config

    parser.usage = (
        "joulemill monitor CONFIG.toml [options]\n       joulemill monitor check CONFIG.toml\n"
        "       joulemill monitor config --from-prometheus URL | --from-pods FILE [options]"
    )
    parser.description = (
        "Watch model servers and their meters: metrics pages are scraped, joules and tokens accounted by interval; "
        "what is not observed is a gap. With --listen it shows a page and /metrics, with --store it keeps a history. "
        "Exit code 1 where at the end no target could be scraped."
    )
    parser.add_argument("config", metavar="CONFIG.toml", nargs="?", type=Path, help="targets, meters and sites")
    parser.add_argument(
        "checked",
        metavar="CONFIG.toml",
        nargs="?",
        type=Path,
        help="with `monitor check CONFIG.toml`: try it once and list what does not answer",
    )
    parser.add_argument("--demo", action="store_true", help="watch the embedded server under a light load instead")
    parser.add_argument("--listen", metavar="HOST:PORT", help="show the page and /metrics there, e.g. 127.0.0.1:9477")
    parser.add_argument("--token-env", metavar="NAME", help="environment variable that holds the page's access token")
    parser.add_argument("--store", metavar="FILE", type=Path, help="keep the history in this SQLite file")
    parser.add_argument("--store-max", metavar="SIZE", default="2 GB", help="the file's bound (default: 2 GB)")
    parser.add_argument(
        "--raw-days", metavar="N", type=float, default=1.0, help="keep individual intervals for N days (default: 1)"
    )
    parser.add_argument(
        "--takeover",
        action="store_true",
        help="take over a history that another monitor writes; that one then stops writing",
    )
    parser.add_argument("--otlp", action="store_true", help="also export by OTLP (OTEL_EXPORTER_OTLP_ENDPOINT)")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="end after this time, e.g. 60s (default: never)")
    parser.add_argument("--once", action="store_true", help="end when each target was scraped twice, and show it")
    parser.add_argument("--json", action="store_true", help="print what is known at the end as JSON on stdout")
    monitor_config.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until told to end."""
    from joulemill.commands import monitor_config
    from joulemill.monitor.config import load_config

    if monitor_config.asked(args):
        return monitor_config.run(args)
    if args.demo and args.config is None:
        from joulemill.commands import monitor_demo

        return monitor_demo.run(args)
    if args.config == Path("check") and args.checked is not None:
        return check(args.checked)
    if args.checked is not None:
        raise InputError(f"{args.checked}: one CONFIG.toml is watched; `monitor check CONFIG.toml` tries one")
    if args.config is None or args.demo:
        raise InputError("name a CONFIG.toml (examples/monitor.toml shows one), or say --demo")
    return watch(load_config(args.config), args, lambda: load_config(args.config))


def check(path: Path) -> int:
    """Try a configuration once: 0 where every target and meter answers, 2 where one does not."""
    from joulemill.monitor.checking import faults
    from joulemill.monitor.config import load_config

    config = load_config(path)
    dead = faults(config)
    meters = sum(len(t.meters) for t in config.target)
    sys.stdout.write("".join(f"{line}\n" for line in dead))
    verdict = "every one answers" if not dead else f"{len(dead)} do not answer or offer nothing"
    sys.stdout.write(
        f"{path}: {len(config.target)} targets, {meters} meter SPECs, {len(config.site)} sites: {verdict}\n"
    )
    return 2 if dead else 0
