"""A sweep for people: a table in the terminal, a card on the page of each of its runs, a page of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.analysis.sweep import Point, SweepResult, sweep_result
from joulemill.errors import JoulemillError
from joulemill.figure import Figure
from joulemill.recording.sweeps import FILE, read_sweep
from joulemill.reports.svg.sweep import PANELS, elasticities, panel
from joulemill.wording import digits, interval, quantity, title

if TYPE_CHECKING:
    from rich.console import Console

    from joulemill.reports.html.page import Card, Cell

_HEADS = ("point", "runs", "tok/s", "node J/tok", "TTFT p50", "TPOT p50", "bottleneck")
_PROBED = ("rate elasticity", "J/tok elasticity")


def show(sweep: SweepResult, console: Console) -> None:
    """The points as a table, and the knee."""
    from rich.table import Table

    console.print(headline(sweep), style="bold", markup=False)
    # A terminal has no room for every column of a probe: latencies are on the page, and in --json.
    shown = [i for i, _ in enumerate(heads(sweep)) if sweep.kind != "probe" or i not in (4, 5)]
    table = Table(*(heads(sweep)[i] for i in shown), box=None, pad_edge=False)
    for point in sweep.points:
        row = cells(sweep, point)
        table.add_row(*(_stacked(row[i]) for i in shown))
    console.print(table)
    for line in notes(sweep):
        console.print(line, markup=False)


def _stacked(words: str) -> str:
    """A cell with its interval, and what that proves, below the value."""
    value, _, rest = words.rpartition(" ")
    if value.endswith(":"):
        return f"{_stacked(value[:-1])}\n{rest}"
    return f"{value}\n{rest}" if value and "–" in rest else words


def headline(sweep: SweepResult) -> str:
    """What it is, and whether it is whole."""
    done = sum(p.runs + len(p.left_out) for p in sweep.points)
    what = "Probe, one setting at a time" if sweep.kind == "probe" else f"Sweep of {sweep.knob}"
    return f"{what}: {done} runs, {sweep.status}"


def heads(sweep: SweepResult) -> tuple[str, ...]:
    """Column heads of the table."""
    return (*_HEADS, *_PROBED) if sweep.kind == "probe" else (sweep.knob, *_HEADS[1:])


def cells(sweep: SweepResult, point: Point) -> tuple[str, ...]:
    """One row of the table."""
    name = point.label if sweep.kind == "probe" or point.x is None else f"{point.x:g}"
    if not point.runs:
        return (name, "0", "not run", *[""] * (len(heads(sweep)) - 3))
    bound = title(point.binding) if point.valid else "client: not valid"
    row = (name, str(point.runs), *(_figure_text(get(point)) for _, get in PANELS), bound)
    if sweep.kind != "probe":
        return row
    energy = point.energy_elasticity
    return (*row, _proved(point.elasticity), "" if energy is None else _figure_text(energy))


def _proved(elasticity: Figure | None) -> str:
    """The elasticity and what its interval proves: more than half binds, less does not."""
    if elasticity is None:
        return ""
    if elasticity.low is None or elasticity.high is None:
        return _figure_text(elasticity)
    word = "binds" if elasticity.low > 0.5 else "does not bind" if elasticity.high < 0.5 else "undecided"
    return f"{_figure_text(elasticity)}: {word}"


def _figure_text(figure: Figure) -> str:
    if figure.value is None:
        return f"unknown: {figure.reason}" if figure.reason else "unknown"
    few = "(too few runs)" if _too_few(figure) else ""
    return " ".join(t for t in (quantity(figure.value, figure.unit), interval(figure), few) if t)


def _too_few(figure: Figure) -> bool:
    return figure.low is None and (figure.reason or "").startswith("too few runs")


def notes(sweep: SweepResult) -> tuple[str, ...]:
    """The knee, and what the figures rest on."""
    lines = []
    if sweep.kind == "sweep" and sweep.knob in ("concurrency", "rate"):
        lines.append(f"Knee: {knee_text(sweep)}")
    if sweep.kind == "probe":
        lines.append("1: the rate follows what was changed, so it binds. 0: it does not. The interval says how sure.")
        if any(p.energy_elasticity is not None for p in sweep.points):
            lines.append("J/tok: by how many per cent it changes for 1 % more of what was changed.")
    few = next((f for p in sweep.points for _, get in PANELS if _too_few(f := get(p))), None)
    if few is not None:
        lines.append(f"Why some intervals are missing: {few.reason}.")
    lines += [f"Left out: {text}." for p in sweep.points for text in p.left_out]
    if sweep.kind == "sweep" and not all(p.valid for p in sweep.points if p.runs):
        lines.append("Hollow dots: the client was the bottleneck there; the knee does not count them.")
    basis = next((p.node_j_tok.basis for p in sweep.points if p.node_j_tok.basis), None)
    lines.append(f"Runs were interleaved (ABBA); intervals 95 %, from repeated runs. Energy: {basis or 'not metered'}.")
    return tuple(lines)


def knee_text(sweep: SweepResult) -> str:
    """Where more load begins to give less than half as many more tokens, or what the server keeps up with."""
    if sweep.knee.value is None:
        return sweep.knee.reason or "unknown"
    text = f"{sweep.knob} {digits(sweep.knee.value)} {interval(sweep.knee)}"
    if sweep.knob == "rate":
        return f"{text}; up to there the server keeps up with what is asked"
    text += "; beyond it 1 % more requests at once give less than half a per cent more tokens"
    return f"{text} ({sweep.knee.reason})" if sweep.knee.reason else text


def body(sweep: SweepResult, here: str | None = None) -> str:
    """Pictures, what they say, and the table, as safe markup. ``here``: label of the point of this page's run."""
    from joulemill.reports.html.page import part, safe

    rows = [[_cell(c) for c in cells(sweep, p)] for p in sweep.points]
    ringed = ["The ringed point is that of this run."] if here and sweep.kind == "sweep" else []
    pictures = part("panels", [safe(p) for p in _pictures(sweep, here)])
    return pictures + part("notes", ringed) + part("paragraphs", notes(sweep)) + part("table", heads(sweep), rows)


def _cell(words: str) -> Cell:
    """A cell, whose interval goes below its value; what is a number stays on one line."""
    from joulemill.reports.html.page import stacked

    value, _, rest = words.rpartition(" ")
    return stacked(value, rest, number=True) if value and "–" in rest else words


def _pictures(sweep: SweepResult, here: str | None) -> list[str]:
    if sweep.kind == "probe":
        return [p for p in [elasticities(sweep)] if p]
    return [panel(sweep, name, get, here) for name, get in PANELS]


def sweep_card(run: Path) -> list[Card]:
    """The {title, body} card of the sweep or probe that the run in folder ``run`` is part of; [] where of none."""
    from joulemill.reports.html.page import part

    try:
        sweep_name = _sweep_of(run)
        if sweep_name is None:
            return []
        index = next((r["point"] for r in sweep_name["runs"] if r["folder"] == run.name), None)
        if index is None:
            return []
        sweep = sweep_result(run.parent)
    except JoulemillError as fault:  # the page of a run never fails for what stands beside it
        return [{"title": "Sweep", "body": part("paragraphs", [f"Its sweep cannot be shown: {fault}."])}]
    return [{"title": headline(sweep), "body": body(sweep, str(sweep_name["points"][index]["label"])), "wide": True}]


def _sweep_of(run: Path) -> dict[str, Any] | None:
    """What says which sweep the run's folder is part of; None where a file of that name beside it is not a sweep's."""
    try:
        return read_sweep(run.parent) if (run.parent / FILE).exists() else None
    except JoulemillError:
        return None


def render(sweep: SweepResult) -> str:
    """The whole page: nothing is fetched, every text is escaped."""
    from joulemill.reports.html.page import cards_page, part

    stated = [*sweep.conditions.parts().items(), ("started", sweep.conditions.started)]
    where = "; ".join(f"{k}: {_flat(v)}" for k, v in stated if v)
    cards = [
        {"title": "", "body": body(sweep), "wide": True},
        {"title": "Conditions", "body": part("notes", [where]), "wide": True},
    ]
    return cards_page(headline(sweep), headline(sweep), "", cards)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v is not None and not isinstance(v, (dict, list)))
    return str(value)
