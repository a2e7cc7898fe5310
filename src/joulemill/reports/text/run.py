"""A report in the terminal: four figures with quality and latency beside them; all the rest where it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from joulemill.analysis import rows
from joulemill.analysis.report import OPEN, Report
from joulemill.figure import Figure
from joulemill.units import JOULE_PER_KWH
from joulemill.wording import MILLION, digits, interval, percent, quantity, title

_COLOR = {"measured": "green", "calibrated": "cyan", "modelled": "yellow", "datasheet": "blue", "declared": "magenta"}


#: Columns of a narrow terminal, and how long the longest bar is in it and in a wide one.
NARROW, NARROW_BAR, WIDE_BAR = 100, 8, 20

#: Name, value, interval, basis: a line of the summary.
SummaryLine = tuple[str, str, str, str]


def show(report: Report, console: Any, *, verbose: bool = False) -> None:
    """Print ``report`` on a ``rich.console.Console``: the summary, and with ``verbose`` every figure."""
    from rich.markup import escape

    console.print()
    console.print(f"[bold]{escape(rows.headline(report))}[/]")
    console.print(f"[dim]{escape(rows.subtitle(report))}[/]")
    console.print()
    console.print(_summary(report))
    console.print()
    for name, reason in _open_demands(report):
        console.print(f"[dim]{escape(name)}: {escape(reason)}[/]")
    for line in _decision(report):
        console.print(escape(line), highlight=False)
    for warning in report.warnings:
        console.print(f"[yellow]! {escape(warning)}[/]")
    if verbose:
        _everything(report, console)
    else:
        console.print("[dim]--verbose shows every figure, ceiling, latency and meter[/]")


def _everything(report: Report, console: Any) -> None:
    """All figures, ceilings, effects, latencies, tokens and meters."""
    from rich.markup import escape

    console.print()
    console.print(_figures(report))
    for line in _unknowns(report):
        console.print(f"[dim]unknown: {escape(line)}[/]")
    console.print()
    console.print(_ceilings(report, NARROW_BAR if console.width < NARROW else WIDE_BAR))
    console.print(f"[bold]active constraint: {title(report.binding.name)}[/]. {escape(report.binding.explanation)}")
    for ceiling in report.ceilings:
        if not ceiling.rate_tok_s.known:
            console.print(f"[dim]{title(ceiling.name)}: {escape(ceiling.rate_tok_s.reason or 'unknown')}[/]")
    if rows.impacts(report):
        console.print()
        console.print(_impacts(report))
        console.print(f"[dim]{escape(rows.impact_sources(report))}[/]")
    console.print()
    console.print(_latency(report))
    for line in rows.load_lines(report):
        console.print(f"[dim]{escape(line)}[/]")
    _stated(report, console)
    for name, value in [*rows.tokens(report), *rows.meters(report)]:
        console.print(f"[dim]{escape(name)}:[/] {escape(value)}")


def _summary(report: Report) -> Any:
    """The four figures, and quality, latency and amounts per million tokens below them."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("name", "value", "interval", "basis"):
        table.add_column(name, justify="right" if name == "value" else "left", no_wrap=name != "interval")
    for name, value, between, basis in summary(report):
        colored = f"[{_COLOR[basis]}]{basis}[/]" if basis in _COLOR else basis
        table.add_row(escape(name), f"[bold]{escape(value)}[/]", escape(between), colored)
    return table


def summary(report: Report) -> Iterator[SummaryLine]:
    """The lines that a report begins with."""
    energy, power, output = rows.demands(report)
    yield _line(*energy)
    yield ("active constraint", title(report.binding.name), _ceiling_of(report), "")
    yield _line(*power)
    yield _line(*output)
    accuracy = report.quality.accuracy
    if accuracy.value is not None:
        yield ("accuracy", percent(accuracy.value, 1), interval(accuracy.scaled(100.0, "%")), str(accuracy.basis))
    for name, percentiles, key in (
        ("TTFT p50", report.latency.ttft_s, "ttft_s"),
        ("TPOT p50", report.latency.tpot_s, "tpot_s"),
    ):
        if percentiles.p50 is not None:
            target_s = getattr(report.latency.slo, key)
            target = "" if target_s is None else f" (target {digits(target_s * 1e3)} ms)"
            tail = "" if percentiles.p99 is None else f"p99 {digits(percentiles.p99 * 1e3)} ms"
            yield (f"{name}{target}", f"{digits(percentiles.p50 * 1e3)} ms", tail, "")
    yield from _per_million(report)


def _open_demands(report: Report) -> Iterator[tuple[str, str]]:
    """Why a figure of the summary is not known; what a warning below says, or a line above, is not said again."""
    reasons: dict[str, str] = {}
    for name, figure in rows.demands(report):
        if figure.known:
            continue
        reason = figure.reason or "unknown"
        for earlier, whose in reasons.items():
            reason = reason.replace(earlier, f"as {whose}")
        reasons.setdefault(reason, name)
        if figure.reason is None or not any(reason in warning for warning in report.warnings):
            yield name, reason


def _line(name: str, figure: Figure) -> SummaryLine:
    return (name, quantity(figure.value, figure.unit), interval(figure), str(figure.basis or ""))


def _ceiling_of(report: Report) -> str:
    """The ceiling of the active constraint, and how far the run stayed below it."""
    rate = report.binding.rate_tok_s
    if report.binding.name in OPEN or rate.value is None:
        return ""
    return f"ceiling {digits(rate.value)} tok/s"


def _per_million(report: Report) -> Iterator[SummaryLine]:
    """Energy, money and carbon of a million output tokens, as far as they are known."""
    energy = report.energy
    joules = energy.site_j_tok if energy.site_j_tok.known else rows.main_energy(report)[1]
    where = "site" if energy.site_j_tok.known else rows.main_energy(report)[0].rpartition(", ")[2]
    amounts = (
        (f"per million tokens, {where}", joules, MILLION / JOULE_PER_KWH, "kWh"),
        ("", energy.cost_currency_tok, MILLION, energy.cost_currency_tok.unit.partition("/")[0]),
        ("", energy.carbon_gco2e_tok, MILLION, "gCO2e"),
    )
    for name, figure, factor, unit in amounts:
        if figure.known:
            yield _line(name, figure.scaled(factor, unit))


def _decision(report: Report) -> Iterator[str]:
    """Why that is the active constraint; where the run does not decide it, what would."""
    if report.binding.name not in OPEN:
        yield report.binding.explanation
    elif report.binding.would_decide:
        yield f"What would decide the active constraint: {report.binding.would_decide}"


def _stated(report: Report, console: Any) -> None:
    """What an imported file states."""
    from rich.markup import escape

    for name, figure in rows.stated(report):
        text = f"{name}: {quantity(figure.value, figure.unit)}{f'; {figure.reason}' if figure.reason else ''}"
        console.print(f"[magenta]stated, not measured here[/] {escape(text)}")


def _basis(figure: Figure) -> str:
    return f"[{_COLOR[figure.basis]}]{figure.basis}[/]" if figure.basis else "[dim]–[/]"


def _figures(report: Report) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "value", "95 % interval", "basis"):
        table.add_column(column, justify="right" if column == "value" else "left", no_wrap=column != "")
    for name, figure in rows.figures(report):
        if figure.known:
            table.add_row(name, f"[bold]{quantity(figure.value, figure.unit)}[/]", interval(figure), _basis(figure))
    return table


def _unknowns(report: Report) -> list[str]:
    """Figures that are not known, gathered by their reason."""
    by_reason: dict[str, list[str]] = {}
    for name, figure in rows.figures(report):
        if not figure.known:
            by_reason.setdefault(figure.reason or "no reason given", []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def _ceilings(report: Report, longest: int = WIDE_BAR) -> Any:
    """Known ceilings as bars on a log scale; the active constraint is marked."""
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

    table = Table(box=None, pad_edge=False)
    for column in ("effect", *rows.IMPACT_COLUMNS):
        table.add_column(column, justify="left" if column in ("effect", "basis") else "right")
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
    """The run in one line: J/token, active constraint, rate, quality."""
    name, energy = rows.main_energy(report)
    parts = [
        f"{quantity(energy.value, energy.unit)} {name.rpartition(', ')[2]} {energy.basis or ''}".strip(),
        f"active constraint {title(report.binding.name)}",
        quantity(report.output.rate_tok_s.value, "tok/s"),
        f"accuracy {percent(report.quality.accuracy.value)}",
    ]
    return " · ".join(parts)
