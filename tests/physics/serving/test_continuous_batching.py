"""Steps, steady state and power: hand-computed terms, limits, conservation; signs on measured pairs are in
test_signs."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import priors, rates
from joulemill.errors import InputError
from joulemill.physics.model.precision import FORMATS
from joulemill.physics.serving.coefficients import NAMES, rates_of
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, drafted, host_s, steady
from joulemill.physics.serving.counts import counts, decode_load
from joulemill.physics.serving.deployment import Deployment, Parallelism, parallelism_for
from joulemill.physics.serving.disaggregation import decoding_ratio, disaggregated_latency, usual_worker_req
from joulemill.physics.serving.power import StepWork, limited
from joulemill.physics.serving.shard import FP4, FP8, UNPACKED, Shard, ShardTable, arithmetic_class, shard, shard_table
from joulemill.physics.serving.step import (
    StepRates,
    StepTimes,
    times,
)
from joulemill.physics.serving.workload import Workload, spread_from_percentiles_ratio

LLAMA = find_model("meta-llama/Llama-3.1-8B-Instruct")
MOE = find_model("Qwen/Qwen3-30B-A3B-Instruct-2507")
H100 = find_device("h100")


def share(model=LLAMA, device="h100", tp=1, dp=1, ep=1) -> Shard:
    return shard(model.architecture, model.precision, find_device(device), Parallelism(tp, dp, ep))


def state(s: Shard, batch=8.0, tok=256.0, out=256.0, limit=None) -> Steady:
    table = shard_table([s])
    a = np.ones(1)
    limit_w = table.tdp_w if limit is None else a * limit
    demand = Demand(
        concurrency=a * batch,
        input_tok=a * tok,
        computed_tok=a * tok,
        output_tok=a * out,
        spread_ratio=a * 0.0,
        max_batched_tok=a * 8192,
        memory_use_ratio=a * 0.9,
        limit_w=limit_w,
        running=a * 0.0,
        domain_evenness_ratio=a,
    )
    return steady(table, rates("vllm"), demand)


def decoding(t: ShardTable, r: StepRates, tok: float, context: float) -> StepTimes:
    return times(counts(t, decode_load(np.ones(1) * tok, np.ones(1) * context, np.array([r.evenness_ratio]))), r)


def test_shard_of_llama_by_hand() -> None:
    """32 layers of 4096: 8 KV heads × 128 × 2 × 2 bytes; weights 8.03 B × 2 bytes."""
    s = share()
    assert s.kv_store_byte_0 == 32 * 8 * 128 * 2 * 2
    assert s.weight_byte == pytest.approx(8.03e9 * 2, rel=0.002)
    assert s.prefill_flop_0 == 32 * 32 * 4 * 128
    assert s.head_flop == 2 * 4096 * 128256


def test_tensor_parallel_cuts_weights_but_not_below_a_kv_head() -> None:
    whole, cut = share(), share(tp=16)
    assert cut.matrix_byte_0 < whole.matrix_byte_0 / 12
    assert cut.kv_store_byte_0 == whole.kv_store_byte_0 / 8
    assert cut.reduce_count == 64


def test_little_and_power_close() -> None:
    """tok/s · step = batch; J/tok · tok/s = W; B/X = TTFT + (O − 1)·TPOT."""
    f = state(share(), 64.0)
    assert f.rate_tok_s * f.step_s == pytest.approx(64.0)
    assert f.energy_j_tok * f.rate_tok_s == pytest.approx(f.power_w)
    assert f.ttft_s + 255 * f.tpot_s == pytest.approx(64.0 * 256 / f.rate_tok_s)


@settings(deadline=None, max_examples=50)
@given(st.floats(1, 3000), st.floats(16, 60_000), st.floats(2, 2000))
def test_little_holds_at_any_load_and_no_token_comes_before_its_step(batch: float, tok: float, out: float) -> None:
    f = state(share(), batch, tok, out)
    assert f.ttft_s > 0.0
    assert f.ttft_s + (out - 1.0) * f.tpot_s == pytest.approx(batch * out / f.rate_tok_s)
    assert f.tpot_s >= (f.decode.device_s[0] + f.host_s[0]) * (1 - 1e-9)


@pytest.mark.parametrize("tok", [2000.0, 7999.0, 8001.0, 16_000.0, 64_000.0])
def test_a_lone_prompt_takes_what_its_flop_take_whatever_the_budget(tok: float) -> None:
    """Matrices alone: 2·7.5 G·I flop at less than the peak; twice the prompt takes over twice as long above 8k."""
    ttft_s = state(share(), 1.0, tok, 512.0).ttft_s
    assert ttft_s > 15e9 * tok / H100.peak_flop_s["bf16"]
    if tok > 8000.0:
        assert state(share(), 1.0, 2.0 * tok, 512.0).ttft_s > 1.9 * ttft_s
    assert state(share(), 1.0, tok + 2.0, 512.0).ttft_s == pytest.approx(ttft_s, rel=0.1)


def test_a_tensor_group_within_a_node_sums_at_its_links_however_many_there_are() -> None:
    """Two groups of eight: exchanges of experts leave the node, sums over heads do not."""
    model = find_model("deepseek-ai/DeepSeek-R1")
    one, two = (shard_table([share(model, "h200", 8, dp, 8 * dp)]) for dp in (1, 2))
    a = np.ones(1)
    step = rates("vllm-0.19").step
    quiet = replace(step, exchange_s=0.0, node_hop_ratio=50.0)
    two.columns["exchange_byte_tok"] = a * 0.0
    far, near = (decoding(t, quiet, 64.0, 2000.0).collective_s for t in (two, one))
    assert far == pytest.approx(near)


def test_drafted_tokens_take_room_in_a_step() -> None:
    """Budget 8,192, I = 8,192, O = 64, three drafts: b(4 + 2.63·128) ≤ 8,192."""
    table = shard_table([share(MOE, tp=4)])
    a, zero = np.ones(1), np.zeros(1)
    demand = Demand(
        concurrency=a * 512,
        input_tok=a * 8192,
        computed_tok=a * 8192,
        output_tok=a * 64,
        spread_ratio=zero,
        max_batched_tok=a * 8192,
        memory_use_ratio=a * 0.9,
        limit_w=table.tdp_w,
        running=zero,
        domain_evenness_ratio=a,
    )
    demand = replace(demand, draft_count=a * 3)
    found = steady(table, rates("vllm"), demand)
    assert found.decode_req[0] * (4.0 + float(demand.accepted_tok[0]) * 128.0) == pytest.approx(8192.0)


@settings(deadline=None, max_examples=25)
@given(st.floats(1, 300), st.floats(10, 4000), st.floats(10, 2000))
def test_more_requests_never_cost_more_steps(batch: float, tok: float, out: float) -> None:
    a, b = state(share(), batch, tok, out), state(share(), batch * 1.5, tok, out)
    assert b.step_s >= a.step_s * (1 - 1e-9)
    assert a.power_w <= H100.tdp_w


@settings(deadline=None, max_examples=25)
@given(st.floats(1, 200), st.floats(250, 700))
def test_a_lower_cap_never_speeds_up_and_is_held(batch: float, cap: float) -> None:
    free, capped = state(share(), batch), state(share(), batch, limit=cap)
    assert capped.rate_tok_s <= free.rate_tok_s * (1 + 1e-9)
    assert capped.power_w <= max(cap, 0.0) + 1e-6


def test_a_cap_below_what_bytes_need_stretches_time_and_saves_no_joule_of_them() -> None:
    """10 ms that move 4 J beside a floor of 0.2 × 700 W: at 500 W they take 4/(485 − 140) s, all bytes paid for."""
    table = shard_table([share()])
    p = replace(rates("vllm").power, wait_ratio=0.2, busy_ratio=1e-12)
    zero = np.zeros(1)
    held = limited(table, p, StepWork(zero + 0.01, zero + 4.0, zero, zero + 0.01, zero, zero), np.array([500.0]))
    cap, floor = 500.0 * p.ceiling_ratio, p.wait_ratio * 700.0
    assert held.time_s[0] == pytest.approx(4.0 / (cap - floor), rel=1e-6)
    assert held.energy_j[0] == pytest.approx(4.0 + floor * held.time_s[0], rel=1e-9)


@pytest.mark.parametrize(("device", "limit"), [("h100", 140.0), ("tpu-v6e", 200.0)])
def test_what_a_limit_does_is_unknown_below_waiting_power_and_without_a_tdp(device: str, limit: float) -> None:
    f = state(share(device=device), 32.0, limit=limit)
    assert np.isnan([f.rate_tok_s, f.power_w, f.energy_j_tok, f.ttft_s]).all()


def test_more_memory_traffic_with_context() -> None:
    assert state(share(), 32.0, 8000.0).itl_s > state(share(), 32.0, 100.0).itl_s


def test_data_parallel_attention_repeats_attention_weights() -> None:
    apart, together = share(MOE, tp=1, dp=4, ep=4), share(MOE, tp=4, ep=4)
    assert apart.matrix_byte_0 > 3.5 * together.matrix_byte_0
    assert apart.exchange_count > 0 and together.exchange_count == 0


def test_spread_of_a_lognormal() -> None:
    """Median 100, p90 = 100·e^{1.2816σ}: σ = 0.5 gives √(e^{0.25} − 1)."""
    p90 = 100 * math.exp(1.2816 * 0.5)
    assert spread_from_percentiles_ratio(113.0, 100.0, p90) == pytest.approx(math.sqrt(math.expm1(0.25)))


def test_coefficients_are_named_and_physical() -> None:
    assert set(priors()) == set(NAMES)
    used = rates("vllm")
    assert 0 < used.step.memory_ratio < 1 and 0 < used.power.wait_ratio < 0.6
    with pytest.raises(InputError, match="memory"):
        rates_of({})


def test_bad_workloads_and_cuts_say_why() -> None:
    for change in ({"input_tok": 0.0}, {"cached_ratio": 1.0}, {"output_spread_ratio": -1.0}):
        with pytest.raises(InputError):
            replace(Workload(input_tok=10.0, output_tok=10.0), **change)
    with pytest.raises(InputError, match="multiple"):
        parallelism_for(LLAMA.architecture, 6, {"tp": 4})
    with pytest.raises(InputError, match="over `tp=3` devices; it can be 1, 2, 4, 8, 16, 32"):
        parallelism_for(LLAMA.architecture, 3, {"tp": 3})
    with pytest.raises(InputError, match="no routed experts"):
        parallelism_for(LLAMA.architecture, 4, {"tp": 4, "ep": 4})
    assert parallelism_for(LLAMA.architecture, 6, {}) == Parallelism(2, replicas=3)
    with pytest.raises(InputError, match="engine"):
        Deployment(architecture=LLAMA.architecture, precision=LLAMA.precision, device=H100, engine="abacus")


def test_weights_that_leave_little_still_leave_some_for_keys() -> None:
    """Engines are given a higher share of memory then: 40 % of what is left by hand, 8 GB of 80 − 60."""
    s = replace(share(), weight_byte=60e9, memory_byte=80e9)
    context = float(state(s).context_tok[0])
    assert state(s).capacity_req[0] * s.kv_store_byte_0 * context == pytest.approx(8e9)
    roomy = replace(share(), weight_byte=20e9, memory_byte=80e9)
    assert state(roomy).capacity_req[0] * s.kv_store_byte_0 * context == pytest.approx(80e9 * 0.9 - 24e9)
    assert state(replace(s, weight_byte=81e9)).capacity_req[0] == 0.0


def test_workers_that_are_not_stated_hold_all_that_is_in_flight() -> None:
    host = rates("trtllm").host
    worker = usual_worker_req(host, np.array([1.0, 64.0, 64.0]), np.array([1.0, 1.0, 8.0]))
    assert worker[0] == 1.0
    assert worker[1] == pytest.approx(64.0 / host.pool_workers_count)
    assert worker[2] == pytest.approx(64.0 / host.wide_workers_count)


def test_a_prefill_pool_that_is_not_stated_grows_with_its_work() -> None:
    """As many ranks as the load needs, times a margin: eight times the prompt, little more to wait."""
    t = shard_table([share(MOE, tp=4)])
    a = np.ones(1)

    def ttft_s(tok: float, servers: float, in_flight: float = 512.0) -> float:
        zero = a * 0.0
        demand = Demand(
            concurrency=a * 64,
            input_tok=a * tok,
            computed_tok=a * tok,
            output_tok=a * 512,
            spread_ratio=zero,
            max_batched_tok=a * 8192,
            memory_use_ratio=a * 0.9,
            limit_w=t.tdp_w,
            running=zero,
            domain_evenness_ratio=a,
        )
        return float(disaggregated_latency(t, t, rates("trtllm"), demand, a * servers, a * in_flight)[0][0])

    assert ttft_s(8192.0, 1.0) > 2.0 * ttft_s(8192.0, 0.0)
    assert ttft_s(8192.0, 0.0) < 8.0 * ttft_s(1024.0, 0.0)
    assert ttft_s(1024.0, 4.0) <= ttft_s(1024.0, 1.0)


def pooled(servers: float, in_flight: float, answer: float = 512.0) -> tuple[float, float]:
    """TTFT and TPOT [s] of a decode worker of four devices that holds all, behind ``servers`` prefill ranks."""
    t = shard_table([share(MOE, tp=4)])
    a, zero = np.ones(1), np.zeros(1)
    demand = Demand(
        concurrency=a * in_flight,
        input_tok=a * 4096,
        computed_tok=a * 4096,
        output_tok=a * answer,
        spread_ratio=zero,
        max_batched_tok=a * 8192,
        memory_use_ratio=a * 0.9,
        limit_w=t.tdp_w,
        running=zero,
        domain_evenness_ratio=a,
    )
    late, each = disaggregated_latency(t, t, rates("trtllm"), demand, a * servers, a * in_flight)
    return float(late[0]), float(each[0])


def test_a_saturated_prefill_pool_bounds_the_rate_whatever_is_in_flight() -> None:
    """Little's law: N requests stay N/X; X no longer grows, so decoding is no slower and the queue takes the rest."""
    few, many = pooled(1.0, 1024.0), pooled(1.0, 4096.0)
    rates_req_s = [n / (ttft + 512.0 * tpot) for n, (ttft, tpot) in ((1024.0, few), (4096.0, many))]
    assert rates_req_s[1] == pytest.approx(rates_req_s[0], rel=0.02)
    assert many[1] == pytest.approx(few[1], rel=0.05)
    assert many[0] > 3.0 * few[0]


def test_a_wide_prefill_pool_lets_all_decode() -> None:
    """With many ranks the wait is short and time a token is that of a worker with nearly all of them."""
    narrow, wide = pooled(2.0, 128.0), pooled(64.0, 128.0)
    assert wide[0] < narrow[0] and wide[1] > narrow[1]
    assert wide[0] < 0.1 * 512.0 * wide[1]


@given(
    first=st.floats(0.0, 100.0), round_s=st.floats(0.01, 1e4), base=st.floats(0.1, 50.0), growth=st.floats(0.0, 20.0)
)
def test_the_share_that_decodes_is_where_both_sides_agree(
    first: float, round_s: float, base: float, growth: float
) -> None:
    """r = min(stay(r)/round, stay(r)/(first + stay(r)), 1), a full step up to 21 times an empty one; never over all."""
    a, slope = np.ones(1), growth * base
    r = float(decoding_ratio(lambda share: base + slope * share, a * first, a * round_s)[0])
    stay = base + slope * r
    wanted = min(stay / max(round_s, first + stay), 1.0)
    assert 0.0 < r <= 1.0
    assert r == pytest.approx(wanted, rel=0.1)


def test_host_time_is_hidden_where_the_engine_prepares_the_next_step_meanwhile() -> None:
    """Beside the devices: nothing is waited for while they work longer; in turn: all of it."""
    t = shard_table([share(MOE, tp=4)])
    a, zero = np.ones(1), np.zeros(1)
    demand = Demand(
        concurrency=a * 64,
        input_tok=a * 512,
        computed_tok=a * 512,
        output_tok=a * 512,
        spread_ratio=zero,
        max_batched_tok=a * 8192,
        memory_use_ratio=a * 0.9,
        limit_w=t.tdp_w,
        running=zero,
        domain_evenness_ratio=a,
    )
    host = replace(rates("trtllm").host, front_s=1e-12)
    beside, in_turn = replace(host, overlap_ratio=1.0), replace(host, overlap_ratio=1e-9)
    own = host.step_s + 64 * host.sequence_s + host.rank_s
    assert float(host_s(t, in_turn, demand, a * 64, a * 0.05)[0]) == pytest.approx(own)
    assert float(host_s(t, beside, demand, a * 64, a * 0.05)[0]) < 0.01 * own
    assert float(host_s(t, beside, demand, a * 64, a * 1e-6)[0]) == pytest.approx(own, rel=0.01)


def test_drafts_in_passes_of_their_own_keep_the_devices_waiting() -> None:
    """Three passes, none hidden: 3·own; where the engine schedules beside them, or drafts within a step: as ever."""
    t = shard_table([share(MOE, tp=4)])
    a, zero = np.ones(1), np.zeros(1)
    plain = Demand(
        concurrency=a * 64,
        input_tok=a * 512,
        computed_tok=a * 512,
        output_tok=a * 512,
        spread_ratio=zero,
        max_batched_tok=a * 8192,
        memory_use_ratio=a * 0.9,
        limit_w=t.tdp_w,
        running=zero,
        domain_evenness_ratio=a,
    )
    host = replace(rates("trtllm").host, front_s=1e-12, draft_passes_count=3.0)
    drafting = replace(plain, draft_count=a * 2)
    own = host.step_s + 64 * host.sequence_s + host.rank_s
    waited = float(host_s(t, host, plain, a * 64, a * 0.05)[0])
    assert float(host_s(t, host, drafting, a * 64, a * 0.05)[0]) == pytest.approx(3 * own)
    beside = replace(drafting, drafts_hidden=a)
    assert float(host_s(t, host, beside, a * 64, a * 0.05)[0]) == pytest.approx(waited)
    within = replace(host, draft_passes_count=1.0)
    assert float(host_s(t, within, drafting, a * 64, a * 0.05)[0]) == pytest.approx(waited)


def test_drafted_tokens_by_hand() -> None:
    """None: 1 a step; one: 1.85; three: 1 + 0.85·(1 + 0.58 + 0.58²)."""
    a = np.ones(1)
    demand = replace(Demand(**{f.name: a for f in fields(Demand) if f.default is MISSING}), output_tok=a * 100)
    gained = [float(replace(demand, draft_count=a * k).accepted_tok[0]) for k in (0, 1, 3)]
    assert gained == pytest.approx([1.0, 1.85, 1.0 + 0.85 * (1.0 + 0.58 + 0.58**2)])


def test_sampling_waits_for_the_processors_where_they_are_slower_than_the_memory() -> None:
    """B200 has 2.4 times the bandwidth of H100 and 148 processors instead of 132; L40S waits for its memory."""
    r, a = rates("vllm").step, np.ones(1)
    load = decode_load(a * 64.0, a * 500.0, a)
    found = {d: times(counts(shard_table([share(device=d)]), load), r).sampling_s for d in ("h100", "b200", "l40s")}
    assert found["h100"] == pytest.approx(64 * 128256 * r.sampling_byte / (r.memory_ratio * 3.35e12))
    assert found["h100"] / found["b200"] == pytest.approx(148 / 132)
    assert found["l40s"] / found["h100"] == pytest.approx(3.35e12 / find_device("l40s").memory_bandwidth_byte_s)
    blind = replace(find_device("b200"), sm_count=None)
    unknown = shard(LLAMA.architecture, LLAMA.precision, blind, Parallelism(1, 1, 1))
    assert unknown.pass_byte_s == blind.memory_bandwidth_byte_s


def test_a_drafted_token_passes_the_head_once_more() -> None:
    """k drafts by the model's own layers over none by n-grams, less their share k/L of a step that checks: k times the
    head, (x³ + y³)^⅓ of its bytes and its FLOP, and the sampler."""
    t, r = shard_table([share(tp=2)]), rates("vllm").step
    a = np.ones(1)
    demand = Demand(**{f.name: a for f in fields(Demand) if f.default is MISSING})
    alone = decode_load(a * 32.0, a * 500.0, a)
    plain = times(counts(t, alone), r)
    own, free = (
        drafted(t, r, replace(demand, draft_count=a * 3, draft_layers_count=n), alone, plain) for n in (1.0, 0.0)
    )
    head = LLAMA.architecture.head.parameters / 2
    read_s = 2.0 * head / (r.memory_ratio * H100.memory_bandwidth_byte_s)
    computed_s = 2.0 * head * 32.0 / (r.compute_ratio[0] * H100.peak_flop_s["bf16"])
    sampled_s = 32.0 * 128256 * r.sampling_byte / (r.memory_ratio * H100.memory_bandwidth_byte_s)
    more_s = (read_s**3 + computed_s**3) ** (1 / 3) + sampled_s
    assert float(own.device_s[0]) == pytest.approx(float(free.device_s[0]) * (1 + 3 / 32) + 3 * more_s)


def test_drafts_speed_up_as_published() -> None:
    """DeepSeek-R1, NVFP4, eight B200, batch 1, three drafted: 2.16 times as fast (TensorRT-LLM, tech blog 2)."""
    model = find_model("nvidia/DeepSeek-R1-FP4")
    t = shard_table([share(model, "b200", tp=8, ep=2)])
    a = np.ones(1)
    none = a * 0.0
    demand = Demand(
        concurrency=a,
        input_tok=a * 1024,
        computed_tok=a * 1024,
        output_tok=a * 2048,
        spread_ratio=none,
        max_batched_tok=a * 8192,
        memory_use_ratio=a * 0.9,
        limit_w=t.tdp_w,
        running=none,
        domain_evenness_ratio=a,
    )
    plain, drafting = (steady(t, rates("trtllm"), replace(demand, draft_count=a * k)) for k in (0.0, 3.0))
    assert float(plain.tpot_s[0] / drafting.tpot_s[0]) == pytest.approx(2.16, rel=0.1)
    assert drafting.energy_j_tok[0] < plain.energy_j_tok[0]
    crowd = replace(demand, concurrency=a * 512)
    slow, fast = (steady(t, rates("trtllm"), replace(crowd, draft_count=a * k)) for k in (0.0, 3.0))
    assert float(slow.tpot_s[0] / fast.tpot_s[0]) < 2.0  # what is checked in vain costs where steps are full


def test_padding_costs_only_where_ranks_differ() -> None:
    """Data-parallel ranks compute the rows that they lack of the busiest; a single rank lacks none."""
    fat, lean = (rates_of({n: v for n, (v, _) in priors().items()} | {"padding": p}) for p in (1.0, 1e-9))
    a = np.ones(1)
    ranks, alone = (shard_table([share(MOE, dp=d, ep=d)]) for d in (8, 1))

    def step_s(t: ShardTable, r: Rates) -> float:
        tok, out, none = a * 4096, a * 512, a * 0
        demand = Demand(
            concurrency=a * 256,
            input_tok=tok,
            computed_tok=tok,
            output_tok=out,
            spread_ratio=none,
            max_batched_tok=a * 8192,
            memory_use_ratio=a * 0.9,
            limit_w=t.tdp_w,
            running=none,
            domain_evenness_ratio=a,
        )
        return float(steady(t, r, demand).step_s[0])

    taken = [step_s(t, r) for t in (ranks, alone) for r in (fat, lean)]
    assert taken[0] > taken[1]
    assert taken[2] == pytest.approx(taken[3])


def test_operands_of_unlike_width_multiply_at_the_wider_ones_rate() -> None:
    """MXFP4 weights under 8-bit activations on a B200 run at its 8-bit peak; NVFP4 under NVFP4 at its 4-bit one."""
    b200 = find_device("b200")
    assert arithmetic_class(FORMATS["mxfp4"], b200) == (FP8, b200.peak_flop_s["fp8"])
    assert arithmetic_class(FORMATS["nvfp4"], b200) == (FP4, b200.peak_flop_s["fp4"])
    assert arithmetic_class(FORMATS["mxfp4"], H100)[0] == UNPACKED


def test_rows_go_to_their_experts_alone_where_engines_send_them() -> None:
    """Gathered on all ranks, each of eight moves eight times its share; sent, its share."""
    gathers, sends = (rates_of({n: v for n, (v, _) in priors().items()} | {"gathered": g}) for g in (1.0, 1e-9))
    t = shard_table([share(MOE, dp=8, ep=8)])
    many, few = (decoding(t, r.step, 64.0, 512.0) for r in (gathers, sends))
    rows_byte = float(t.choice_byte_tok[0]) * 64.0 * 8.0
    assert float((many.executed_byte - few.executed_byte)[0]) == pytest.approx(rows_byte * 7.0 / 8.0, rel=1e-6)
    assert many.expert_s[0] > few.expert_s[0]


def test_a_sum_is_read_at_once_while_small_and_done_in_turns_when_large() -> None:
    """Latency once and n − 1 messages, or twice and 2(n − 1)/n: whichever is less; across nodes a hop more."""
    r = rates("vllm-0.11").step
    t = shard_table([share(LLAMA, tp=8)])

    def collective_s(tok: float, table: ShardTable = t) -> float:
        return float(decoding(table, r, tok, 512.0).collective_s[0] / table.reduce_count[0])

    message, link = float(t.reduce_byte_tok[0]), r.link_ratio * float(t.link_byte_s[0])
    latency = r.reduce_s * 3.0**r.reduce_growth_ratio
    assert collective_s(1.0) == pytest.approx(latency + 7.0 * message / link)
    assert collective_s(1e6) == pytest.approx(2.0 * latency + 1.75 * 1e6 * message / link)
    far = t.rows(np.zeros(1, dtype=np.intp))
    far.columns["domain_count"][:] = 4.0
    assert collective_s(1.0, far) > r.node_hop_ratio * latency
