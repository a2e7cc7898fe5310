"""The plant over time by hand: bins, nodes, facility; energy closes, and nothing depends on the resolution."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.catalog.nodes import find_node, node_names
from joulemill.errors import InputError
from joulemill.physics.hardware.node import share_power
from joulemill.simulation.bins import Bins, bins_of
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.plant import Plant, closure_j, device_parts_j, plant_power
from joulemill.simulation.power_statistics import headroom, power_statistics, quantile_w
from joulemill.simulation.schedule import Schedule, by_hour, constant
from joulemill.simulation.timeline import ReplicaState, Timeline

NS = 1_000_000_000
NODE = find_node("hgx-hopper-8")
NODES = tuple(find_node(name) for name in node_names())


def timeline(*rows: tuple[int, float, float, ReplicaState, float, float]) -> Timeline:
    """Rows of (replica, start s, end s, state, active J, idle J); active energy is a quarter prefill."""
    columns = list(zip(*rows, strict=True))
    active, idle = np.array(columns[4]), np.array(columns[5])
    n, zero = len(rows), np.zeros(len(rows))
    moving = np.array(columns[3]) == ReplicaState.TRANSITION
    return Timeline(
        replica=np.array(columns[0]),
        start_ns=np.rint(np.array(columns[1]) * NS).astype(np.int64),
        end_ns=np.rint(np.array(columns[2]) * NS).astype(np.int64),
        state=np.array([int(s) for s in columns[3]]),
        decode_req=zero,
        waiting_req=zero,
        kv_tok=zero,
        prefill_tok=np.zeros(n, int),
        cached_tok=np.zeros(n, int),
        output_tok=np.zeros(n, int),
        prefill_j=active / 4,
        decode_j=active * 3 / 4,
        idle_j=np.where(moving, 0.0, idle),
        transition_j=np.where(moving, idle, 0.0),
    )


BUSY = timeline(
    (0, 0.0, 1.0, ReplicaState.LOADED_IDLE, 0.0, 500.0),
    (0, 1.0, 2.6, ReplicaState.ACTIVE, 4000.0, 0.0),
    (0, 2.6, 3.1, ReplicaState.LOADED_IDLE, 0.0, 250.0),
    (1, 0.0, 2.0, ReplicaState.OFF, 0.0, 0.0),
    (1, 2.0, 2.5, ReplicaState.TRANSITION, 0.0, 300.0),
    (1, 2.5, 3.1, ReplicaState.ACTIVE, 1200.0, 0.0),
)


def test_energy_is_spread_into_bins_by_hand() -> None:
    power = plant_power(BUSY, Plant(devices_count=4, replicas_count=2))
    device = power.device_j
    assert power.bins.bins_count == 13
    assert device[:4] == pytest.approx([125.0] * 4)
    assert device[4] == pytest.approx(625.0)  # 2,500 W for a quarter second
    # 2.5–2.75 s: 0.1 s at 2,500 W and 0.15 s at 500 W of replica 0, 0.25 s at 2,000 W of replica 1.
    assert device[10] == pytest.approx(250.0 + 75.0 + 500.0)
    assert power.bins.lengths_s[-1] == pytest.approx(0.1)
    assert device.sum() == pytest.approx(6250.0, rel=1e-14)
    assert power.node_j is None and power.site_j is None


def test_a_node_follows_its_devices_and_is_off_with_all_of_them() -> None:
    plant = Plant(devices_count=8, replicas_count=2, node=NODE, facility=FacilityModel(pue_ratio=1.25))
    power = plant_power(BUSY, plant)
    node_w, site_w = power.power_w("node"), power.power_w("site")
    assert node_w is not None and site_w is not None
    # Replica 1's node is off in the first bin: only replica 0's draws.
    alone = share_power(500.0, 8, NODE)
    assert node_w[0] == pytest.approx(float(alone.node_w))
    both = share_power(1300.0, 8, NODE).node_w + share_power(2000.0, 8, NODE).node_w
    assert node_w[10] == pytest.approx(float(both))
    assert site_w == pytest.approx(1.25 * node_w)


def test_replicas_share_nodes_one_after_another() -> None:
    assert Plant(devices_count=2, replicas_count=5, node=NODE).groups() == ((0, 1, 2, 3), (4,))
    assert Plant(devices_count=16, replicas_count=2, node=NODE).groups() == ((0,), (1,))
    shared = plant_power(BUSY, Plant(devices_count=4, replicas_count=2, node=NODE)).power_w("node")
    assert shared is not None
    assert shared[10] == pytest.approx(float(share_power(3300.0, 8, NODE).node_w))


def random_timeline(seed: int, replicas: int = 3) -> Timeline:
    rng = np.random.default_rng(seed)
    rows = []
    for replica in range(replicas):
        inner = np.sort(rng.choice(np.arange(1, 40_000), 300, replace=False)) / 1000.0
        edges = np.concatenate([[0.0], inner, [40.0]])
        for start, end in pairwise(edges):
            state = ReplicaState(int(rng.integers(0, 8)))
            active = float(rng.uniform(0, 3000) * (end - start)) if state == ReplicaState.ACTIVE else 0.0
            rest = 0.0 if state in (ReplicaState.ACTIVE, ReplicaState.OFF) else float(rng.uniform(0, 400))
            rows.append((replica, start, end, state, active, rest))
    return timeline(*rows)


@pytest.mark.parametrize("seed", range(6))
def test_energy_closes_exactly_at_every_scope(seed: int) -> None:
    line = random_timeline(seed)
    outdoor = Schedule(np.array([0.0, 13.3]), np.array([15.0, 38.0]))
    for node, facility in ((None, None), (NODE, None), (NODE, FacilityModel(pue_ratio=1.3, outdoor_c=outdoor))):
        power = plant_power(line, Plant(devices_count=3, replicas_count=3, node=node, facility=facility))
        parts = device_parts_j(line)
        metered = float((power.site_j if facility else power.node_j if node else power.device_j).sum())
        assert abs(closure_j(parts, power)) <= 1e-10 * metered
        assert sum(parts.values()) == pytest.approx(float(power.device_j.sum()), rel=1e-12)
        assert metered > 0


@st.composite
def plants(draw: st.DrawFn) -> Plant:
    """Any node of the catalog or none, any facility beyond it or none."""
    node = draw(st.sampled_from([None, *NODES]))
    outdoor = Schedule(np.array([0.0, 9.1, 31.7]), np.array(draw(st.lists(st.floats(-20, 50), min_size=3, max_size=3))))
    stated = Schedule(np.array([0.0, 12.3, 20.0]), np.array([np.nan, draw(st.floats(1.0, 3.0)), np.nan]))
    facility = FacilityModel(
        pue_ratio=draw(st.floats(1.0, 2.5)),
        fixed_ratio=draw(st.floats(0.0, 1.0)),
        design_w=draw(st.floats(1e3, 1e6)),
        outdoor_c=draw(st.sampled_from([None, outdoor])),
        stated_pue=draw(st.sampled_from([None, stated])),
    )
    return Plant(
        devices_count=draw(st.integers(1, 20)),
        replicas_count=3,
        node=node,
        facility=None if node is None else draw(st.sampled_from([None, facility])),
    )


@given(plant=plants(), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_energy_closes_on_any_plant(plant: Plant, seed: int) -> None:
    """Prefill, decode, idle by state, transitions, host, fans, conversion and facility are what the meter counts."""
    line = random_timeline(seed)
    power, parts = plant_power(line, plant), device_parts_j(line)
    widest = "site" if plant.facility else "node" if plant.node else "device"
    metered = power.at_scope(widest)
    assert metered is not None
    beyond = [power.host_j, power.fan_j, power.loss_j, power.facility_j]
    summed = sum(parts.values()) + sum(float(part.sum()) for part in beyond if part is not None)
    assert summed == pytest.approx(float(metered.sum()), rel=1e-10)
    assert abs(closure_j(parts, power)) <= 1e-10 * float(metered.sum())
    rest = {name for name in parts if name.startswith("idle_")}
    assert rest == {f"idle_{s.label}" for s in ReplicaState if line.idle_j[line.state == s].sum() > 0}


def test_series_of_any_resolution_are_the_same_power() -> None:
    plant = Plant(devices_count=4, replicas_count=3, node=NODE, facility=FacilityModel(pue_ratio=1.2))
    fine = plant_power(random_timeline(1), plant)
    for width in (0.5, 1.0, 7.0, 60.0):
        coarse = fine.coarser(width)
        assert coarse.site_j is not None and fine.site_j is not None
        assert coarse.site_j.sum() == pytest.approx(fine.site_j.sum(), rel=1e-12)
        each = round(width / 0.25)
        assert coarse.site_j[0] == pytest.approx(fine.site_j[:each].sum())
    with pytest.raises(InputError, match="multiple"):
        fine.coarser(0.4)


def test_the_facility_follows_load_and_weather_by_its_equation() -> None:
    edges = np.array([0.0, 10.0, 20.0])
    warm = Schedule(np.array([0.0, 10.0]), np.array([12.0, 30.0]))
    facility = FacilityModel(pue_ratio=1.4, fixed_ratio=0.25, design_w=1000.0, outdoor_c=warm)
    # Below 20 °C: 0.4·(0.25·1000 + 0.75·P); at 30 °C times 1 + 0.03·10.
    assert facility.overhead_w(np.array([1000.0, 1000.0]), edges) == pytest.approx([400.0, 520.0])
    assert facility.overhead_w(np.zeros(2), edges) == pytest.approx([100.0, 130.0])
    site = facility.overhead_w(np.array([700.0, 300.0]), edges) + np.array([700.0, 300.0])
    assert facility.node_limit_w(site, edges) == pytest.approx([700.0, 300.0])
    stated = FacilityModel(pue_ratio=1.4, stated_pue=Schedule(np.array([0.0, 10.0]), np.array([np.nan, 1.6])))
    assert stated.overhead_w(np.array([100.0, 100.0]), edges) == pytest.approx([40.0, 60.0])


def test_a_pue_of_one_costs_nothing_and_below_cannot_be() -> None:
    assert FacilityModel(pue_ratio=1.0).overhead_w(np.ones(1), np.array([0.0, 1.0])) == pytest.approx([0.0])
    with pytest.raises(InputError):
        FacilityModel(pue_ratio=0.9)
    with pytest.raises(InputError, match="design power"):
        FacilityModel(pue_ratio=1.2, fixed_ratio=0.5)


def test_means_of_a_schedule_are_its_integral() -> None:
    schedule = Schedule(np.array([0.0, 1.0, 3.0]), np.array([2.0, 5.0, 1.0]))
    assert schedule.means(np.array([0.0, 0.5, 2.0, 4.0])) == pytest.approx([2.0, (1.0 + 5.0) / 1.5, 3.0])
    holed = Schedule(np.array([0.0, 1.0]), np.array([np.nan, 5.0])).means(np.array([0.0, 0.5, 1.5, 2.0]))
    assert np.isnan(holed).tolist() == [True, True, False]
    cut = constant(10.0).within(2.0, 3.0, 4.0)
    assert cut.at(np.array([1.9, 2.0, 2.9, 3.0])).tolist() == [10.0, 4.0, 4.0, 10.0]
    day = by_hour(range(24), 22.5 * 3600, 3 * 3600)
    assert day.at(np.array([0.0, 1799.0, 1800.0, 5400.0, 9000.0])).tolist() == [22.0, 22.0, 23.0, 0.0, 1.0]


def test_statistics_of_a_square_wave_are_known() -> None:
    # 100 W and 300 W in turns of 60 s for an hour, in bins of 0.25 s.
    power = np.tile(np.repeat([100.0, 300.0], 240), 30)
    s = power_statistics(power, np.full(len(power), 0.25), 0.25)
    assert (s.mean_w, s.peak_w, s.p50_w, s.p95_w, s.p99_w) == (200.0, 300.0, 100.0, 300.0, 300.0)
    assert s.load_factor_ratio == pytest.approx(2 / 3)
    assert s.peak_900_w == pytest.approx(200.0 + 200.0 / 30)  # 8 of 15 minutes high
    assert s.up_w[0.25] == s.down_w[0.25] == s.up_w[60.0] == 200.0
    assert s.up_w[900.0] == pytest.approx(200.0 / 15)
    assert s.duration_w[0] == 300.0 and s.duration_w[49] == 300.0 and s.duration_w[51] == 100.0
    assert all(a >= b for a, b in pairwise(s.duration_w))


def test_headroom_is_nameplate_over_the_power_that_is_rarely_exceeded() -> None:
    power, lengths = np.arange(1.0, 1001.0), np.ones(1000)
    room = headroom(power, lengths, 1998.0, 0.001)
    assert room.quantile_w == 999.0
    assert room.extra_ratio == pytest.approx(1.0)
    assert np.mean(power > room.quantile_w) <= 0.001
    assert quantile_w(power, lengths, 0.5) == 500.0


def test_bins_end_where_the_time_does() -> None:
    assert Bins(0.25, 1.0).bins_count == 4
    assert Bins(0.25, 1.1).edges_s.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1.0, 1.1])
    assert bins_of(BUSY).end_s == pytest.approx(3.1)
