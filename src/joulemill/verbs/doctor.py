"""``joulemill doctor``: what this machine and these endpoints can meter, and how to get what is missing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from joulemill.streams import print_json, print_text, tell
from joulemill.units import parse_quantity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--meter", action="append", metavar="SPEC", default=[], help="also check this meter (repeatable)"
    )
    parser.add_argument("--url", help="also check this server's metrics page and clock")
    parser.add_argument("--duration", default="10s", metavar="TIME", help="length of the live check (default: 10 s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Examine and tell; 0 where everything that was asked for can be metered, else 1."""
    from joulemill.bench.limits import left_behind
    from joulemill.meters.doctor import as_document, examine, summary
    from joulemill.meters.meter import MeterContext
    from joulemill.meters.nvml_limits import below_default

    seconds = parse_quantity(args.duration, "s", name="--duration")
    context = MeterContext()

    def begun(meters: int) -> None:
        tell(f"reading {meters} meter{'s' * (meters != 1)} for {seconds:g} s …")

    report = examine(context, args.meter, args.url, duration_s=seconds, begun=begun)
    report = replace(report, notices=(*report.notices, *left_behind(Path("runs")), *below_default(context)))
    if args.json:
        print_json(as_document(report))
    else:
        print_text("\n".join(summary(report)))
    return 0 if report.healthy else 1
