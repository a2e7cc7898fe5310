"""``joulemill find-rate``: the highest request rate that meets the latency targets."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.bench_options import options_of, run_arguments, series_arguments
from joulemill.commands.inputs import api_key, keep_grid
from joulemill.commands.sweep import series_folder
from joulemill.errors import EXIT_INTERRUPTED, InputError
from joulemill.streams import print_json, print_text
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.bench.options import BenchOptions
    from joulemill.bench.series.find_rate import RateSearch, Trial


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
    from joulemill.bench.progress import ProgressBar
    from joulemill.bench.run import Surroundings, on_own_loop
    from joulemill.bench.series.find_rate import check_search, find_rate

    options = options_of(args)
    check_search(options)
    least = parse_quantity(args.attain, "", name="--attain")
    if not 0.0 < least <= 1.0:
        raise InputError(f"--attain {args.attain}: write a share above 0 and up to 100%, such as 90%")
    folder = series_folder(args, options)
    with ProgressBar() as progress:
        around = Surroundings(api_key=api_key())
        work = find_rate(options, folder, around, progress, least_attained_ratio=least, after=keep_grid)
        search, trials = on_own_loop(work)
    _show(args, options, folder, search, trials)
    if trials and trials[-1].status == "interrupted":
        return EXIT_INTERRUPTED
    return 0 if search.met_req_s is not None else 1


def _show(
    args: argparse.Namespace, options: BenchOptions, folder: Path, search: RateSearch, trials: list[Trial]
) -> None:
    from joulemill.commands.output import print_sweep

    if args.json:
        print_json(
            {
                "kind": "find-rate",
                "highest_rate_req_s": search.met_req_s,
                "lowest_missed_rate_req_s": search.missed_req_s,
                "slo_ttft_s": options.slo_ttft_s,
                "slo_tpot_s": options.slo_tpot_s,
                "trials": [asdict(t) for t in trials],
                "folder": str(folder),
            }
        )
    else:
        page = args.html or folder / "sweep.html"
        print_sweep(folder, page, as_json=False)
        print_text(sentence(search, trials))
        sys.stderr.write(f"\nruns kept in {folder}; page: {page}\n")


def sentence(search: RateSearch, trials: list[Trial]) -> str:
    """The answer in a line."""
    shares = {t.rate_req_s: t.attained_ratio for t in trials}

    def rate_text(rate_req_s: float) -> str:
        share = shares.get(rate_req_s)
        return f"{rate_req_s:.4g} req/s ({'unknown share' if share is None else f'{share:.0%}'} within the targets)"

    if search.met_req_s is None:
        lowest = (
            "no run completed" if search.missed_req_s is None else f"even {rate_text(search.missed_req_s)} does not"
        )
        return f"no rate that was tried meets the targets: {lowest}"
    if search.missed_req_s is None:
        return f"at least {rate_text(search.met_req_s)} meets the targets; no rate that was tried misses them"
    met, missed = rate_text(search.met_req_s), rate_text(search.missed_req_s)
    return f"highest rate that meets the targets: {met}; {missed} misses them"
