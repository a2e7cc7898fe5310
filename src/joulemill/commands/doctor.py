"""``joulemill doctor``: what this machine and these endpoints can meter, and how to get what is missing."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import InputError
from joulemill.streams import print_json, print_text, tell
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.servers.introduction import Introduction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--meter", action="append", metavar="SPEC", default=[], help="also check this meter (repeatable)"
    )
    parser.add_argument("--url", help="also ask this server what it is, what it serves and counts, and its clock")
    parser.add_argument("--model", metavar="NAME", help="model at --url, where it serves several or lists none")
    parser.add_argument("--metrics-url", metavar="URL", help="its Prometheus page, where that is not beside --url")
    parser.add_argument("--duration", default="10s", metavar="TIME", help="length of the live check (default: 10 s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Examine and tell; 0 where everything that was asked for (a server, meters; else any sensor) answers, else 1."""
    from joulemill.bench.machine.nvml_limits import below_default
    from joulemill.bench.machine.power_limits import left_behind
    from joulemill.meters.doctor import as_document, examine, summary
    from joulemill.meters.meter import MeterContext

    seconds = parse_quantity(args.duration, "s", name="--duration")
    context = MeterContext()

    def begun(meters: int) -> None:
        tell(f"reading {meters} meter{'s' * (meters != 1)} for {seconds:g} s …")

    server = _introduced(args)
    report = examine(context, args.meter, duration_s=seconds, begun=begun)
    report = replace(report, notices=(*report.notices, *left_behind(Path("runs")), *below_default(context)))
    if args.json:
        print_json({**as_document(report), "server": None if server is None else asdict(server)})
    else:
        print_text("\n".join([*summary(report), *(server.lines() if server is not None else ())]) + "\n")
    server_alone = server is not None and not args.meter
    return 0 if (server_alone or report.answers(args.meter)) and (server is None or server.error is None) else 1


def _introduced(args: argparse.Namespace) -> Introduction | None:
    """The server at ``--url``, asked before the meters are read: a wrong address shows at once."""
    if args.url is None:
        if args.model is not None or args.metrics_url is not None:
            raise InputError("--model and --metrics-url belong to --url: give it too")
        return None
    from joulemill.bench.facts import serves_here
    from joulemill.commands.inputs import api_key
    from joulemill.servers.endpoint import Endpoint
    from joulemill.servers.introduction import introduce

    endpoint = Endpoint(url=args.url, model=args.model or "", api_key=api_key(), metrics=args.metrics_url)
    return introduce(endpoint, here=serves_here(endpoint.url))
