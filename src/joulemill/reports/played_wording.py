"""What a plan did when it was played in simulation, in words and rows: for the terminal and the page alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.fleet.played import PlayedPlan, PlayedPoint, PlayedSite
from joulemill.reports.plan_wording import goal_text, prefixed

#: Shown where a figure is not known, or no target is stated.
NONE = "–"
POINT_HEAD = (
    "class",
    "deployment",
    "replicas",
    "traffic",
    "tok/s per replica",
    "TTFT",
    "TPOT",
    "power per replica",
    "",
)
SITE_HEAD = ("site", "IT power planned", "played", "peak", "limit", "")


def verdict(plan: PlayedPlan, unit: str) -> str:
    """Whether the plan holds, after how many corrections, and what that cost: ``unit`` is the goal's."""
    rounds = len(plan.values) - 1
    corrected = "" if not rounds else f", corrected {'once' if rounds == 1 else f'{rounds} times'}"
    if plan.values[-1] is None:
        return f"played in simulation{corrected}: with what was played no plan can be; the last one that could:"
    moved = f" ({goal_text(plan.values[0], unit)} before, {goal_text(plan.values[-1], unit)} now)" if rounds else ""
    return f"played in simulation{corrected}: {'it holds' if plan.holds else 'IT DOES NOT HOLD'}{moved}"


def tokens(plan: PlayedPlan) -> str:
    """All tokens of what was played."""
    rate = prefixed(plan.played_tok_s, "tok/s")
    return f"{prefixed(plan.planned_tok_s, 'tok/s')} planned, {rate} simulated, each deployment in its fullest hour"


def point_row(p: PlayedPoint) -> tuple[str, ...]:
    """A point planned against simulated."""
    flight = f"{p.concurrency_req:.0f}"
    return (
        p.demand,
        f"{p.pool} {p.deployment}",
        f"{p.replicas_count:,.4g}",
        f"{flight} in flight" if p.backlog else f"at random, {flight} in flight",
        f"{prefixed(p.planned_tok_s, 'tok/s')} → {prefixed(p.played_tok_s, 'tok/s')}",
        _latency(p.ttft_s, p.ttft_limit_s, p.percentile),
        _latency(p.tpot_s, p.tpot_limit_s, p.percentile),
        _power(p),
        "holds" if p.holds else "MISSED",
    )


def site_row(s: PlayedSite) -> tuple[str, ...]:
    """A site planned against simulated, in its fullest hour."""
    watts = (s.planned_power_w, s.played_power_w, s.peak_power_w)
    limit = "not stated" if s.limit_w is None else prefixed(s.limit_w, "W")
    return (s.site, *(prefixed(w, "W") for w in watts), limit, "holds" if s.holds else "MISSED")


def lines(plan: PlayedPlan, unit: str) -> Sequence[str]:
    """All of it, for a terminal."""
    rows = [verdict(plan, unit), f"  {tokens(plan)}"]
    for p in plan.points:
        name, where, count, traffic, rate, ttft, tpot, power, holds = point_row(p)
        late = "".join(f"; {what} {value}" for what, value in (("TTFT", ttft), ("TPOT", tpot)) if value != NONE)
        rows.append(f"  {name} on {count} × {where}, {traffic}: {rate}{late}; {power}{_mark(holds)}")
    for s in plan.sites:
        site, planned, mean, peak, limit, holds = site_row(s)
        rows.append(f"  {site}: {planned} of IT power planned, {mean} played, peak {peak}, limit {limit}{_mark(holds)}")
    return rows


def _mark(holds: str) -> str:
    return "" if holds == "holds" else f": {holds}"


def _latency(value_s: float | None, limit_s: float | None, percentile: float) -> str:
    if value_s is None:
        return NONE
    of = "" if limit_s is None else f" of {prefixed(limit_s, 's')}"
    return f"p{percentile:g} {prefixed(value_s, 's')}{of}"


def _power(p: PlayedPoint) -> str:
    if p.played_power_w is None or p.peak_power_w is None:
        return f"{prefixed(p.planned_power_w, 'W')} planned, simulated unknown"
    mean, peak = prefixed(p.played_power_w, "W"), prefixed(p.peak_power_w, "W")
    return f"{prefixed(p.planned_power_w, 'W')} → {mean}, peak {peak}"
