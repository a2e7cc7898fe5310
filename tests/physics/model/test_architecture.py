"""Architectures from configs: counts against hand sums, layer patterns, and what must be refused or stated."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.physics.model.architecture import (
    DeltaNet,
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    StateSpace,
    parameters_by_tensor,
    parameters_count,
)
from joulemill.physics.model.hf_config import architecture_from_config
from tests.support.paths import SHARED

MODELS = SHARED / "data" / "models"
TINY = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 10,
}

#: Totals in billions as publishers state them (model cards, technical reports); text towers only for the others.
PUBLISHED = {
    "MiniMaxAI--MiniMax-M2.5": 228.7,
    "Qwen--Qwen3-0.6B": 0.596,
    "Qwen--Qwen3-235B-A22B": 235.09,
    "Qwen--Qwen3-30B-A3B": 30.53,
    "Qwen--Qwen3-32B": 32.76,
    "Qwen--Qwen3-8B": 8.19,
    "Qwen--Qwen3-Coder-480B-A35B-Instruct": 480.2,
    "Qwen--Qwen3.5-397B-A17B": 397.0,
    "deepseek-ai--DeepSeek-V3": 671.0,
    "deepseek-ai--DeepSeek-V3.2": 671.9,
    "google--gemma-4-26B-A4B": 25.2,
    "meta-llama--Llama-4-Scout-17B-16E-Instruct": 108.6,
    "meta-llama--Meta-Llama-3.1-405B": 405.9,
    "meta-llama--Meta-Llama-3.1-70B": 70.55,
    "meta-llama--Meta-Llama-3.1-8B": 8.03,
    "mistralai--Mixtral-8x7B-v0.1": 46.70,
    "moonshotai--Kimi-K2-Instruct": 1026.4,
    "nvidia--Nemotron-H-56B-Base-8K": 56.3,
    "openai--gpt-oss-120b": 116.83,
    "zai-org--GLM-5": 744.0,
}
#: Active parameters in billions where the publisher gives a second figure to three digits.
ACTIVE = {
    "openai--gpt-oss-120b": 5.13,
    "google--gemma-4-26B-A4B": 3.8,
    "Qwen--Qwen3-30B-A3B": 3.3,
    "mistralai--Mixtral-8x7B-v0.1": 12.9,
}


def test_dense_parameters_by_hand() -> None:
    # Per layer: q 8x8, k and v 8x4 each, o 8x8; gate, up, down 8x16 each; two norms of 8. Ends: 10x8 twice and a norm.
    per_layer = 64 + 32 + 32 + 64 + 3 * 128 + 16
    count = parameters_count(architecture_from_config(TINY))
    assert count.total == count.active == 3 * per_layer + 160 + 8
    assert count.multiplied == 3 * (per_layer - 16) + 80
    tied = parameters_count(architecture_from_config({**TINY, "tie_word_embeddings": True}))
    assert tied.total == count.total - 80
    assert tied.multiplied == count.multiplied


def test_experts_by_hand() -> None:
    moe = {**TINY, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    count = parameters_count(architecture_from_config(moe))
    expert = 3 * 8 * 16
    assert count.total - count.active == 3 * 2 * expert
    assert count.total == parameters_count(architecture_from_config(TINY)).total + 3 * (3 * expert + 4 * 8)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_totals_are_the_published_ones(name: str) -> None:
    file = MODELS / f"{name}.json"
    if not file.exists():
        pytest.skip(f"no {file}")
    count = parameters_count(architecture_from_config(json.loads(file.read_text())))
    assert count.total == pytest.approx(PUBLISHED[name] * 1e9, rel=0.01)
    if name in ACTIVE:
        published = ACTIVE[name] * 1e9
        # Publishers count the embeddings in or out; one of the two readings must be theirs.
        assert min(abs(count.active / published - 1), abs(count.multiplied / published - 1)) < 0.02


def test_gemma_windows_alternate() -> None:
    config = {**TINY, "model_type": "gemma3_text", "num_hidden_layers": 13, "sliding_window": 6, "head_dim": 2}
    windows = {
        g.mixer.window: g.count
        for g in architecture_from_config(config).groups
        if isinstance(g.mixer, GroupedAttention)
    }
    assert windows == {6: 11, None: 2}
    assert architecture_from_config(config).tied


def test_declared_layer_types_win() -> None:
    config = {
        **TINY,
        "model_type": "gpt_oss",
        "sliding_window": 4,
        "layer_types": ["full_attention"] * 3,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
    }
    (group,) = architecture_from_config(config).groups
    assert isinstance(group.mixer, GroupedAttention)
    assert group.mixer.window is None
    assert group.mixer.sinks


def test_window_not_in_use_is_ignored() -> None:
    config = {**TINY, "model_type": "qwen2", "sliding_window": 4, "use_sliding_window": False}
    (group,) = architecture_from_config(config).groups
    assert isinstance(group.mixer, GroupedAttention)
    assert group.mixer.window is None
    assert group.mixer.qkv_bias


def test_llama4_interleaves_experts_and_chunks() -> None:
    config = {
        **TINY,
        "model_type": "llama4_text",
        "num_hidden_layers": 8,
        "interleave_moe_layer_step": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "intermediate_size_mlp": 32,
        "attention_chunk_size": 16,
    }
    groups = architecture_from_config({"model_type": "llama4", "text_config": config}).groups
    experts = sum(g.count for g in groups if isinstance(g.feed_forward, ExpertFeedForward))
    dense = [g.feed_forward for g in groups if isinstance(g.feed_forward, DenseFeedForward)]
    chunked = sum(g.count for g in groups if isinstance(g.mixer, GroupedAttention) and g.mixer.chunked)
    assert (experts, chunked) == (4, 6)
    assert {d.intermediate for d in dense} == {32}


def test_latent_attention_and_dense_first_layers() -> None:
    config = {
        **TINY,
        "model_type": "deepseek_v32",
        "first_k_dense_replace": 1,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 2,
        "moe_intermediate_size": 4,
        "q_lora_rank": 6,
        "kv_lora_rank": 5,
        "qk_nope_head_dim": 2,
        "qk_rope_head_dim": 2,
        "v_head_dim": 3,
        "index_topk": 7,
        "index_n_heads": 2,
        "index_head_dim": 2,
        "num_nextn_predict_layers": 1,
    }
    a = architecture_from_config(config)
    dense, routed = a.groups
    assert (dense.count, routed.count) == (1, 2)
    assert isinstance(routed.mixer, LatentAttention)
    assert routed.mixer.indexer is not None
    assert isinstance(routed.feed_forward, ExpertFeedForward)
    assert routed.feed_forward.shared == DenseFeedForward(8, 3, tensor="shared")
    # q_a, q_b, kv_a, kv_b, o, indexer q, k, weights; norms of the latents and of the indexer's key.
    attention = 8 * 6 + 6 * 16 + 8 * 7 + 5 * 4 * 5 + 12 * 8 + 6 * 4 + 8 * 2 + 8 * 2 + (6 + 5 + 4)
    assert sum(x.parameters for x in routed.mixer.linears(8)) + routed.mixer.loose_parameters(8) == attention
    assert parameters_count(a).mtp > 0


def test_hybrid_pattern_is_one_block_a_layer() -> None:
    config = {
        "model_type": "nemotron_h",
        "hidden_size": 8,
        "vocab_size": 10,
        "hybrid_override_pattern": "M-M*E",
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 16,
        "moe_intermediate_size": 4,
        "n_routed_experts": 4,
        "num_experts_per_tok": 1,
        "mlp_hidden_act": "relu2",
        "mamba_num_heads": 4,
        "mamba_head_dim": 4,
        "ssm_state_size": 8,
        "n_groups": 2,
        "conv_kernel": 4,
    }
    a = architecture_from_config(config)
    assert a.layers == 5
    mamba = next(g for g in a.groups if isinstance(g.mixer, StateSpace))
    assert mamba.count == 2
    assert mamba.feed_forward is None
    # in: 8 x (2·16 + 2·2·8 + 4); out 16 x 8; convolution (16 + 32)·(4 + 1); A, D, dt bias 4 each; norm 16.
    inside = sum(x.parameters for x in mamba.linears(8)) + mamba.loose_parameters(8)
    assert inside == 8 * 68 + 128 + 240 + 12 + 16 + 8
    dense = next(g.feed_forward for g in a.groups if isinstance(g.feed_forward, DenseFeedForward))
    assert dense.matrices == 2
    named = {
        **config,
        "hybrid_override_pattern": None,
        "layers_block_type": ["mamba", "mlp", "mamba", "attention", "moe"],
    }
    assert architecture_from_config(named).groups == a.groups


def test_linear_attention_every_fourth_layer_full_and_gated() -> None:
    config = {
        **TINY,
        "model_type": "qwen3_next",
        "num_hidden_layers": 8,
        "full_attention_interval": 4,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 4,
    }
    groups = architecture_from_config(config).groups
    assert {type(g.mixer): g.count for g in groups} == {DeltaNet: 6, GroupedAttention: 2}
    full = next(g.mixer for g in groups if isinstance(g.mixer, GroupedAttention))
    assert full.linears(8)[0].split == 2 * 4 * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"num_attention_heads": 3}, "heads"),
        ({"num_key_value_heads": 3}, "key/value"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"model_type": "mamba"}, "not read: num_attention_heads, num_key_value_heads"),
        ({"model_type": "rwkv7"}, "RWKV"),
        ({"layer_types": ["spiral"] * 3}, "spiral"),
        ({"layer_types": ["full_attention"]}, "1 layers"),
        ({"num_experts": 2, "num_experts_per_tok": 4}, "contradicts"),
        ({"hybrid_override_pattern": "MX"}, "X"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        architecture_from_config({**TINY, **change})


def test_the_unknown_is_refused_or_told() -> None:
    with pytest.raises(InputError, match="model type 'brand_new' is not known"):
        architecture_from_config({**TINY, "model_type": "brand_new"})
    with pytest.raises(InputError, match="not read: num_memory_heads"):
        architecture_from_config({**TINY, "num_memory_heads": 4, "rope_theta": 1e4, "rms_norm_eps": 1e-6})
    told = architecture_from_config({**TINY, "model_type": "brand_new", "num_memory_heads": 4}, approximate=True)
    assert told.unread == ("num_memory_heads",)
    assert told.unknown_type == "brand_new"
    assert len(told.doubts) == 2
    assert architecture_from_config(TINY).approximations == architecture_from_config(TINY).doubts == ()


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "Qwen3MoeForCausalLM", "GPT2LMHeadModel", "Gemma2ForCausalLM"])
def test_a_class_of_another_family_than_the_type_is_told(name: str) -> None:
    with pytest.raises(InputError, match=f"'llama of class {name}' is not known"):
        architecture_from_config({**TINY, "model_type": "llama", "architectures": [name]})


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "OwnForCausalLM", 7])
def test_a_class_laid_out_alike_is_read(name: object) -> None:
    assert not architecture_from_config({**TINY, "model_type": "llama", "architectures": [name]}).doubts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_setting", {"num_heads": 4}),
        ("block_pattern", "AAB"),
        ("use_shared_blocks", True),
        ("kv_source_layers", [0, 0, 1]),
        ("mlp_ratio", 2.5),
        ("num_codebooks", 8),
        ("qk_rope_head_dim", 64),
        ("linear_attn_config", {"kda_layers": [1], "num_heads": 2, "head_dim": 2, "gate_rank": 3}),
    ],
)
def test_a_field_of_any_kind_that_nothing_reads_is_named(name: str, value: object) -> None:
    with pytest.raises(InputError, match="not read: ") as caught:
        architecture_from_config({**TINY, name: value})
    assert name in str(caught.value)


def test_what_says_nothing_is_not_named() -> None:
    quiet = {
        "memory_setting": {},
        "block_pattern": "",
        "use_shared_blocks": False,
        "kv_source_layers": None,
        "extra": 0,
    }
    assert architecture_from_config({**TINY, **quiet}).doubts == ()


def test_not_a_config() -> None:
    with pytest.raises(InputError, match="JSON object"):
        architecture_from_config([1])  # type: ignore[arg-type]


@given(
    layers=st.integers(1, 40),
    heads=st.sampled_from([2, 4, 8]),
    experts=st.sampled_from([0, 4, 16]),
    shared=st.integers(0, 2),
    tied=st.booleans(),
)
def test_classes_of_tensors_sum_to_the_total(layers: int, heads: int, experts: int, shared: int, tied: bool) -> None:
    config = {
        **TINY,
        "model_type": "glm4_moe",
        "hidden_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "n_routed_experts": experts,
        "num_experts_per_tok": 2,
        "n_shared_experts": shared,
        "moe_intermediate_size": 8,
        "first_k_dense_replace": 1,
        "tie_word_embeddings": tied,
    }
    a = architecture_from_config(config)
    assert sum(parameters_by_tensor(a).values()) == parameters_count(a).total
    assert a.layers == layers
    assert parameters_count(a).active <= parameters_count(a).total
