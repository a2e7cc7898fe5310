"""The comparison in the terminal, as Markdown, LaTeX and one offline HTML page. Pure but for its own template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from joulemill.analysis import rows
from joulemill.analysis.comparison import TOO_FEW, Comparison, Row, Shift, latency_lines
from joulemill.figure import Figure
from joulemill.reports.markdown_latex import cell, tex
from joulemill.reports.svg import plane
from joulemill.wording import interval, percent, quantity, title

NOT_COMPARABLE = "NOT COMPARABLE: a difference of joules may come from these conditions, not from what you changed"


def shift_text(shift: Shift) -> str:
    """A shift in one cell: +3.2 % (+1.0 to +5.4), real 98 %."""
    if shift.ratio is None:
        return "–"
    between = "" if shift.low is None or shift.high is None else f" ({100 * shift.low:+.1f} to {100 * shift.high:+.1f})"
    if shift.method == TOO_FEW:
        between = " (too few to tell)"
    real = f"; {real_text(shift.real)}" if shift.real is not None else ""
    return f"{100 * shift.ratio:+.1f} %{between}{real}"


def real_text(real: float) -> str:
    """The probability that a difference is real, never rounded up to certainty."""
    return "real >99.9 %" if real > 0.999 else f"real {100 * real:.0f} %"


def value_text(row: Row, index: int, *, brief: bool = False) -> str:
    """One run's figure with its interval, without it where ``brief``; and its basis where the runs' bases differ."""
    figure = row.figures[index]
    bases = {f.basis for f in row.figures if f.known}
    text = _figure_text(row, figure, brief=brief)
    return f"{text}, {figure.basis}" if figure.known and len(bases) > 1 else text


def _figure_text(row: Row, figure: Figure, *, brief: bool) -> str:
    if brief:
        figure = replace(figure, low=None, high=None)
    if row.name == "accuracy" and figure.value is not None:
        between = interval(figure.scaled(100.0, "%"))
        return f"{percent(figure.value)} ({between})" if between else percent(figure.value)
    text, between = quantity(figure.value, figure.unit), interval(figure)
    return f"{text} ({between})" if between else text


def show(comparison: Comparison, console: Any) -> None:
    """Print on a ``rich.console.Console``: conditions first, then figures, then latency."""
    from rich.markup import escape

    console.print()
    for run in comparison.runs:
        line = f"{rows.headline(run.report)} · {rows.subtitle(run.report)}"
        console.print(f"[bold]{run.label}[/]  {escape(run.name)}  [dim]{escape(line)}[/]")
    if comparison.blocking:
        console.print(f"\n[bold red]{NOT_COMPARABLE}[/]")
    for name, values in comparison.blocking:
        console.print(f"[red]  {escape(title(name))}: {escape(_sided(comparison, values))}[/]")
    for name, values in comparison.conditions:
        console.print(f"[dim]  {escape(name)}: {escape(_sided(comparison, values))}[/]")
    for name in comparison.trusted:
        console.print(f"[yellow]! no run states its {escape(name)}: it is assumed to be the same[/]")
    console.print(_table(_columns(comparison), [_cells(row, brief=True) for row in comparison.rows]))
    heads = ["latency, p50 / p90 / p99 [ms]", *(r.label for r in comparison.runs)]
    console.print(_table(heads, [[name, *(" / ".join(c) for c in cells)] for name, cells in comparison.latencies]))
    for line in latency_lines(comparison):
        console.print(f"[dim]{line}[/]")


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(escape(head), overflow="fold")
    for row in cells:
        table.add_row(*(escape(c) for c in row))
    return table


def _sided(comparison: Comparison, values: Sequence[str]) -> str:
    return " | ".join(f"{r.label} {v}" for r, v in zip(comparison.runs, values, strict=True))


def _columns(comparison: Comparison) -> list[str]:
    first, *others = (r.label for r in comparison.runs)
    return ["figure", first, *(c for o in others for c in (o, f"{o} against {first}"))]


def _cells(row: Row, *, brief: bool = False) -> list[str]:
    cells = [row.name, value_text(row, 0, brief=brief)]
    for index, shift in enumerate(row.shifts, 1):
        cells += [value_text(row, index, brief=brief), shift_text(shift)]
    return cells


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown."""
    lines = ["# Runs side by side", ""]
    lines += [f"- **{r.label}** {cell(r.name)}: {cell(rows.headline(r.report))}" for r in comparison.runs]
    labels = [r.label for r in comparison.runs]
    for heading, pairs in (
        (f"**{NOT_COMPARABLE}.**", comparison.blocking),
        ("Conditions that differ:", comparison.conditions),
    ):
        if pairs:
            lines += ["", heading, "", _line(["condition", *labels]), _rule(len(labels) + 1)]
            lines += [_line([name, *values]) for name, values in pairs]
    lines += [f"\n> No run states its {cell(n)}: it is assumed to be the same." for n in comparison.trusted]
    columns = _columns(comparison)
    lines += ["", _line(columns), _rule(len(columns))]
    lines += [_line(_cells(row)) for row in comparison.rows]
    lines += ["", _line(["latency, p50 / p90 / p99 [ms]", *labels]), _rule(len(labels) + 1)]
    lines += [_line([name, *(" / ".join(c) for c in cells)]) for name, cells in comparison.latencies]
    lines += ["", *(f"* {cell(line)}" for line in latency_lines(comparison))]
    return "\n".join(lines) + "\n"


def latex(comparison: Comparison) -> str:
    """A ``tabular`` of conditions that differ, figures and latency; comments above say whose run a letter is."""
    columns = _columns(comparison)
    lines = [f"% {r.label}: {tex(r.name)}, {tex(rows.headline(r.report))}" for r in comparison.runs]
    lines += [f"% no run states its {tex(n)}: it is assumed to be the same" for n in comparison.trusted]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\hline"]
    if comparison.blocking:  # a row of its own, so that no paper shows the joules without it
        lines.append(f"\\multicolumn{{{len(columns)}}}{{l}}{{\\textbf{{{tex(NOT_COMPARABLE)}}}}} \\\\")
    differing = [*((title(n), v) for n, v in comparison.blocking), *comparison.conditions]
    lines += [_tex_line([name, *_beside(values)]) for name, values in differing]
    lines += [r"\hline"] if differing else []
    lines += [_tex_line(columns), r"\hline", *(_tex_line(_cells(row)) for row in comparison.rows), r"\hline"]
    lines.append(_tex_line(["latency, p50 / p90 / p99 [ms]", *_beside([r.label for r in comparison.runs])]))
    lines += [_tex_line([name, *_beside([" / ".join(c) for c in cells])]) for name, cells in comparison.latencies]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _beside(values: Sequence[str]) -> list[str]:
    """One value of each run, in the runs' own columns: those of the differences stay empty."""
    first, *others = values
    return [first, *(c for value in others for c in (value, ""))]


def _tex_line(cells: Sequence[str]) -> str:
    return " & ".join(tex(c) for c in cells) + r" \\"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell(c) for c in cells) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def render(comparison: Comparison) -> str:
    """One offline HTML page: no script, nothing fetched, every text from outside escaped."""
    from joulemill.reports.html.page import rendered, safe

    view = {
        "runs": [
            {"label": r.label, "name": r.name, "headline": rows.headline(r.report), "subtitle": rows.subtitle(r.report)}
            for r in comparison.runs
        ],
        "labels": [r.label for r in comparison.runs],
        "not_comparable": NOT_COMPARABLE,
        "blocking": [(title(n), v) for n, v in comparison.blocking],
        "conditions": comparison.conditions,
        "trusted": comparison.trusted,
        "planes": [safe(p) for p in plane.planes(comparison.runs)],
        "columns": _columns(comparison),
        "figure_rows": [_cells(r) for r in comparison.rows],
        "latency_rows": [(n, [" / ".join(c) for c in cells]) for n, cells in comparison.latencies],
        "warnings": [f"{r.label}: {w}" for r in comparison.runs for w in r.report.warnings],
    }
    return rendered("compare.html.j2", view)
