"""A report in the terminal: the four figures first, the barrel, what they rest on."""

from __future__ import annotations

import math
from typing import Any

from joulemill.analysis import rows
from joulemill.analysis.report import OPEN, Report
from joulemill.figure import Figure
from joulemill.wording import interval, percent, quantity, title

_COLOUR = {"measured": "green", "calibrated": "cyan", "modelled": "yellow", "datasheet": "blue", "declared": "magenta"}


#: What stands for a constraint that is not known.
#: Columns of a narrow terminal, and how long the longest bar is in it and in a wide one.
NARROW, NARROW_BAR, WIDE_BAR = 100, 8, 20


def show(report: Report, console: Any) -> None:
    """Print ``report`` on a ``rich.console.Console``."""
    from rich.markup import escape
    from rich.panel import Panel

    console.print()
    console.print(Panel(f"[bold]{escape(rows.headline(report))}[/]\n[dim]{escape(rows.subtitle(report))}[/]"))
    for warning in report.warnings:
        console.print(f"[yellow]! {escape(warning)}[/]")
    console.print(_headlines(report))
    for line in _unknowns(report):
        console.print(f"[dim]unknown: {escape(line)}[/]")
    console.print()
    console.print(_barrel(report, NARROW_BAR if console.width < NARROW else WIDE_BAR))
    console.print(f"[bold]binding: {title(report.binding.name)}[/]. {escape(report.binding.explanation)}")
    for ceiling in report.ceilings:
        if not ceiling.rate_tok_s.known:
            console.print(f"[dim]{title(ceiling.name)}: {escape(ceiling.rate_tok_s.reason or 'unknown')}[/]")
    if rows.impacts(report):
        console.print(_impacts(report))
        console.print(f"[dim]{escape(rows.impact_sources(report))}[/]")
    console.print(_latency(report))
    for line in rows.load_lines(report):
        console.print(f"[dim]{escape(line)}[/]")
    _stated(report, console)
    for name, value in [*rows.tokens(report), *rows.meters(report)]:
        console.print(f"[dim]{escape(name)}:[/] {escape(value)}")


def _stated(report: Report, console: Any) -> None:
    """What an imported file states."""
    from rich.markup import escape

    for name, figure in rows.stated(report):
        told = f"{name}: {quantity(figure.value, figure.unit)}{f'; {figure.reason}' if figure.reason else ''}"
        console.print(f"[magenta]stated, not measured here[/] {escape(told)}")


def _basis(figure: Figure) -> str:
    return f"[{_COLOUR[figure.basis]}]{figure.basis}[/]" if figure.basis else "[dim]–[/]"


def _headlines(report: Report) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "value", "95 % interval", "basis"):
        table.add_column(column, justify="right" if column == "value" else "left", no_wrap=column != "")
    for name, figure in rows.figures(report):
        if figure.known:
            said = quantity(figure.value, figure.unit)
            table.add_row(name, f"[bold]{said}[/]", interval(figure), _basis(figure))
    return table


def _unknowns(report: Report) -> list[str]:
    """Figures that are not known, gathered by their reason."""
    by_reason: dict[str, list[str]] = {}
    for name, figure in rows.figures(report):
        if not figure.known:
            by_reason.setdefault(figure.reason or "no reason given", []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _barrel(report: Report, longest: int = WIDE_BAR) -> Any:
    """Known ceilings as bars on a log scale; the shortest stave is marked."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=r"ceilings \[tok/s], log scale", title_justify="left")
    for column in ("", "tok/s", "", "basis", "slack", "capacity ÷ intensity"):
        table.add_column(column, justify="right" if column == "tok/s" else "left")
    known = sorted(((c.rate_tok_s.value, c) for c in report.ceilings if c.rate_tok_s.value), key=lambda pair: pair[0])
    low, high = (math.log10(known[0][0]) - 0.3, math.log10(known[-1][0])) if known else (0.0, 1.0)
    for rate, ceiling in known:
        row = rows.ceiling_row(ceiling, report.binding.name)
        length = round(longest * (math.log10(rate) - low) / max(high - low, 1e-9))
        bar = f"[{'bold red' if row['binding'] else 'blue'}]{'█' * length}[/]"
        name = f"[bold]{row['name']} ◀[/]" if row["binding"] else row["name"]
        parts = f"{row['capacity']} ÷ {row['intensity']}" if ceiling.intensity else row["capacity"]
        table.add_row(name, row["rate"], bar, _basis(ceiling.rate_tok_s), row["slack"], escape(parts))
    return table


def _impacts(report: Report) -> Any:
    from rich.table import Table

    table = Table("effect", *rows.IMPACT_COLUMNS, box=None, pad_edge=False)
    for name, cells in rows.impacts(report):
        table.add_row(name, *cells)
    return table


def _latency(report: Report) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in (r"latency \[ms]", "p50", "p90", "p99", "mean", "n"):
        table.add_column(column, justify="left" if column.startswith("latency") else "right")
    for name, percentiles in rows.latencies(report):
        table.add_row(name, *rows.milliseconds(percentiles))
    return table


def one_line(report: Report) -> str:
    """The run in one line: J/token, what binds, rate, quality."""
    name, energy = rows.main_energy(report)
    said = [
        f"{quantity(energy.value, energy.unit)} {name.rpartition(', ')[2]} {energy.basis or ''}".strip(),
        "active constraint undecided"
        if report.binding.name in OPEN
        else f"active constraint {title(report.binding.name)}",
        quantity(report.output.rate_tok_s.value, "tok/s"),
        f"accuracy {percent(report.quality.accuracy.value)}",
    ]
    return " · ".join(said)
