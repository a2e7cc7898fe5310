"""What commands have in common on the way out: stdout, pages, baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import MachineError
from joulemill.streams import print_json, results_console

if TYPE_CHECKING:
    from joulemill.analysis.baseline import Baseline
    from joulemill.analysis.lever_experiment import Experiment
    from joulemill.analysis.measurement import Measurement
    from joulemill.analysis.report import Report
    from joulemill.analysis.sweep import SweepResult


def baseline_of(path: Path | None) -> Baseline | None:
    """The baseline of ``--baseline``; None where none is asked for."""
    if path is None:
        return None
    from joulemill.analysis.baseline import need_baseline

    return need_baseline(path)


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


def write_page(
    report: Report,
    path: Path,
    baseline: Baseline | None = None,
    run: Path | None = None,
    measured: Measurement | None = None,
) -> None:
    """The HTML page at ``path``; with the levers, and the sweep, of the folder ``run``, where one is given.

    measured   the folder's run, which ``report`` shows
    """
    from joulemill.reports.baseline import card
    from joulemill.reports.html.levers_of_run import lever_cards
    from joulemill.reports.html.run import render
    from joulemill.reports.sweep import sweep_card

    extra = [] if baseline is None else [card(baseline, report)]
    extra += [] if run is None else [*sweep_card(run), *lever_cards(run, measured, report)]
    write_text(render(report, extra), path)


def write_text(text: str, path: Path) -> None:
    """A page at ``path``. Raises MachineError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{path}: cannot be written ({fault.strerror}); choose another --html FILE") from fault


def print_sweep(folder: Path, page: Path | None, *, as_json: bool) -> SweepResult:
    """The table, or JSON, on stdout; the page where one is asked for."""
    from joulemill.analysis.serialization import plain
    from joulemill.analysis.sweep import sweep_result
    from joulemill.reports.sweep import render, show

    series = sweep_result(folder)
    if page is not None:
        write_text(render(series), page)
    if as_json:
        print_json(plain(series))
    else:
        show(series, results_console())
    return series


def show(folder: Path, page: Path | None, *, as_json: bool) -> Experiment:
    """The table, or JSON, on stdout; the page where one is asked for."""
    from joulemill.analysis.lever_experiment import experiment
    from joulemill.reports.lever_experiment import document
    from joulemill.reports.lever_experiment import page as rendered
    from joulemill.reports.lever_experiment import show as show_experiment

    measured = experiment(folder)
    if page is not None:
        write_text(rendered(measured), page)
    if as_json:
        print_json(document(measured))
    else:
        show_experiment(measured, results_console())
    return measured
