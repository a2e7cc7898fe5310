"""Levers as cards of the report's HTML page, or as a page of their own: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from joulemill import __version__
from joulemill.analysis.levers_start import Start, start_lines, start_of
from joulemill.analysis.report import Report
from joulemill.catalog.levers import QUALITY, evidence_of
from joulemill.decisions.levers.study import Combination, Effect, by_use
from joulemill.prediction.levers import LeversAnswer
from joulemill.reports.svg.levers import front_plane, tornado
from joulemill.reports.text.levers import LENGTH, PAIRED, after_figures, heading, held, routed, said_workload
from joulemill.wording import quantity, signed, title

_RING = "<style>.ring{fill:none; stroke:var(--bind); stroke-width:1.6}</style>"


def cards(levers_answer: LeversAnswer, report: Report | None = None) -> list[dict[str, str]]:
    """{title, body} cards, their markup safe: the tornado, the front, the table."""
    study, start = levers_answer.study, start_of(report, levers_answer.study.before)
    effects = f'{tornado(by_use(study.effects))}<p class="quiet">{escape(PAIRED)}</p>'
    picture, how = front_plane(study.combinations, study.front)
    plane = _RING + picture + _front(study.front, start, how)
    return [
        {"title": "Levers: change of energy per token", "body": effects},
        {"title": "Levers together", "body": plane},
        {"title": "What each lever does", "body": _table(by_use(study.effects)), "wide": "yes"},
        {
            "title": "What each lever moves, and what is published",
            "body": _published(study.effects, held(levers_answer)),
        },
        {"title": "Levers that do not apply here", "body": _absent(study.effects)},
    ]


def _front(front: Sequence[Combination], start: Start | None, how: str) -> str:
    rows = "".join(
        f"<tr><td>{i}</td><td>{escape(' + '.join(c.names) or 'unchanged')}</td>"
        + "".join(f'<td class="n">{escape(text)}</td>' for text in after_figures(c, start))
        + "</tr>"
        for i, c in enumerate(front, start=1)
    )
    head = "<tr><th></th><th>levers</th><th>J/token</th><th>tok/s</th><th>TPOT</th></tr>"
    why = f"{how} The numbered ones are Pareto-optimal. Each is one joint prediction: effects do not add."
    why += "" if start is None else " " + " ".join(start_lines(start))
    return (
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
        f'<p class="quiet">{escape(why)}</p>'
    )


def _table(effects: Sequence[Effect]) -> str:
    names = ("lever", "ΔJ/token", "Δtok/s", "ΔTTFT", "ΔTPOT", "ΔJ/request", "binds after", "quality", "what it takes")
    head = "".join(f"<th>{h}</th>" for h in names)
    rows = "".join(_row(e) for e in effects if e.after is not None)
    paid = "".join(f'<p class="quiet">{escape(routed(e))}</p>' for e in effects if e.accuracy is not None)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{paid}'


def _row(e: Effect) -> str:
    about = evidence_of(e.lever.name)
    numbers = [signed(e.energy_change, bounds=True)]
    numbers += [signed(c) for c in (e.rate_change, e.ttft_change, e.tpot_change, e.request_change)]
    cells = "".join(f'<td class="n">{escape(n)}</td>' for n in numbers)
    texts = (title(e.after.binding) if e.after else "", QUALITY[about.quality], about.cost_text)
    words = "".join(f"<td>{escape(t)}</td>" for t in texts)
    label = f"{e.lever.label}; {LENGTH}" if e.lever.family == "length" else e.lever.label
    what = f"<td><b>{escape(e.lever.name)}</b><br><span class=quiet>{escape(label)}</span></td>"
    return f"<tr>{what}{cells}{words}</tr>"


def _published(effects: Sequence[Effect], fixed: str) -> str:
    """What moves, what others measured and under which conditions, and what it does to quality."""
    items = []
    for e in effects:
        if e.after is None:
            continue
        about = evidence_of(e.lever.name)
        source = "; ".join(p for p in (about.conditions, about.source) if p)
        ours = f" Here: {fixed}." if e.lever.family == "device" else ""
        items.append(
            f"<dt>{escape(e.lever.name)}</dt><dd>Moves {escape(e.lever.moves)}. Published: {escape(about.effect)} "
            f"<span class=quiet>({escape(source)})</span>.{escape(ours)} Quality: {escape(about.quality_text)}.</dd>"
        )
    return f"<dl>{''.join(items)}</dl>"


def _absent(effects: Sequence[Effect]) -> str:
    items = "".join(
        f"<dt>{escape(e.lever.name)}</dt><dd>{escape(e.why_not)}</dd>" for e in effects if e.why_not is not None
    )
    return f"<dl>{items}</dl>"


def page(levers_answer: LeversAnswer, report: Report | None = None) -> str:
    """A page of its own, for a deployment that nobody has run; of a run, its report with the cards."""
    if report is not None:
        from joulemill.reports.html.run import render

        return render(report, cards(levers_answer, report))
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader("joulemill.reports", "templates"), autoescape=True)
    style = environment.get_template("style.html.j2").render()
    before = levers_answer.study.before
    card_list: list[Mapping[str, str]] = [*cards(levers_answer)]
    body = "".join(
        f'<div class="card"{_SPAN if c.get("wide") else ""}><h2>{escape(c["title"])}</h2>{c["body"]}</div>'
        for c in card_list
    )
    now = (
        f"{said_workload(levers_answer.answer.workload, before.batch_req)}. As it is: "
        f"{quantity(before.energy_j_tok, 'J/tok')} at the {before.scope}, "
        f"{before.rate_tok_s:.4g} tok/s; {title(before.binding)} binds. Modelled."
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Levers · Joulemill</title>{style}</head><body><main><header><h1>{escape(heading(levers_answer))}</h1>"
        f'<p class="quiet wrap">{escape(now)}</p></header><section class="cards">{body}</section>'
        f"<footer><p>Joulemill {__version__}</p></footer></main></body></html>"
    )


_SPAN = ' style="grid-column:1/-1"'
