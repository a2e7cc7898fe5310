"""Tokens against power: the best plan at each share of the sites' power. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.planning.building import FleetProgram
from joulemill.planning.program import Solver
from joulemill.planning.solving import Goal, cost_of

#: Limits that are scaled together.
POWER_LIMITS = ("it_power", "facility_power")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """The best plan with ``share_ratio`` of all power limits: IT power, tokens, and the price of power there.

    Unknown (None) where no plan can be, for want of power for what must run.
    """

    share_ratio: float
    limit_w: float
    power_w: float | None
    rate_tok_s: float | None
    price_tok_j: float | None


def power_frontier(
    fleet: FleetProgram, solver: Solver, shares: Sequence[float] = SHARES, tell: Callable[[float], None] | None = None
) -> Sequence[FrontierPoint]:
    """Most tokens at each share of the stated power limits. Empty where no power limit is stated.

    Whole numbers are left out: the frontier is that of fractional replicas, which are at least as good.
    """
    limits = [x for x in fleet.limits if x.name in POWER_LIMITS]
    if not limits:
        return ()
    rows = [x.row for x in limits]
    bounds = fleet.program.row_high[rows]
    program = replace(
        fleet.program, cost=cost_of(fleet, Goal({"tokens": 1.0})), whole=np.zeros_like(fleet.program.whole)
    )
    relaxed = replace(program, **_serving_any(fleet))
    share_hours = fleet.problem.hour_s / fleet.problem.span_s
    stated_w = sum(x.value for x in limits if x.name == limits[0].name)
    points = []
    for done, share in enumerate(shares, 1):
        answer = solver.solve(relaxed.with_rows(rows, bounds * share, bounds * share))
        price = power_w = rate = None
        if answer.optimal:
            power_w = float((answer.values[fleet.at.it] * share_hours).sum() * limits[0].unit_value)
            rate = -answer.value
            price = float(-answer.row_price[rows] @ bounds) / stated_w if stated_w else None
        points.append(
            FrontierPoint(
                share_ratio=share, limit_w=stated_w * share, power_w=power_w, rate_tok_s=rate, price_tok_j=price
            )
        )
        if tell is not None:
            tell(done / len(shares))
    return points


def _serving_any(fleet: FleetProgram) -> dict[str, np.ndarray]:
    """Row bounds in which no demand must be served, so that less power means fewer tokens, not no plan."""
    low = fleet.program.row_low.copy()
    for limit in fleet.limits:
        if limit.name == "demand":
            low[list(limit.users)] = -np.inf
    return {"row_low": low}
