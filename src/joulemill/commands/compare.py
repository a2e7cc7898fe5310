"""``joulemill compare A B [C …]``: runs side by side; conditions that differ come first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.files import write_text
from joulemill.streams import print_json, results_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="two run folders or reports, or more")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write one offline HTML page")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    shape.add_argument("--markdown", action="store_true", help="print Markdown on stdout")
    shape.add_argument("--latex", action="store_true", help="print a LaTeX table on stdout")


def run(args: argparse.Namespace) -> int:
    """Load the runs, print the view."""
    from joulemill.api.comparing import compare
    from joulemill.reports import comparison as compare_views

    comparison = compare(*args.runs)
    if args.html:
        write_text(args.html, compare_views.render(comparison.comparison))
    if args.json:
        print_json(comparison.to_dict())
    elif args.markdown:
        sys.stdout.write(comparison.text())
    elif args.latex:
        sys.stdout.write(compare_views.latex(comparison.comparison))
    else:
        compare_views.show(comparison.comparison, results_console())
    return 0
