"""A plan as one offline page: flow from feed to tokens, frontier, prices, hours of a day, the levers' order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from joulemill.fleet.document import lever_rows, means, power_rows, replica_rows
from joulemill.fleet.played import PlayedPlan
from joulemill.fleet.problems import goal_names
from joulemill.fleet.study import PlanStudy
from joulemill.planning.prices import active
from joulemill.planning.robustness import ScenarioLoss
from joulemill.reports.html.page import Card, cards_page, numbered, part
from joulemill.reports.html.played import played_card
from joulemill.reports.plan_wording import (
    FRONTIER_IS,
    currency,
    goal_text,
    headline,
    prefixed,
    price_sentence,
    shortage_sentence,
    target_sentence,
    worth_saying,
)
from joulemill.reports.svg.plan import abatement, flow, frontier, hours
from joulemill.reports.text.plan import count
from joulemill.wording import digits, percent, quantity

#: Series that are drawn in one picture; more could not be told apart.
MOST_LINES = 4
#: What the tile of the goal's value is called.
_SOUGHT = {
    "tokens": "tokens by their worth",
    "energy": "power at the feed",
    "carbon": "carbon",
    "cost": "cost",
    "devices": "devices in use",
}


def page(plan: PlanStudy, played: PlayedPlan | None = None) -> str:
    """The whole page: no script, nothing fetched."""
    noted: list[Card] = [{"title": "To be read with these figures", "body": part("items", plan.notes), "wide": True}]
    return cards_page(
        plan.file.tables.name,
        headline(plan),
        f"Modelled. {_goal_line(plan)}",
        [*cards(plan), *([] if played is None else [played_card(played, plan.goals[0].unit)]), *noted],
        alert=("Short of:", [shortage_sentence(s) for s in plan.shortages]),
        tiles=_tiles(plan),
    )


def cards(plan: PlanStudy) -> Iterator[Card]:
    """{title, body} cards, markup safe; ``wide`` ones span the page."""
    if plan.use is None:
        return
    yield {"title": "From feed to tokens", "body": flow(_flows(plan))}
    yield {"title": "What one more is worth", "body": _prices(plan)}
    if plan.frontier:
        here = sum(x.value for x in plan.prices if x.name == _power_limit(plan))
        picture = frontier(plan.frontier, here or None)
        yield {"title": "Tokens against power", "body": picture + part("notes", [_frontier_note(plan)])}
    if len(plan.steps) > 1:
        yield {"title": "Levers in the order of their benefit", "body": abatement(plan.steps) + _levers(plan)}
    yield from ({"title": name, "body": picture} for name, picture in _day(plan))
    yield {"title": "What runs", "body": _replicas(plan), "wide": True}
    if plan.losses:
        yield {"title": "This plan in worse cases", "body": _worse(plan)}


def _frontier_note(plan: PlanStudy) -> str:
    bend = "Where the line bends, a limit other than power has become active."
    text = f"{FRONTIER_IS[0].upper()}{FRONTIER_IS[1:]}. {bend}"
    least = next((p for p in plan.frontier if p.rate_tok_s is not None), None)
    if least is None or least is plan.frontier[0]:
        return text
    return f"{text} With less than {prefixed(least.limit_w, 'W')} the unused devices alone draw more than there is."


def _goal_line(plan: PlanStudy) -> str:
    goals = plan.file.tables.objective
    sought = (
        "a weighted sum" if goals.weights else ", then ".join(g.replace("_", " ") for g in goal_names(plan.file.tables))
    )
    span = "one steady hour" if plan.problem.hour_count == 1 else f"{plan.problem.hour_count:,} hours"
    return f"Sought: {sought}, over {span}."


def _tiles(plan: PlanStudy) -> list[tuple[str, str]]:
    if plan.use is None:
        return []
    mean = means(plan)
    sought = goal_text(plan.value, plan.goals[0].unit, money=currency(plan))
    alike = plan.goals[0].name == "tokens" and sought == prefixed(plan.use.rate_tok_s, "tok/s")
    tiles = [] if alike else [(_SOUGHT.get(plan.goals[0].name, "objective"), sought)]
    tiles += [("tokens", prefixed(plan.use.rate_tok_s, "tok/s"))]
    named = (
        ("energy at the feed", "site_j_tok", "J/tok"),
        ("carbon", "carbon_gco2e_tok", "gCO2e/tok"),
        ("energy and purchases", "cost_currency_tok", f"{currency(plan)}/tok"),
        ("water of the sites", "water_l_tok", "l/tok"),
    )
    tiles += [(name, quantity(value, unit)) for name, key, unit in named if (value := mean[key]) is not None]
    bought = sum(p.bought_count for p in plan.use.pools)
    return [*tiles, ("devices to buy", count(bought))] if bought > 0.0 else tiles


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
    unit, money = plan.goals[0].unit, currency(plan)
    first = active(plan.prices)
    rest = [price_sentence(p, unit, money) for p in worth_saying([x for x in plan.prices if x not in first])]
    late = [target_sentence(t, unit, money) for t in plan.targets]
    held = ["Prices hold for this number of replicas."] if any(p.held_whole for p in plan.prices) else []
    bind = [price_sentence(p, unit, money) for p in worth_saying(first)]
    return part("items", [*rest, *late], bind) + part("notes", held)


def _levers(plan: PlanStudy) -> str:
    rows = []
    for row in lever_rows(plan):
        value = "no plan" if row["value"] is None else goal_text(row["value"], plan.goals[0].unit, money=currency(plan))
        cost = "" if row["cost_currency"] is None else f"{row['cost_currency']:,.0f}"
        saved = "" if row["saved_w"] is None else prefixed(row["saved_w"], "W")
        rows.append((row["lever"] or "none", value, saved, cost))
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
    yield "Tokens by hour", hours([*served, *shifted][: MOST_LINES + 1], "tok/s", "tokens per second")


def _moved(asked: np.ndarray, served: np.ndarray) -> bool:
    return bool(np.isfinite(asked).all() and np.abs(asked - served).max() > 1e-6 * max(float(asked.max()), 1e-9))


def _replicas(plan: PlanStudy) -> str:
    rows = []
    for r in replica_rows(plan):
        cells = (r["site"], r["pool"], r["model"], r["deployment"], count(r["count"]), digits(r["concurrency"]))
        rows.append((*cells, prefixed(r["rate_tok_s"], "tok/s"), prefixed(r["power_w"], "W")))
    sites = []
    for s in power_rows(plan):
        limit = "not stated" if s["limit_w"] is None else prefixed(s["limit_w"], "W")
        facility = "unknown: no PUE is stated" if s["facility_w"] is None else prefixed(s["facility_w"], "W")
        sites.append((s["site"], prefixed(s["it_w"], "W"), limit, facility))
    head = ("site", "pool", "model", "deployment", "replicas", "concurrency", "tok/s", "power")
    return _table(head, rows) + _table(("site", "IT power, peak hour", "limit", "facility power"), sites)


def _worse(plan: PlanStudy) -> str:
    rows = [(loss.scenario.name, *_served(loss)) for loss in plan.losses]
    why = "The same replicas and purchases, run as well as they can be."
    return _table(("case", "served", "demand not served"), rows) + part("notes", [why])


def _served(loss: ScenarioLoss) -> tuple[str, str]:
    if loss.served_tok_s is None or loss.lost_ratio is None:
        return "cannot be run", ""
    return prefixed(loss.served_tok_s, "tok/s"), percent(loss.lost_ratio, 1) if loss.asked_tok_s else "none stated"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return part("table", head, [[numbered(cell) for cell in row] for row in rows])
