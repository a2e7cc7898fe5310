"""Several replicas, prefixes, sessions, settings from outside, and rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.autoscale import Autoscale
from joulemill.simulation.controls import Controls, uncontrolled
from joulemill.simulation.cost import Knots, tabulated
from joulemill.simulation.fleet import Fleet, PrefillPool, play
from joulemill.simulation.resting import RestPolicy, RestState, always_loaded
from joulemill.simulation.routing import ROUTERS
from joulemill.simulation.scheduler import TENSORRT_LLM, VLLM
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import NS_IN_S, Traffic
from tests.simulation.degenerate import IDLE_W, STEP_J, cost_of, fleet_of


def line_s(sequences: Array, context: Array, prompt: Array) -> Array:
    return np.asarray(0.01 + 1e-4 * sequences + 1e-4 * prompt + 0.0 * context)


COST = cost_of(line_s, 32)


def at(seconds: list[float], prompt: list[int], answer: list[int], **more: object) -> Traffic:
    return Traffic(
        arrival_ns=(np.array(seconds) * NS_IN_S).astype(np.int64),
        input_tok=np.array(prompt),
        output_tok=np.array(answer),
        **more,  # type: ignore[arg-type]
    )


def blocks(*prompts: list[int]) -> dict[str, object]:
    flat = [name for prompt in prompts for name in prompt]
    return {"block_hash": np.array(flat), "block_offset": np.cumsum([0, *map(len, prompts)]), "block_tok": 16}


def test_a_prefix_is_computed_once() -> None:
    """The second prompt shares three blocks of 16; the third is the first again, and its last block is computed."""
    traffic = at([0, 5, 10], [70, 70, 64], [5, 5, 5], **blocks([1, 2, 3, 4], [1, 2, 3, 9], [1, 2, 3, 4]))
    played = play(traffic, fleet_of(COST, 4))
    assert played.outcomes.cached_tok.tolist() == [0, 48, 48]
    assert played.timeline.cached_tok.sum() == 96
    assert played.timeline.prefill_tok.sum() == 70 + 22 + 16
    gain_s = (played.outcomes.first_token_ns - played.outcomes.arrival_ns) / NS_IN_S
    assert gain_s[0] - gain_s[1] == pytest.approx(48e-4, rel=1e-3)


def test_the_least_recently_used_prefix_goes_first() -> None:
    """Room for 10 blocks: prompts a, b of 4 and 4; then c of 6 pushes a out, and b, used since, keeps its beginning."""
    names = {"a": [1, 2, 3, 4], "b": [11, 12, 13, 14], "c": [21, 22, 23, 24, 25, 26]}
    order = ["a", "b", "b", "c", "b", "a"]
    prompts = [len(names[o]) * 16 for o in order]
    traffic = at([5.0 * i for i in range(6)], prompts, [1] * 6, **blocks(*(names[o] for o in order)))
    cached = play(traffic, fleet_of(COST, 4, kv_tok=160)).outcomes.cached_tok.tolist()
    assert cached == [0, 0, 48, 0, 48, 0]


def test_hashes_without_a_match_change_nothing() -> None:
    rng = np.random.default_rng(2)
    n = 60
    traffic = at(np.cumsum(rng.exponential(0.1, n)).tolist(), [40] * n, [60] * n)
    named = replace(traffic, block_hash=np.arange(2 * n), block_offset=2 * np.arange(n + 1), block_tok=16)
    plain, hashed = (play(t, fleet_of(COST, 16, policy=VLLM, kv_tok=2000)).outcomes for t in (traffic, named))
    assert np.array_equal(plain.finish_ns, hashed.finish_ns)
    short, kept = (play(t, fleet_of(COST, 16, policy=VLLM, kv_tok=600)).outcomes for t in (traffic, named))
    assert short.preemptions_count.sum() > 0
    # Who lost its place finds the beginning of its own prompt again.
    assert kept.finish_ns.max() <= short.finish_ns.max()


def test_a_turn_waits_for_the_one_before_and_the_time_to_think() -> None:
    traffic = at(
        [0, 0, 1], [10, 10, 10], [100, 100, 10], previous=np.array([-1, -1, 0]), think_ns=np.array([0, 0, NS_IN_S])
    )
    out = play(traffic, fleet_of(COST, 4)).outcomes
    assert out.arrival_ns[2] == out.finish_ns[0] + NS_IN_S
    assert out.completed.all()


@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_serves_everybody(router: str) -> None:
    rng = np.random.default_rng(4)
    n = 200
    traffic = at(np.cumsum(rng.exponential(0.05, n)).tolist(), rng.integers(1, 90, n).tolist(), [80] * n)
    out = play(traffic, fleet_of(COST, 8, replicas=4, router=router)).outcomes
    assert out.completed.all()
    used = np.bincount(out.replica, minlength=4)
    if router == "round-robin":
        assert used.tolist() == [50] * 4
    if router == "least-load":
        assert used.min() > 20
    if router == "power-aware":
        assert used[3] < 0.6 * used[0]


def test_least_load_is_no_slower_than_round_robin_and_packing_saves_joules() -> None:
    rng = np.random.default_rng(4)
    n = 300
    traffic = at(np.cumsum(rng.exponential(0.08, n)).tolist(), [30] * n, rng.geometric(1 / 80, n).tolist())
    by_name = {r: play(traffic, fleet_of(COST, 6, replicas=4, router=r)) for r in ROUTERS}
    stay = {r: (p.outcomes.finish_ns - p.outcomes.arrival_ns).mean() for r, p in by_name.items()}
    assert stay["least-load"] <= stay["round-robin"]
    active = {r: (p.timeline.prefill_j + p.timeline.decode_j).sum() for r, p in by_name.items()}
    assert active["power-aware"] < active["least-load"]


def test_a_prefix_aware_router_finds_the_cache() -> None:
    traffic = at([0, 1, 2, 3], [64] * 4, [4] * 4, **blocks([1, 2, 3, 4], [5, 6, 7, 8], [5, 6, 7, 8], [1, 2, 3, 4]))
    out = play(traffic, fleet_of(COST, 4, replicas=2, router="prefix-aware")).outcomes
    assert out.cached_tok.tolist() == [0, 0, 48, 48]
    with pytest.raises(InputError, match="least-load"):
        play(traffic, fleet_of(COST, 4, replicas=2, router="fastest"))


def settings(seconds: list[float], **columns: list[float]) -> Controls:
    size = len(seconds)
    plain = {name: np.repeat(column, size) for name, column in vars(uncontrolled()).items()}
    numbers = {name: np.array(values) for name, values in columns.items()}
    return Controls(**(plain | {"at_ns": (np.array(seconds) * NS_IN_S).astype(np.int64)} | numbers))


def test_admission_lets_in_its_share_and_states_what_it_sheds() -> None:
    n = 400
    traffic = at([0.1 * i for i in range(n)], [4] * n, [2] * n)
    out = play(traffic, fleet_of(COST, 8), settings([0, 20], admission_ratio=[1.0, 0.25])).outcomes
    assert not out.rejected[:200].any()
    assert (~out.rejected[200:]).sum() == pytest.approx(50, abs=1)
    assert set(out.rejected_for.tolist()) == {0, 3}


def test_settings_hold_from_the_next_step_on() -> None:
    """Four sequences at once, then one: the rest waits. Steps of one sequence last 10.1 ms."""
    traffic = at([0, 2, 2, 2, 2], [1] * 5, [1, 100, 100, 100, 100])
    limits = settings([0, 1], max_running_req=[-1, 1])
    out = play(traffic, fleet_of(COST, 8), limits).outcomes
    waits = np.diff(out.finish_ns[1:]) / NS_IN_S
    assert waits == pytest.approx(100 * 0.0101, rel=0.01)


def test_another_cost_takes_over_at_its_setting() -> None:
    slow = cost_of(lambda b, c, p: 2.0 * line_s(b, c, p), 32)
    fleet = replace(fleet_of(COST, 8), cost_at=lambda cap, clock: slow if clock < 1.0 else COST)
    traffic = at([0], [1], [1001])
    out = play(traffic, fleet, settings([0, 5.05], clock_ratio=[1.0, 0.5])).outcomes
    assert out.finish_ns[0] / NS_IN_S == pytest.approx(500 * 0.0101 + 501 * 0.0202, rel=1e-3)


def ladder() -> RestPolicy:
    states = {
        ReplicaState.LOADED_IDLE: RestState(power_w=100.0),
        ReplicaState.SLEEP_1: RestState(power_w=60.0, wake_s=0.5, wake_j=70.0),
        ReplicaState.OFF: RestState(power_w=0.0, wake_s=30.0, wake_j=2500.0),
    }
    return RestPolicy(states=states, ladder=((0.0, ReplicaState.LOADED_IDLE), (10.0, ReplicaState.SLEEP_1)))


def test_an_idle_replica_sleeps_and_wakes() -> None:
    """Idle 0–5 s; a request of 11 steps; idle from about 5.1 s: loaded for 10 s, asleep until 40 s, half a second to
    wake."""
    played = play(at([5, 40], [1, 1], [11, 11]), fleet_of(COST, 4, rest=ladder()), until_ns=50 * NS_IN_S)
    line = played.timeline
    ended_s = played.outcomes.finish_ns / NS_IN_S
    asleep = line.state == ReplicaState.SLEEP_1
    assert line.duration_s[asleep].sum() == pytest.approx(40 - ended_s[0] - 10, abs=1e-6)
    assert line.transition_j.sum() == 70.0
    assert line.idle_j[asleep].sum() == pytest.approx(60.0 * line.duration_s[asleep].sum())
    assert (played.outcomes.first_token_ns - played.outcomes.arrival_ns)[1] / NS_IN_S > 0.5
    assert (line.prefill_j + line.decode_j).sum() == pytest.approx(2 * 11 * STEP_J)
    assert line.end_ns.max() == 50 * NS_IN_S


def test_replicas_are_scaled_away_and_back() -> None:
    """Two serve; one from 10 s; two again from 100 s, the second after 30 s of loading."""
    n = 300
    traffic = at([0.5 * i for i in range(n)], [1] * n, [60] * n)
    controls = settings([0, 10, 100], replicas_active=[2, 1, 2])
    played = play(traffic, fleet_of(COST, 4, replicas=2, rest=ladder(), router="round-robin"), controls)
    out, line = played.outcomes, played.timeline
    assert out.completed.all()
    second = out.arrival_ns[out.replica == 1] / NS_IN_S
    assert not ((second >= 10.0) & (second < 100.0)).any()
    off = (line.replica == 1) & (line.state == ReplicaState.OFF)
    assert line.duration_s[off].sum() == pytest.approx(90.0, abs=2.0)
    moving = line.state == ReplicaState.TRANSITION
    assert line.transition_j.sum() == 2500.0
    assert line.duration_s[moving].sum() == pytest.approx(30.0)
    first_s = out.first_token_ns[(out.replica == 1) & (out.arrival_ns >= 100 * NS_IN_S)].min() / NS_IN_S
    assert first_s >= 130.0


def two_pools(kv_transfer_s: float = 0.0) -> Fleet:
    """Two replicas compute prompts, one decodes."""
    fleet = fleet_of(COST, 16, rest=ladder())
    pool = PrefillPool(
        limits=fleet.limits,
        cost_at=fleet.cost_at,
        rest=always_loaded(IDLE_W),
        replicas_count=2,
        kv_transfer_s=kv_transfer_s,
        kv_transfer_j_tok=0.001,
    )
    return replace(fleet, prefill=pool)


def test_prompts_are_computed_in_one_pool_and_decoded_in_the_other() -> None:
    """Alone: prompt of 100 in 20 ms, half a second on the way, nine steps of 10.1 ms."""
    played = play(at([1], [100], [10]), two_pools(0.5))
    out, line = played.outcomes, played.timeline
    assert (out.first_token_ns[0] - out.arrival_ns[0]) / NS_IN_S == pytest.approx(0.02, rel=1e-3)
    assert (out.finish_ns[0] - out.first_token_ns[0]) / NS_IN_S == pytest.approx(0.5 + 9 * 0.0101, rel=1e-3)
    assert line.prefill_tok[line.replica == 0].sum() == 0
    assert line.prefill_tok.sum() == 100
    assert line.output_tok.sum() == 10
    assert out.energy_j[0] == pytest.approx(10 * STEP_J + 100 * 0.001)


def test_two_pools_conserve_and_decode_without_stalls() -> None:
    rng = np.random.default_rng(6)
    n = 300
    traffic = at(np.cumsum(rng.exponential(0.06, n)).tolist(), rng.integers(1, 900, n).tolist(), [50] * n)
    apart, together = (play(traffic, f) for f in (two_pools(), fleet_of(COST, 16, replicas=3)))
    for played in (apart, together):
        out, line = played.outcomes, played.timeline
        assert out.completed.all()
        assert line.output_tok.sum() == traffic.output_tok.sum()
        assert out.energy_j.sum() == pytest.approx((line.prefill_j + line.decode_j).sum(), rel=1e-9)
    # No prompt ever lengthens a step of decoding.
    longest_s = 0.01 + 16e-4
    late = (apart.outcomes.finish_ns - apart.outcomes.first_token_ns) / NS_IN_S
    assert np.percentile(late, 10) <= 50 * longest_s
    step_by_step = play(traffic, replace(two_pools(), fast_forward=False))
    assert np.array_equal(step_by_step.outcomes.finish_ns, apart.outcomes.finish_ns)


def test_a_pool_that_admits_what_fits_whole_preempts_nobody() -> None:
    """TensorRT-LLM computes whole prompts: who lost its place with more tokens than a step has could never return."""
    pools = two_pools()
    tight = replace(pools.limits, policy=TENSORRT_LLM, max_num_batched_tokens=768, kv_tok=1100)
    pools = replace(pools, limits=tight, prefill=replace(pools.prefill, limits=tight))
    traffic = at([0.0, 0.1], [100, 660], [290, 254])
    out = play(traffic, pools).outcomes
    assert out.completed.all()
    assert not out.preemptions_count.any()


def test_whole_prompts_without_room_for_whole_answers_are_refused() -> None:
    with pytest.raises(InputError, match="reserve_output_ratio 1"):
        replace(TENSORRT_LLM, reserve_output_ratio=0.5)


def test_a_step_that_yields_more_than_a_token_takes_as_many_fewer() -> None:
    """2.5 tokens a step: 100 tokens after the first in 40 steps; step by step the same."""
    knots = Knots(most_req=8, most_rows_tok=512, most_context_tok=4096, grain_count=64)
    cost = tabulated(
        lambda b, c: (line_s(b, c, 0.0 * b * c), np.full(np.broadcast_shapes(b.shape, c.shape), STEP_J)),
        lambda m, b, c, d: (line_s(b, c, m - b), np.full(m.shape, STEP_J)),
        knots,
    )
    fleet = replace(fleet_of(COST, 8, policy=VLLM), cost_at=lambda cap, clock: cost)
    fleet = replace(fleet, limits=replace(fleet.limits, step_yield_tok=2.5, kv_tok=480))
    out = play(at([0], [20], [101]), fleet).outcomes
    assert (out.finish_ns[0] - out.first_token_ns[0]) / NS_IN_S == pytest.approx(40 * 0.0101, rel=1e-4)
    rng = np.random.default_rng(8)
    traffic = at(np.cumsum(rng.exponential(0.2, 80)).tolist(), [60] * 80, rng.integers(1, 200, 80).tolist())
    fast, slow = (play(traffic, replace(fleet, fast_forward=f)) for f in (True, False))
    assert fast.outcomes.preemptions_count.sum() > 0
    assert np.array_equal(fast.outcomes.finish_ns, slow.outcomes.finish_ns)
    assert fast.timeline.output_tok.sum() == traffic.output_tok.sum() == fast.outcomes.generated_tok.sum()


def test_an_autoscaler_follows_the_load_and_pays_for_it() -> None:
    """Quiet, then 100 s of a load for three, then quiet: replicas load for 30 s at 2,500 J, and rest after 60 s."""
    busy = np.arange(150, 250, 0.04)
    when = np.sort(np.concatenate([np.arange(0, 600, 5.0), busy])).tolist()
    traffic = at(when, [4] * len(when), [40] * len(when))
    rule = Autoscale(target_req=5, period_s=5, patience_s=60)
    fleet = replace(fleet_of(COST, 16, replicas=4, rest=ladder()), autoscale=rule)
    played, all_on = play(traffic, fleet), play(traffic, replace(fleet, autoscale=None))
    out, line = played.outcomes, played.timeline
    assert out.completed.all()
    assert set(out.replica[out.arrival_ns < 140 * NS_IN_S]) <= {0, 1, 2, 3}
    assert set(out.replica[(out.arrival_ns > 80 * NS_IN_S) & (out.arrival_ns < 150 * NS_IN_S)]) == {0}
    assert set(out.replica[(out.arrival_ns > 200 * NS_IN_S) & (out.arrival_ns < 250 * NS_IN_S)]) >= {0, 1, 2}
    assert set(out.replica[out.arrival_ns > 450 * NS_IN_S]) == {0}
    assert line.transition_j.sum() >= 2 * 2500.0
    assert line.idle_j.sum() < 0.7 * all_on.timeline.idle_j.sum()
    late = (out.first_token_ns - out.arrival_ns)[(out.arrival_ns > 150 * NS_IN_S) & (out.arrival_ns < 180 * NS_IN_S)]
    assert late.mean() > (all_on.outcomes.first_token_ns - all_on.outcomes.arrival_ns).mean()


def test_with_room_for_all_every_block_that_came_before_is_found() -> None:
    """Prompts are walks down a tree of blocks; a cache without end is a set of the names seen so far."""
    rng = np.random.default_rng(9)
    walks = []
    for _ in range(150):
        node, walk = 0, []
        for _ in range(int(rng.integers(1, 12))):
            node = 3 * node + int(rng.integers(1, 4))
            walk.append(node)
        walks.append(walk)
    prompts = [16 * len(w) + int(rng.integers(0, 16)) for w in walks]
    traffic = at(np.cumsum(rng.exponential(0.05, 150)).tolist(), prompts, [5] * 150, **blocks(*walks))
    cached = play(traffic, fleet_of(COST, 8, policy=VLLM, budget=64)).outcomes.cached_tok.tolist()
    come: set[int] = set()
    for walk, prompt, tok in zip(walks, prompts, cached, strict=True):
        known = next((i for i, name in enumerate(walk) if name not in come), len(walk))
        assert tok == 16 * min(known, (prompt - 1) // 16)
        come.update(walk)
