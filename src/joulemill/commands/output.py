"""What commands have in common on the way out: stdout, pages, the files that they write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError, MachineError
from joulemill.files import write_text
from joulemill.streams import print_json, results_console

if TYPE_CHECKING:
    from joulemill.api.runs import Baseline, Report
    from joulemill.api.series import LeverExperiment, Sweep


def check_page(page: Path | None, flag: str = "--html") -> None:
    """A page that is to be written at the end. Raises InputError, MachineError where it cannot be."""
    if page is None:
        return
    if page.is_dir():
        raise InputError(f"{flag} {page}: is a folder; name a file in it, such as {page / 'report.html'}")
    standing = next(p for p in page.absolute().parents if os.path.lexists(p))
    if not standing.is_dir():
        raise InputError(f"{flag} {page}: {standing} is no folder; name another file")
    if not os.access(page if page.exists() else standing, os.W_OK):
        raise MachineError(f"{flag} {page}: may not be written; name another file")


def check_folder(folder: Path | None, flag: str = "--out") -> None:
    """A folder that is to be written at the end. Raises InputError, MachineError where it cannot be."""
    if folder is None:
        return
    standing = next(p for p in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(p))
    if not standing.is_dir():
        raise InputError(f"{flag} {folder}: {standing} is no folder; name another")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise MachineError(f"{flag} {folder}: {standing} may not be written; name another folder")


def baseline_of(path: Path | None) -> Baseline | None:
    """The baseline of ``--baseline``; None where none is asked for."""
    if path is None:
        return None
    from joulemill.api.runs import open_baseline

    return open_baseline(path)


def verbose_argument(group: Any) -> None:
    """The option for all that a report holds."""
    about = "also print every figure, ceiling, latency and meter (default: the summary)"
    group.add_argument("--verbose", action="store_true", help=about)


def print_terminal(report: Report, baseline: Baseline | None = None, *, verbose: bool = False) -> None:
    """The report for people, on stdout: its summary, or all of it."""
    from joulemill.reports import baseline as baseline_view
    from joulemill.reports.text import run as terminal

    terminal.show(report, results_console(), verbose=verbose)
    if baseline is not None:
        baseline_view.show(baseline, report, results_console())


def print_series(series: Sweep | LeverExperiment, page: Path | None, *, as_json: bool) -> None:
    """The table, or JSON, on stdout; the page where one is asked for."""
    from joulemill.api.series import Sweep
    from joulemill.reports import lever_experiment, sweep

    if page is not None:
        write_text(page, series.page())
    if as_json:
        print_json(series.to_dict())
    elif isinstance(series, Sweep):
        sweep.show(series.result, results_console())
    else:
        lever_experiment.show(series.result, results_console())
