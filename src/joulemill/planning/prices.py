"""What one more unit of each stated limit is worth, in which range that holds, and how much of it is left. Pure.

A shadow price is d(goal) / d(limit): tokens a second for a watt, watts for a token a second. It is a slope: it holds
until the plan has to be made otherwise, from ``valid_from`` to ``valid_to``. At a kink it is the
slope upward, of one more unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.planning.building import FleetProgram
from joulemill.planning.program import LimitRow, LinearProgram, Solver
from joulemill.planning.solving import Goal, Optimum

#: Share of a limit below which what is left of it is nothing, and below which a range is a point.
NOTHING_RATIO = 1e-7
#: A price that all of a limit would not change the goal by this share with is the solver's dust.
DUST_RATIO = 1e-12
#: Share of a limit by which it is raised to leave a kink.
STEP_RATIO = 1e-5
#: Programs of more coefficients are not solved again and again for ranges that the solver does not give.
MOST_SEARCHED_COUNT = 200_000
_BISECTIONS = 30


@dataclass(frozen=True, kw_only=True)
class LimitPrice:
    """A limit at the plan. ``held_whole``: its price is that of the plan with its whole numbers held; ``by_hour``: many
    hours draw on it, and ``value`` is that of the fullest, by which the others rise as well.

    value, slack   the limit and what is left of it, in ``unit``;  active: nothing is left
    shadow_price   in ``price_unit``; None where the program has none
    """

    name: str
    subject: str
    unit: str
    value: float
    slack: float
    active: bool
    shadow_price: float | None
    price_unit: str
    valid_from: float | None
    valid_to: float | None
    held_whole: bool = False
    by_hour: bool = False
    source: str = "dual"


def limit_prices(fleet: FleetProgram, optimum: Optimum, goal: Goal, solver: Solver) -> tuple[LimitPrice, ...]:
    """Every stated limit with its price; the solver's last program must be ``optimum.priced``."""
    program, values = optimum.priced, optimum.prices.values
    activity = np.asarray(program.matrix @ values).ravel()
    slacks = [slack_of(fleet, limit, activity, values) for limit in fleet.limits]
    bounds = solver.ranges([limit.row for limit in fleet.limits])
    slopes = [(float(optimum.prices.row_price[limit.row]), *b) for limit, b in zip(fleet.limits, bounds, strict=True)]
    worth = abs(goal.value_of(optimum.values))
    prices = []
    for limit, slack, slope in zip(fleet.limits, slacks, slopes, strict=True):
        active = slack <= NOTHING_RATIO * max(abs(limit.value), 1e-9)
        if active or slope[0] != 0.0:
            slope = _upward(program, limit, slope, solver)
        elif limit.users == (limit.row,):  # solvers give no range of a row that does not bind
            slope = (0.0, (limit.value - slack) / limit.unit_value, None)
        price, low, high = slope
        if limit.value and abs(price * limit.value / limit.unit_value) <= DUST_RATIO * worth:
            price = 0.0
        per, unit = goal.sign / limit.unit_value, limit.unit_value
        prices.append(
            LimitPrice(
                name=limit.name,
                subject=limit.subject,
                unit=limit.unit,
                value=limit.value,
                slack=max(slack, 0.0),
                active=active,
                shadow_price=price * per + 0.0,
                price_unit=price_unit(goal, limit),
                valid_from=None if low is None else low * unit,
                valid_to=None if high is None else high * unit,
                held_whole=optimum.held_whole,
                by_hour=len(limit.users) > 1,
            )
        )
    return tuple(_without_range_below(p) for p in prices)


def price_unit(goal: Goal, limit: LimitRow) -> str:
    """Unit of a price: of the goal over that of the limit."""
    one = limit.unit.removesuffix("s") if limit.unit in ("devices", "racks") else limit.unit
    return f"{goal.unit}/{one}" if "/" not in one else f"{goal.unit}/({one})"


def slack_of(fleet: FleetProgram, limit: LimitRow, activity: np.ndarray, values: np.ndarray) -> float:
    """What is left of a limit in its unit, in the hour that has least; 0 of a demand that must be served."""
    program = fleet.program
    if limit.name == "devices":
        pool = next(i for i, p in enumerate(fleet.problem.pools) if p.name == limit.subject)
        return float(values[fleet.at.idle[pool]].sum(axis=0).min())
    if limit.users == (limit.row,):
        return float(program.row_high[limit.row] - activity[limit.row]) * limit.unit_value
    if limit.name == "least_demand":
        return float(activity[list(limit.users)].min()) * limit.unit_value
    if limit.sense < 0:
        return 0.0
    share = np.array([_share(fleet, limit, i) for i in range(len(limit.users))])
    left = -activity[list(limit.users)]
    counted = share > 0.0
    return float((left[counted] / share[counted]).min()) * limit.unit_value if counted.any() else 0.0


def _share(fleet: FleetProgram, limit: LimitRow, hour: int) -> float:
    """Share of the limit that is there at an hour."""
    if limit.name == "demand":
        rates = next(d.rate_tok_s for d in fleet.problem.demands if d.name == limit.subject)
        return float(rates[hour] / limit.value) if limit.value else 0.0
    site = next(s for s in fleet.problem.sites if s.name == limit.subject)
    share = site.cooling_ratio if limit.name == "cooling" else site.shape_ratio
    return 1.0 if share is None else float(share[hour])


_Slope = tuple[float, float | None, float | None]


def at_bound(program: LinearProgram, row: int, bound: float) -> LinearProgram:
    """The program with another bound of a limit's row."""
    equal = program.row_low[row] == program.row_high[row]
    return program.with_rows([row], bound if equal else program.row_low[row], bound)


def _upward(program: LinearProgram, limit: LimitRow, slope: _Slope, solver: Solver) -> _Slope:
    """The slope of one more unit: where the range above is a point, that of the piece after the kink."""
    _, low, high = slope
    bound = float(program.row_high[limit.row])
    least = NOTHING_RATIO * max(abs(bound), 1e-9)
    if low is None and high is None:
        if program.matrix.nnz > MOST_SEARCHED_COUNT:
            return slope
        return _searched(program, limit.row, solver)
    if high is None or high - bound > least:
        return slope
    raised = bound + STEP_RATIO * max(abs(bound), 1e-3)
    after = solver.solve(at_bound(program, limit.row, raised))
    if not after.optimal:
        return slope
    above = solver.ranges([limit.row])[0]
    return float(after.row_price[limit.row]), min(bound, above[0]) if above[0] is not None else bound, above[1]


def _searched(program: LinearProgram, row: int, solver: Solver) -> _Slope:
    """The slope above a bound and the range in which it holds, by solving at other bounds."""
    bound = float(program.row_high[row])
    size = max(abs(bound), 1e-3)

    def slope_at(at: float) -> float | None:
        answer = solver.solve(at_bound(program, row, at))
        return float(answer.row_price[row]) if answer.optimal else None

    price = slope_at(bound + STEP_RATIO * size)
    if price is None:
        price = slope_at(bound)
    if price is None:
        return 0.0, None, None

    def holds(at: float) -> bool:
        slope = slope_at(at)
        return slope is not None and abs(slope - price) <= 1e-7 * max(abs(price), 1e-12)

    return price, _edge(holds, bound, max(bound - size, 0.0), size), _edge(holds, bound, bound + 16.0 * size, size)


def _edge(holds: Callable[[float], bool], inside: float, outside: float, size: float) -> float | None:
    """Where ``holds`` ends between a bound and another; None where it still holds there and that is above."""
    if holds(outside):
        return outside if outside < inside else None
    near, far = inside, outside
    for _ in range(_BISECTIONS):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if holds(middle) else (near, middle)
        if abs(far - near) <= 1e-6 * size:
            break
    return near


def _without_range_below(price: LimitPrice) -> LimitPrice:
    """The same with a range that begins at zero or later: no limit is negative."""
    return price if price.valid_from is None or price.valid_from > 0.0 else replace(price, valid_from=0.0)


def active(prices: Sequence[LimitPrice]) -> tuple[LimitPrice, ...]:
    """Those of which nothing is left, the dearest first."""
    at_limit = [p for p in prices if p.active]
    return tuple(sorted(at_limit, key=lambda p: -abs((p.shadow_price or 0.0) * p.value)))
