"""``joulemill bench --sweep`` and ``--probe``: several runs, their table and their page. No verb of its own."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.commands.inputs import keep_grid
from joulemill.commands.output import print_sweep
from joulemill.errors import EXIT_INTERRUPTED, InputError
from joulemill.streams import tell
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.bench.machine.power_limits import Change, Limits
    from joulemill.bench.options import BenchOptions
    from joulemill.bench.series.plan import Plan


def sweep_arguments(group: Any) -> None:
    """Options of several runs that belong together."""
    group.add_argument("--sweep", metavar="KNOB=V,V…", help="a run at each value of concurrency, rate, input or output")
    group.add_argument(
        "--probe", action="store_true", help="change load, slots and threads one at a time (embedded server)"
    )
    group.add_argument(
        "--probe-board",
        metavar="WHAT",
        help="power, clock or power,clock: probe also with the NVIDIA boards of this machine lowered to 70 %%, and put "
        "back after (needs root; clocks end unlocked; only with --url of a server on this machine)",
    )
    group.add_argument(
        "--repeats", type=int, default=2, metavar="N", help="runs of each point, there and back (default: 2)"
    )
    group.add_argument("--point-duration", metavar="TIME", help="load of each run (default: --duration, else 20 s)")


def run_several(args: argparse.Namespace, options: BenchOptions) -> int:
    """Run the plan, print the table, write the page. 0 done, 2 interrupted with what was measured kept."""
    from joulemill.recording.writer import free_folder

    folder = options.out or free_folder(Path("runs"), time.time())
    with ExitStack() as stack:
        limits = _limits(args, options, folder)
        if limits is not None:
            stack.enter_context(limits)
        plan = plan_of(args, options, None if limits is None else limits.changes)
        _measured(plan, folder, options, limits)
    page = args.html or folder / "sweep.html"
    found = print_sweep(folder, page, as_json=args.json)
    sys.stderr.write(f"\nruns kept in {folder}; page: {page}\n")
    if found.status == "complete":
        return 0
    sys.stderr.write(
        f"joulemill bench: interrupted after {sum(p.runs + len(p.left_out) for p in found.points)} of "
        f"{len(plan.order)} runs; the same command with --out {folder} goes on with the rest\n"
    )
    return EXIT_INTERRUPTED


def _limits(args: argparse.Namespace, options: BenchOptions, folder: Path) -> Limits | None:
    """The boards that ``--probe-board`` asks for; None where it is not given."""
    if args.probe_board is None:
        return None
    if not args.probe:
        raise InputError("--probe-board belongs to --probe: give both")
    from joulemill.bench.facts import serves_here
    from joulemill.bench.machine.nvml_limits import below_default, metered_boards
    from joulemill.bench.machine.power_limits import left_behind, open_limits
    from joulemill.meters.meter import MeterContext

    context = MeterContext(notice=lambda text: _tell(f"probe: {text}"))
    here = options.url is not None and serves_here(options.url)
    limits = open_limits(
        options.url, here, context, lambda: metered_boards(context, options.meters), args.probe_board, folder
    )
    for text in (*left_behind(folder.parent), *below_default(context)):
        context.notice(text)
    for change in limits.changes:
        context.notice(f"{change.label} for one run at a time, put back after each")
    return limits


def _tell(text: str) -> None:
    tell(text)


def plan_of(args: argparse.Namespace, options: BenchOptions, changes: tuple[Change, ...] | None = None) -> Plan:
    """The plan that the flags ask for. Raises InputError for flags that exclude each other or cannot be read."""
    from joulemill.bench.series.plan import probe_plan, sweep_plan

    if args.sweep and args.probe:
        raise InputError("--sweep and --probe are two kinds of run; give one of them")
    point_s = None if args.point_duration is None else parse_quantity(args.point_duration, "s", name="--point-duration")
    if args.probe:
        return probe_plan(options, args.repeats, point_s, changes)
    return sweep_plan(options, args.sweep, args.repeats, point_s)


def _measured(plan: Plan, folder: Path, options: BenchOptions, limits: Limits | None) -> None:
    from joulemill.bench.machine.microbenchmark import measure_ceilings
    from joulemill.bench.preflight import announced
    from joulemill.bench.progress import ProgressBar
    from joulemill.bench.run import Surroundings, on_own_loop
    from joulemill.bench.series.runner import run_plan
    from joulemill.commands.inputs import api_key

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
