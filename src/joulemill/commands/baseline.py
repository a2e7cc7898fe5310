"""``joulemill baseline set RUN…`` and ``baseline show``: the run that later ones are shown against, kept in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from joulemill.errors import InputError
from joulemill.streams import print_json, print_text, tell

DEFAULT_FILE = Path("joulemill-baseline.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("action", choices=("set", "show"), help="set: keep runs as the baseline; show: print it")
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path, help="run folders or reports; several are repeats")
    parser.add_argument("--name", metavar="NAME", help="name of the baseline (default: the first run's folder)")
    parser.add_argument(
        "--file", type=Path, metavar="FILE", default=DEFAULT_FILE, help=f"the baseline (default: {DEFAULT_FILE})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Keep it or show it."""
    if args.action == "set":
        _keep(args)
    elif args.runs:
        raise InputError("baseline show takes no run; --file names the baseline")
    return _show(args)


def _keep(args: argparse.Namespace) -> None:
    from joulemill.api.runs import save_baseline

    if not args.runs:
        raise InputError("give the run to keep: joulemill baseline set RUN")
    save_baseline(args.file, args.runs, args.name)
    tell(f"baseline kept in {args.file}; use it: joulemill gate {args.file} NEW")


def _show(args: argparse.Namespace) -> int:
    from joulemill.api.runs import baseline_document, open_baseline
    from joulemill.reports.text.run import one_line

    baseline = open_baseline(args.file)
    if args.json:
        print_json(baseline_document(baseline, args.file))
        return 0
    print_text(f"baseline {baseline.name} ({args.file})")
    for report in baseline.reports:
        started = report.conditions.started or "start unknown"
        print_text(f"  {report.run_id}  {started}  {one_line(report)}")
    return 0
