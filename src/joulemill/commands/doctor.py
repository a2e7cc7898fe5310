"""``joulemill doctor``: what this machine and these endpoints can meter, and how to get what is missing."""

from __future__ import annotations

import argparse

from joulemill.streams import print_json, print_text, tell
from joulemill.units import parse_quantity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--meter", action="append", metavar="SPEC", default=[], help="also check this meter (repeatable)"
    )
    parser.add_argument(
        "--url", metavar="URL", help="also ask this server what it is, what it serves and counts, and its clock"
    )
    parser.add_argument("--model", metavar="NAME", help="model at --url, where it serves several or lists none")
    parser.add_argument("--metrics-url", metavar="URL", help="its Prometheus page, where that is not beside --url")
    parser.add_argument("--duration", default="10s", metavar="TIME", help="length of the live check (default: 10 s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Examine and tell; 0 where everything that was asked for (a server, meters; else any sensor) answers, else 1."""
    from joulemill.api.machine import doctor

    seconds = parse_quantity(args.duration, "s", name="--duration")

    def begun(meters: int) -> None:
        tell(f"reading {meters} meter{'s' * (meters != 1)} for {seconds:g} s …")

    examined = doctor(
        args.meter, url=args.url, model=args.model, metrics_url=args.metrics_url, duration_s=seconds, begun=begun
    )
    if args.json:
        print_json(examined.to_dict())
    else:
        print_text(f"{examined.text()}\n")
    return 0 if examined.answers else 1
