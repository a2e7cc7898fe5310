"""A report in the terminal: the four figures first, the barrel, what they rest on."""

from __future__ import annotations

import math
from typing import Any

from joulemill.figure import Figure
from joulemill.reports import rows
from joulemill.reports.document import Report
from joulemill.reports.wording import interval, percent, quantity, title

_COLOUR = {"measured": "green", "calibrated": "cyan", "modelled": "yellow", "datasheet": "blue", "declared": "magenta"}


def show(report: Report, console: Any) -> None:
    """Print ``report`` on a ``rich.console.Console``."""
    from rich.markup import escape
    from rich.panel import Panel

    console.print()
    console.print(Panel(f"[bold]{escape(rows.headline(report))}[/]\n[dim]{escape(rows.subtitle(report))}[/]"))
    for warning in report.warnings:
        console.print(f"[yellow]! {escape(warning)}[/]")
    console.print(_headlines(report))
    console.print(_barrel(report))
    console.print(f"[bold]binding: {title(report.binding.name)}[/]. {escape(report.binding.explanation)}")
    if report.binding.unknown:
        console.print(f"[dim]not known: {', '.join(title(n) for n in report.binding.unknown)}[/]")
    console.print(_latency(report))
    console.print(f"[dim]{escape(rows.slo_text(report))}[/]")
    for name, figure in rows.stated(report):
        told = f"{name}: {quantity(figure.value, figure.unit)}{f'; {figure.reason}' if figure.reason else ''}"
        console.print(f"[magenta]stated, not measured here[/] {escape(told)}")
    for name, value in [*rows.tokens(report), *rows.meters(report)]:
        console.print(f"[dim]{escape(name)}:[/] {escape(value)}")


def _basis(figure: Figure) -> str:
    return f"[{_COLOUR[figure.basis]}]{figure.basis}[/]" if figure.basis else "[dim]–[/]"


def _headlines(report: Report) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "value", "95 % interval", "basis"):
        table.add_column(column, justify="right" if column == "value" else "left")
    hidden = {
        "of it idle",
        "node energy in the window",
        "device power limit",
        "time throttled",
        "water per output token",
    }
    for name, figure in rows.figures(report):
        if figure.value is None and name in hidden:
            continue
        said = quantity(figure.value, figure.unit)
        why = "" if figure.value is not None else f"[dim]{escape(figure.reason or '')}[/]"
        table.add_row(
            name, f"[bold]{said}[/]" if figure.known else f"[dim]{said}[/]", interval(figure) or why, _basis(figure)
        )
    return table


def _barrel(report: Report) -> Any:
    """Ceilings as bars on a log scale; the shortest stave is marked."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=r"ceilings \[tok/s], log scale", title_justify="left")
    for column in ("", "tok/s", "", "basis", "evidence"):
        table.add_column(column, justify="right" if column == "tok/s" else "left", overflow="fold")
    rates = [c.rate_tok_s.value for c in report.ceilings if c.rate_tok_s.value]
    low, high = (math.log10(min(rates)) - 0.3, math.log10(max(rates))) if rates else (0.0, 1.0)
    for ceiling in sorted(report.ceilings, key=lambda c: c.rate_tok_s.value or math.inf):
        row = rows.ceiling_row(ceiling, report.binding.name)
        rate = ceiling.rate_tok_s.value
        length = round(24 * (math.log10(rate) - low) / max(high - low, 1e-9)) if rate else 0
        colour = "bold red" if row["binding"] else "blue"
        name = f"[bold]{row['name']} ◀[/]" if row["binding"] else row["name"]
        table.add_row(
            name, row["rate"], f"[{colour}]{'█' * length}[/]", _basis(ceiling.rate_tok_s), escape(row["evidence"])
        )
    return table


def _latency(report: Report) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("latency [ms]", "p50", "p90", "p99", "mean", "n"):
        table.add_column(column, justify="left" if column.startswith("latency") else "right")
    for name, percentiles in rows.latencies(report):
        table.add_row(name, *rows.milliseconds(percentiles))
    return table


def one_line(report: Report) -> str:
    """The run in one line: J/token, what binds, rate, quality."""
    energy = report.energy.node_j_tok
    said = [
        f"{quantity(energy.value, energy.unit)} node {energy.basis or ''}".strip(),
        f"{title(report.binding.name)} binds",
        quantity(report.output.rate_tok_s.value, "tok/s"),
        f"accuracy {percent(report.quality.accuracy.value)}",
    ]
    return " · ".join(said)
