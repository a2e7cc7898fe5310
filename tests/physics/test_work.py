"""Work of a step: closed forms, published cache sizes, and properties that any counting must have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture, parameters_count
from joulemill.physics.model.hf_config import architecture_from_config
from joulemill.physics.model.precision import uniform
from joulemill.physics.work import (
    Work,
    decode_step,
    gemms,
    kv_sequence_byte,
    mixed_step,
    prefill_step,
    sharding,
    step_kernels,
    step_work,
    weight_held_byte,
)
from tests.support.paths import SHARED

BF16 = uniform("bf16")
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
MOE: dict[str, Any] = {
    **DENSE,
    "model_type": "qwen3_moe",
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
WINDOWED: dict[str, Any] = {**DENSE, "model_type": "gemma3_text", "sliding_window": 32, "sliding_window_pattern": 2}
LATENT: dict[str, Any] = {
    **DENSE,
    "model_type": "deepseek_v3",
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 16,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}
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
ALL = {"dense": DENSE, "moe": MOE, "windowed": WINDOWED, "latent": LATENT, "sparse": SPARSE, "linear": LINEAR}
MODELS = SHARED / "data" / "models"
kinds = st.sampled_from(sorted(ALL))


def shared_model(name: str) -> Architecture:
    file = MODELS / f"{name}.json"
    if not file.exists():
        pytest.skip(f"no {file}")
    return architecture_from_config(json.loads(file.read_text()))


def decode(config: dict[str, Any], sequences: float, context: float, **cut: Any) -> Work:
    return step_work(architecture_from_config(config), BF16, decode_step(sequences, context), sharding(**cut))


def test_decode_by_hand() -> None:
    work = decode(DENSE, 3, 10)
    a = architecture_from_config(DENSE)
    # q, k, v, o 64 x 128 each, three matrices 64 x 128, head 64 x 256; attention 4·B·S·H·d a layer.
    multiplied = 4 * 7 * 64 * 128 + 64 * 256
    assert parameters_count(a).multiplied == multiplied
    assert work.flop == pytest.approx(2 * multiplied * 3 + 4 * 4 * 3 * 10 * 8 * 16)
    assert work.weight_byte == pytest.approx(2 * multiplied)
    assert work.kv_read_byte == pytest.approx(4 * 2 * 3 * 10 * 8 * 16 * 2)
    assert work.kv_write_byte == pytest.approx(4 * 2 * 3 * 8 * 16 * 2)
    assert work.wire_byte == 0


def test_prefill_counts_half_the_square() -> None:
    work = step_work(architecture_from_config(DENSE), BF16, prefill_step(1000))
    # 2·S²·H·d a layer, and the diagonal counted whole: (S + 1)/S.
    assert work.attention_flop == pytest.approx(4 * 2 * 1000**2 * 8 * 16 * 1001 / 1000)


def test_chunks_add_up_to_the_whole_prompt() -> None:
    for config in ALL.values():
        a = architecture_from_config(config)
        whole = step_work(a, BF16, prefill_step(300)).attention_flop
        parts = sum(step_work(a, BF16, prefill_step(100, past)).attention_flop for past in (0, 100, 200))
        assert parts == pytest.approx(float(whole))


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
    a = shared_model(name)
    step = kv_sequence_byte(a, BF16, 5001) - kv_sequence_byte(a, BF16, 5000)
    assert step / 1e3 == pytest.approx(kb, rel=1e-4)


# GFLOP per training token of the same table count 6 per active parameter and causal attention at 4096 tokens.
@pytest.mark.parametrize(
    ("name", "gflop"), [("deepseek-ai--DeepSeek-V3", 250.0), ("meta-llama--Meta-Llama-3.1-405B", 2448.0)]
)
def test_training_flop_per_token_is_the_published(name: str, gflop: float) -> None:
    a = shared_model(name)
    forward = step_work(a, BF16, prefill_step(4096, prompts=1))
    head = 2 * a.vocabulary * a.hidden * 4095  # prefill multiplies the last token only by the head
    assert 3 * (float(forward.flop) + head) / 4096 / 1e9 == pytest.approx(gflop, rel=0.05)


def test_latent_decode_by_hand() -> None:
    work = decode(LATENT, 2, 100)
    # 2·B·S·H·(2r + rope) and (r + rope)·b a token, in 4 layers.
    assert work.attention_flop == pytest.approx(4 * 2 * 2 * 100 * 8 * (2 * 16 + 4))
    assert work.kv_read_byte == pytest.approx(4 * 2 * 100 * (16 + 4) * 2)


def test_absorption_keeps_the_projections_flop() -> None:
    a = architecture_from_config(LATENT)
    absorbed = [g for g in gemms(a, BF16, 5) if g.name.startswith("absorb")]
    assert sum(float(g.flop) for g in absorbed) == 4 * 2 * 5 * 16 * 8 * (8 + 8)


def test_sparse_attention_stops_at_its_top() -> None:
    near, far = decode(SPARSE, 1, 24), decode(SPARSE, 1, 240)

    def main(w: Work, context: int) -> float:
        return float(w.attention_flop) - 4 * 2 * context * 2 * 8

    assert main(near, 24) == pytest.approx(main(far, 240))
    assert far.kv_read_byte - near.kv_read_byte == pytest.approx(4 * 216 * (8 + 4))


def test_recurrent_state_does_not_grow() -> None:
    assert decode(LINEAR, 4, 10).state_byte == decode(LINEAR, 4, 10_000).state_byte
    # 3 of 4 layers: 8 heads x 8 x 8 in fp32, and 3 columns of 2·4·8 + 8·8 channels in bf16, read and written.
    assert decode(LINEAR, 4, 10).state_byte == pytest.approx(2 * 4 * 3 * (8 * 8 * 8 * 4 + 3 * 128 * 2))


def test_experts_by_hand() -> None:
    work = step_work(architecture_from_config(MOE), BF16, decode_step(7, 1))
    listed = step_kernels(architecture_from_config(MOE), BF16, decode_step(7, 1)).experts[0]
    assert listed.touched == pytest.approx(16 * (1 - (1 - 2 / 16) ** 7))
    assert listed.weight_byte == pytest.approx(float(listed.touched) * 3 * 64 * 32 * 4 * 2)
    assert listed.flop == pytest.approx(7 * 2 * 2 * 3 * 64 * 32 * 4)
    assert set(work.linear_flop) == {"bf16"}


def test_formats_go_to_their_own_arithmetic() -> None:
    gpt = architecture_from_config({**MOE, "model_type": "gpt_oss"})
    work = step_work(gpt, uniform("nvfp4"), decode_step(2, 5))
    assert set(work.linear_flop) == {"fp4", "bf16"}
    assert work.weight_byte < 0.6 * step_work(gpt, BF16, decode_step(2, 5)).weight_byte


def test_mixed_step_shares_the_weights() -> None:
    a = architecture_from_config(DENSE)
    d, p = decode_step(8, 100), prefill_step(50)
    both, one, two = (step_work(a, BF16, s) for s in (mixed_step(d, p), d, p))
    assert both.weight_byte == one.weight_byte == two.weight_byte
    assert both.attention_flop == pytest.approx(float(one.attention_flop + two.attention_flop))
    assert both.tokens == 58


def test_collectives_by_hand() -> None:
    work = decode(DENSE, 16, 10, tp=4)
    # Two sums a layer and one after the embedding: 2·(3/4)·16·64·2 bytes each; logits gathered: 3/4·16·256·2.
    assert work.wire_byte == pytest.approx(9 * 1.5 * 16 * 64 * 2 + 0.75 * 16 * 256 * 2)
    assert work.exchanges_count == 10


def test_experts_are_exchanged_only_between_replicas() -> None:
    a = architecture_from_config(MOE)
    together = step_kernels(a, BF16, decode_step(8, 4), sharding(4, ep=4))
    apart = step_kernels(a, BF16, decode_step(2, 4), sharding(1, dp=4, ep=4))
    assert "dispatch" not in {c.purpose for c in together.collectives}
    assert {"dispatch", "combine"} <= {c.purpose for c in apart.collectives}
    # The same eight tokens meet the same experts either way.
    assert together.experts[0].choices == apart.experts[0].choices
    assert together.experts[0].touched == apart.experts[0].touched


def test_impossible_cuts_are_refused() -> None:
    with pytest.raises(InputError, match="ep"):
        sharding(4, ep=3, moe_tp=2)
    with pytest.raises(InputError, match="does not fit"):
        sharding(2, ep=4)
    with pytest.raises(InputError, match="1 or more"):
        sharding(0)


@settings(max_examples=40, deadline=None)
@given(kind=kinds, batch=st.integers(1, 256), context=st.integers(1, 5000), factor=st.integers(2, 8))
def test_flop_is_linear_in_batch(kind: str, batch: int, context: int, factor: int) -> None:
    one, many = decode(ALL[kind], batch, context), decode(ALL[kind], batch * factor, context)
    assert many.flop == pytest.approx(factor * float(one.flop))
    assert many.kv_read_byte == pytest.approx(factor * float(one.kv_read_byte))
    assert one.weight_byte <= many.weight_byte <= factor * one.weight_byte


@settings(max_examples=40, deadline=None)
@given(kind=kinds, context=st.integers(1, 5000), more=st.integers(1, 5000))
def test_cache_is_monotone_in_context(kind: str, context: int, more: int) -> None:
    near, far = decode(ALL[kind], 4, context), decode(ALL[kind], 4, context + more)
    assert far.kv_read_byte >= near.kv_read_byte
    assert far.attention_flop >= near.attention_flop
    a = architecture_from_config(ALL[kind])
    assert kv_sequence_byte(a, BF16, context + more) >= kv_sequence_byte(a, BF16, context) > 0


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["dense", "moe", "windowed", "linear"]), tp=st.sampled_from([2, 4]), batch=st.integers(1, 300)
)
def test_shards_conserve_the_whole(kind: str, tp: int, batch: int) -> None:
    whole, shard = decode(ALL[kind], batch, 77), decode(ALL[kind], batch, 77, tp=tp)
    routers = 2 * 64 * 16 * 4 if kind == "moe" else 0  # each device holds the router whole
    assert tp * shard.weight_byte == pytest.approx(float(whole.weight_byte) + (tp - 1) * routers)
    assert tp * shard.kv_read_byte == pytest.approx(float(whole.kv_read_byte))
    assert tp * shard.state_byte == pytest.approx(float(whole.state_byte))
    assert tp * shard.attention_flop == pytest.approx(float(whole.attention_flop))
    assert tp * shard.flop == pytest.approx(float(whole.flop) + (tp - 1) * routers * batch)


@settings(max_examples=40, deadline=None)
@given(tokens=st.integers(1, 4000), ep=st.sampled_from([1, 2, 4, 8]))
def test_coverage_is_between_top_k_and_all(tokens: int, ep: int) -> None:
    listed = step_kernels(architecture_from_config(MOE), BF16, decode_step(tokens, 1), sharding(8, ep=ep)).experts[0]
    assert 2 * (1 - 1e-9) <= float(listed.touched) * ep <= 16
    assert float(listed.choices) * ep == pytest.approx(2 * tokens)


@pytest.mark.parametrize("kind", sorted(ALL))
def test_arrays_equal_one_by_one(kind: str) -> None:
    a = architecture_from_config(ALL[kind])
    batch, context, tp = np.array([1.0, 8, 64]), np.array([10.0, 3000, 40]), np.array([1.0, 2, 4])
    together = step_work(a, BF16, decode_step(batch, context), sharding(tp))
    for i in range(3):
        alone = step_work(a, BF16, decode_step(batch[i], context[i]), sharding(tp[i]))
        for name in ("flop", "memory_byte", "wire_byte", "exchanges_count"):
            assert np.broadcast_to(getattr(together, name), 3)[i] == pytest.approx(float(getattr(alone, name)))


@pytest.mark.parametrize("kind", sorted(ALL))
def test_held_weights_are_the_parameters(kind: str) -> None:
    a = architecture_from_config(ALL[kind])
    assert weight_held_byte(a, BF16) == pytest.approx(2 * parameters_count(a).total, rel=1e-9)
    assert weight_held_byte(a, BF16, sharding(2, pp=2)) < 0.55 * float(weight_held_byte(a, BF16)) / 2 + 1e5
