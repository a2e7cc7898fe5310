"""Policies that keep a limit of power, sized by hand."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.catalog.nodes import find_node
from joulemill.errors import InputError
from joulemill.physics.hardware.node import share_power
from joulemill.simulation.controls import Controls, uncontrolled
from joulemill.simulation.events import SiteEvent, SiteEvents, facility_under, limits_under, traffic_under
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.plant import Plant
from joulemill.simulation.policies import (
    POLICIES,
    Sizing,
    cap_under,
    controls_at,
    deferred,
    device_limit_w,
    moves_requests,
    need_policy,
)
from joulemill.simulation.traffic import Traffic

NS = 1_000_000_000
EVENT = SiteEvent(name="cut", start_s=100.0, end_s=200.0, cut_ratio=0.25)
PLANT = Plant(devices_count=2, replicas_count=4)
SIZING = Sizing(plant=PLANT, rated_w=700.0, floor_w=100.0, concurrency=40.0)


def inside(controls: Controls, name: str, at_s: float) -> float:
    return float(getattr(controls, name)[np.searchsorted(controls.at_ns, at_s * NS, side="right") - 1])


@pytest.mark.parametrize(
    ("policy", "name", "value"),
    [
        ("admission", "admission_ratio", 2200 / 3200),
        ("batch", "max_running_req", 28),  # 40 × 0.6875
        ("shed", "replicas_active", 2),  # 4 × 0.6875
        ("clock", "clock_ratio", 0.2 + 0.8 * 0.6875),
    ],
)
def test_a_policy_sets_one_thing_for_the_time_of_the_event(policy: str, name: str, value: float) -> None:
    controls = controls_at(policy, EVENT, 2200 / 3200, SIZING, uncontrolled())
    assert inside(controls, name, 150.0) == pytest.approx(value, rel=1e-5)
    free = float(getattr(uncontrolled(), name)[0])
    for before_or_after in (50.0, 99.999, 200.0, 900.0):
        assert inside(controls, name, before_or_after) == pytest.approx(free, nan_ok=True)


def test_joined_policies_act_together_at_one_setting() -> None:
    both = controls_at("shed+admission", EVENT, 0.5, SIZING, uncontrolled())
    assert inside(both, "replicas_active", 150.0) == 2
    assert inside(both, "admission_ratio", 150.0) == 0.5
    assert need_policy("shift+shed") == "shift+shed"
    assert moves_requests("shift+shed") and moves_requests("shift") and not moves_requests("shed")
    for wrong, says in (
        ("cap+shed", "acts with no other"),
        ("shed+shed", "twice"),
        ("shed+shif", "did you mean shift"),
    ):
        with pytest.raises(InputError, match=says):
            need_policy(wrong)


def test_a_cap_is_the_limit_of_each_device() -> None:
    controls = cap_under(EVENT, 3000.0, SIZING, uncontrolled())
    assert inside(controls, "power_cap_w", 150.0) == pytest.approx(375.0)  # 3,000 W over 8 devices
    assert np.isnan(inside(controls, "power_cap_w", 250.0))


def test_none_and_shift_leave_the_controls_alone() -> None:
    for policy in ("none", "shift"):
        assert controls_at(policy, EVENT, 0.5, SIZING, uncontrolled()).at_ns.size == 1


def test_two_events_that_overlap_keep_the_tighter_setting() -> None:
    first = cap_under(EVENT, 3000.0, SIZING, uncontrolled())
    other = SiteEvent(name="b", start_s=150.0, end_s=300.0, site_limit_w=1.0)
    both = cap_under(other, 3500.0, SIZING, first)
    assert [inside(both, "power_cap_w", t) for t in (120.0, 160.0, 250.0)] == pytest.approx([375.0, 375.0, 437.5])


def test_a_cap_stays_above_what_a_board_idles_at_and_below_its_rating() -> None:
    assert inside(cap_under(EVENT, 100.0, SIZING, uncontrolled()), "power_cap_w", 150.0) == pytest.approx(105.0)
    assert inside(cap_under(EVENT, 1e6, SIZING, uncontrolled()), "power_cap_w", 150.0) == 700.0


def test_a_site_limit_reaches_the_devices_through_pue_and_node() -> None:
    node = find_node("hgx-hopper-8")
    plant = Plant(devices_count=4, replicas_count=4, node=node, facility=FacilityModel(pue_ratio=1.25))
    limit = device_limit_w(plant, EVENT, 10_000.0)
    assert float(share_power(limit, 16, node).node_w) == pytest.approx(8000.0, rel=1e-9)
    cooled = SiteEvent(name="heat", start_s=0.0, end_s=9.0, cooling_limit_w=7000.0)
    limit = device_limit_w(plant, cooled, np.inf)
    assert float(share_power(limit, 16, node).node_w) == pytest.approx(7000.0, rel=1e-9)


def test_deferred_requests_come_later_and_none_is_lost() -> None:
    traffic = Traffic(arrival_ns=np.arange(300) * NS, input_tok=np.arange(1, 301), output_tok=np.ones(300, int))
    moved, count, delay_s = deferred(traffic, EVENT, 0.5, np.random.default_rng(2))
    assert sorted(moved.input_tok) == sorted(traffic.input_tok)
    within = (moved.arrival_ns >= 100 * NS) & (moved.arrival_ns < 200 * NS)
    assert within.sum() == 100 - count
    assert 35 <= count <= 65
    # From uniform in [100, 200) to uniform in [200, 300): 100 s later on average.
    assert delay_s == pytest.approx(100.0, abs=20.0)
    assert deferred(traffic, EVENT, 0.0, np.random.default_rng(2))[1:] == (0.0, 0.0)


def test_shedding_the_only_replica_is_refused_and_so_is_an_unknown_policy() -> None:
    alone = Sizing(plant=Plant(devices_count=8, replicas_count=1), rated_w=1.0, floor_w=1.0, concurrency=1.0)
    with pytest.raises(InputError, match="two replicas"):
        controls_at("shed", EVENT, 1.0, alone, uncontrolled())
    with pytest.raises(InputError, match="did you mean cap"):
        need_policy("capp")
    assert need_policy("shift") in POLICIES
    assert need_policy("sleep-1:90s") == "sleep-1:90s"
    for wrong in ("sleep-1:90", "sleep-3", "boost-off:5s"):
        with pytest.raises(InputError):
            need_policy(wrong)


def test_events_move_limits_weather_and_traffic() -> None:
    heat = SiteEvent(name="heat", start_s=10.0, end_s=20.0, outdoor_c=35.0, cooling_limit_w=5e3, site_limit_w=6e3)
    stated = SiteEvent(name="pue", start_s=30.0, end_s=40.0, pue_ratio=1.5)
    events = SiteEvents(events=(heat, stated))
    edges = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    overhead = facility_under(FacilityModel(pue_ratio=1.2), events, None).overhead_w(np.full(5, 1000.0), edges)
    assert overhead == pytest.approx([200.0, 200.0 * 1.45, 200.0, 500.0, 200.0])
    limit = limits_under(9e3, events, "site_limit_w")
    assert limit is not None
    assert limit.at(np.array([5.0, 15.0, 25.0])).tolist() == [9e3, 6e3, 9e3]
    assert limits_under(None, SiteEvents(), "site_limit_w") is None
    traffic = Traffic(
        arrival_ns=np.arange(4000) * NS // 100, input_tok=np.ones(4000, int), output_tok=np.ones(4000, int)
    )
    night = SiteEvents(events=(SiteEvent(name="night", start_s=20.0, end_s=40.0, load_ratio=0.05),))
    thin = traffic_under(traffic, night, np.random.default_rng(1))
    assert (thin.arrival_ns < 20 * NS).sum() == 2000
    assert (thin.arrival_ns >= 20 * NS).sum() == pytest.approx(100, abs=45)
