"""The one model of work: FLOP and bytes of a step and of a token, by hand, as published, and alike wherever used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.analysis.intensity import Drafts, MeasuredLoad, intensity
from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model, model_names
from joulemill.catalog.serving import rates
from joulemill.physics.model.architecture import Architecture, LayerGroup, parameters_count
from joulemill.physics.model.blocks import DenseFeedForward, GroupedAttention, StateSpace
from joulemill.physics.model.hf_config import architecture_from_config
from joulemill.physics.model.precision import Precision, uniform
from joulemill.physics.production.prediction import Prediction, predict
from joulemill.physics.production.token_work import ROUTING_EVENNESS_RATIO, TokenLoad, token_work
from joulemill.physics.serving.continuous_batching import kv_request_byte
from joulemill.physics.serving.counts import Counts, counts, decode_load, experts_touched_count, prompts_load
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.shard import ShardTable, drafting_model, shard, shard_table, whole_model
from joulemill.physics.serving.speculation import Speculation
from joulemill.physics.serving.workload import Workload

BF16 = uniform("bf16")
EVEN = np.array([1e12])
DENSE: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 256,
}
GROUPED: dict[str, Any] = {**DENSE, "num_key_value_heads": 2}
MOE: dict[str, Any] = {
    **DENSE,
    "model_type": "qwen3_moe",
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
WINDOWED: dict[str, Any] = {**DENSE, "model_type": "gemma3_text", "sliding_window": 32, "sliding_window_pattern": 2}
LATENT: dict[str, Any] = {
    **DENSE, "model_type": "deepseek_v3", "q_lora_rank": 32, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 8, "n_routed_experts": 16, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "moe_intermediate_size": 32, "first_k_dense_replace": 1, "num_nextn_predict_layers": 1,
}  # fmt: skip
SPARSE: dict[str, Any] = {
    **LATENT,
    "model_type": "deepseek_v32",
    "index_topk": 24,
    "index_n_heads": 2,
    "index_head_dim": 8,
}
LINEAR: dict[str, Any] = {
    **DENSE,
    "model_type": "qwen3_next",
    "full_attention_interval": 4,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
ALL = {
    "dense": DENSE,
    "grouped": GROUPED,
    "moe": MOE,
    "windowed": WINDOWED,
    "latent": LATENT,
    "sparse": SPARSE,
    "linear": LINEAR,
}
MODELS = Path(__file__).parents[2].parent / "shared" / "data" / "models"
kinds = st.sampled_from(sorted(ALL))


def whole(model: dict[str, Any] | Architecture, precision: Precision = BF16) -> ShardTable:
    architecture = model if isinstance(model, Architecture) else architecture_from_config(model)
    return shard_table([whole_model(architecture, precision)])


def decode(model: dict[str, Any] | Architecture, sequences: float, context: float, tp: int = 1) -> Counts:
    architecture = model if isinstance(model, Architecture) else architecture_from_config(model)
    table = shard_table([shard(architecture, BF16, None, Parallelism(tp))])
    return counts(table, decode_load(np.array([float(sequences)]), np.array([float(context)]), EVEN))


def prompt(model: dict[str, Any] | Architecture, new: float, past: float = 0.0, count: float = 1.0) -> Counts:
    """A step that computes prompts and nothing else."""
    nothing = decode_load(np.zeros(1), np.zeros(1), EVEN)
    return counts(whole(model), prompts_load(nothing, np.array([count]), np.array([new]), np.array([past])))


def stack(mixer: Any, layers: int = 2) -> Architecture:
    return Architecture(
        name="by hand", hidden=64, vocabulary=256, groups=(LayerGroup(mixer, DenseFeedForward(128), layers),)
    )


def shared_model(name: str) -> Architecture:
    file = MODELS / f"{name}.json"
    if not file.exists():
        pytest.skip(f"no {file}")
    return architecture_from_config(json.loads(file.read_text()))


def test_dense_decode_by_hand() -> None:
    work = decode(DENSE, 3, 10)
    # q, k, v, o 64 x 128 each, three matrices 64 x 128, head 64 x 256; attention 4·B·S·H·d a layer.
    multiplied = 4 * 7 * 64 * 128 + 64 * 256
    assert parameters_count(architecture_from_config(DENSE)).multiplied == multiplied
    assert work.flop == pytest.approx(2 * multiplied * 3 + 4 * 4 * 3 * 10 * 8 * 16)
    assert work.weight_byte == pytest.approx(2 * multiplied)
    assert work.decode_cache_byte == pytest.approx(4 * 2 * 3 * 10 * 8 * 16 * 2)
    assert work.cache_byte - work.decode_cache_byte == pytest.approx(4 * 2 * 3 * 8 * 16 * 2)
    assert work.activation_byte == pytest.approx(4 * 12 * 64 * 2 * 3)
    assert work.reduce_byte == work.exchange_byte == 0


def test_grouped_heads_read_less_and_compute_the_same() -> None:
    many, few = decode(DENSE, 3, 10), decode(GROUPED, 3, 10)
    assert few.decode_cache_byte == pytest.approx(many.decode_cache_byte / 4)
    assert few.attention_flop == many.attention_flop
    assert many.flop - few.flop == pytest.approx(2 * 3 * 4 * 64 * 2 * (8 - 2) * 16)


def test_prefill_counts_half_the_square() -> None:
    # 2·S²·H·d a layer, and the diagonal counted whole: (S + 1)/S.
    assert prompt(DENSE, 1000).prompt_flop == pytest.approx(4 * 2 * 1000**2 * 8 * 16 * 1001 / 1000)


def test_a_prompt_reads_its_keys_once_and_writes_them() -> None:
    key = 4 * 2 * 8 * 16 * 2
    assert prompt(DENSE, 100, past=50).cache_byte == pytest.approx(key * (100 + 50) + key * 100)


@pytest.mark.parametrize("kind", sorted(ALL))
def test_chunks_of_a_prompt_add_up(kind: str) -> None:
    parts = sum(float(prompt(ALL[kind], 100, past).prompt_flop[0]) for past in (0, 100, 200))
    assert parts == pytest.approx(float(prompt(ALL[kind], 300).prompt_flop[0]))


def test_a_sliding_window_by_hand() -> None:
    """Two of four layers see 32 keys; a prompt of 100 has 1 + … + 32 + 68·32 pairs there."""
    pair, key = 2 * 8 * 16 * 2, 2 * 8 * 16 * 2
    far = decode(WINDOWED, 3, 100)
    assert far.attention_flop == pytest.approx(2 * pair * 3 * (100 + 32))
    assert far.decode_cache_byte == pytest.approx(2 * key * 3 * (100 + 32))
    assert prompt(WINDOWED, 100).prompt_flop == pytest.approx(2 * pair * (100 * 101 / 2 + 32 * 33 / 2 + 68 * 32))
    assert kv_request_byte(whole(WINDOWED), np.array([100.0])) == pytest.approx(2 * key * (100 + 32))


def test_chunked_attention_by_hand() -> None:
    """Chunks of 32: a token sees its own chunk up to itself, 16.5 on average; 100 = 3 chunks and 4."""
    model = stack(GroupedAttention(heads=8, kv_heads=8, head_dim=16, value_dim=16, window=32, chunked=True))
    pair = 2 * 2 * 8 * 16 * 2
    assert decode(model, 3, 1000).attention_flop == pytest.approx(pair * 3 * 16.5)
    assert prompt(model, 100).prompt_flop == pytest.approx(pair * (3 * 32 * 33 / 2 + 4 * 5 / 2))
    assert prompt(model, 36, past=64).prompt_flop == pytest.approx(pair * (32 * 33 / 2 + 4 * 5 / 2))


def test_latent_decode_by_hand() -> None:
    work = decode(LATENT, 2, 100)
    # 2·B·S·H·(2r + rope) and (r + rope)·b a token, in 4 layers; absorbed, heads keep the flop of the up-projection.
    assert work.attention_flop == pytest.approx(4 * 2 * 2 * 100 * 8 * (2 * 16 + 4))
    assert work.decode_cache_byte == pytest.approx(4 * 2 * 100 * (16 + 4) * 2)
    rest = work.flop - work.attention_flop
    assert rest == pytest.approx(2 * 2 * parameters_count(architecture_from_config(LATENT)).multiplied)
    # A prompt expands keys of 12 and values of 8 for each head.
    assert prompt(LATENT, 10).prompt_flop == pytest.approx(4 * 2 * 8 * (12 + 8) * 55)


def test_a_sparse_indexer_by_hand() -> None:
    """Two heads of 8 score all keys, in 8 bits with a scale of 4 bytes; attention reads 24 of them."""
    near, far = decode(SPARSE, 1, 24), decode(SPARSE, 1, 240)
    scores = 4 * 2 * 2 * 8
    assert near.attention_flop - 24 * scores == pytest.approx(far.attention_flop - 240 * scores)
    assert near.attention_flop - 24 * scores == pytest.approx(4 * 2 * 24 * 8 * (2 * 16 + 4))
    assert far.decode_cache_byte - near.decode_cache_byte == pytest.approx(4 * 216 * (8 + 4))
    # All keys are kept, whatever is read.
    assert kv_request_byte(whole(SPARSE), np.array([240.0])) == pytest.approx(4 * 240 * ((16 + 4) * 2 + 8 + 4))


def test_a_delta_rule_by_hand() -> None:
    """3 of 4 layers: 8 heads x 8 x 8 in fp32, and 3 columns of 2·4·8 + 8·8 channels in bf16, read and written."""
    near, far = decode(LINEAR, 4, 10), decode(LINEAR, 4, 10_000)
    state = 3 * (8 * 8 * 8 * 4 + 3 * 128 * 2)
    full = 2 * 8 * 16 * 2
    assert near.decode_cache_byte == pytest.approx(4 * (2 * state + 10 * full))
    assert far.decode_cache_byte - near.decode_cache_byte == pytest.approx(4 * 9990 * full)
    # 7 a state element and token, 2·4 a channel of the convolution.
    assert near.state_flop == far.state_flop
    assert near.state_flop == pytest.approx(4 * 3 * (7 * 8 * 8 * 8 + 2 * 4 * 128))


def test_mamba_2_by_hand() -> None:
    """Four heads of 16 with a state of 32, one group, a convolution of 4 over 64 + 2·32 channels, chunks of 8."""
    model = stack(StateSpace(heads=4, head_dim=16, state_dim=32, groups=1, kernel=4, chunk=8))
    work = decode(model, 5, 777)
    state = 2 * (4 * 16 * 32 * 4 + 3 * 128 * 2)
    assert work.cache_byte == pytest.approx(5 * 2 * state)
    assert work.state_flop == pytest.approx(5 * 2 * (6 * 4 * 16 * 32 + 2 * 4 * 128))
    # In chunks of 8 a token pays C·Bᵀ 8·32, its use 8·64, and the state in and out, 4 a state element.
    assert prompt(model, 80).state_flop == pytest.approx(80 * 2 * (8 * (32 + 64) + 4 * 4 * 16 * 32 + 2 * 4 * 128))


def test_experts_by_hand() -> None:
    one, seven = decode(MOE, 1, 1), decode(MOE, 7, 1)
    expert = 3 * 64 * 32
    assert seven.expert_flop == pytest.approx(7 * 2 * 2 * expert * 4)
    # Even routing touches 16·(1 − (1 − 2/16)^T) experts: two for one token.
    touched = 16 * (1 - (1 - 2 / 16) ** 7)
    assert seven.weight_byte - one.weight_byte == pytest.approx(2 * 4 * expert * (touched - 2))
    assert one.weight_byte == pytest.approx(2 * parameters_count(architecture_from_config(MOE)).multiplied)


def test_shared_experts_are_passed_by_every_token() -> None:
    """Three of four layers: a shared expert of 32, a router of 16 columns, two routed experts of 32."""
    work, count = decode(LATENT, 5, 1), parameters_count(architecture_from_config(LATENT))
    routed = 2 * 5 * 3 * 2 * (3 * 64 * 32)
    assert work.expert_flop == pytest.approx(routed)
    assert work.flop - work.attention_flop - routed == pytest.approx(2 * 5 * (count.multiplied - 3 * 2 * 3 * 64 * 32))


def test_uneven_routing_touches_what_draws_touch() -> None:
    """Popularity drawn from a gamma distribution, tokens choosing distinct experts by it: means over draws."""
    rng, tokens, experts, active = np.random.default_rng(5), 12, 32, 4
    touched = []
    for _ in range(300):
        popularity = np.log(rng.gamma(ROUTING_EVENNESS_RATIO, size=experts))
        noise = rng.gumbel(size=(tokens, experts))
        chosen = np.argsort(popularity + noise, axis=1)[:, -active:]
        touched.append(len(np.unique(chosen)))
    closed = experts_touched_count(*(np.array(x, float) for x in (tokens, experts, active, ROUTING_EVENNESS_RATIO)))
    assert float(closed) == pytest.approx(np.mean(touched), rel=0.05)


def test_drafting_by_hand() -> None:
    """One token drafted of B = 2: the model verifies 4 rows, reads keys once; one more layer and the head run once."""
    a = architecture_from_config(LATENT)
    count, ones = parameters_count(a), np.ones(1)
    load = TokenLoad(
        sequences_count=ones * 2,
        context_tok=ones * 100,
        prompt_tok=ones,
        cached_tok=ones * 0,
        output_tok=ones * 1e9,
        draft_count=1.0,
        accepted_tok=1.85,
    )
    work = token_work(whole(LATENT), load, shard_table([drafting_model(a, BF16)]))
    layer = count.mtp - a.mtp[0].loose_parameters(64) - (16 - 2) * 3 * 64 * 32  # a row passes 2 of 16 experts
    attention = 2 * 100 * 8 * (2 * 16 + 4)
    flop = 4 * (2 * count.multiplied + 4 * attention) + 2 * (2 * (layer + 64 * 256) + attention)
    assert work.flop_tok == pytest.approx(flop / (2 * 1.85), rel=1e-6)
    key = (16 + 4) * 2
    cache = 2 * 4 * key * 100 + 4 * 4 * key + 2 * key * 101
    assert work.cache_byte_tok == pytest.approx(cache / (2 * 1.85), rel=1e-6)


def test_a_token_is_a_decode_step_and_its_share_of_a_prompt() -> None:
    """Eight sequences of 16 tokens: in half of the steps a prompt of 20 behind 10 cached tokens goes along."""
    load = TokenLoad(
        **{
            n: np.array([float(x)])
            for n, x in {
                "sequences_count": 8,
                "context_tok": 38,
                "prompt_tok": 20,
                "cached_tok": 10,
                "output_tok": 16,
            }.items()
        }
    )
    work = token_work(whole(DENSE), load)
    layers, head, key = 4 * 7 * 64 * 128, 64 * 256, 4 * 2 * 8 * 16 * 2
    pairs = 20 * 10 + 20 * 21 / 2
    flop = 8 * (2 * (layers + head) + 38 * 4 * 4 * 8 * 16) + 0.5 * (20 * 2 * layers + 2 * head + pairs * 4 * 4 * 8 * 16)
    assert work.flop_tok == pytest.approx(flop / 8)
    assert work.weight_byte_tok == pytest.approx(2 * (layers + head) / 8)
    assert work.cache_byte_tok == pytest.approx((8 * key * 39 + 0.5 * key * (30 + 20)) / 8)


def test_messages_by_hand() -> None:
    """Two all-reduces a layer of 16 rows of 64 in 2 bytes, three quarters of each sent twice."""
    assert decode(DENSE, 16, 10, tp=4).reduce_byte == pytest.approx(8 * 1.5 * 16 * 64 * 2)
    ranks = shard_table([shard(architecture_from_config(MOE), BF16, None, Parallelism(1, 4, 4))])
    work = counts(ranks, decode_load(np.array([2.0]), np.array([4.0]), EVEN))
    # Two of 16 experts lie on 4·(1 − (3/4)²) ranks, a quarter of them the token's own; there and back, 4 layers.
    away = 4 * (1 - (3 / 4) ** 2) * 3 / 4
    assert work.exchange_byte == pytest.approx(2 * 4 * 2 * 64 * 2 * away)


# Bytes of KV cache per token in bf16, arXiv 2505.09343 table 1: DeepSeek-V3 (MLA) 70.272 KB, Llama-3.1-405B 516.096 KB.
@pytest.mark.parametrize(
    ("name", "kb"),
    [
        ("deepseek-ai--DeepSeek-V3", 70.272),
        ("meta-llama--Meta-Llama-3.1-405B", 516.096),
        # Qwen-2.5 72B has Llama-70B's 80 layers of 8 key/value heads of 128: 327.680 KB in the same table.
        ("meta-llama--Meta-Llama-3.1-70B", 327.680),
    ],
)
def test_cache_per_token_is_the_published(name: str, kb: float) -> None:
    held = kv_request_byte(whole(shared_model(name)), np.array([5000.0, 5001.0]))
    assert (held[1] - held[0]) / 1e3 == pytest.approx(kb, rel=1e-4)


# GFLOP per training token of the same table count 6 per active parameter and causal attention at 4096 tokens.
@pytest.mark.parametrize(
    ("name", "gflop"), [("deepseek-ai--DeepSeek-V3", 250.0), ("meta-llama--Meta-Llama-3.1-405B", 2448.0)]
)
def test_training_flop_per_token_is_the_published(name: str, gflop: float) -> None:
    a = shared_model(name)
    head = 2 * a.vocabulary * a.hidden * 4095  # a prompt passes the head with its last token only
    forward = float(prompt(a, 4096).flop[0])
    assert 3 * (forward + head) / 4096 / 1e9 == pytest.approx(gflop, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(kind=kinds, batch=st.integers(1, 256), context=st.integers(1, 5000), factor=st.integers(2, 8))
def test_flop_is_linear_in_batch(kind: str, batch: int, context: int, factor: int) -> None:
    one, many = decode(ALL[kind], batch, context), decode(ALL[kind], batch * factor, context)
    assert many.flop == pytest.approx(factor * one.flop)
    assert many.cache_byte == pytest.approx(factor * one.cache_byte)
    assert one.weight_byte <= many.weight_byte * (1 + 1e-12)
    assert many.weight_byte <= factor * one.weight_byte


@settings(max_examples=40, deadline=None)
@given(kind=kinds, context=st.integers(1, 5000), more=st.integers(1, 5000))
def test_cache_is_monotone_in_context(kind: str, context: int, more: int) -> None:
    near, far = decode(ALL[kind], 4, context), decode(ALL[kind], 4, context + more)
    assert far.cache_byte >= near.cache_byte
    assert far.attention_flop >= near.attention_flop
    held = kv_request_byte(whole(ALL[kind]), np.array([float(context), float(context + more)]))
    assert held[1] >= held[0] > 0


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["dense", "moe", "windowed", "linear"]), tp=st.sampled_from([2, 4]), batch=st.integers(1, 300)
)
def test_shares_conserve_the_whole(kind: str, tp: int, batch: int) -> None:
    model, share = decode(ALL[kind], batch, 77), decode(ALL[kind], batch, 77, tp=tp)
    routers = 64 * 16 * 4 if kind == "moe" else 0  # each device holds the router whole
    assert tp * share.weight_byte == pytest.approx(model.weight_byte + (tp - 1) * 2 * routers)
    assert tp * share.cache_byte == pytest.approx(model.cache_byte)
    assert tp * share.attention_flop == pytest.approx(model.attention_flop)
    assert tp * share.flop == pytest.approx(model.flop + (tp - 1) * 2 * routers * batch)


@pytest.mark.parametrize("kind", sorted(ALL))
def test_arrays_equal_one_by_one(kind: str) -> None:
    batch, context = np.array([1.0, 8, 64]), np.array([10.0, 3000, 40])
    together = counts(whole(ALL[kind]), decode_load(batch, context, EVEN))
    for i in range(3):
        alone = decode(ALL[kind], batch[i], context[i])
        for name in ("flop", "byte", "cache_byte"):
            assert getattr(together, name)[i] == pytest.approx(float(getattr(alone, name)[0]))


@pytest.mark.parametrize("kind", sorted(ALL))
def test_held_weights_are_the_parameters(kind: str) -> None:
    a = architecture_from_config(ALL[kind])
    assert whole(a).weight_byte == pytest.approx(2 * parameters_count(a).total, rel=1e-9)


def test_formats_go_to_their_own_arithmetic() -> None:
    gpt = architecture_from_config({**MOE, "model_type": "gpt_oss"})
    load = decode_load(np.array([2.0]), np.array([5.0]), EVEN)
    narrow, wide = (counts(whole(gpt, uniform(p)), load) for p in ("nvfp4", "bf16"))
    assert narrow.flop == pytest.approx(wide.flop)
    assert narrow.flop_1 > 0 and wide.flop_1 == 0
    assert narrow.weight_byte < 0.6 * wide.weight_byte


# Every model of the catalog.


@pytest.mark.parametrize("name", model_names())
def test_a_lone_token_is_multiplied_by_its_parameters_once(name: str) -> None:
    """Two FLOP a parameter that a token passes, which ``parameters_count`` adds up on its own; biases aside."""
    entry = find_model(name)
    work = counts(whole(entry.architecture, entry.precision), decode_load(np.ones(1), np.zeros(1), EVEN))
    multiplied = parameters_count(entry.architecture).multiplied
    assert work.flop - work.state_flop == pytest.approx(2 * multiplied, rel=2e-3)


ROOMY = replace(find_device("h200"), memory_byte=1e14)


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("batch", [1.0, 64.0])
def test_a_measured_run_and_a_prediction_cost_the_same(name: str, batch: float) -> None:
    """At the same load the FLOP and bytes of a token are the same numbers, however the prediction's devices are cut."""
    entry, load = (
        find_model(name),
        Workload(input_tok=700.0, output_tok=300.0, output_spread_ratio=0.5, cached_ratio=0.25, concurrency=batch),
    )
    for tp in (1, 8):
        deployment = Deployment(
            architecture=entry.architecture, precision=entry.precision, device=ROOMY, parallelism=Parallelism(tp)
        )
        p = predict(deployment, load, rates("vllm"), lambda _: 0.1)
        measured = intensity(entry.architecture, entry.precision, load_of(p, load), "test")
        predicted = {c.name: c.intensity for c in p.ceilings}
        for ceiling, figure in (("compute", measured.work_flop_tok), ("memory_bandwidth", measured.traffic_byte_tok)):
            told = predicted[ceiling]
            assert told is not None and told.value == pytest.approx(figure.value, rel=1e-9), (tp, ceiling)


@pytest.mark.parametrize("name", [n for n in model_names() if find_model(n).architecture.mtp])
def test_a_measured_run_and_a_prediction_cost_the_same_where_the_model_drafts(name: str) -> None:
    """Of two tokens drafted a step 1.4 hold: verified rows, and the drafting layers that make them, are in both."""
    entry, load = find_model(name), Workload(input_tok=700.0, output_tok=300.0, concurrency=16.0)
    deployment = Deployment(
        architecture=entry.architecture,
        precision=entry.precision,
        device=ROOMY,
        speculation=Speculation(2, acceptance_ratio=0.8),
    )
    p = predict(deployment, load, rates("vllm"), lambda _: 0.1)
    run = replace(load_of(p, load), drafts=Drafts(2.0, 1.0 + 0.8 + 0.64))
    measured = intensity(entry.architecture, entry.precision, run, "test")
    plain = intensity(entry.architecture, entry.precision, replace(run, drafts=None), "test")
    predicted = {c.name: c.intensity for c in p.ceilings}
    for ceiling, figure, alone in (
        ("compute", measured.work_flop_tok, plain.work_flop_tok),
        ("memory_bandwidth", measured.traffic_byte_tok, plain.traffic_byte_tok),
    ):
        cost = predicted[ceiling]
        assert cost is not None and cost.value == pytest.approx(figure.value, rel=1e-9), ceiling
        assert figure.value != pytest.approx(alone.value, rel=1e-3)


def load_of(p: Prediction, load: Workload) -> MeasuredLoad:
    """What a run at the predicted steady state would have measured."""
    terms = {t.name: t.value for t in p.terms}
    cached = load.input_tok * load.cached_ratio
    return MeasuredLoad(
        sequences_count=terms["requests decoding"],
        in_flight_count=load.concurrency or 0.0,
        context_tok=terms["context of a decoding request"],
        output_tok=load.output_tok,
        prompt_tok=load.input_tok - cached,
        cached_tok=cached,
    )
