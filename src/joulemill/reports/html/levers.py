"""Levers as cards of the report's HTML page, or as a page of their own: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.analysis.levers_start import Start, start_lines, start_of
from joulemill.analysis.report import Report
from joulemill.catalog.levers import QUALITY, evidence_of
from joulemill.decisions.levers.study import Combination, Effect, by_use
from joulemill.prediction.levers import LeversAnswer
from joulemill.reports.html.page import Card, Cell, cards_page, numbered, part, stacked
from joulemill.reports.svg.levers import front_plane, tornado
from joulemill.reports.text.levers import LENGTH, PAIRED, after_figures, heading, held, routed, said_workload
from joulemill.wording import quantity, signed, title


def cards(levers_answer: LeversAnswer, report: Report | None = None) -> list[Card]:
    """{title, body} cards, their markup safe: the tornado, the front, the table."""
    study, start = levers_answer.study, start_of(report, levers_answer.study.before)
    picture, how = front_plane(study.combinations, study.front)
    absent = [(e.lever.name, e.why_not) for e in study.effects if e.why_not is not None]
    return [
        {
            "title": "Levers: change of energy per token",
            "body": tornado(by_use(study.effects)) + part("notes", [PAIRED]),
        },
        {"title": "Levers together", "body": picture + _front(study.front, start, how)},
        {"title": "What each lever does", "body": _table(by_use(study.effects)), "wide": True},
        {
            "title": "What each lever moves, and what is published",
            "body": _published(study.effects, held(levers_answer)),
        },
        {"title": "Levers that do not apply here", "body": part("definitions", absent)},
    ]


def _front(front: Sequence[Combination], start: Start | None, how: str) -> str:
    rows = [
        (str(i), " + ".join(c.names) or "unchanged", *map(numbered, after_figures(c, start)))
        for i, c in enumerate(front, start=1)
    ]
    why = f"{how} The numbered ones are Pareto-optimal. Each is one joint prediction: effects do not add."
    why += "" if start is None else " " + " ".join(start_lines(start))
    return part("table", ("", "levers", "J/token", "tok/s", "TPOT"), rows) + part("notes", [why])


def _table(effects: Sequence[Effect]) -> str:
    names = ("lever", "ΔJ/token", "Δtok/s", "ΔTTFT", "ΔTPOT", "ΔJ/request", "binds after", "quality", "what it takes")
    paid = [routed(e) for e in effects if e.accuracy is not None]
    return part("table", names, [_row(e) for e in effects if e.after is not None]) + part("notes", paid)


def _row(e: Effect) -> Sequence[Cell]:
    about = evidence_of(e.lever.name)
    numbers = [signed(e.energy_change, bounds=True)]
    numbers += [signed(c) for c in (e.rate_change, e.ttft_change, e.tpot_change, e.request_change)]
    texts = (title(e.after.binding) if e.after else "", QUALITY[about.quality], about.cost_text)
    label = f"{e.lever.label}; {LENGTH}" if e.lever.family == "length" else e.lever.label
    return (stacked(e.lever.name, label, bold=True), *map(numbered, numbers), *texts)


def _published(effects: Sequence[Effect], fixed: str) -> str:
    """What moves, what others measured and under which conditions, and what it does to quality."""
    items = []
    for e in effects:
        if e.after is None:
            continue
        about = evidence_of(e.lever.name)
        items.append(
            {
                "name": e.lever.name,
                "moves": e.lever.moves,
                "effect": about.effect,
                "quality": about.quality_text,
                "source": "; ".join(p for p in (about.conditions, about.source) if p),
                "ours": f" Here: {fixed}." if e.lever.family == "device" else "",
            }
        )
    return part("published", items)


def page(levers_answer: LeversAnswer, report: Report | None = None) -> str:
    """A page of its own, for a deployment that nobody has run; of a run, its report with the cards."""
    if report is not None:
        from joulemill.reports.html.run import render

        return render(report, cards(levers_answer, report))
    before = levers_answer.study.before
    now = (
        f"{said_workload(levers_answer.answer.workload, before.concurrency)}. As it is: "
        f"{quantity(before.energy_j_tok, 'J/tok')} at the {before.scope}, "
        f"{before.rate_tok_s:.4g} tok/s; {title(before.binding)} binds. Modelled."
    )
    return cards_page("Levers", heading(levers_answer), now, cards(levers_answer))
