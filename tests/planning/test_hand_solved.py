"""Plans whose optimum and prices can be found with a pencil."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from joulemill.arrays import Array
from joulemill.fleet.highs import HighsSolver
from joulemill.fleet.scipy_highs import ScipySolver
from joulemill.planning.building import fleet_program
from joulemill.planning.frontier import power_frontier
from joulemill.planning.prices import LimitPrice, active, limit_prices
from joulemill.planning.problem import DemandClass, DevicePool, FleetProblem, Index
from joulemill.planning.program import Solver
from joulemill.planning.readout import plan_use
from joulemill.planning.shortage import shortage
from joulemill.planning.solving import Goal, optimize
from tests.support.fleets import ENERGY, TOKENS, best, problem, site

#: (pool, class, deployment, devices, tok/s, W): 2 devices make 3,000 tok/s at 4.5 kW.
ONE = [(0, 0, 0, 2, 3000.0, 4500.0)]
#: The same devices capped: fewer tokens, fewer joules each.
TWO = [*ONE, (0, 0, 1, 2, 2400.0, 2700.0)]


def prices_of(p: FleetProblem, goal: Goal = TOKENS, solver: Solver | None = None) -> dict[str, LimitPrice]:
    fleet, used = fleet_program(p), solver or HighsSolver()
    return {x.name: x for x in limit_prices(fleet, optimize(fleet, [goal], used), goal, used)}


@pytest.mark.parametrize("solver", [HighsSolver, ScipySolver])
def test_power_bound_then_device_bound(solver: type) -> None:
    """100 devices need 225 kW. Below, a watt is worth 3,000 / 4,500 tok/s; above, nothing, and a device 1,500."""
    short = prices_of(problem(ONE, sites=[site(it_limit_w=100e3)]), solver=solver())
    assert short["it_power"].shadow_price == pytest.approx(3000 / 4500) and short["it_power"].active
    assert short["it_power"].valid_from == 0.0 and short["it_power"].valid_to == pytest.approx(225e3, rel=1e-5)
    assert short["devices"].shadow_price == 0.0
    assert short["devices"].slack == pytest.approx(100 - 2 * 100 / 4.5)
    ample = prices_of(problem(ONE, sites=[site(it_limit_w=300e3)]), solver=solver())
    assert ample["it_power"].shadow_price == 0.0 and ample["it_power"].slack == pytest.approx(75e3)
    assert ample["devices"].shadow_price == pytest.approx(1500.0)
    assert ample["devices"].valid_to == pytest.approx(300 / 2.25, rel=1e-5)


def test_between_two_points_both_limits_have_a_price() -> None:
    """150 kW, 50 replicas, x uncapped: 4.5 x + 2.7 (50 − x) = 150. Prices: 2 d + 4.5 w = 3, 2 d + 2.7 w = 2.4."""
    p = problem(TWO, sites=[site(it_limit_w=150e3)])
    prices, plan = prices_of(p), plan_use(fleet_program(p), best(fleet_program(p)).plan)
    uncapped = (150 - 135) / 1.8
    assert plan.rate_tok_s == pytest.approx(3000 * uncapped + 2400 * (50 - uncapped))
    assert [u.replica_count for u in plan.deployments] == pytest.approx([uncapped, 50 - uncapped])
    assert prices["it_power"].shadow_price == pytest.approx(0.6 / 1.8)
    assert prices["devices"].shadow_price == pytest.approx((3000 - 4500 * 0.6 / 1.8) / 2)
    assert prices["it_power"].valid_from == pytest.approx(135e3) and prices["it_power"].valid_to == pytest.approx(225e3)


def test_a_kink_has_the_price_of_one_more() -> None:
    """At exactly the power that all devices draw, one more watt is worth nothing, one less costs 2/3 tok/s."""
    at_kink = prices_of(problem(ONE, sites=[site(it_limit_w=225e3)]))
    assert at_kink["it_power"].shadow_price == pytest.approx(0.0, abs=1e-9)
    assert at_kink["devices"].shadow_price == pytest.approx(0.0, abs=1e-9)


def test_least_energy_takes_the_frugal_point_until_devices_run_out() -> None:
    """90,000 tok/s is 37.5 capped replicas; 135,000 needs mixing: x uncapped of 50, 3 x + 2.4 (50 − x) = 135."""

    def asked(rate: float) -> FleetProblem:
        return problem(TWO, demands=[DemandClass(name="chat", rate_tok_s=np.array([rate]))], serve_all=True)

    low = best(fleet_program(asked(90e3)), ENERGY)
    assert low.values["energy"] == pytest.approx(37.5 * 2700)
    x = (135 - 120) / 0.6
    high = best(fleet_program(asked(135e3)), ENERGY)
    assert high.values["energy"] == pytest.approx(4500 * x + 2700 * (50 - x))
    price = prices_of(asked(135e3), ENERGY)["demand"]
    assert price.shadow_price == pytest.approx(1800 / 600) and price.active and price.price_unit == "W/(tok/s)"


def test_pue_curve_and_feed() -> None:
    """Facility power is the higher of 1.1 · IT + 20 kW and 1.3 · IT; a feed of 152 kW gives the lesser IT power."""
    lines = ((1.1, 20e3), (1.3, 0.0))
    p = problem(ONE, sites=[site(feed_limit_w=152e3, facility_lines=lines)])
    plan = plan_use(fleet_program(p), best(fleet_program(p)).plan)
    it_w = min((152e3 - 20e3) / 1.1, 152e3 / 1.3)
    assert plan.sites[0].it_w[0] == pytest.approx(it_w)
    assert plan.sites[0].facility_w[0] == pytest.approx(152e3) and plan.sites[0].limit_w == pytest.approx(it_w)
    assert prices_of(p)["facility_power"].shadow_price == pytest.approx(3000 / 4500 / 1.3)


def test_pue_and_cooling_by_hour() -> None:
    """A feed of 135 kW at a PUE of 1.2 and of 1.5; then 100 kW of cooling, of which 60 % are there at noon."""
    hot = site(hours=2, feed_limit_w=135e3, facility_ratio=np.array([1.2, 1.5]))
    p = problem(ONE, 2, sites=[hot])
    plan = plan_use(fleet_program(p), best(fleet_program(p)).plan)
    assert plan.sites[0].it_w == pytest.approx([112.5e3, 90e3])
    assert plan.sites[0].facility_w == pytest.approx([135e3, 135e3]) and plan.sites[0].limit_w == pytest.approx(90e3)
    noon = site(hours=2, cooling_limit_w=100e3, cooling_ratio=np.array([1.0, 0.6]))
    p = problem(ONE, 2, sites=[noon])
    assert plan_use(fleet_program(p), best(fleet_program(p)).plan).sites[0].it_w == pytest.approx([100e3, 60e3])
    assert prices_of(p)["cooling"].shadow_price == pytest.approx(3000 / 4500 * 0.8) and prices_of(p)["cooling"].active


def test_cooling_binds_before_power() -> None:
    prices = prices_of(problem(ONE, sites=[site(it_limit_w=200e3, cooling_limit_w=90e3)]))
    assert prices["cooling"].shadow_price == pytest.approx(2 / 3) and not prices["it_power"].active
    assert [p.name for p in active(tuple(prices.values()))] == ["cooling"]


def test_what_no_goal_pays_for_is_what_it_is() -> None:
    """Tokens are sought; feed power, carbon and devices in use are those of 20 replicas, with nothing added."""
    p = problem(
        ONE,
        sites=[site(feed_limit_w=1e6, carbon_limit_gco2e=1e6, facility_lines=((1.2, 0.0),))],
        demands=[DemandClass(name="chat", rate_tok_s=np.array([60e3]))],
    )
    prices, values = prices_of(p), best(fleet_program(p)).values
    assert prices["facility_power"].slack == pytest.approx(1e6 - 1.2 * 90e3)
    assert prices["carbon"].slack == pytest.approx(1e6 - 1.2 * 90e3 * 3600 * 1e-4)
    assert values["energy"] == pytest.approx(108e3) and values["devices"] == pytest.approx(40.0)


def test_unused_devices_draw_what_their_state_draws() -> None:
    """98 of 100 devices idle at 50 W: 2 busy."""
    p = problem(
        ONE,
        pools=[DevicePool(name="h100", site=0, owned_count=100, idle_states=(("bare", 50.0),))],
        demands=[DemandClass(name="chat", rate_tok_s=np.array([3000.0]))],
        serve_all=True,
    )
    assert best(fleet_program(p), ENERGY).values["energy"] == pytest.approx(4500 + 98 * 50)


def test_purchases_stop_at_budget_and_at_racks() -> None:
    pool = DevicePool(name="h100", site=0, owned_count=10, purchasable_count=90, price_currency=30e3, per_rack_count=8)
    money = prices_of(problem(ONE, pools=[pool], budget_currency=600e3))
    assert money["budget"].shadow_price == pytest.approx(1500 / 30e3)
    assert money["budget"].valid_to == pytest.approx(2.7e6)
    racks = prices_of(problem(ONE, pools=[pool], budget_currency=9e6, sites=[site(racks_count=5)]))
    assert racks["racks"].shadow_price == pytest.approx(8 * 1500.0) and not racks["budget"].active


def test_shifting_to_the_clean_hour() -> None:
    """Two hours, 10 and 100 g a kWh, the same demand: 40 % of the dirty hour's moves, as far as devices reach."""
    grams = np.array([10.0, 100.0]) / 3.6e6
    demand = DemandClass(name="batch", rate_tok_s=np.full(2, 60e3), shift_ratio=0.4)
    p = problem(
        ONE,
        2,
        sites=[site(hours=2, carbon_gco2e_j=grams)],
        demands=[demand],
        serve_all=True,
    )
    optimum = best(fleet_program(p), Goal({"carbon": 1.0}))
    watts = 4500 / 3000 * np.array([84e3, 36e3])
    assert optimum.values["carbon"] == pytest.approx(float((watts * grams).mean()))


def test_tokens_at_home() -> None:
    """Of a class at home at a dear site, a quarter may go to the cheap one."""
    sites = [site("dear", price_currency_j=np.array([1e-7])), site("cheap", price_currency_j=np.array([1e-8]))]
    pools = [DevicePool(name=n, site=i, owned_count=100) for i, n in enumerate(("a", "b"))]
    rows = [(0, 0, 0, 2, 3000.0, 4500.0), (1, 0, 1, 2, 3000.0, 4500.0)]
    demand = DemandClass(name="chat", rate_tok_s=np.array([60e3]), home=0, move_ratio=0.25)
    p = problem(rows, sites=sites, pools=pools, demands=[demand], serve_all=True)
    cost = best(fleet_program(p), Goal({"cost": 1.0})).values["cost"]
    assert cost == pytest.approx(90e3 * (0.75 * 1e-7 + 0.25 * 1e-8))


def test_starts_cost_joules_and_time() -> None:
    """Ten run, twenty are needed in the second hour only: ten start at 3.6 MJ each, and serve but half of that hour."""
    demand = DemandClass(name="chat", rate_tok_s=np.array([30e3, 45e3]))
    base = problem(ONE, 2, demands=[demand], serve_all=True, start_count=np.array([10.0]))
    one_start = replace(base.points, start_j=np.array([3.6e6]), start_s=np.array([1800.0]))
    p = replace(base, points=one_start)
    optimum = best(fleet_program(p), ENERGY)
    serving_w = np.array([30e3, 45e3]) / 3000 * 4500
    assert optimum.values["energy"] == pytest.approx(serving_w.mean() + 10 * 3.6e6 / 7200)


def test_goals_in_order() -> None:
    """Most tokens first, then least energy: demand is met by the frugal point, though the other would do as well."""
    p = problem(TWO, demands=[DemandClass(name="chat", rate_tok_s=np.array([24e3]))])
    optimum = optimize(fleet_program(p), [TOKENS, ENERGY], HighsSolver())
    assert optimum.values["tokens"] == pytest.approx(24e3) and optimum.values["energy"] == pytest.approx(27e3)


def test_what_is_short_in_its_own_unit() -> None:
    """300,000 tok/s are 100 replicas: 200 devices and 450 kW, where 100 and 300 kW are there. Cooling is ample."""
    p = problem(
        ONE,
        sites=[site(it_limit_w=300e3, cooling_limit_w=1e6)],
        serve_all=True,
        demands=[DemandClass(name="chat", rate_tok_s=np.array([300e3]))],
    )
    missing = {m.name: m for m in shortage(fleet_program(p), HighsSolver())}
    assert set(missing) in ({"devices", "demand"}, {"it_power", "demand"})  # either pair alone has no plan
    only_power = replace(p, pools=[DevicePool(name="h100", site=0, owned_count=400)])
    missing = {m.name: m for m in shortage(fleet_program(only_power), HighsSolver())}
    assert set(missing) == {"it_power", "demand"}
    assert missing["it_power"].amount == pytest.approx(150e3)
    assert missing["demand"].amount == pytest.approx(100e3)
    assert shortage(fleet_program(problem(ONE)), HighsSolver()) == ()


@pytest.mark.parametrize("kilowatts", [20.0, 31.0, 47.5])
def test_whole_replicas_by_trying_all(kilowatts: float) -> None:
    """Three deployments of 1, 2 and 4 devices on 12 devices: every number of replicas is tried."""
    rows = [(0, 0, 0, 1, 900.0, 2000.0), (0, 0, 1, 2, 2300.0, 4700.0), (0, 0, 2, 4, 5200.0, 9600.0)]
    p = problem(
        rows,
        sites=[site(it_limit_w=kilowatts * 1e3)],
        whole=True,
        pools=[DevicePool(name="h100", site=0, owned_count=12)],
    )
    # A point at no load draws its watts too: replicas run at their point or not at all.
    feasible = [
        n
        for n in product(range(13), range(7), range(4))
        if sum(k * r[3] for k, r in zip(n, rows, strict=True)) <= 12
        and sum(k * r[5] for k, r in zip(n, rows, strict=True)) <= kilowatts * 1e3
    ]
    most = max(sum(k * r[4] for k, r in zip(n, rows, strict=True)) for n in feasible)
    for solver in (HighsSolver(), ScipySolver()):
        optimum = best(fleet_program(p), TOKENS, solver)
        assert optimum.values["tokens"] == pytest.approx(most) and optimum.held_whole
    assert best(fleet_program(replace(p, whole=False))).values["tokens"] >= most - 1e-6


def test_prices_of_a_whole_plan_are_those_with_its_replicas_held() -> None:
    """The replicas are held and may run at fewer tokens: a watt more lets one of them run fuller."""
    rows = [(0, 0, 0, 4, 4000.0, 5000.0), (0, 0, 0, 4, 1000.0, 3500.0)]
    p = problem(rows, sites=[site(it_limit_w=14e3)], whole=True, pools=[DevicePool(name="x", site=0, owned_count=12)])
    prices = prices_of(p)
    assert all(x.held_whole for x in prices.values())
    fleet, step = fleet_program(p), 1.0
    more = fleet_program(replace(p, sites=[site(it_limit_w=14e3 + step)]))
    gain = best(more).values["tokens"] - best(fleet).values["tokens"]
    assert prices["it_power"].shadow_price == pytest.approx(gain / step, rel=1e-6)
    assert prices["it_power"].shadow_price == pytest.approx(3000 / 1500)


def test_a_device_owned_takes_its_rack_and_what_is_left_holds_from_what_is_used() -> None:
    """10 owned and 14 bought of 8 a rack: 3 racks of 5. One more owned is worth its tokens up to 26 for the racks."""
    pool = DevicePool(name="h100", site=0, owned_count=10, purchasable_count=90, price_currency=30e3, per_rack_count=8)
    prices = prices_of(problem(ONE, pools=[pool], budget_currency=420e3, sites=[site(racks_count=5)]))
    assert prices["devices"].shadow_price == pytest.approx(1500) and prices["devices"].valid_to == pytest.approx(26)
    racks = prices["racks"]
    assert not racks.active and racks.slack == pytest.approx(2.0)
    assert racks.valid_from == pytest.approx(3.0) and racks.valid_to is None


def test_the_frontier_counts_the_power_of_sites_that_state_their_feed() -> None:
    """10 kW of IT power, and 12 kW of feed at a PUE of 1.2: 20 kW, of which every watt brings 3,000 / 4,500 tok/s."""
    sites = [site(it_limit_w=10e3), replace(site(feed_limit_w=12e3, facility_lines=((1.2, 0.0),)), name="other")]
    pools = [DevicePool(name=name, site=i, owned_count=100) for i, name in enumerate(("here", "there"))]
    two = problem([*ONE, (1, 0, 1, 2, 3000.0, 4500.0)], sites=sites, pools=pools)
    stated = next(p for p in power_frontier(two, HighsSolver()) if p.share_ratio == 1.0)
    assert stated.limit_w == pytest.approx(20e3) and stated.power_w == pytest.approx(20e3)
    assert stated.price_tok_j == pytest.approx(3000 / 4500)


def test_paid_to_take_energy_the_feed_is_still_what_it_is() -> None:
    """At a negative price the least cost is to run all, and no more than that."""
    paid = site(facility_lines=((1.2, 0.0),), price_currency_j=np.array([-1e-8]))
    values = best(fleet_program(problem(ONE, sites=[paid])), Goal({"cost": 1.0})).values
    assert values["cost"] == pytest.approx(-1e-8 * 1.2 * 225e3) and values["energy"] == pytest.approx(1.2 * 225e3)


@pytest.mark.parametrize("whole", [False, True])
def test_a_cap_that_does_not_bind_where_the_plan_stands_is_not_advised(whole: bool) -> None:
    """Two groups are one at the point in use; only at another does the cap of the second change anything."""
    twin = [(0, 0, 0, 2, 3000.0, 4500.0), (0, 0, 1, 2, 3000.0, 4500.0), (0, 0, 1, 2, 900.0, 9000.0)]
    p = problem(twin, whole=whole)
    optimum = best(fleet_program(p))
    values = optimum.plan.values.copy()
    at = fleet_program(p).at
    for solved in (optimum.plan, replace(optimum.plan, values=_with_capped_points(values, at.points, at.replicas))):
        plan = plan_use(fleet_program(p), solved)
        assert [(u.group, u.replica_count) for u in plan.deployments] == [(0, pytest.approx(50.0))]
        assert plan.replica_count[:, 0] == pytest.approx([50.0, 0.0])
        assert plan.rate_tok_s == pytest.approx(150e3)


def _with_capped_points(values: Array, points: Index, replicas: Index) -> Array:
    """The same plan as a solver may also give it: 20 of its 50 replicas capped."""
    values[points[:, 0]] = [30.0, 20.0, 0.0]
    if replicas.size:
        values[replicas[:, 0]] = [30.0, 20.0]
    return values


def test_a_cap_that_binds_at_one_of_its_points_is_kept() -> None:
    rows = [(0, 0, 0, 2, 3000.0, 4500.0), (0, 0, 1, 2, 3000.0, 4500.0), (0, 0, 1, 2, 2400.0, 2700.0)]
    p = problem(rows, whole=True)
    fleet, solved = fleet_program(p), best(fleet_program(p)).plan
    values = solved.values.copy()
    values[fleet.at.points[:, 0]], values[fleet.at.replicas[:, 0]] = [0.0, 20.0, 30.0], [0.0, 50.0]
    assert [u.group for u in plan_use(fleet, replace(solved, values=values)).deployments] == [1]
