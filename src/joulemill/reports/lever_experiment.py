"""A lever experiment for people: a table in the terminal, a page with its picture, a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from joulemill import __version__
from joulemill.analysis.lever_experiment import Experiment, MeasuredLever, Side
from joulemill.analysis.serialization import plain
from joulemill.figure import Figure
from joulemill.reports.svg.lever_experiment import picture
from joulemill.reports.text.page import WIDE, add_row, plain_table, prose
from joulemill.wording import digits, interval, percent, quantity, signed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

CHANGES = (
    ("ΔJ/token", "energy_change", "energy"),
    ("Δtok/s", "rate_change", "rate"),
    ("ΔTTFT", "ttft_change", "ttft"),
    ("ΔTPOT", "tpot_change", "tpot"),
)


def document(experiment: Experiment) -> dict[str, Any]:
    """The JSON document; changes are ratios, unknown is null."""
    return {"schema_version": "1.0", **plain(experiment)}


def headline(experiment: Experiment) -> str:
    """What it is, and whether it is whole."""
    return f"Levers measured on this machine: {experiment.runs} of {experiment.planned} runs, {experiment.status}"


def show(experiment: Experiment, console: Console) -> None:
    """Print the table, what was not measured, and notes."""
    prose(console, headline(experiment), f"base: {_side(experiment.before)}", "")
    console.print(_screen_table(experiment, wide=console.width >= WIDE))
    for lever in experiment.levers:
        prose(console, *(f"cascade of the two models, {c.judge}: {_cascade(c)}" for c in lever.cascades))
    absent = [lever for lever in experiment.levers if lever.why_not is not None]
    if absent:
        prose(console, "", "Not measured")
        table = plain_table("", "", fold=1)
        for lever in absent:
            add_row(table, f"  {lever.name}", lever.why_not or "")
        console.print(table)
    sides = (experiment.before, *(lever.after for lever in experiment.levers if lever.after))
    left_out = [f"left out: {text}" for side in sides for text in side.left_out]
    prose(console, "", *_unpredicted(experiment), *_unknown(experiment), *experiment.notes, *left_out)


def _screen_table(experiment: Experiment, *, wide: bool) -> Table:
    """Each lever measured and predicted; a narrow terminal leaves out latency and the rate's interval."""
    columns = ("lever", "", "ΔJ/token", "Δtok/s", "ΔTTFT", "ΔTPOT", "ΔJ/correct", "accuracy")
    shown = range(len(columns)) if wide else (0, 1, 2, 3, 6, 7)
    table = plain_table(*(columns[i] for i in shown), right={k for k, i in enumerate(shown) if i > 2})
    table.padding = (0, 2 if wide else 1, 0, 0)
    for lever in experiment.levers:
        if lever.after is None:
            continue
        accuracy = lever.after.accuracy.value
        cells = (
            lever.name,
            "measured",
            signed(lever.energy_change, bounds=True),
            signed(lever.rate_change, bounds=wide),
            signed(lever.ttft_change),
            signed(lever.tpot_change),
            signed(lever.answer_change),
            "–" if accuracy is None else percent(accuracy),
        )
        add_row(table, *(cells[i] for i in shown))
        p = lever.predicted
        if p is not None:
            cells = (
                "",
                "predicted",
                signed(p.get("energy"), bounds=True),
                signed(p.get("rate"), bounds=wide),
                signed(p.get("ttft")),
                signed(p.get("tpot")),
                "",
                "",
            )
            add_row(table, *(cells[i] for i in shown))
    return table


def _unpredicted(experiment: Experiment) -> Iterator[str]:
    for lever in experiment.levers:
        if lever.after is not None and (lever.predicted is None or lever.unpredicted):
            yield f"{lever.name}, predicted: {lever.unpredicted or 'the model has no term for it'}"


def _unknown(experiment: Experiment) -> Iterator[str]:
    for lever in experiment.levers:
        change = lever.energy_change
        if change is not None and change.value is None:
            yield f"{lever.name}: the change of J/token is unknown: {change.reason}"


def _side(side: Side) -> str:
    right = side.accuracy.value
    parts = [
        f"{_said(side.node_j_tok)} at the node",
        _said(side.rate_tok_s),
        f"{percent(right)} of the answers right" if right is not None else "answers not asked",
        f"{_said(side.correct_answer_j)} per correct answer",
    ]
    return ", ".join(parts)


def _said(figure: Figure) -> str:
    if figure.value is None:
        return f"unknown ({figure.reason})"
    return " ".join(x for x in (quantity(figure.value, figure.unit), interval(figure)) if x)


def _cascade(c: Any) -> str:
    joules = (
        "no answer was correct" if c.correct_answer_j is None else f"{digits(c.correct_answer_j)} J per correct answer"
    )
    return (
        f"{percent(c.passed_ratio)} go to the second model, {percent(c.accuracy_ratio)} correct, {joules} "
        f"({c.question_count} questions)"
    )


def page(experiment: Experiment) -> str:
    """A page of its own: the picture, the table, what was not measured; nothing fetched, no script."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader("joulemill.reports", "templates"), autoescape=True)
    style = environment.get_template("style.html.j2").render()
    cards = [
        ("Change of energy per token", picture(experiment.levers, "energy_change", "energy")),
        ("Change of tokens a second", picture(experiment.levers, "rate_change", "rate")),
        ("What each lever did", _table(experiment.levers)),
    ]
    rows = [c for x in experiment.levers for c in x.cascades]
    if rows:
        cascades = "".join(f"<p><b>{escape(c.judge)}</b><br>{escape(_cascade(c))}</p>" for c in rows)
        cards.append(("Cascades of the two models", cascades))
    absent = [(x.name, x.why_not) for x in experiment.levers if x.why_not is not None]
    if absent:
        cards.append(("Not measured", _list(absent)))
    body = "".join(
        f'<div class="card{" wide" if t == "What each lever did" else ""}"><h2>{escape(t)}</h2>{b}</div>'
        for t, b in cards
    )
    notes = "".join(f'<p class="quiet wrap">{escape(n)}</p>' for n in (*_unknown(experiment), *experiment.notes))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Levers, measured · Joulemill</title>{style}</head><body><main><header>"
        f"<h1>{escape(headline(experiment))}</h1>"
        f'<p class="quiet wrap">As it is: {escape(_side(experiment.before))}</p></header>'
        f'<section class="cards">{body}</section>'
        f"{notes}<footer><p>Joulemill {__version__}</p></footer></main></body></html>"
    )


def _list(rows: Sequence[tuple[str, str | None]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b or '')}</dd>" for a, b in rows) + "</dl>"


def _table(levers: Sequence[MeasuredLever]) -> str:
    names = ("lever", "", *(n for n, _, _ in CHANGES), "ΔJ/correct answer", "correct answers")
    head = "".join(f"<th>{h}</th>" for h in names)
    body = "".join(_table_rows(x) for x in levers if x.after is not None)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _table_rows(lever: MeasuredLever) -> str:
    what = f"<b>{escape(lever.name)}</b><br><span class=quiet>{escape(lever.label)}</span>"
    what = f'<td rowspan="2" style="min-width:12em">{what}</td>'
    cells = [_cell(signed(getattr(lever, field), bounds=True)) for _, field, _ in CHANGES]
    right = lever.after.accuracy if lever.after else None
    cells += [_cell(signed(lever.answer_change, bounds=True)), _cell(percent(right.value) if right else "")]
    first = f"<tr>{what}<td>measured</td>{''.join(cells)}</tr>"
    if lever.predicted is None:
        why = escape(lever.unpredicted or "the model has no term for it")
        return f'{first}<tr><td>predicted</td><td colspan="6">{why}</td></tr>'
    predicted_cells = "".join(_cell(signed(lever.predicted.get(key), bounds=True)) for _, _, key in CHANGES)
    why = f'<td colspan="2" class="quiet">{escape(lever.unpredicted or "")}</td>'
    return f"{first}<tr><td>predicted</td>{predicted_cells}{why}</tr>"


def _cell(words: str) -> str:
    return f'<td class="n">{escape(words)}</td>'
