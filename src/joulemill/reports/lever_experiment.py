"""A lever experiment for people: a table in the terminal, a page with its picture, a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from joulemill.analysis.lever_experiment import Experiment, MeasuredLever, Side
from joulemill.figure import Figure
from joulemill.jsonable import plain
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
        f"{_figure_text(side.node_j_tok)} at the node",
        _figure_text(side.rate_tok_s),
        f"{percent(right)} of the answers right" if right is not None else "answers not asked",
        f"{_figure_text(side.correct_answer_j)} per correct answer",
    ]
    return ", ".join(parts)


def _figure_text(figure: Figure) -> str:
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
    from joulemill.reports.html.page import Card, cards_page, part

    cards: list[Card] = [
        {"title": "Change of energy per token", "body": picture(experiment.levers, "energy_change", "energy")},
        {"title": "Change of tokens per second", "body": picture(experiment.levers, "rate_change", "rate")},
    ]
    names = ("lever", "", *(n for n, _, _ in CHANGES), "ΔJ/correct answer", "correct answers")
    rows = [_page_row(x) for x in experiment.levers if x.after is not None]
    cards.append({"title": "What each lever did", "body": part("measured", names, rows), "wide": True})
    cascades = [(c.judge, _cascade(c)) for x in experiment.levers for c in x.cascades]
    if cascades:
        cards.append({"title": "Cascades of the two models", "body": part("definitions", cascades)})
    absent = [(x.name, x.why_not) for x in experiment.levers if x.why_not is not None]
    if absent:
        cards.append({"title": "Not measured", "body": part("definitions", absent)})
    base, notes = f"As it is: {_side(experiment.before)}", (*_unknown(experiment), *experiment.notes)
    return cards_page("Levers, measured", headline(experiment), base, cards, notes)


def _page_row(lever: MeasuredLever) -> dict[str, Any]:
    right = lever.after.accuracy if lever.after else None
    measured = [signed(getattr(lever, field), bounds=True) for _, field, _ in CHANGES]
    measured += [signed(lever.answer_change, bounds=True), percent(right.value) if right else ""]
    changes = lever.predicted
    predicted = None if changes is None else [signed(changes.get(key), bounds=True) for _, _, key in CHANGES]
    why = lever.unpredicted or ("the model has no term for it" if predicted is None else "")
    return {"name": lever.name, "label": lever.label, "measured": measured, "predicted": predicted, "why": why}
