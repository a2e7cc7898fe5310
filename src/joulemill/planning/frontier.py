"""Tokens against power: the best plan at each share of the sites' power. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from joulemill.planning.building import FleetProgram, fleet_program
from joulemill.planning.problem import FacilityLimits, FleetProblem
from joulemill.planning.program import KILO, LimitRow, Solver, SolverResult
from joulemill.planning.solving import Goal, cost_of

#: Limits that are scaled together.
POWER_LIMITS = ("it_power", "facility_power")
#: A price that all power together would not raise the tokens by this share with is the solver's dust.
DUST_RATIO = 1e-9
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """The best plan with ``share_ratio`` of all power limits: IT power, tokens, and the price of power there.

    limit_w       that share of the IT power that the limits let through, of all sites that state one

    worth_tok_s   tokens by their classes' worth, which are what is maximized and what the price is of
    Unknown (None) where no plan can be, for want of power for what must run.
    """

    share_ratio: float
    limit_w: float
    power_w: float | None
    rate_tok_s: float | None
    worth_tok_s: float | None
    price_tok_j: float | None


def power_frontier(
    problem: FleetProblem, solver: Solver, shares: Sequence[float] = SHARES, tell: Callable[[float], None] | None = None
) -> Sequence[FrontierPoint]:
    """Most tokens at each share of the stated power limits. Empty where no power limit is stated.

    Whole numbers are left out: the frontier is that of fractional replicas, which are at least as good. No demand must
    be served, so that less power means fewer tokens, and not no plan.
    """
    free = [replace(d, least_ratio=0.0) for d in problem.demands]
    fleet = fleet_program(replace(problem, demands=free, whole=False, serve_all=False, start_count=None))
    limits = [x for x in fleet.limits if x.name in POWER_LIMITS]
    if not limits:
        return ()
    rows = [x.row for x in limits]
    program = replace(fleet.program, cost=cost_of(fleet, Goal({"tokens": 1.0})))
    stated_w = sum(_it_power_w(s) for s in problem.sites)
    points = []
    for done, share in enumerate(shares, 1):
        bounds = share * fleet.program.row_high[rows]
        answer = solver.solve(program.with_rows(rows, bounds, bounds))
        points.append(_point(fleet, answer, limits, (share, stated_w)))
        if tell is not None:
            tell(done / len(shares))
    return points


def _it_power_w(site: FacilityLimits) -> float:
    """IT power that a site's power limits let through; 0 where none is stated."""
    stated = [] if site.it_limit_w is None else [site.it_limit_w]
    if site.feed_limit_w is not None:
        stated.append(min(float(((site.feed_limit_w - base_w) / slope).max()) for slope, base_w in site.hourly_lines))
    return max(min(stated, default=0.0), 0.0)


def _point(
    fleet: FleetProgram, answer: SolverResult, limits: Sequence[LimitRow], at: tuple[float, float]
) -> FrontierPoint:
    share, stated_w = at
    limit_w = share * stated_w
    if not answer.optimal:
        return FrontierPoint(
            share_ratio=share, limit_w=limit_w, power_w=None, rate_tok_s=None, worth_tok_s=None, price_tok_j=None
        )
    of_hour = fleet.problem.hour_s / fleet.problem.span_s
    price = (
        -sum(float(answer.row_price[x.row]) * x.value / x.unit_value for x in limits) / stated_w if stated_w else None
    )
    if price is not None and abs(price) * stated_w < DUST_RATIO * abs(answer.value):
        price = 0.0
    return FrontierPoint(
        share_ratio=share,
        limit_w=limit_w,
        power_w=float((answer.values[fleet.at.it] * of_hour).sum() * KILO),
        rate_tok_s=float((answer.values[fleet.at.served] * of_hour).sum() * KILO),
        worth_tok_s=-answer.value,
        price_tok_j=price,
    )
