"""``joulemill sweep KNOB=V,V…``: a run at each value of the load, their table and their page."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from joulemill.commands.bench_options import arguments_of, run_arguments, series_arguments
from joulemill.commands.output import check_page, print_series
from joulemill.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from joulemill.api.series import Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = "Runs the load at each value, interleaved, with `--duration` per run (default: 20 s)."
    about = "concurrency, rate, input-tokens or output-tokens, with its values: concurrency=1,2,4,8"
    parser.add_argument("points", metavar="KNOB=V,V…", help=about)
    series = parser.add_argument_group("sweep")
    repeats_argument(series)
    series_arguments(series, resumes=True)
    run_arguments(parser)


def repeats_argument(group: Any) -> None:
    """The option that says how often each point is run."""
    about = "runs per point, in alternating order (default: 2)"
    group.add_argument("--repeats", type=int, default=2, metavar="N", help=about)


def run(args: argparse.Namespace) -> int:
    """Run the plan, print the table, write the page. 0 done, 130 interrupted with what was measured kept."""
    from joulemill.api.series import sweep
    from joulemill.commands.progress import ProgressBar

    arguments = arguments_of(args)
    check_page(args.html)
    with ProgressBar() as progress:
        series = sweep(args.points, repeats=args.repeats, progress=progress, **arguments)
    return show(args, series)


def show(args: argparse.Namespace, series: Sweep) -> int:
    """Print the table of ``series``, write its page; the exit code."""
    page = args.html or series.folder / "sweep.html"
    print_series(series, page, as_json=args.json)
    sys.stderr.write(f"\nruns kept in {series.folder}; page: {page}\n")
    if series.status == "complete":
        return 0
    sys.stderr.write(
        f"joulemill {args.command}: interrupted after {series.done} of {series.planned} runs; rerun with --out "
        f"{series.folder} to resume\n"
    )
    return EXIT_INTERRUPTED
