"""A lever experiment for people: a table in the terminal, a page with its picture, a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from joulemill import __version__
from joulemill.analysis.lever_experiment import Experiment, MeasuredLever, Side
from joulemill.analysis.serialization import plain
from joulemill.figure import Figure
from joulemill.reports.svg.lever_experiment import picture
from joulemill.wording import digits, interval, percent, quantity, signed

CHANGES = (
    ("ΔJ/token", "energy_change", "energy"),
    ("Δtok/s", "rate_change", "rate"),
    ("ΔTTFT", "ttft_change", "ttft"),
    ("ΔTPOT", "tpot_change", "tpot"),
)


def document(found: Experiment) -> dict[str, Any]:
    """The JSON document; changes are ratios, unknown is null."""
    return {"schema_version": "1.0", **plain(found)}


def headline(found: Experiment) -> str:
    """What it is, and whether it is whole."""
    return f"Levers measured on this machine: {found.runs} of {found.planned} runs, {found.status}"


def text(found: Experiment) -> str:
    """The table that people read."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Experiment) -> Iterator[str]:
    yield headline(found)
    yield f"as it is: {_side(found.before)}"
    yield ""
    yield f"{'lever':<18}{'':<11}{'ΔJ/token':<24}{'Δtok/s':<24}{'ΔTTFT':>8}{'ΔTPOT':>8}{'ΔJ/correct answer':>30}"
    for lever in found.levers:
        if lever.after is not None:
            yield from _rows(lever)
    for lever in found.levers:
        for c in lever.cascades:
            yield f"cascade of the two models, {c.judge}: {_cascade(c)}"
    absent = [x for x in found.levers if x.why_not is not None]
    if absent:
        yield ""
        yield "Not measured"
        yield from (f"  {x.name:<16}{x.why_not}" for x in absent)
    yield ""
    yield from _unknown(found)
    yield from found.notes
    yield from (
        f"left out: {t}" for x in (found.before, *(v.after for v in found.levers if v.after)) for t in x.left_out
    )


def _unknown(found: Experiment) -> Iterator[str]:
    for lever in found.levers:
        change = lever.energy_change
        if change is not None and change.value is None:
            yield f"{lever.name}: the change of J/token is unknown: {change.reason}"


def _rows(lever: MeasuredLever) -> Iterator[str]:
    told = (signed(lever.ttft_change), signed(lever.tpot_change), _answers(lever))
    wide = (signed(lever.energy_change, bounds=True), signed(lever.rate_change, bounds=True))
    yield f"{lever.name:<18}{'measured':<11}{wide[0]:<24}{wide[1]:<24}{told[0]:>8}{told[1]:>8}{told[2]:>30}"
    if lever.predicted is None:
        yield f"{'':<18}{'predicted':<11}{lever.unpredicted or 'the model has no term for it'}"
        return
    p = lever.predicted
    wide = (signed(p.get("energy"), bounds=True), signed(p.get("rate"), bounds=True))
    why = f"  ({lever.unpredicted})" if lever.unpredicted else ""
    yield (
        f"{'':<18}{'predicted':<11}{wide[0]:<24}{wide[1]:<24}{signed(p.get('ttft')):>8}{signed(p.get('tpot')):>8}{why}"
    )


def _answers(lever: MeasuredLever) -> str:
    if lever.after is None or lever.answer_change is None or lever.answer_change.value is None:
        return "–"
    return f"{signed(lever.answer_change)} ({percent(lever.after.accuracy.value)} right)"


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
        f"{percent(c.passed_ratio)} go on, {percent(c.accuracy_ratio)} right, {joules} ({c.question_count} questions)"
    )


def page(found: Experiment) -> str:
    """A page of its own: the picture, the table, what was not measured; nothing fetched, no script."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader("joulemill.reports", "templates"), autoescape=True)
    style = environment.get_template("style.html.j2").render()
    cards = [
        ("Change of energy per token", picture(found.levers, "energy_change", "energy")),
        ("Change of tokens a second", picture(found.levers, "rate_change", "rate")),
        ("What each lever did", _table(found.levers)),
    ]
    rows = [c for x in found.levers for c in x.cascades]
    if rows:
        told = "".join(f"<p><b>{escape(c.judge)}</b><br>{escape(_cascade(c))}</p>" for c in rows)
        cards.append(("Cascades of the two models", told))
    absent = [(x.name, x.why_not) for x in found.levers if x.why_not is not None]
    if absent:
        cards.append(("Not measured", _list(absent)))
    body = "".join(
        f'<div class="card{" wide" if t == "What each lever did" else ""}"><h2>{escape(t)}</h2>{b}</div>'
        for t, b in cards
    )
    notes = "".join(f'<p class="quiet wrap">{escape(n)}</p>' for n in (*_unknown(found), *found.notes))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Levers, measured · Joulemill</title>{style}</head><body><main><header>"
        f'<h1>{escape(headline(found))}</h1><p class="quiet wrap">As it is: {escape(_side(found.before))}</p></header>'
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
    told = "".join(_cell(signed(lever.predicted.get(key), bounds=True)) for _, _, key in CHANGES)
    why = f'<td colspan="2" class="quiet">{escape(lever.unpredicted or "")}</td>'
    return f"{first}<tr><td>predicted</td>{told}{why}</tr>"


def _cell(words: str) -> str:
    return f'<td class="n">{escape(words)}</td>'
