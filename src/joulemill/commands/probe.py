"""``joulemill probe``: change load, slots, threads or board limits one at a time, to see what the rate depends on."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.bench_options import options_of, run_arguments, series_arguments
from joulemill.commands.sweep import repeats_argument, run_series, series_folder
from joulemill.streams import tell

if TYPE_CHECKING:
    from joulemill.bench.machine.power_limits import Limits
    from joulemill.bench.options import BenchOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Runs the load as it is, with twice the load, and with each other setting changed alone: slots and threads of "
        "the embedded server, or with --board the limits of the NVIDIA boards that serve --url."
    )
    series = parser.add_argument_group("probe")
    about = (
        "power, clock or power,clock: also probe with the NVIDIA boards of this machine lowered to 70 %%, and restore "
        "them afterwards (needs root; clocks end unlocked; only with --url of a server on this machine)"
    )
    series.add_argument("--board", metavar="WHAT", help=about)
    repeats_argument(series)
    series_arguments(series, resumes=True)
    run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the plan, print the table, write the page. 0 done, 130 interrupted with what was measured kept."""
    from joulemill.bench.series.plan import probe_plan

    options = options_of(args)
    folder = series_folder(args, options)
    with ExitStack() as stack:
        limits = _limits(args, options, folder)
        if limits is not None:
            stack.enter_context(limits)
        plan = probe_plan(options, args.repeats, None, None if limits is None else limits.changes)
        return run_series(args, plan, folder, options, limits)


def _limits(args: argparse.Namespace, options: BenchOptions, folder: Path) -> Limits | None:
    """The boards that ``--board`` names; None where it is not given."""
    if args.board is None:
        return None
    from joulemill.bench.facts import serves_here
    from joulemill.bench.machine.nvml_limits import below_default, metered_boards
    from joulemill.bench.machine.power_limits import left_behind, open_limits
    from joulemill.meters.meter import MeterContext

    context = MeterContext(notice=lambda text: tell(f"probe: {text}"))
    here = options.url is not None and serves_here(options.url)
    limits = open_limits(
        options.url, here, context, lambda: metered_boards(context, options.meters), args.board, folder
    )
    for text in (*left_behind(folder.parent), *below_default(context)):
        context.notice(text)
    for change in limits.changes:
        context.notice(f"{change.label} for one run at a time, put back after each")
    return limits
