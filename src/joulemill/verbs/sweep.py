"""``joulemill bench --sweep`` and ``--probe``: several runs, their table and their page. No verb of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError, MachineError
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.bench.options import BenchOptions
    from joulemill.bench.sweep import Plan

EXIT_INTERRUPTED = 130


def sweep_arguments(group: Any) -> None:
    """Options of several runs that belong together."""
    group.add_argument("--sweep", metavar="KNOB=V,V…", help="a run at each value of concurrency, rate, input or output")
    group.add_argument(
        "--probe", action="store_true", help="change load, slots and threads one at a time (embedded server)"
    )
    group.add_argument(
        "--repeats", type=int, default=2, metavar="N", help="runs of each point, there and back (default: 2)"
    )
    group.add_argument("--point-duration", metavar="TIME", help="load of each run (default: --duration, else 20 s)")


def run_several(args: argparse.Namespace, options: BenchOptions) -> int:
    """Run the plan, print the table, write the page. 0 done, 130 interrupted with what was measured kept."""
    from joulemill.bench.folder import free_folder

    folder = options.out or free_folder(Path("runs"), time.time())
    _measured(plan_of(args, options), folder, options)
    from joulemill.reports.serialise import plain
    from joulemill.reports.sweep import sweep_result
    from joulemill.reports.sweep_view import render, show

    found = sweep_result(folder)
    page = args.html or folder / "sweep.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render(found), encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{page}: cannot be written ({fault.strerror}); choose another --html FILE") from fault
    if args.json:
        sys.stdout.write(json.dumps(plain(found), indent=2) + "\n")
    else:
        from rich.console import Console

        show(found, Console(stderr=True, highlight=False))
    sys.stderr.write(f"\nruns kept in {folder}; page: {page}\n")
    return 0 if found.status == "complete" else EXIT_INTERRUPTED


def plan_of(args: argparse.Namespace, options: BenchOptions) -> Plan:
    """The plan that the flags ask for. Raises InputError for flags that exclude each other or cannot be read."""
    from joulemill.bench.sweep import probe_plan, sweep_plan

    if args.sweep and args.probe:
        raise InputError("--sweep and --probe are two kinds of run; give one of them")
    point_s = None if args.point_duration is None else parse_quantity(args.point_duration, "s", name="--point-duration")
    if args.probe:
        return probe_plan(options, args.repeats, point_s)
    return sweep_plan(options, args.sweep, args.repeats, point_s)


def _measured(plan: Plan, folder: Path, options: BenchOptions) -> None:
    from joulemill.bench.microbench import measure_ceilings
    from joulemill.bench.progress import ProgressBar
    from joulemill.bench.run import Surroundings, on_own_loop
    from joulemill.bench.sweep import run_plan
    from joulemill.verbs.bench import api_key

    with ProgressBar() as progress:
        ceilings = None
        if options.url is None:
            progress.phase("ceilings", None)
            ceilings = measure_ceilings(options.threads)
        around = Surroundings(machine_ceilings=ceilings, api_key=api_key())
        # Ctrl-C between two runs: what was measured is in the folder already.
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            on_own_loop(run_plan(plan, folder, progress, around))
