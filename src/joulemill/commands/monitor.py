"""``joulemill monitor``: watch servers and meters as they run, with no load of its own."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.commands.flags import page_token
from joulemill.errors import InputError
from joulemill.streams import print_json, print_text, tell
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.api.monitoring import MonitorResult

DEMO_ADDRESS, DEMO_STORE = "127.0.0.1:9477", Path("monitor-demo.db")
#: A smaller history would hold next to nothing (assumed).
LEAST_STORE_BYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    from joulemill.commands import monitor_config

    parser.usage = (
        "joulemill monitor CONFIG.toml [options]\n       joulemill monitor check CONFIG.toml\n"
        "       joulemill monitor config --from-prometheus URL | --from-pods FILE [options]"
    )
    parser.description = (
        "Watch model servers and their meters: metrics pages are scraped, joules and tokens accounted by interval; "
        "missed scrapes are recorded as gaps. With --listen it shows a page and /metrics, with "
        "--store it keeps a history. Exit code 1 where at the end no target could be scraped."
    )
    parser.add_argument("config", metavar="CONFIG.toml", nargs="?", type=Path, help="targets, meters and sites")
    parser.add_argument(
        "checked",
        metavar="CONFIG.toml",
        nargs="?",
        type=Path,
        help="with `monitor check CONFIG.toml`: try it once and list the targets and meters that do not answer",
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
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    monitor_config.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until told to end; 1 where at the end no target could be scraped."""
    from joulemill.api.monitoring import watch, watch_demo
    from joulemill.commands import monitor_config

    if monitor_config.asked(args):
        return monitor_config.run(args)
    if args.demo and args.config is None:
        args.listen = args.listen or DEMO_ADDRESS
        args.store = args.store or DEMO_STORE
        arguments = _arguments(args)
        tell("starting the embedded server with its bundled model …")
        return _shown(args, watch_demo(**arguments))
    if args.config == Path("check") and args.checked is not None:
        return check(args.checked)
    if args.checked is not None:
        raise InputError(f"{args.checked}: one CONFIG.toml is watched; `monitor check CONFIG.toml` tries one")
    if args.config is None or args.demo:
        raise InputError("name a CONFIG.toml (examples/monitor.toml shows one), or say --demo")
    return _shown(args, watch(args.config, **_arguments(args)))


def _arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The options as arguments of ``joulemill.watch``. InputError names the option that is wrong."""
    token = page_token(args.token_env) if args.listen else None
    most = parse_quantity(args.store_max, "B", name="--store-max")
    if args.store is not None and not LEAST_STORE_BYTE <= most < math.inf:
        raise InputError(f"--store-max {args.store_max}: it must be at least 1 MB, e.g. 2 GB")
    if args.store is not None and not 0 < args.raw_days < math.inf:
        raise InputError(f"--raw-days {args.raw_days:g}: it must be a number of days, more than 0")
    store_bounds = {} if args.store is None else {"store_max_byte": most, "raw_days": args.raw_days}
    return dict(
        listen=args.listen,
        token=token,
        store=args.store,
        takeover=args.takeover,
        otlp=args.otlp,
        duration_s=parse_quantity(args.duration, "s", name="--for") if args.duration else None,
        once=args.once,
        tell=tell,
        **store_bounds,
    )


def _shown(args: argparse.Namespace, watched: MonitorResult) -> int:
    if args.json:
        print_json(watched.to_dict())
    else:
        print_text(watched.text())
    return 0 if watched.any_up else 1


def check(path: Path) -> int:
    """Try a configuration once: 0 where every target and meter answers, 2 where one does not."""
    from joulemill.api.monitoring import check_config

    checked = check_config(path)
    for line in checked.notices:
        tell(line)
    sys.stdout.write("".join(f"{line}\n" for line in checked.faults))
    faults = len(checked.faults)
    verdict = "every one answers" if not faults else f"{faults} do not answer or offer nothing"
    sys.stdout.write(
        f"{path}: {checked.targets} targets, {checked.meters} meter SPECs, {checked.sites} sites: {verdict}\n"
    )
    return 2 if faults else 0
