"""``joulemill report RUN``: a recorded run again, analysed anew, in the view that is asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import MachineError

if TYPE_CHECKING:
    from joulemill.reports.document import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("run", metavar="RUN", help="a run folder, or a report as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write one offline HTML page")
    parser.add_argument(
        "--about",
        metavar="KEY=TEXT",
        action="append",
        default=[],
        help="of --export croissant: license, url, creator …",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the report document as JSON on stdout")
    shape.add_argument("--markdown", action="store_true", help="print Markdown on stdout")
    shape.add_argument("--latex", action="store_true", help="print a LaTeX table on stdout")
    shape.add_argument("--latex-row", action="store_true", help="print one LaTeX table row on stdout")
    shape.add_argument(
        "--export",
        choices=("hf", "cyclonedx", "sci", "llm-d", "croissant", "prometheus"),
        help="print it in a form that others read (docs/report.md)",
    )
    shape.add_argument("--schema", action="store_true", help="print the JSON Schema of the document on stdout")


def run(args: argparse.Namespace) -> int:
    """Load the run, print the view."""
    from joulemill.reports import serialise, tables
    from joulemill.reports.load import load_report

    if args.schema:
        import json

        sys.stdout.write(json.dumps(serialise.schema(), indent=2) + "\n")
        return 0
    if args.export:
        from joulemill.reports.exports.writing import export

        sys.stdout.write(export(args.export, Path(args.run), args.about))
        return 0
    report = load_report(Path(args.run))
    if args.html:
        write_page(report, args.html)
    views = {
        "json": serialise.to_json,
        "markdown": tables.markdown,
        "latex": tables.latex,
        "latex_row": tables.latex_row,
    }
    chosen = next((name for name in views if getattr(args, name)), None)
    if chosen:
        sys.stdout.write(views[chosen](report))
    else:
        print_terminal(report)
    return 0


def print_terminal(report: Report) -> None:
    """The report for people, on stderr."""
    from rich.console import Console

    from joulemill.reports import terminal

    terminal.show(report, Console(stderr=True))


def write_page(report: Report, path: Path) -> None:
    """The HTML page at ``path``."""
    from joulemill.reports.html import render

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(report), encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{path}: cannot be written ({fault.strerror}); choose another --html FILE") from fault
