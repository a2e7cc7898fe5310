"""What must hold of every plan: duality, prices as differences, scaling; an independent program agrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.fleet.highs import HighsSolver
from joulemill.planning.building import fleet_program
from joulemill.planning.prices import at_bound, limit_prices
from joulemill.planning.problem import DemandClass, FleetProblem
from joulemill.planning.pruning import efficient, on_front, on_hull
from joulemill.planning.readout import plan_use
from joulemill.planning.robustness import SCENARIOS, losses
from joulemill.planning.solving import Goal, optimize
from tests.planning.independent import DenseFleet
from tests.support.fleets import ENERGY, TOKENS, best, drawn, problem, site

COST = Goal({"cost": 1.0})
GOALS = [COST, TOKENS, ENERGY, Goal({"carbon": 1.0}), Goal({"energy": 1.0, "devices": 3.0})]
MANY = 500


def test_strong_duality_and_complementary_slackness() -> None:
    """On 500 drawn fleets: cost = what the prices say the bounds are worth, and no price on a bound that is not met.

    From the arrays alone: y the rows' prices, z = c − Aᵀy the variables'. A positive price stands at a lower bound.
    """
    for seed in range(MANY):
        if seed % len(GOALS) == 0:  # a fleet is put to each goal, in full and as far as it goes
            fleet, solver = fleet_program(drawn(seed, serve_all=seed % 2 == 0)), HighsSolver()
        optimum = optimize(fleet, [GOALS[seed % len(GOALS)]], solver)
        assert optimum.status == "optimal", seed
        p, x, y = optimum.priced, optimum.prices.values, optimum.prices.row_price
        scale = max(1e-6, np.abs(p.cost).max()) * 1e-6
        activity, z = p.matrix @ x, p.cost - p.matrix.T @ y
        y, z = np.where(abs(y) < scale, 0.0, y), np.where(abs(z) < scale, 0.0, z)
        bound = np.concatenate([np.where(y > 0, p.row_low, p.row_high), np.where(z > 0, p.low, p.high)])
        price, met = np.concatenate([y, z]), np.concatenate([activity, x])
        priced = price != 0.0
        assert np.allclose(met[priced], bound[priced], rtol=1e-6, atol=1e-6), seed
        value = float(p.cost @ x)
        assert value == pytest.approx(float(price[priced] @ bound[priced]), rel=1e-6, abs=1e-9), seed


@pytest.mark.parametrize(("goal", "whole"), [(COST, False), (TOKENS, False), (COST, True), (TOKENS, True)])
def test_prices_are_differences(goal: Goal, whole: bool) -> None:
    """Inside its range a price is the change of the goal over the change of the limit, to 1e-6.

    Of a plan with whole replicas too: with its replicas and purchases held.
    """
    checked = 0
    for seed in range(20 if whole else 40):
        p = replace(drawn(seed, serve_all=goal is COST), whole=whole)
        fleet, solver = fleet_program(p), HighsSolver(gap_ratio=1e-3)
        optimum = optimize(fleet, [goal], solver)
        assert optimum.held_whole == whole
        value = goal.sign * optimum.prices.value
        prices = limit_prices(fleet, optimum, goal, solver)
        for limit, price in zip(fleet.limits, prices, strict=True):
            high = limit.value * 1.5 if price.valid_to is None else price.valid_to
            step = 0.5 * (min(high, limit.value * 1.5 + 1.0) - limit.value)
            if not price.active or step <= 1e-4 * max(limit.value, 1.0):
                continue
            raised = solver.solve(at_bound(optimum.priced, limit.row, (limit.value + step) / limit.unit_value))
            gain = goal.sign * raised.value - value
            assert gain == pytest.approx((price.shadow_price or 0.0) * step, rel=1e-6, abs=1e-9 * abs(value)), (
                seed,
                limit,
            )
            checked += abs(price.shadow_price or 0.0) > 0.0
    assert checked >= (10 if whole else 30)


@pytest.mark.parametrize("goal", [COST, TOKENS])
def test_an_independent_program_has_the_same_optimum(goal: Goal) -> None:
    for seed in range(40):
        p = drawn(seed, serve_all=goal is COST)
        p = replace(p, demands=[replace(d, shift_ratio=0.0) for d in p.demands])
        ours = best(fleet_program(p), goal).prices.value
        assert ours == pytest.approx(DenseFleet(p).optimum(goal.name), rel=1e-7), seed


def scaled(p: FleetProblem, factor: float) -> FleetProblem:
    """All limits and demands times ``factor``; the facility's fixed power too."""

    def times(x: float | None) -> float | None:
        return None if x is None else factor * x

    sites = [
        replace(
            s,
            it_limit_w=times(s.it_limit_w),
            feed_limit_w=times(s.feed_limit_w),
            cooling_limit_w=times(s.cooling_limit_w),
            facility_lines=[(a, factor * b) for a, b in s.facility_lines],
        )
        for s in p.sites
    ]
    pools = [
        replace(x, owned_count=factor * x.owned_count, purchasable_count=factor * x.purchasable_count) for x in p.pools
    ]
    demands = [replace(d, rate_tok_s=factor * d.rate_tok_s) for d in p.demands]
    return replace(p, sites=sites, pools=pools, demands=demands, budget_currency=times(p.budget_currency))


def test_doubling_all_limits_doubles_tokens() -> None:
    for seed in range(20):
        p = drawn(seed, serve_all=False)
        once, twice = (best(fleet_program(scaled(p, k))).values["tokens"] for k in (1.0, 2.0))
        assert twice == pytest.approx(2.0 * once, rel=1e-7)


def test_a_looser_limit_never_hurts() -> None:
    """Each stated limit alone, loosened by half. Unused devices may be off: more of them do not hurt either."""
    for seed in range(20):
        fleet, solver = fleet_program(drawn(seed, serve_all=False)), HighsSolver()
        program = optimize(fleet, [TOKENS], solver).priced
        before = -solver.solve(program).value
        for limit in fleet.limits:
            looser = at_bound(program, limit.row, 1.5 * program.row_high[limit.row] + 1.0)
            assert -solver.solve(looser).value >= before * (1.0 - 1e-9), (seed, limit.label)


def test_pruning_changes_no_optimum() -> None:
    """Plans with all points and with the efficient ones only, for both goals; whole replicas too."""
    rng = np.random.default_rng(3)
    rows = [(0, 0, g, rng.integers(1, 9), rng.uniform(500, 9000), rng.uniform(900, 9000)) for g in range(60)]
    for whole in (False, True):
        p = problem(rows, sites=[site(it_limit_w=90e3)], whole=whole)
        keep = efficient(p.points, p.pools, whole=whole)
        pruned = replace(p, points=p.points.taken(keep))
        assert whole or keep.size < 12
        assert best(fleet_program(pruned)).values["tokens"] == pytest.approx(best(fleet_program(p)).values["tokens"])


def test_hull_and_front_against_all_pairs() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.uniform(size=(2, 200))
    front = {i for i in range(200) if not np.any((x <= x[i]) & (y < y[i]) | (x < x[i]) & (y <= y[i]))}
    assert set(on_front(x, y).tolist()) == front
    for weight in np.linspace(0.0, 1.0, 101):  # whatever the two are worth, the best point is on the hull
        cost = weight * x + (1 - weight) * y
        assert cost[on_hull(x, y)].min() == pytest.approx(cost.min())
    assert set(on_hull(x, y).tolist()) <= front


def test_the_nominal_plan_loses_in_worse_cases_what_was_not_kept_for_them() -> None:
    """Power for just the demand: at 1.5 × demand a third is lost; rates 20 % lower and powers 20 % higher cost a third.

    By hand: the plan holds 20 replicas at 90 kW. At worst each makes 2,400 tok/s at 5.4 kW, so 90 kW carry 16.7 of
    them: 40,000 of 60,000 tok/s.
    """
    p = problem(
        [(0, 0, 0, 2, 3000.0, 4500.0)],
        sites=[site(it_limit_w=90e3)],
        serve_all=True,
        demands=[DemandClass(name="chat", rate_tok_s=np.array([60e3]))],
    )
    plan = plan_use(fleet_program(p), best(fleet_program(p), ENERGY).plan)
    lost = {x.scenario.name: x.lost_ratio for x in losses(p, plan, HighsSolver(), SCENARIOS)}
    assert lost["as predicted"] == pytest.approx(0.0, abs=1e-6)
    assert lost["1.5 × demand"] == pytest.approx(1 / 3, rel=1e-4)
    assert lost["prediction at its worst"] == pytest.approx(1 / 3, rel=1e-4)
    assert lost["1.5 × demand, prediction at its worst"] == pytest.approx(1 - 40 / 90, rel=1e-4)


def test_a_class_that_takes_all_there_is_hides_no_loss_of_one_that_states_its_rate() -> None:
    """Beside 40,000 tok/s of chat, batch makes 60,000 tok/s of the rest. At 1.5 × demand chat is still served whole.

    By hand: 30 replicas at 135 kW. At worst each makes 2,400 tok/s at 5.4 kW, so 135 kW carry 25 of them: 60,000 tok/s,
    of which chat has its 40,000; at 1.5 × demand chat has all 60,000, and batch none.
    """
    chat = DemandClass(name="chat", rate_tok_s=np.array([40e3]))
    batch = DemandClass(name="batch", rate_tok_s=np.array([np.inf]), weight_ratio=5.0)  # it would crowd chat out
    p = problem(
        [(0, 0, 0, 2, 3000.0, 4500.0), (0, 1, 0, 2, 3000.0, 4500.0)],
        sites=[site(it_limit_w=135e3)],
        demands=[replace(chat, least_ratio=1.0), batch],
    )
    plan = plan_use(fleet_program(p), best(fleet_program(p)).plan)
    assert plan.rate_tok_s == pytest.approx(90e3)
    cases = {x.scenario.name: x for x in losses(p, plan, HighsSolver(), SCENARIOS)}
    for name, served, asked_served in (
        ("as predicted", 90e3, 40e3),
        ("prediction at its worst", 60e3, 40e3),
        ("1.5 × demand", 90e3, 60e3),
        ("1.5 × demand, prediction at its worst", 60e3, 60e3),
    ):
        assert cases[name].served_tok_s == pytest.approx(served, rel=1e-4)
        assert cases[name].asked_served_tok_s == pytest.approx(asked_served, rel=1e-4)
        assert cases[name].lost_ratio == pytest.approx(0.0, abs=1e-4)
    alone = replace(p, demands=[replace(chat, rate_tok_s=np.array([90e3]), least_ratio=1.0), batch])
    full = plan_use(fleet_program(alone), best(fleet_program(alone)).plan)
    worst = {x.scenario.name: x for x in losses(alone, full, HighsSolver(), SCENARIOS)}["prediction at its worst"]
    assert worst.lost_ratio == pytest.approx(1 / 3, rel=1e-4)  # 60,000 of 90,000, whatever batch would take
