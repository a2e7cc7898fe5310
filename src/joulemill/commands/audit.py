"""``joulemill audit REPORT``: what a report lacks, ours or another tool's; exit 0 complete, 1 incomplete."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError
from joulemill.streams import print_json, results_console

if TYPE_CHECKING:
    from joulemill.analysis.completeness import Completeness
    from joulemill.analysis.report import Report

_MARKS = {"stated": "✓", "open": "○", "not applicable": "–", "partial": "◐", "missing": "✗"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "report", metavar="REPORT", nargs="+", help="a run folder, a report as JSON, or files of a tool"
    )
    parser.add_argument("--part", type=int, metavar="N", help="which benchmark of a file that holds several, from 1")
    parser.add_argument("--json", action="store_true", help="print the grades as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Grade it, print every point."""
    from joulemill.analysis.completeness import grade

    grades = grade(read_any([Path(p) for p in args.report], args.part))
    if args.json:
        print_json(as_json(grades))
    else:
        _print(grades)
    return 0 if grades.complete else 1


def read_any(paths: list[Path], part: int | None = None) -> Report:
    """A report of ours, or one computed from another tool's files. Raises InputError where it is neither."""
    from joulemill.analysis.load import load_report
    from joulemill.analysis.run import analyze
    from joulemill.files import read_bytes
    from joulemill.formats.documents import parse_document
    from joulemill.importers.opening import import_files
    from joulemill.importers.recording import Choice

    first = paths[0]
    if len(paths) == 1 and (
        not first.is_file()
        or parse_document(first.name, read_bytes(first)).head.has("schema_version", "run_id", "energy")
    ):
        if part is not None:
            raise InputError(f"--part {part} is for a tool's file of several benchmarks; {first} is one run")
        return load_report(first)
    return analyze(import_files(paths, Choice(part)))


def as_json(grades: Completeness) -> dict[str, Any]:
    """The grades as one document."""
    good, every = grades.counts
    points = [
        {"name": p.name, "group": p.group, "status": p.status.value, "found": p.found, "fill": p.fill}
        for p in grades.points
    ]
    return {"complete": grades.complete, "points_in_order": good, "points": every, "grades": points}


def _print(grades: Completeness) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = results_console()
    table = Table(box=None, pad_edge=False)
    for column in ("", "point", "status", "found"):
        table.add_column(column, overflow="fold")
    for point in grades.points:
        table.add_row(_MARKS[point.status], point.name, point.status.value, escape(point.found))
    console.print(table)
    for point in grades.points:
        if point.fill:
            console.print(f"[bold]{point.name}[/]: {escape(point.fill)}")
    good, every = grades.counts
    console.print(f"{'complete' if grades.complete else 'incomplete'}: {good} of {every} points are in order")
