"""A plan as one offline page: flow from feed to tokens, frontier, prices, hours of a day, the levers' order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from joulemill import __version__
from joulemill.fleet.document import lever_rows, means, power_rows, replica_rows
from joulemill.fleet.problems import goal_names
from joulemill.fleet.study import PlanStudy
from joulemill.planning.prices import active
from joulemill.reports.plan_wording import (
    currency,
    goal_text,
    headline,
    prefixed,
    price_sentence,
    shortage_sentence,
    target_sentence,
)
from joulemill.reports.svg.plan import abatement, flow, frontier, hours
from joulemill.reports.text.plan import count
from joulemill.wording import digits, percent, quantity

#: Series that are drawn in one picture; more could not be told apart.
MOST_LINES = 4
#: What the tile of the goal's value is called.
_SOUGHT = {
    "tokens": "tokens",
    "energy": "power at the feed",
    "carbon": "carbon",
    "cost": "cost",
    "devices": "devices in use",
}


def page(plan: PlanStudy) -> str:
    """The whole page: no script, nothing fetched."""
    import jinja2

    environment = jinja2.Environment(loader=jinja2.PackageLoader("joulemill.reports", "templates"), autoescape=True)
    style = environment.get_template("style.html.j2").render()
    body = "".join(_card(title, content, wide) for title, content, wide in cards(plan))
    notes = "".join(f"<li>{escape(note)}</li>" for note in plan.notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(plan.file.tables.name)} · Joulemill</title>{style}</head><body><main>"
        f"<header><h1>{escape(headline(plan))}</h1>"
        f'<p class="quiet wrap">Modelled. {escape(_goal_line(plan))}</p></header>'
        f'{_short(plan)}{_tiles(plan)}<section class="cards">{body}</section>'
        f'<section class="card"><h2>To be read with these figures</h2><ul>{notes}</ul></section>'
        f"<footer><p>Joulemill {__version__}</p></footer></main></body></html>"
    )


def cards(plan: PlanStudy) -> Iterator[tuple[str, str, bool]]:
    """(title, body, whether it is wide), markup safe."""
    if plan.use is None:
        return
    yield "From feed to tokens", flow(_flows(plan)), False
    yield "What one more is worth", _prices(plan), False
    if plan.frontier:
        here = sum(x.value for x in plan.prices if x.name == _power_limit(plan))
        picture, why = frontier(plan.frontier, here or None), _frontier_note(plan)
        yield "Tokens against power", f'{picture}<p class="quiet">{escape(why)}</p>', False
    if len(plan.steps) > 1:
        yield "Levers in the order in which they pay", abatement(plan.steps) + _levers(plan), False
    yield from ((name, picture, False) for name, picture in _day(plan))
    yield "What runs", _replicas(plan), True
    if plan.losses:
        yield "This plan in worse cases", _worse(plan), False


def _frontier_note(plan: PlanStudy) -> str:
    text = "All power limits are scaled together. Where the line bends, something else than power has become short."
    least = next((p for p in plan.frontier if p.rate_tok_s is not None), None)
    if least is None or least is plan.frontier[0]:
        return text
    return f"{text} With less than {prefixed(least.limit_w, 'W')} the unused devices alone draw more than there is."


def _card(title: str, body: str, wide: bool) -> str:
    return f'<div class="card{" wide" if wide else ""}"><h2>{escape(title)}</h2>{body}</div>'


def _goal_line(plan: PlanStudy) -> str:
    goals = plan.file.tables.objective
    sought = (
        "a weighted sum" if goals.weights else ", then ".join(g.replace("_", " ") for g in goal_names(plan.file.tables))
    )
    span = "one steady hour" if plan.problem.hour_count == 1 else f"{plan.problem.hour_count:,} hours"
    return f"Sought: {sought}, over {span}."


def _short(plan: PlanStudy) -> str:
    if not plan.shortages:
        return ""
    items = "".join(f"<li>{escape(shortage_sentence(s))}</li>" for s in plan.shortages)
    return f'<div class="warn"><p>Short of:</p><ul>{items}</ul></div>'


def _tiles(plan: PlanStudy) -> str:
    if plan.use is None:
        return ""
    mean = means(plan)
    tiles = [(_SOUGHT.get(plan.goals[0].name, "objective"), goal_text(plan.value, plan.goals[0].unit))]
    tiles += [] if plan.goals[0].name == "tokens" else [("tokens", prefixed(plan.use.rate_tok_s, "tok/s"))]
    named = (
        ("energy at the feed", "site_j_tok", "J/tok"),
        ("carbon", "carbon_gco2e_tok", "gCO2e/tok"),
        ("energy and purchases", "cost_currency_tok", f"{currency(plan)}/tok"),
    )
    tiles += [(name, quantity(value, unit)) for name, key, unit in named if (value := mean[key]) is not None]
    bought = sum(p.bought_count for p in plan.use.pools)
    tiles += [("devices to buy", count(bought))] if bought > 0.0 else []
    body = "".join(f'<div class="tile"><span class="name">{escape(n)}</span><b>{escape(v)}</b></div>' for n, v in tiles)
    return f'<section class="tiles">{body}</section>'


def _power_limit(plan: PlanStudy) -> str:
    return next((p.name for p in plan.prices if p.name in ("it_power", "facility_power")), "")


def _flows(plan: PlanStudy) -> Sequence[tuple[str, Sequence[tuple[str, float]], float]]:
    """Of each site, means over the hours: serving, unused devices, facility; and its tokens."""
    use, share = plan.use, plan.problem.hour_s / plan.problem.span_s
    rows = []
    for s, site in enumerate(use.sites if use else ()):
        mine = [d for d in (use.deployments if use else ()) if plan.problem.pools[d.pool].site == s]
        serving = sum(d.power_w for d in mine)
        it_w = float((site.it_w * share).sum())
        facility_w = float((site.facility_w * share).sum())
        parts = [("serving", serving), ("unused devices", max(it_w - serving, 0.0)), ("facility", facility_w - it_w)]
        rows.append((site.name, parts, sum(d.rate_tok_s for d in mine)))
    return rows


def _prices(plan: PlanStudy) -> str:
    unit = plan.goals[0].unit
    first = active(plan.prices)
    dear = "".join(f"<li><b>{escape(price_sentence(p, unit))}</b></li>" for p in first)
    rest = "".join(f"<li>{escape(price_sentence(p, unit))}</li>" for p in plan.prices if p not in first)
    late = "".join(f"<li>{escape(target_sentence(t, unit))}</li>" for t in plan.targets)
    held = (
        '<p class="quiet">Prices are those with the replicas held.</p>'
        if any(p.held_whole for p in plan.prices)
        else ""
    )
    return f"<ul>{dear}{rest}{late}</ul>{held}"


def _levers(plan: PlanStudy) -> str:
    rows = ""
    for row in lever_rows(plan):
        value = "no plan" if row["value"] is None else goal_text(row["value"], plan.goals[0].unit)
        cost = "" if row["cost_currency"] is None else f"{row['cost_currency']:,.0f}"
        saved = "" if row["saved_w"] is None else prefixed(row["saved_w"], "W")
        rows += _row(row["lever"] or "none", value, saved, cost)
    return _table(("lever", "plan with it", "power saved at its tokens", "cost once"), rows)


def _day(plan: PlanStudy) -> Iterator[tuple[str, str]]:
    use = plan.use
    if use is None or plan.problem.hour_count == 1:
        return
    sites = sorted(use.sites, key=lambda s: -float(s.it_w.max()))[:MOST_LINES]
    yield "IT power by hour", hours([(s.name, s.it_w) for s in sites], "W", "IT power")
    classes = sorted(use.classes, key=lambda c: -float(c.served_tok_s.max()))[:MOST_LINES]
    served = [(c.name, c.served_tok_s) for c in classes]
    shifted = [(f"{c.name} asked", c.asked_tok_s) for c in classes if _moved(c.asked_tok_s, c.served_tok_s)]
    yield "Tokens by hour", hours([*served, *shifted][: MOST_LINES + 1], "tok/s", "tokens a second")


def _moved(asked: np.ndarray, served: np.ndarray) -> bool:
    return bool(np.isfinite(asked).all() and np.abs(asked - served).max() > 1e-6 * max(float(asked.max()), 1e-9))


def _replicas(plan: PlanStudy) -> str:
    rows = ""
    for r in replica_rows(plan):
        cells = (r["site"], r["pool"], r["model"], r["deployment"], count(r["count"]), digits(r["concurrency"]))
        rows += _row(*cells, prefixed(r["rate_tok_s"], "tok/s"), prefixed(r["power_w"], "W"))
    sites = ""
    for s in power_rows(plan):
        limit = "not stated" if s["limit_w"] is None else prefixed(s["limit_w"], "W")
        facility = "unknown: no PUE is stated" if s["facility_w"] is None else prefixed(s["facility_w"], "W")
        sites += _row(s["site"], prefixed(s["it_w"], "W"), limit, facility)
    head = ("site", "pool", "model", "deployment", "replicas", "concurrency", "tok/s", "power")
    return _table(head, rows) + "<br>" + _table(("site", "IT power, fullest hour", "limit", "facility power"), sites)


def _worse(plan: PlanStudy) -> str:
    rows = ""
    for loss in plan.losses:
        lost = "cannot be run" if loss.lost_ratio is None else percent(loss.lost_ratio, 1)
        rows += _row(loss.scenario.name, lost)
    why = "The same replicas and purchases, run as well as they can be."
    return _table(("case", "demand not served"), rows) + f'<p class="quiet">{why}</p>'


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f'<td class="n">{escape(c)}</td>' for c in cells) + "</tr>"


def _table(head: Sequence[str], rows: str) -> str:
    names = "".join(f"<th>{escape(h)}</th>" for h in head)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>'
