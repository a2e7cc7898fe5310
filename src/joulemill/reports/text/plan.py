"""A plan in the terminal: what to run, what it draws, what one more of each limit is worth, what is short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from joulemill.fleet.document import lever_rows, means, power_rows, replica_rows
from joulemill.fleet.study import PlanStudy
from joulemill.planning.prices import active
from joulemill.reports.plan_wording import (
    FRONTIER_IS,
    currency,
    goal_text,
    headline,
    prefixed,
    price_sentence,
    served_text,
    shortage_sentence,
    target_sentence,
    worth_saying,
)
from joulemill.reports.text.page import add_row, plain_table, prose
from joulemill.wording import digits, quantity, shortened

if TYPE_CHECKING:
    from rich.console import Console

#: Replicas that are no whole number are shown to this many digits.
_DIGITS = 4
#: A number that a solver gives as whole is within this of it (HiGHS: 1e-6, and what scaling adds).
WHOLE_RATIO = 1e-4
#: Below this width the requests in flight have no room in the table.
_NARROW = 92
#: Letters of a model's name, in a narrow terminal and in a wide one.
_NAME_CHARS = (24, 48)


def show(plan: PlanStudy, console: Console) -> None:
    """All of it."""
    prose(console, headline(plan), style="bold")
    if plan.shortages:
        prose(console, "", "short of:", *(f"  {shortage_sentence(s)}" for s in plan.shortages))
    if plan.use is not None:
        _replicas(plan, console)
        _sites(plan, console)
        _prices(plan, console)
        for section in (_levers, _worse_cases, _frontier):
            lines = list(section(plan))
            if lines:
                prose(console, "", *lines)
    prose(console, "", *(f"note: {note}" for note in plan.notes))


def _replicas(plan: PlanStudy, console: Console) -> None:
    narrow = console.width < _NARROW
    shown = ["pool", "model", "deployment", "replicas", *([] if narrow else ["requests"]), "rate", "power"]
    table = plain_table(*shown, right=set(range(3, len(shown))), fold=1)
    for row in replica_rows(plan):
        name = shortened(row["model"].rpartition("/")[2], _NAME_CHARS[0 if narrow else 1])
        rate = prefixed(row["rate_tok_s"], "tok/s")
        cells = [row["pool"], name, row["deployment"], count(row["count"])]
        cells += [] if narrow else [digits(row["concurrency"], 2)]
        add_row(table, *cells, rate, prefixed(row["power_w"], "W"))
    prose(console, "")
    console.print(table)
    if plan.problem.hour_count > 1:
        prose(console, "replicas are those of each deployment's peak hour, rate and power means over the hours")


def _sites(plan: PlanStudy, console: Console) -> None:
    table = plain_table("site", "IT power", "of", "facility", right={1, 2, 3})
    for row in power_rows(plan):
        limit = "" if row["limit_w"] is None else prefixed(row["limit_w"], "W")
        facility = "unknown" if row["facility_w"] is None else prefixed(row["facility_w"], "W")
        add_row(table, row["site"], prefixed(row["it_w"], "W"), limit, facility)
    prose(console, "")
    console.print(table)
    if plan.problem.hour_count > 1:
        prose(console, "of each site's peak hour; below, means over the hours")
    mean = means(plan)
    words = [
        quantity(mean["site_j_tok"], "J/tok") if mean["site_j_tok"] is not None else "",
        quantity(mean["carbon_gco2e_tok"], "gCO2e/tok") if mean["carbon_gco2e_tok"] is not None else "",
        quantity(mean["cost_currency_tok"], f"{currency(plan)}/tok") if mean["cost_currency_tok"] is not None else "",
        f"water {quantity(mean['water_l_tok'], 'l/tok')}" if mean["water_l_tok"] is not None else "",
    ]
    if any(words):
        prose(console, f"at the feed: {', '.join(x for x in words if x)}")
    for pool in plan.use.pools if plan.use else ():
        if pool.bought_count > 0.0:
            prose(console, f"buy {count(pool.bought_count)} devices for {pool.name}")


def _prices(plan: PlanStudy, console: Console) -> None:
    unit, money = plan.goals[0].unit, currency(plan)
    first = active(plan.prices)
    shown = worth_saying([*first, *(p for p in plan.prices if p not in first)])
    held = " (replicas held)" if any(p.held_whole for p in plan.prices) else ""
    prose(console, "", f"what one more is worth{held}:")
    prose(console, *(f"  {price_sentence(p, unit, money)}" for p in shown))
    prose(console, *(f"  {target_sentence(t, unit, money)}" for t in plan.targets))


def _levers(plan: PlanStudy) -> Iterator[str]:
    if len(plan.steps) < 2:
        return
    yield "levers in the order of their benefit (fractional replicas):"
    unit = plan.goals[0].unit
    for row in lever_rows(plan):
        name = row["lever"] or "none"
        if row["value"] is None:
            yield f"  {name}: no plan"
            continue
        joules = quantity(row["energy_j_tok"], "J/tok")
        cost = "" if row["cost_currency"] is None else f", costs {row['cost_currency']:,.0f} once"
        yield f"  {name}: {goal_text(row['value'], unit, money=currency(plan))}, {joules}{cost}"


def _worse_cases(plan: PlanStudy) -> Iterator[str]:
    if not plan.losses:
        return
    yield "this plan in worse cases (same replicas):"
    for loss in plan.losses:
        yield f"  {loss.scenario.name}: {served_text(loss)}"
    if plan.robust_from is not None:
        unit = plan.goals[0].unit
        yield f"  without caution the plan would reach {goal_text(plan.robust_from, unit, money=currency(plan))}"


def _frontier(plan: PlanStudy) -> Iterator[str]:
    known = [p for p in plan.frontier if p.rate_tok_s is not None]
    if not known:
        return
    yield f"tokens against power ({FRONTIER_IS}):"
    for p in known:
        price = "" if p.price_tok_j is None else f", {digits(p.price_tok_j)} tok/s for one more watt"
        rate, worth = (prefixed(x or 0.0, "tok/s") for x in (p.rate_tok_s, p.worth_tok_s))
        same = abs((p.rate_tok_s or 0.0) - (p.worth_tok_s or 0.0)) <= 1e-6 * (p.rate_tok_s or 0.0)
        yield f"  {prefixed(p.limit_w, 'W')}: {rate}{'' if same else f' (worth {worth})'}{price}"


def count(value: float) -> str:
    """Replicas or devices: whole where they are, but for what a solver takes as whole.

    >>> count(2.99999), count(2.5)
    ('3', '2.500')
    """
    return f"{value:,.0f}" if abs(value - round(value)) < WHOLE_RATIO * max(1.0, value) else digits(value, _DIGITS)
