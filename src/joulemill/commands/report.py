"""``joulemill report RUN``: a recorded run again, analyzed anew, in the view that is asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.output import baseline_of, print_series, print_terminal, verbose_argument
from joulemill.errors import InputError
from joulemill.files import write_text
from joulemill.streams import json_text, print_json

if TYPE_CHECKING:
    from joulemill.api.series import LeverExperiment, Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a run or sweep folder, or a report as JSON")
    parser.add_argument("--baseline", metavar="FILE", type=Path, help="also compare the run with this baseline")
    parser.add_argument(
        "--site",
        metavar="FILE",
        type=Path,
        help="site file (TOML): PUE, limits, carbon, price; instead of the run's own",
    )
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
    shape.add_argument("--json", action="store_true", help="print one JSON document on stdout")
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
    from joulemill.api.runs import open_run, report_schema

    if args.schema:
        print_json(report_schema())
        return 0
    path = Path(_one_run(args.runs))
    if args.export:
        sys.stdout.write(_exported(args, path))
        return 0
    if (path / "sweep.json").is_file():
        from joulemill.api.series import open_series

        series = open_series(path)
        if series is not None:
            return _series(args, series)
    opened = open_run(path, site=args.site, quality=args.quality)
    baseline = baseline_of(args.baseline)
    if args.html:
        write_text(args.html, opened.page(baseline))
    if args.json:
        sys.stdout.write(json_text(opened.to_dict()))
    elif args.markdown or args.latex or args.latex_row:
        from joulemill.reports import markdown_latex as tables

        view = tables.markdown if args.markdown else tables.latex if args.latex else tables.latex_row
        sys.stdout.write(view(opened.report))
    else:
        print_terminal(opened.report, baseline, verbose=args.verbose)
    return 0


def _exported(args: argparse.Namespace, path: Path) -> str:
    from joulemill.api.runs import open_run
    from joulemill.reports.exports.writing import export, export_folder

    if args.export != "croissant":
        return export(args.export, open_run(path, site=args.site, quality=args.quality).report)
    if args.site is not None or args.quality is not None:
        raise InputError("croissant describes run folders as recorded: leave --site and --quality out")
    return export_folder(path, args.about)


def _one_run(runs: list[str]) -> str:
    if not runs:
        raise InputError("name a run folder or a report: joulemill report RUN")
    if len(runs) > 1:
        runs = runs[1:] if runs[0] == "compare" and len(runs) > 2 else runs
        raise InputError(f"one run at a time; side by side: joulemill compare {' '.join(runs)}")
    return runs[0]


def _series(args: argparse.Namespace, series: Sweep | LeverExperiment) -> int:
    """The table, page or JSON of several runs; what is asked of one run only is refused."""
    one = next((n for n in ("baseline", "site", "quality", "markdown", "latex", "latex_row") if getattr(args, n)), None)
    if one is not None:
        raise InputError(
            f"--{one.replace('_', '-')} is for one run; {series.folder} is a sweep: name one of its run folders"
        )
    print_series(series, args.html, as_json=args.json)
    return 0
