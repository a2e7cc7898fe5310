"""``joulemill diagnose RUN``: every constraint that may have bound a run, with evidence and what would overturn it."""

from __future__ import annotations

import argparse

from joulemill.streams import print_json, results_console

EXIT_UNDECIDED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the candidates. 0 decided, 3 undecided."""
    from joulemill.api.runs import open_run
    from joulemill.reports.text.diagnosis import document, show

    diagnosis = open_run(args.run).diagnosis
    if args.json:
        print_json(document(diagnosis))
    else:
        show(diagnosis, results_console())
    return EXIT_UNDECIDED if diagnosis.name == "undecided" else 0
