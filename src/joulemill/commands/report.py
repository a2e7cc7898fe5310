"""``joulemill report RUN``: a recorded run again, analysed anew, in the view that is asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.output import baseline_of, print_terminal, verbose_argument, write_page
from joulemill.errors import InputError
from joulemill.streams import json_text, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from joulemill.ledger.record import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a run or sweep folder, or a report as JSON")
    parser.add_argument("--baseline", metavar="FILE", type=Path, help="also compare the run with this baseline")
    parser.add_argument("--site", metavar="FILE", type=Path, help="at this site instead: TOML (examples/site.toml)")
    parser.add_argument("--quality", metavar="lm-eval:FILE", help="accuracy measured by lm-evaluation-harness, instead")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write one offline HTML page")
    parser.add_argument(
        "--about",
        metavar="KEY=TEXT",
        action="append",
        default=[],
        help="metadata for --export croissant: license, url, creator …",
    )
    verbose_argument(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the report document as JSON on stdout")
    shape.add_argument("--markdown", action="store_true", help="print Markdown on stdout")
    shape.add_argument("--latex", action="store_true", help="print a LaTeX table on stdout")
    shape.add_argument("--latex-row", action="store_true", help="print one LaTeX table row on stdout")
    shape.add_argument(
        "--export",
        choices=("hf", "cyclonedx", "sci", "llm-d", "croissant", "prometheus"),
        help="print it in another tool's format (docs/report.md)",
    )
    shape.add_argument("--schema", action="store_true", help="print the JSON Schema of the document on stdout")


def run(args: argparse.Namespace) -> int:
    """Load the run, print the view."""
    from joulemill.analysis import serialization as serialise
    from joulemill.analysis.load import load_run
    from joulemill.reports import markdown_latex as tables

    if args.schema:
        print_json(serialise.schema())
        return 0
    args.run = _one_run(args.runs)
    if args.export:
        from joulemill.reports.exports.writing import export

        sys.stdout.write(export(args.export, Path(args.run), args.about, altered(args.site, args.quality)))
        return 0
    if is_sweep(Path(args.run)):
        return _sweep(args)
    report, measured = load_run(Path(args.run), altered(args.site, args.quality))
    baseline = baseline_of(args.baseline)
    if args.html:
        write_page(report, args.html, baseline, Path(args.run), measured)
    views = {
        "json": lambda r: json_text(serialise.plain(r)),
        "markdown": tables.markdown,
        "latex": tables.latex,
        "latex_row": tables.latex_row,
    }
    chosen = next((name for name in views if getattr(args, name)), None)
    if chosen:
        sys.stdout.write(views[chosen](report))
    else:
        print_terminal(report, baseline, verbose=args.verbose)
    return 0


def _one_run(runs: list[str]) -> str:
    if not runs:
        raise InputError("name a run folder or a report: joulemill report RUN")
    if len(runs) > 1:
        raise InputError(f"one run at a time; side by side: joulemill compare {' '.join(runs)}")
    return runs[0]


def is_sweep(path: Path) -> bool:
    """Whether the folder holds a sweep or a probe: several runs."""
    return (path / "sweep.json").is_file() and not (path / "run.json").exists()


def _sweep(args: argparse.Namespace) -> int:
    """A sweep's table, page or JSON; what is asked of one run only is refused."""
    from joulemill.commands.output import print_sweep

    one = next((n for n in ("baseline", "site", "quality", "markdown", "latex", "latex_row") if getattr(args, n)), None)
    if one is not None:
        raise InputError(
            f"--{one.replace('_', '-')} is for one run; {args.run} is a sweep: name one of its run folders"
        )
    from joulemill.analysis.lever_experiment import is_experiment

    if is_experiment(Path(args.run)):
        from joulemill.commands.output import show

        show(Path(args.run), args.html, as_json=args.json)
        return 0
    print_sweep(Path(args.run), args.html, as_json=args.json)
    return 0


def altered(site: Path | None, quality: str | None) -> Callable[[RunRecord], RunRecord] | None:
    """What makes of a record the one at ``site`` with ``quality``; None where neither is asked for."""
    if site is None and quality is None:
        return None
    from joulemill.commands.inputs import with_quality, with_site

    def changed_record(record: RunRecord) -> RunRecord:
        there = record if site is None else with_site(record, site)
        return there if quality is None else with_quality(there, quality)

    return changed_record
