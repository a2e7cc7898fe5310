"""``joulemill audit REPORT``: what a report lacks, ours or another tool's; exit 0 complete, 1 incomplete."""

from __future__ import annotations

import argparse

from joulemill.streams import print_json, results_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "report", metavar="REPORT", nargs="+", help="a run folder, a report as JSON, or files of a tool"
    )
    parser.add_argument("--part", type=int, metavar="N", help="which benchmark of a file that holds several, from 1")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Grade it, print every point."""
    from joulemill.api.auditing import audit
    from joulemill.reports.text.audit import show

    graded = audit(*args.report, part=args.part)
    if args.json:
        print_json(graded.to_dict())
    else:
        show(graded.grades, results_console())
    return 0 if graded.complete else 1
