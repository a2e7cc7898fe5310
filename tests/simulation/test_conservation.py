"""Any fleet conserves: requests, tokens, time, and joules by what they were spent on, up to the site's meter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from joulemill.arrays import Array
from joulemill.catalog.nodes import find_node
from joulemill.simulation.autoscale import Autoscale
from joulemill.simulation.controls import Controls
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.fleet import Fleet, PrefillPool, play
from joulemill.simulation.plant import Plant, closure_j, device_parts_j, plant_power
from joulemill.simulation.resting import RestPolicy, RestState
from joulemill.simulation.routing import ROUTERS
from joulemill.simulation.scheduler import POLICIES
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import NS_IN_S, Traffic
from tests.simulation.degenerate import cost_of, fleet_of

LOADED_W, ASLEEP_W, BARE_W = 100.0, 60.0, 30.0
STATES = {
    ReplicaState.LOADED_IDLE: RestState(power_w=LOADED_W),
    ReplicaState.SLEEP_1: RestState(power_w=ASLEEP_W, wake_s=0.7, wake_j=90.0),
    ReplicaState.BARE: RestState(power_w=BARE_W, wake_s=9.0, wake_j=900.0),
}


def line_s(sequences: Array, context: Array, prompt: Array) -> Array:
    return np.asarray(0.01 + 2e-5 * sequences + 5e-8 * sequences * context + 4e-5 * prompt)


COST = cost_of(line_s, 16)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Replicas that rest by a ladder, behind any router, with or without an autoscaler."""
    ladder = ((0.0, ReplicaState.LOADED_IDLE), (draw(st.floats(0.1, 20.0)), ReplicaState.SLEEP_1))
    inactive = draw(st.sampled_from([ReplicaState.SLEEP_1, ReplicaState.BARE]))
    rest = RestPolicy(states=STATES, ladder=ladder[: draw(st.integers(1, 2))], inactive=inactive)
    fleet = fleet_of(
        COST,
        draw(st.integers(1, 16)),
        replicas=draw(st.integers(1, 4)),
        policy=draw(st.sampled_from(list(POLICIES.values()))),
        budget=768,
        kv_tok=draw(st.integers(1100, 6000)),
        router=draw(st.sampled_from(list(ROUTERS))),
        rest=rest,
    )
    rule = Autoscale(
        target_req=draw(st.floats(0.5, 12.0)),
        period_s=draw(st.floats(0.5, 10.0)),
        patience_s=draw(st.floats(0.0, 20.0)),
    )
    pool = PrefillPool(
        limits=fleet.limits,
        cost_at=fleet.cost_at,
        rest=rest,
        replicas_count=draw(st.integers(1, 2)),
        kv_transfer_s=draw(st.floats(0.0, 0.5)),
        kv_transfer_j_tok=0.01,
    )
    apart = draw(st.sampled_from([None, None, pool]))
    return replace(fleet, autoscale=draw(st.sampled_from([None, rule])), prefill=apart)


def count_of(fleet: Fleet) -> int:
    return fleet.replicas_count + (fleet.prefill.replicas_count if fleet.prefill else 0)


@st.composite
def settings(draw: st.DrawFn) -> Controls:
    """What is set from outside at a few moments."""
    n = draw(st.integers(1, 5))
    at_s = np.concatenate([[0.0], np.cumsum([draw(st.floats(0.5, 15.0)) for _ in range(n - 1)])])
    return Controls(
        at_ns=(at_s * NS_IN_S).astype(np.int64),
        power_cap_w=np.full(n, np.nan),
        clock_ratio=np.ones(n),
        admission_ratio=np.array([draw(st.floats(0.2, 1.0)) for _ in range(n)]),
        max_running_req=np.array([draw(st.integers(-1, 4)) or 1 for _ in range(n)]),
        replicas_active=np.array([draw(st.integers(-1, 4)) for _ in range(n)]),
    )


def traffic_of(seed: int) -> Traffic:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    return Traffic(
        arrival_ns=(np.cumsum(rng.exponential(rng.uniform(0.02, 2.0), n)) * NS_IN_S).astype(np.int64),
        input_tok=rng.integers(1, 700, n),
        output_tok=rng.integers(1, 300, n),
    )


@given(fleet=fleets(), controls=settings(), seed=st.integers(0, 10_000))
@of_hypothesis(max_examples=40, deadline=None)
def test_any_fleet_conserves(fleet: Fleet, controls: Controls, seed: int) -> None:
    traffic = traffic_of(seed)
    played = play(traffic, fleet, controls, until_ns=90 * NS_IN_S)
    out, line = played.outcomes, played.timeline
    # Requests and tokens: each is served or refused, and every token is somebody's.
    assert (out.completed ^ out.rejected).all()
    assert line.output_tok.sum() == traffic.output_tok[out.completed].sum() == out.generated_tok.sum()
    # Time: all replicas are somewhere from the beginning to one end.
    ends = [line.end_ns[line.replica == r].max() for r in range(count_of(fleet))]
    assert len(set(ends)) == 1
    assert line.duration_s.sum() == pytest.approx(count_of(fleet) * ends[0] / NS_IN_S, rel=1e-12)
    # Joules: work is its requests', rest is watts by time, and each transition is that of its state.
    assert out.energy_j.sum() == pytest.approx(float((line.prefill_j + line.decode_j).sum()), rel=1e-9)
    for state, of in STATES.items():
        here = line.state == state
        assert line.idle_j[here].sum() == pytest.approx(of.power_w * line.duration_s[here].sum(), rel=1e-9)
    moving = line.state == ReplicaState.TRANSITION
    moves = zip((line.end_ns - line.start_ns)[moving].tolist(), line.transition_j[moving].tolist(), strict=True)
    assert set(moves) <= {(round(s.wake_s * NS_IN_S), s.wake_j) for s in STATES.values()}


@given(fleet=fleets(), seed=st.integers(0, 10_000), pue=st.floats(1.0, 2.0))
@of_hypothesis(max_examples=15, deadline=None)
def test_the_meter_of_any_fleet_is_the_sum_of_its_parts(fleet: Fleet, seed: int, pue: float) -> None:
    line = play(traffic_of(seed), fleet).timeline
    plant = Plant(
        devices_count=fleet.devices_count,
        replicas_count=count_of(fleet),
        node=find_node("hgx-hopper-8"),
        facility=FacilityModel(pue_ratio=pue),
    )
    power = plant_power(line, plant)
    assert power.site_j is not None
    assert abs(closure_j(device_parts_j(line), power)) <= 1e-9 * float(power.site_j.sum())
