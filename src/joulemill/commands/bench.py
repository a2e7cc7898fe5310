"""``joulemill bench``: drive a server, meter it, find the active constraint, keep the run, print the report."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.bench_options import arguments_of, run_arguments
from joulemill.commands.output import check_page, verbose_argument
from joulemill.errors import EXIT_INTERRUPTED, JoulemillError, MachineError
from joulemill.files import write_text
from joulemill.streams import print_json

if TYPE_CHECKING:
    from joulemill.api.runs import Baseline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    run_arguments(parser)
    out = parser.add_argument_group("results")
    out.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: a new one under runs/)")
    out.add_argument("--html", type=Path, metavar="FILE", help="also write the offline HTML page")
    out.add_argument("--baseline", type=Path, metavar="FILE", help="also compare the run with this baseline")
    verbose_argument(out)
    out.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure, analyze, print. 0 done, 1 the server failed in the run, 130 interrupted, with what was measured kept."""
    from joulemill.api.benching import bench_options, measure
    from joulemill.commands.output import baseline_of
    from joulemill.commands.progress import ProgressBar

    options, baseline = bench_options(**arguments_of(args)), baseline_of(args.baseline)
    check_page(args.html)
    _import_reports()
    with ProgressBar() as progress:
        folder = measure(options, progress)
    try:
        return _reported(args, folder, baseline)
    except JoulemillError:
        sys.stderr.write(f"joulemill bench: the run is kept in {folder}\n")
        raise
    except Exception as fault:
        raise MachineError(
            f"the run is kept in {folder}, but its report cannot be made ({type(fault).__name__}: {fault}): please "
            f"report it; after an update: joulemill report {folder}"
        ) from fault


def _reported(args: argparse.Namespace, folder: Path, baseline: Baseline | None) -> int:
    """Analyze and print what was measured; the exit code."""
    from joulemill.api.benching import grid_kept
    from joulemill.api.runs import open_run
    from joulemill.commands.output import print_terminal

    grid_kept(folder)
    run = open_run(folder)
    if args.html:
        write_text(args.html, run.page(baseline))
    if args.json:
        print_json(run.to_dict())
    else:
        print_terminal(run.report, baseline, verbose=args.verbose)
    if run.status != "complete":
        sys.stderr.write(f"\njoulemill bench: {run.status}: {run.report.status_reason}; what was measured is kept\n")
    sys.stderr.write(f"\nrun kept in {folder}; see it again: joulemill report {folder} --html report.html\n")
    return {"complete": 0, "failed": 1}.get(run.status, EXIT_INTERRUPTED)


def _import_reports() -> None:
    """What the report needs, imported before the load: a run that is stopped ends within seconds, report and all."""
    for name in ("joulemill.api.runs", "joulemill.reports.text.run", "rich.table"):
        importlib.import_module(name)
