"""The engine's loop: against a second implementation, against itself without fast-forwarding, and what it conserves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.arrays import Array
from joulemill.simulation.fleet import FleetRun, play
from joulemill.simulation.scheduler import POLICIES, SchedulerPolicy
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import NS_IN_S, Traffic
from tests.simulation.degenerate import IDLE_W, cost_of, fleet_of
from tests.simulation.second import Loop

MODES = [(policy, kv_tok) for policy in POLICIES.values() for kv_tok in (40_000, 1500)]


def line_s(sequences: Array, context: Array, prompt: Array) -> Array:
    """Like a real engine: 10 ms, 20 µs a sequence, 50 ns a token behind, 40 µs a prompt token."""
    return np.asarray(0.01 + 2e-5 * sequences + 5e-8 * sequences * context + 4e-5 * prompt)


COST = cost_of(line_s, 32)


def random_traffic(seed: int, n: int = 120, rate: float = 6.0) -> Traffic:
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1.0 / rate, n)
    return Traffic(
        arrival_ns=(np.cumsum(gaps) * NS_IN_S).astype(np.int64),
        input_tok=rng.integers(1, 700, n),
        output_tok=rng.integers(1, 300, n),
    )


@pytest.mark.parametrize(("policy", "kv_tok"), MODES, ids=lambda v: str(getattr(v, "name", v)))
def test_a_second_implementation_agrees_to_the_nanosecond(policy: SchedulerPolicy, kv_tok: int) -> None:
    traffic = random_traffic(7)
    kv_tok = max(kv_tok, int((traffic.input_tok + traffic.output_tok).max()) + 16)
    budget = 512 if policy.chunked else 700
    played = play(traffic, fleet_of(COST, 12, policy=policy, budget=budget, kv_tok=kv_tok))
    second = Loop(
        cost=COST,
        slots=12,
        budget=budget,
        blocks=kv_tok // policy.block_tok,
        ahead=policy.lookahead,
        block_tok=policy.block_tok,
        apart=not policy.mixed_steps,
        whole=not policy.chunked,
        reserve=policy.reserve_output_ratio,
    )
    jobs = second.play(traffic)
    assert played.outcomes.first_token_ns.tolist() == [j.first_ns for j in jobs]
    assert played.outcomes.finish_ns.tolist() == [j.end_ns for j in jobs]
    assert played.outcomes.preemptions_count.tolist() == [j.lost for j in jobs]
    lost = played.outcomes.preemptions_count.sum()
    if kv_tok < 40_000 and policy.reserve_output_ratio is None:
        assert lost > 10
    if policy.reserve_output_ratio == 1.0:
        assert lost == 0


def assert_equal(a: FleetRun, b: FleetRun) -> None:
    for name in vars(a.outcomes):
        ours, theirs = getattr(a.outcomes, name), getattr(b.outcomes, name)
        assert ours == pytest.approx(theirs, rel=1e-9) if name == "energy_j" else np.array_equal(ours, theirs), name


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda p: p.name)
def test_fast_forwarding_and_intervals_change_nothing(policy: SchedulerPolicy) -> None:
    traffic = random_traffic(11)
    fleet = fleet_of(COST, 16, policy=policy, budget=768, kv_tok=2000)
    played = play(traffic, fleet)
    slow = play(traffic, replace(fleet, fast_forward=False, least_interval_ns=10**9))
    assert slow.events_count > 2 * played.events_count
    assert_equal(played, slow)
    for column in ("prefill_j", "decode_j", "idle_j", "output_tok", "prefill_tok"):
        ours, theirs = (getattr(p.timeline, column).sum() for p in (played, slow))
        assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("replicas", [1, 3])
def test_energy_tokens_and_requests_are_conserved(policy: SchedulerPolicy, replicas: int) -> None:
    traffic = random_traffic(3, rate=9.0)
    played = play(traffic, fleet_of(COST, 8, replicas=replicas, policy=policy, budget=1024, kv_tok=3000))
    out, line = played.outcomes, played.timeline
    assert out.completed.all()
    assert np.array_equal(out.generated_tok, traffic.output_tok)
    assert line.output_tok.sum() == traffic.output_tok.sum()
    computed = line.prefill_tok.sum()
    assert computed >= traffic.input_tok.sum()
    if not out.preemptions_count.any():
        assert computed == traffic.input_tok.sum()
    assert out.energy_j.sum() == pytest.approx((line.prefill_j + line.decode_j).sum(), rel=1e-9)
    idle = line.state == ReplicaState.LOADED_IDLE
    assert line.idle_j.sum() == pytest.approx(IDLE_W * line.duration_s[idle].sum(), rel=1e-9)
    ends = [line.end_ns[line.replica == i].max() for i in range(replicas)]
    assert len(set(ends)) == 1
    assert line.duration_s.sum() == pytest.approx(replicas * ends[0] / NS_IN_S, rel=1e-12)
    stay_s = (out.finish_ns - out.admitted_ns).sum() / NS_IN_S
    assert (line.decode_req * line.duration_s).sum() <= stay_s
    order = (out.arrival_ns <= out.admitted_ns) & (out.admitted_ns < out.first_token_ns)
    assert (order & (out.first_token_ns <= out.finish_ns)).all()


def test_a_request_alone_is_the_closed_form() -> None:
    """One prompt step, then O − 1 decode steps whose context grows by one."""
    traffic = Traffic(arrival_ns=np.array([5 * NS_IN_S]), input_tok=np.array([300]), output_tok=np.array([200]))
    out = play(traffic, fleet_of(COST, 4)).outcomes
    first_s = 0.01 + 4e-5 * 300
    rest_s = sum(0.01 + 2e-5 + 5e-8 * (300 + j) for j in range(199))
    assert (out.first_token_ns[0] - out.arrival_ns[0]) / NS_IN_S == pytest.approx(first_s, rel=1e-6)
    assert (out.finish_ns[0] - out.first_token_ns[0]) / NS_IN_S == pytest.approx(rest_s, rel=1e-6)


def test_what_can_never_fit_is_refused_with_the_reason() -> None:
    traffic = Traffic(
        arrival_ns=np.array([0, 1, 2]), input_tok=np.array([500, 90, 500]), output_tok=np.array([10, 900, 10])
    )
    out = play(traffic, fleet_of(COST, 4, kv_tok=800, budget=256)).outcomes
    assert out.rejected.tolist() == [False, True, False]
    assert out.rejected_for.tolist() == [0, 1, 0]
    whole = play(traffic, fleet_of(COST, 4, policy=POLICIES["trtllm"], budget=256)).outcomes
    assert whole.rejected_for.tolist() == [5, 0, 5]
