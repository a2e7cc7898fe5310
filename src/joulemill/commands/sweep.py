"""``joulemill sweep KNOB=V,V…``: a run at each value of the load, their table and their page."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.commands.bench_options import options_of, run_arguments, series_arguments
from joulemill.commands.inputs import api_key, keep_grid
from joulemill.commands.output import print_sweep
from joulemill.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from joulemill.bench.machine.power_limits import Limits
    from joulemill.bench.options import BenchOptions
    from joulemill.bench.series.plan import Plan


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
    from joulemill.bench.series.plan import sweep_plan

    options = options_of(args)
    folder = series_folder(args, options)
    return run_series(args, sweep_plan(options, args.points, args.repeats), folder, options)


def series_folder(args: argparse.Namespace, options: BenchOptions) -> Path:
    """The folder of the series, once all that can be checked before it is right."""
    from joulemill.bench.preflight import check_before, check_page
    from joulemill.recording.writer import free_folder

    check_before(replace(options, out=None))
    check_page(args.html)
    return options.out or free_folder(Path("runs"), time.time())


def run_series(
    args: argparse.Namespace, plan: Plan, folder: Path, options: BenchOptions, limits: Limits | None = None
) -> int:
    """Run ``plan``, print its table, write its page; the exit code."""
    _measured(plan, folder, options, limits)
    page = args.html or folder / "sweep.html"
    series = print_sweep(folder, page, as_json=args.json)
    sys.stderr.write(f"\nruns kept in {folder}; page: {page}\n")
    if series.status == "complete":
        return 0
    done = sum(p.runs + len(p.left_out) for p in series.points)
    sys.stderr.write(
        f"joulemill {args.command}: interrupted after {done} of {len(plan.order)} runs; rerun with --out {folder} to "
        "resume\n"
    )
    return EXIT_INTERRUPTED


def _measured(plan: Plan, folder: Path, options: BenchOptions, limits: Limits | None) -> None:
    from joulemill.bench.machine.microbenchmark import measure_ceilings
    from joulemill.bench.preflight import announced
    from joulemill.bench.progress import ProgressBar
    from joulemill.bench.run import Surroundings, on_own_loop
    from joulemill.bench.series.runner import run_plan

    with ProgressBar() as progress:
        ceilings = None
        if options.url is None:
            progress.phase("ceilings", None)
            ceilings = measure_ceilings(options.threads)
        around = Surroundings(machine_ceilings=ceilings, api_key=api_key())
        progress.note(announced(plan.settings[0].options, len(plan.order)))
        # Ctrl-C between two runs: what was measured is in the folder already.
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            on_own_loop(run_plan(plan, folder, progress, around, limits=limits, after=keep_grid))
