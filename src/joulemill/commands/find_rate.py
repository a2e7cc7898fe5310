"""``joulemill find-rate``: the highest request rate that meets the latency targets."""

from __future__ import annotations

import argparse
import sys

from joulemill.commands.bench_options import arguments_of, run_arguments, series_arguments
from joulemill.commands.output import check_page, print_series
from joulemill.errors import EXIT_INTERRUPTED, InputError
from joulemill.streams import print_json, print_text
from joulemill.units import parse_quantity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Runs at rates from --rate on (default: 1 req/s), up or down by factors of two and then between them, and ends "
        "at the highest that meets --slo-ttft and --slo-tpot. `--duration` is that of each run (default: 20 s)."
    )
    search = parser.add_argument_group("search")
    about = "share of requests that must meet the targets (default: 90%%)"
    search.add_argument("--attain", default="90%", metavar="X%", help=about)
    series_arguments(search, resumes=False)
    run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Search, print. 0 where a rate meets the targets, 1 where no tried rate does, 130 interrupted."""
    from joulemill.api.series import find_rate, open_sweep
    from joulemill.commands.progress import ProgressBar

    arguments = arguments_of(args)
    least = parse_quantity(args.attain, "", name="--attain")
    if not 0.0 < least <= 1.0:
        raise InputError(f"--attain {args.attain}: write a share above 0 and up to 100%, such as 90%")
    check_page(args.html)
    with ProgressBar() as progress:
        search = find_rate(least_attained=least, progress=progress, **arguments)
    if args.json:
        print_json(search.to_dict())
    else:
        page = args.html or search.folder / "sweep.html"
        print_series(open_sweep(search.folder), page, as_json=False)
        print_text(str(search))
        sys.stderr.write(f"\nruns kept in {search.folder}; page: {page}\n")
    if search.status == "interrupted":
        return EXIT_INTERRUPTED
    return 0 if search.highest_rate_req_s is not None else 1
