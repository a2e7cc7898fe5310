"""``joulemill probe``: change load, slots, threads or board limits one at a time, to see what the rate depends on."""

from __future__ import annotations

import argparse

from joulemill.commands.bench_options import arguments_of, run_arguments, series_arguments
from joulemill.commands.output import check_page
from joulemill.commands.sweep import repeats_argument, show
from joulemill.streams import tell


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
    from joulemill.api.series import probe
    from joulemill.commands.progress import ProgressBar

    arguments = arguments_of(args)
    check_page(args.html)
    with ProgressBar() as progress:
        series = probe(
            board=args.board,
            repeats=args.repeats,
            progress=progress,
            notice=lambda text: tell(f"probe: {text}"),
            **arguments,
        )
    return show(args, series)
