"""A run against the baseline: the few figures that matter, for the terminal and as a card of the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from joulemill.analysis.baseline import Baseline
from joulemill.analysis.comparison import of_change
from joulemill.analysis.report import Percentiles, Report
from joulemill.analysis.samples import of_report
from joulemill.decisions.gate.change import Change, change
from joulemill.decisions.gate.comparable import differences, same_sensor
from joulemill.figure import Basis, Figure
from joulemill.reports.comparison import shift_text
from joulemill.wording import digits, percent, quantity

#: Name, baseline, this run, change: all as text.
BaselineRow = tuple[str, str, str, str]


def against(baseline: Baseline, report: Report) -> tuple[list[str], list[BaselineRow]]:
    """Conditions that forbid the comparison, and the rows. A baseline of repeats counts with its spread."""
    kept = baseline.reports
    nodes = [of_report(r, "node", "baseline") for r in kept]
    mine = of_report(report, "node", "this run")
    blocking = [d.text for d in differences([*nodes, mine])]
    rows = [_energy_row(baseline, report, metric) for metric in ("node", "site")]
    rows.append(_figure_row("output rate", [r.output.rate_tok_s for r in kept], report.output.rate_tok_s))
    accuracies = [_percent_text(r.quality.accuracy) for r in kept]
    rows.append(("accuracy", _joined(accuracies), _percent_text(report.quality.accuracy), ""))
    rows.append(_latency_row("TTFT p50", [r.latency.ttft_s for r in kept], report.latency.ttft_s))
    rows.append(_latency_row("TPOT p50", [r.latency.tpot_s for r in kept], report.latency.tpot_s))
    return blocking, rows


def _energy_row(baseline: Baseline, report: Report, metric: str) -> BaselineRow:
    base = [of_report(r, metric, "baseline") for r in baseline.reports]
    mine = of_report(report, metric, "this run")
    energy_change = change(base, [mine], same_sensor=same_sensor([*base, mine]))
    change_text = shift_text(of_change(energy_change)) if isinstance(energy_change, Change) else "unknown"
    name = f"energy per output token, {metric}"
    return (name, _mean_text([s.figure for s in base]), quantity(mine.figure.value, mine.figure.unit), change_text)


def _figure_row(name: str, base: Sequence[Figure], mine: Figure) -> BaselineRow:
    values = [f.value for f in base if f.value is not None]
    change_text = "unknown"
    if len(values) == len(base) and mine.value is not None and math.fsum(values) > 0:
        change_text = f"{100 * (mine.value * len(values) / math.fsum(values) - 1):+.1f} %"
    return (name, _mean_text(base), quantity(mine.value, mine.unit), change_text)


def _mean_text(figures: Sequence[Figure]) -> str:
    values = [f.value for f in figures if f.value is not None]
    if len(values) < len(figures):
        return "unknown"
    return quantity(math.fsum(values) / len(values), figures[0].unit)


def _latency_row(name: str, base: Sequence[Percentiles], mine: Percentiles) -> BaselineRow:
    seconds = [p.p50 for p in base if p.p50 is not None]
    figures = [Figure(p.p50, "s", None if p.p50 is None else Basis.MEASURED) for p in base]
    if len(seconds) < len(base) or mine.p50 is None:
        return (name, "unknown", "unknown" if mine.p50 is None else f"{digits(1000 * mine.p50)} ms", "unknown")
    row = _figure_row(name, figures, Figure(mine.p50, "s", Basis.MEASURED))
    return row


def _joined(texts: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _percent_text(figure: Figure) -> str:
    return percent(figure.value)


def show(baseline: Baseline, report: Report, console: Any) -> None:
    """Print on a ``rich.console.Console``."""
    from rich.markup import escape as plain_markup
    from rich.table import Table

    blocking, rows = against(baseline, report)
    console.print(f"\n[bold]against the baseline {plain_markup(baseline.name)}[/] ({_runs_text(baseline)})")
    for text in blocking:
        console.print(f"[bold red]NOT COMPARABLE[/] {plain_markup(text)}")
    table = Table(box=None, pad_edge=False)
    for column in ("", "baseline", "this run", "change"):
        table.add_column(column)
    for row in rows:
        table.add_row(*(plain_markup(c) for c in row))
    console.print(table)


def _runs_text(baseline: Baseline) -> str:
    ids = ", ".join(r.run_id for r in baseline.reports)
    return f"{len(baseline.reports)} run{'s' if len(baseline.reports) > 1 else ''}: {ids}"


def card(baseline: Baseline, report: Report) -> dict[str, str]:
    """A card for ``html.render``: title and safe markup."""
    from joulemill.reports.html.page import part

    blocking, rows = against(baseline, report)
    body = part("warnings", "NOT COMPARABLE", blocking) + part("table", ("", "baseline", "this run", "change"), rows)
    return {"title": f"Against the baseline {baseline.name}", "body": body + part("notes", [_runs_text(baseline)])}
