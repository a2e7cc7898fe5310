"""``joulemill bench``: drive a server, meter it, find the active constraint, keep the run, print the report."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.commands.bench_options import options_of, run_arguments
from joulemill.commands.inputs import api_key, keep_grid
from joulemill.commands.output import verbose_argument
from joulemill.errors import EXIT_INTERRUPTED, JoulemillError, MachineError
from joulemill.streams import print_json

if TYPE_CHECKING:
    from joulemill.analysis.baseline import Baseline
    from joulemill.bench.options import BenchOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    run_arguments(parser)
    out = parser.add_argument_group("results")
    out.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: a new one under runs/)")
    out.add_argument("--html", type=Path, metavar="FILE", help="also write the offline HTML page")
    out.add_argument("--baseline", type=Path, metavar="FILE", help="also compare the run with this baseline")
    verbose_argument(out)
    out.add_argument("--json", action="store_true", help="print the report document as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure, analyse, print. 0 done, 1 the server failed in the run, 130 interrupted, with what was measured kept."""
    from joulemill.bench.preflight import check_before, check_page
    from joulemill.commands.output import baseline_of

    options, baseline = options_of(args), baseline_of(args.baseline)
    check_before(options)
    check_page(args.html)
    _import_reports()
    folder = _measure(options)
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
    """Analyse and print what was measured; the exit code."""
    from joulemill.analysis.measurement import measurement_of
    from joulemill.analysis.run import report_of
    from joulemill.analysis.serialization import plain
    from joulemill.commands.output import print_terminal, write_page
    from joulemill.recording.reader import read_run

    if read_run(folder).status != "interrupted":  # who stops a run does not wait for the grid's answer
        keep_grid(folder)
    run = measurement_of(read_run(folder))
    report = report_of(run)
    if args.html:
        write_page(report, args.html, baseline, folder, run)
    if args.json:
        print_json(plain(report))
    else:
        print_terminal(report, baseline, verbose=args.verbose)
    if report.status != "complete":
        sys.stderr.write(f"\njoulemill bench: {report.status}: {report.status_reason}; what was measured is kept\n")
    sys.stderr.write(f"\nrun kept in {folder}; see it again: joulemill report {folder} --html report.html\n")
    return {"complete": 0, "failed": 1}.get(report.status, EXIT_INTERRUPTED)


def _import_reports() -> None:
    """What the report needs, imported before the load: a run that is stopped ends within seconds, report and all."""
    for name in ("joulemill.recording.reader", "joulemill.analysis.run", "joulemill.reports.text.run", "rich.table"):
        importlib.import_module(name)


def _measure(options: BenchOptions) -> Path:
    """Measure the machine's ceilings where the server will be ours, then the run."""
    from joulemill.bench.machine.microbenchmark import measure_ceilings
    from joulemill.bench.preflight import announced
    from joulemill.bench.progress import ProgressBar
    from joulemill.bench.quality import asker
    from joulemill.bench.run import Surroundings, run_measure

    with ProgressBar() as progress:
        ceilings = None
        if options.url is None:
            progress.phase("ceilings", None)
            ceilings = measure_ceilings(options.threads)
        progress.note(announced(options))
        around = Surroundings(machine_ceilings=ceilings, ask_quality=asker(options), api_key=api_key())
        return run_measure(options, progress, around)
