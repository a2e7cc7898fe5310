"""What a plan did when it was played in simulation, in words and rows: for the terminal and the page alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.fleet.played import PlayedPlan, PlayedPoint, PlayedSite
from joulemill.reports.plan_wording import goal_text, prefixed

#: Shown where a figure is not known, or no target is stated.
NONE = "–"
SITE_HEAD = ("site", "IT power planned", "simulated", "peak", "limit", "")


def verdict(plan: PlayedPlan, unit: str) -> str:
    """Whether the plan holds, after how many corrections, and what that cost: ``unit`` is the goal's."""
    rounds = len(plan.values) - 1
    corrected = "" if not rounds else f", corrected {'once' if rounds == 1 else f'{rounds} times'}"
    if plan.values[-1] is None:
        return f"simulated{corrected}: with the simulated figures no plan is feasible; the last feasible one:"
    moved = f" ({goal_text(plan.values[0], unit)} before, {goal_text(plan.values[-1], unit)} now)" if rounds else ""
    return f"simulated{corrected}: {'it holds' if plan.holds else 'IT DOES NOT HOLD'}{moved}"


def tokens(plan: PlayedPlan) -> str:
    """All tokens of what was played."""
    rate = prefixed(plan.played_tok_s, "tok/s")
    return f"{prefixed(plan.planned_tok_s, 'tok/s')} planned, {rate} simulated, each deployment in its peak hour"


def traffic(p: PlayedPoint) -> str:
    """How its requests came, and how many the plan counts on at a time."""
    return f"{p.concurrency_req:.0f} in flight{', a backlog' if p.backlog else ' on average'}"


def latency(value_s: float | None, percentile: float) -> str:
    """A latency at its percentile."""
    return NONE if value_s is None else f"p{percentile:g} {prefixed(value_s, 's')}"


def site_row(s: PlayedSite) -> tuple[str, ...]:
    """A site planned against simulated, in its fullest hour."""
    watts = (s.planned_power_w, s.played_power_w, s.peak_power_w)
    limit = "not stated" if s.limit_w is None else prefixed(s.limit_w, "W")
    return (s.site, *(prefixed(w, "W") for w in watts), limit, "holds" if s.holds else "MISSED")


def lines(plan: PlayedPlan, unit: str) -> Sequence[str]:
    """All of it, for a terminal."""
    rows = [verdict(plan, unit), f"  {tokens(plan)}"]
    rows += [_point(p) for p in plan.points]
    for s in plan.sites:
        site, planned, mean, peak, limit, holds = site_row(s)
        rows.append(
            f"  {site}: {planned} of IT power planned, {mean} simulated, peak {peak}, limit {limit}{_mark(holds)}"
        )
    return rows


def _mark(holds: str) -> str:
    return "" if holds == "holds" else f": {holds}"


def _point(p: PlayedPoint) -> str:
    count, rate = f"{p.replicas_count:,.4g}", prefixed(p.played_tok_s, "tok/s")
    text = f"  {p.demand} on {count} × {p.pool} {p.deployment}, {traffic(p)}: "
    text += f"{prefixed(p.planned_tok_s, 'tok/s')} planned, {rate} simulated"
    for name, limit_s, value_s in (("TTFT", p.ttft_limit_s, p.ttft_s), ("TPOT", p.tpot_limit_s, p.tpot_s)):
        of = "" if limit_s is None else f" of {prefixed(limit_s, 's')}"
        text += "" if value_s is None else f"; {name} {latency(value_s, p.percentile)}{of}"
    if p.played_power_w is not None and p.peak_power_w is not None:
        mean, peak = prefixed(p.played_power_w, "W"), prefixed(p.peak_power_w, "W")
        text += f"; {prefixed(p.planned_power_w, 'W')} planned, {mean} simulated, peak {peak}"
    return f"{text}{_mark('holds' if p.holds else 'MISSED')}"
