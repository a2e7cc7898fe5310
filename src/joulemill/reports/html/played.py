"""The card of a plan that was played: planned against simulated, point by point and site by site."""

from __future__ import annotations

from joulemill.fleet.played import PlayedPlan, PlayedPoint
from joulemill.reports.html.page import Card, Cell, numbered, part, stacked
from joulemill.reports.plan_wording import prefixed
from joulemill.reports.played_wording import NONE, SITE_HEAD, latency, site_row, tokens, traffic, verdict

HEAD = ("class and deployment", "replicas", "tok/s per replica", "TTFT", "TPOT", "power per replica", "")


def played_card(plan: PlayedPlan, unit: str) -> Card:
    """Tokens, latencies at the percentile, power and its peak; ``unit``: of the plan's goal."""
    points = part("table", HEAD, [_row(p) for p in plan.points])
    sites = part("table", SITE_HEAD, [[numbered(cell) for cell in site_row(s)] for s in plan.sites])
    why = (
        "Each cell shows the simulated value, with the planned one below it. "
        "A site's peak is exceeded in about one second of 700."
    )
    body = part("items", [tokens(plan)], [verdict(plan, unit)]) + points + sites + part("notes", [why])
    return {"title": "Planned against simulated", "body": body, "wide": True}


def _row(p: PlayedPoint) -> list[Cell]:
    power = NONE if p.played_power_w is None else prefixed(p.played_power_w, "W")
    peak = "" if p.peak_power_w is None else f", peak {prefixed(p.peak_power_w, 'W')}"
    return [
        stacked(f"{p.demand} on {p.pool}", f"{p.deployment}, {traffic(p)}"),
        numbered(f"{p.replicas_count:,.4g}"),
        stacked(prefixed(p.played_tok_s, "tok/s"), f"of {prefixed(p.planned_tok_s, 'tok/s')}", number=True),
        _late(p.ttft_s, p.ttft_limit_s, p.percentile),
        _late(p.tpot_s, p.tpot_limit_s, p.percentile),
        stacked(power, f"of {prefixed(p.planned_power_w, 'W')}{peak}", number=True),
        stacked("holds" if p.holds else "missed", "", bold=not p.holds),
    ]


def _late(value_s: float | None, limit_s: float | None, percentile: float) -> Cell:
    of = "no target" if limit_s is None else f"of {prefixed(limit_s, 's')}"
    return stacked(latency(value_s, percentile), of, number=True)
