"""Families read beside plain decoders: totals that publishers state, hand sums, kinds of layer, cache bytes a token."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture, GroupedAttention, parameters_by_tensor, parameters_count
from joulemill.physics.model.facts import architecture_facts, layer_counts
from joulemill.physics.model.hf_config import architecture_from_config
from joulemill.physics.model.precision import uniform
from joulemill.physics.model.quantization_config import precision_from_config
from joulemill.physics.serving.continuous_batching import kv_request_byte
from joulemill.physics.serving.counts import counts, decode_load
from joulemill.physics.serving.shard import ShardTable, shard_table, whole_model
from tests.support.paths import SHARED

CASES = SHARED / "cases"


def whole(architecture: Architecture) -> ShardTable:
    return shard_table([whole_model(architecture, uniform("bf16"))])


def marked(chosen: set[int], count: int, one: str, other: str) -> list[str]:
    return [one if i in chosen else other for i in range(count)]


#: Configs of released models, cut to the fields that matter; total in billions as published; cache bytes a token.
RELEASED: dict[str, tuple[dict[str, Any], float, float]] = {
    "Mamba-Codestral-7B": (
        {
            "model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "num_heads": 128, "head_dim": 64,
            "state_size": 128, "n_groups": 8, "expand": 2, "conv_kernel": 4, "vocab_size": 32768,
            "tie_word_embeddings": False,
        }, 7.285, 0.0,
    ),
    "mamba2-2.7b of mamba_ssm": (
        {
            "d_model": 2560, "d_intermediate": 0, "n_layer": 64, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2"},
            "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True,
            "pad_vocab_size_multiple": 16, "tie_embeddings": True,
        }, 2.703, 0.0,
    ),
    "falcon-mamba-7b": (
        {
            "model_type": "falcon_mamba", "hidden_size": 4096, "num_hidden_layers": 64, "state_size": 16,
            "conv_kernel": 4, "expand": 2, "intermediate_size": 8192, "time_step_rank": 256, "vocab_size": 65024,
            "tie_word_embeddings": False,
        }, 7.27, 0.0,
    ),
    "Jamba-v0.1": (
        {
            "model_type": "jamba", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 65536, "num_experts": 16,
            "num_experts_per_tok": 2, "attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2,
            "expert_layer_offset": 1, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 256,
        }, 51.57, 4 * 2 * 8 * 128 * 2,
    ),
    "Bamba-9B": (
        {
            "model_type": "bamba", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "intermediate_size": 14336, "attn_layer_indices": [9, 18, 27],
            "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_n_groups": 1, "mamba_d_state": 128, "mamba_d_conv": 4,
            "mamba_expand": 2, "vocab_size": 128256,
        }, 9.78, 3 * 2 * 8 * 128 * 2,
    ),
    "granite-4.0-h-tiny": (
        {
            "model_type": "granitemoehybrid", "hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 12,
            "num_key_value_heads": 4, "vocab_size": 100352, "intermediate_size": 512, "num_local_experts": 64,
            "layer_types": marked({5, 15, 25, 35}, 40, "attention", "mamba"), "num_experts_per_tok": 6,
            "shared_intermediate_size": 1024, "mamba_n_heads": 48, "mamba_d_head": 64, "mamba_d_state": 128,
            "mamba_n_groups": 1, "mamba_expand": 2, "tie_word_embeddings": True,
        }, 6.94, 4 * 2 * 4 * 128 * 2,
    ),
    "granite-4.0-h-small": (
        {
            "model_type": "granitemoehybrid", "hidden_size": 4096, "num_hidden_layers": 40, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 100352, "intermediate_size": 768, "num_local_experts": 72,
            "layer_types": marked({5, 15, 25, 35}, 40, "full_attention", "linear_attention"),
            "num_experts_per_tok": 10, "shared_intermediate_size": 1536, "mamba_n_heads": 128, "mamba_d_head": "auto",
            "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_expand": 2, "tie_word_embeddings": True,
        }, 32.2, 4 * 2 * 8 * 128 * 2,
    ),
    "Zamba2-7B": (
        {
            "model_type": "zamba2", "hidden_size": 3584, "num_hidden_layers": 81, "num_mem_blocks": 2,
            "layers_block_type": marked({6, 11, *range(17, 78, 6)}, 81, "hybrid", "mamba"), "adapter_rank": 128,
            "n_mamba_heads": 112, "mamba_ngroups": 2, "mamba_d_state": 64, "mamba_expand": 2,
            "num_attention_heads": 32, "intermediate_size": 14336, "vocab_size": 32000,
        }, 7.357, 13 * 2 * 32 * 224 * 2,
    ),
    "LFM2-1.2B": (
        {
            "model_type": "lfm2", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
            "full_attn_idxs": [2, 5, 8, 10, 12, 14], "num_key_value_heads": 8, "block_ff_dim": 12288,
            "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": True,
            "conv_L_cache": 3, "vocab_size": 65536,
        }, 1.17034, 6 * 2 * 8 * 64 * 2,
    ),
    "LFM2-8B-A1B": (
        {
            "model_type": "lfm2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32,
            "layer_types": marked({2, 6, 10, 14, 18, 21}, 24, "full_attention", "conv"), "num_key_value_heads": 8,
            "intermediate_size": 7168, "moe_intermediate_size": 1792, "num_experts": 32, "num_experts_per_tok": 4,
            "num_dense_layers": 2, "vocab_size": 65536, "conv_L_cache": 3,
        }, 8.34, 6 * 2 * 8 * 64 * 2,
    ),
    "Step-3": (
        {
            "model_type": "step3_text", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 64,
            "num_attention_groups": 1, "share_q_dim": 2048, "head_dim": 256, "intermediate_size": 18432,
            "moe_layers_enum": ",".join(str(i) for i in range(4, 60)), "moe_num_experts": 48, "moe_top_k": 3,
            "moe_intermediate_size": 5120, "share_expert_dim": 5120, "vocab_size": 128815,
        }, 316.0, 61 * 2 * 256 * 2,
    ),
    "Qwen-7B": (
        {
            "model_type": "qwen", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "intermediate_size": 22016, "vocab_size": 151936, "kv_channels": 128, "no_bias": True,
        }, 7.721, 32 * 2 * 4096 * 2,
    ),
    "chatglm3-6b": (
        {
            "model_type": "chatglm", "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32,
            "multi_query_attention": True, "multi_query_group_num": 2, "kv_channels": 128, "ffn_hidden_size": 13696,
            "padded_vocab_size": 65024, "add_qkv_bias": True, "add_bias_linear": False,
        }, 6.244, 28 * 2 * 2 * 128 * 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_totals_are_the_published_ones(name: str) -> None:
    config, billions, kv_byte_tok = RELEASED[name]
    built = architecture_from_config(config)
    facts = architecture_facts(built, uniform("bf16"))
    assert facts["parameters_count"] == pytest.approx(billions * 1e9, rel=0.002)
    assert facts["kv_byte_tok"] == kv_byte_tok
    assert not built.doubts
    assert sum(parameters_by_tensor(built).values()) == facts["parameters_count"]


@pytest.mark.parametrize("name", ["Zamba2-7B", "Jamba-v0.1", "Mamba-Codestral-7B"])
def test_weights_held_are_the_parameters_in_bf16(name: str) -> None:
    built = architecture_from_config(RELEASED[name][0])
    held = whole(built).weight_byte[0]
    assert held == pytest.approx(2.0 * parameters_count(built).total, rel=0.002)


def test_mamba2_by_hand() -> None:
    # 4 heads of 4 make a width of 16, 1 group of 8 states. In: 8 x (2·16 + 2·8 + 4); out 16 x 8; convolution over
    # 16 + 16 channels, 4 taps and a bias; A, D, dt bias of 4 heads; gate norm 16; norm 8. Embedding 10 x 8, norm 8.
    config = {
        "model_type": "mamba2",
        "hidden_size": 8,
        "num_hidden_layers": 3,
        "num_heads": 4,
        "head_dim": 4,
        "expand": 2,
        "state_size": 8,
        "n_groups": 1,
        "conv_kernel": 4,
        "vocab_size": 10,
        "tie_word_embeddings": True,
    }
    built = architecture_from_config(config)
    per_layer = 8 * 52 + 128 + 32 * 5 + 12 + 16 + 8
    assert parameters_count(built).total == 3 * per_layer + 80 + 8
    facts = architecture_facts(built, uniform("bf16"))
    assert facts["layer_kinds"] == {"mamba2": 3}
    assert facts["state_byte_req"] == 3 * (16 * 8 * 4 + 32 * 3 * 2)


def test_mamba1_by_hand() -> None:
    # Width 16, 4 states, rank 1 (8 / 16 rounded up). In 8 x 32; to step, B, C 16 x 9; step 1 x 16 and bias 16; out
    # 16 x 8; convolution 16 x (4 + 1); A 16 x 4; D 16; norm 8.
    config = {
        "model_type": "mamba",
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "state_size": 4,
        "conv_kernel": 4,
        "expand": 2,
        "vocab_size": 10,
        "tie_word_embeddings": True,
    }
    per_layer = 256 + 144 + 32 + 128 + 80 + 64 + 16 + 8
    assert parameters_count(architecture_from_config(config)).total == 2 * per_layer + 80 + 8


def test_step_two_kinds_of_attention_by_hand() -> None:
    config = {
        "model_type": "step3p5", "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2, "head_dim": 4,
        "num_attention_groups": 1, "intermediate_size": 16, "sliding_window": 32, "vocab_size": 10,
        "layer_types": ["full_attention", *["sliding_attention"] * 3, "full_attention"],
        "attention_other_setting": {
            "attention_type": "sliding_attention", "num_attention_heads": 4, "num_attention_groups": 2, "head_dim": 4,
        },
        "moe_layers_enum": "2,3", "use_moe": True, "moe_num_experts": 3, "moe_top_k": 1, "moe_intermediate_size": 5,
        "share_expert_dim": 6, "use_head_wise_attn_gate": True, "num_nextn_predict_layers": 1,
    }  # fmt: skip
    built = architecture_from_config(config)
    full = 8 * (8 + 2 * 4 + 2) + 8 * 8 + 2 * 4  # q, k, v, a gate a head; output; norms of query and key
    sliding = 8 * (16 + 2 * 8 + 4) + 16 * 8 + 2 * 4
    dense, routed = 3 * 8 * 16, 8 * 3 + 3 * 8 * 6 + 3 * (3 * 8 * 5)
    total = full + 3 * sliding + 2 * dense + 2 * routed + 4 * 2 * 8 + 2 * 80 + 8
    assert parameters_count(built).total == total
    assert layer_counts(built) == {"full_attention": 1, "dense": 2, "sliding_attention": 3, "experts": 2}
    assert architecture_facts(built, uniform("bf16"))["kv_byte_tok"] == 2 * (2 * 4 + 3 * 2 * 2 * 4)


def test_falcon_h1_runs_a_state_space_beside_attention() -> None:
    config = {
        "model_type": "falcon_h1", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 16, "mamba_d_ssm": 8, "mamba_n_heads": 2,
        "mamba_d_head": "auto", "mamba_d_state": 4, "mamba_n_groups": 1, "mamba_d_conv": 4, "vocab_size": 10,
    }  # fmt: skip
    built = architecture_from_config(config)
    attention = 8 * (8 + 2 * 4) + 8 * 8
    states = 8 * (2 * 8 + 2 * 4 + 2) + 8 * 8 + 16 * 5 + 3 * 2  # no norm at its end
    assert parameters_count(built).total == 2 * (attention + states + 3 * 8 * 16 + 16) + 160 + 8
    assert built.layers == 2


def test_shared_blocks_are_stored_once_and_run_often() -> None:
    kinds = ["mamba", "hybrid", "mamba", "hybrid", "hybrid"]
    config = {
        "model_type": "zamba2", "hidden_size": 8, "num_hidden_layers": 5, "layers_block_type": kinds,
        "num_mem_blocks": 2, "adapter_rank": 2, "n_mamba_heads": 2, "mamba_d_state": 4, "mamba_expand": 2,
        "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 10, "use_shared_attention_adapter": True,
    }  # fmt: skip
    built = architecture_from_config(config)
    shared = 16 * 16 * 3 + 16 * 8 + 3 * 8 * 16 + 3 * 8  # q, k, v of twice the width; output; gated block; norms
    own = 8 * 8 + 2 * (8 + 32) + 3 * 2 * 32  # projection; adapters of gate and up, and of q, k and v
    states = 8 * (2 * 16 + 8 + 2) + 16 * 8 + 24 * 5 + 6 + 16 + 8
    assert parameters_count(built).total == 2 * shared + 3 * own + 5 * states + 80 + 8
    assert parameters_count(built).multiplied > parameters_count(built).total - 3 * own  # three uses of two blocks


#: DeepSeek V4 in small: a window alone, entries of 4 tokens with an indexer, entries of 8.
COMPRESSED = {
    "model_type": "deepseek_v4", "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 4,
    "q_lora_rank": 2, "qk_rope_head_dim": 2, "o_groups": 2, "o_lora_rank": 3, "sliding_window": 16,
    "compress_ratios": [0, 4, 8, 0], "index_n_heads": 2, "index_head_dim": 6, "index_topk": 5,
    "moe_intermediate_size": 5, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "num_hash_layers": 1, "hc_mult": 2, "hc_sinkhorn_iters": 20, "num_nextn_predict_layers": 1, "vocab_size": 10,
    "expert_dtype": "fp4",
}  # fmt: skip


def test_compressed_attention_by_hand() -> None:
    built = architecture_from_config(COMPRESSED)
    own = 8 * (2 + 4) + 2 * 16 + 2 * (8 * 3) + 6 * 8 + 2 + 4 + 4  # q and key, heads, grouped output; norms, sinks
    sparse = 8 * 2 * 2 * 4 + (4 * 2 + 1) * 4  # values and weights of overlapping strides; a bias a place, a norm
    index = 2 * 12 + 8 * (2 * 2 * 6 + 2) + (4 * 2 + 1) * 6
    heavy = 8 * 2 * 4 + (8 + 1) * 4
    routed = 8 * 4 + (1 + 4) * 3 * 8 * 5 + 2 * 8
    mixing = 2 * (8 * 16 + 8 + 3)
    ends = 2 * 10 * 8 + 8 + 2 * (16 + 1) + 1
    assert parameters_count(built).total == 3 * (own + routed + mixing) + sparse + index + heavy + ends
    assert layer_counts(built) == {
        "sliding_attention": 1,
        "sparse_compressed_attention": 1,
        "compressed_attention": 1,
        "experts": 3,
    }
    assert precision_from_config({**COMPRESSED, "quantization_config": {"quant_method": "fp8"}}).experts.name == "mxfp4"


def test_compressed_attention_is_read_from_names_of_layers_too() -> None:
    names = ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"]
    newer = {k: v for k, v in COMPRESSED.items() if k != "compress_ratios"}
    newer |= {"layer_types": names, "compress_rates": {"heavily_compressed_attention": 8}}
    assert architecture_from_config(newer).groups == architecture_from_config(COMPRESSED).groups


@pytest.mark.parametrize("context", [16.0, 20.0, 40.0, 400.0])
def test_compressed_attention_holds_and_reads_by_hand(context: float) -> None:
    built = architecture_from_config(COMPRESSED)
    held = min(context, 16) * 4 * 2  # the window, in all layers
    entries = context / 4 * (4 * 2 + 6 + 4) + context / 8 * 4 * 2  # with the indexer's keys of 6 and their scale
    assert kv_request_byte(whole(built), np.array([context])) == pytest.approx(3 * held + entries)
    work = counts(whole(built), decode_load(np.ones(1), np.array([context]), np.ones(1)))
    seen = 3 * min(context, 16) + min(context / 4, 5) + context / 8
    assert work.attention_flop + work.state_flop == pytest.approx(seen * 2 * 4 * (4 + 4) + context / 4 * 2 * 2 * 6)
    assert work.decode_cache_byte == pytest.approx((seen + 3) * 4 * 2 + context / 4 * (6 + 4))  # 3 are written


def test_layers_that_attend_to_images_are_stored_and_skipped() -> None:
    config = {**TINY, "model_type": "mllama_text_model", "cross_attention_layers": [1, 3]}
    built, plain = architecture_from_config(config), architecture_from_config({**TINY, "num_hidden_layers": 2})
    image = 8 * (8 + 2 * 4) + 8 * 8 + 2 * 2 + 3 * 8 * 16 + 2 * 8  # query and key have norms
    ours, text = parameters_count(built), parameters_count(plain)
    assert (ours.total, ours.active, ours.multiplied) == (text.total + 2 * image, text.active, text.multiplied)
    assert sum(parameters_by_tensor(built).values()) == ours.total
    held = (whole(built).weight_byte - whole(plain).weight_byte)[0]
    assert held == 2.0 * 2 * image
    assert built.layers == 2


TINY = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 2,
    "intermediate_size": 16,
    "vocab_size": 10,
}


def test_heads_by_layer() -> None:
    config = {**TINY, "num_attention_heads": [4, 4, 8, 8], "num_key_value_heads": [1, 2, 2, 4]}
    built = architecture_from_config(config)
    assert architecture_facts(built, uniform("bf16"))["kv_byte_tok"] == (1 + 2 + 2 + 4) * 4 * 2
    with pytest.raises(InputError, match="num_key_value_heads lists 3 layers"):
        architecture_from_config({**TINY, "num_key_value_heads": [1, 2, 2]})


def test_overrides_by_layer_of_newer_libraries() -> None:
    config = {**TINY, "per_layer_config": {"1": {"head_dim": 4}, "3": {"num_key_value_heads": 4}}}
    assert architecture_facts(architecture_from_config(config), uniform("bf16"))["kv_byte_tok"] == 2 * (8 + 16 + 8 + 16)
    with pytest.raises(InputError, match="not read: per_layer_config"):
        architecture_from_config({**TINY, "per_layer_config": {"1": {"memory_heads": 4}}})


def windows(config: dict[str, Any]) -> list[int | None]:
    return sorted(
        (
            g.mixer.window
            for g in architecture_from_config(config).groups
            for _ in range(g.count)
            if isinstance(g.mixer, GroupedAttention)
        ),
        key=lambda w: w or 0,
    )


@pytest.mark.parametrize(
    "spelling",
    [
        {"layer_types": ["sliding_attention", "full_attention"] * 2},
        {"layer_types": ["sliding_attention", "full_attention"] * 3, "num_nextn_predict_layers": 2},
        {"sliding_window": [32, None, 32, None]},
        {"interleaved_sliding_window": [32, 0, 32, 0]},
        {"model_type": "gpt_oss"},
        {"model_type": "exaone4", "sliding_window_pattern": "LG"},
        {"model_type": "cohere2", "sliding_window_pattern": 2},
        {"model_type": "gemma3_text", "sliding_window_pattern": [True, False]},
        {"model_type": "afmoe", "global_attn_every_n_layers": 2},
        {"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [1, 0, 1, 0]},
        {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 2},
    ],
)
def test_windows_in_every_spelling(spelling: dict[str, Any]) -> None:
    base = {**TINY, "sliding_window": 32} if "interleaved_sliding_window" not in spelling else TINY
    assert windows({**base, **spelling}) == [None, None, 32, 32]


def test_windows_that_engines_leave_off() -> None:
    assert windows({**TINY, "model_type": "qwen3", "sliding_window": 32}) == [None] * 4


@pytest.mark.parametrize(
    ("spelling", "experts"),
    [
        ({"moe_layers_enum": "1,3"}, 2),
        ({"moe_layers": [1, 2, 3]}, 3),
        ({"moe_layer_freq": [0, 1, 0, 0]}, 1),
        ({"mlp_layer_types": ["dense", "sparse", "sparse", "dense"]}, 2),
        ({"first_k_dense_replace": 1}, 3),
        ({"decoder_sparse_step": 2}, 2),
        ({"mlp_only_layers": [0]}, 3),
        ({"expert_layer_period": 2, "expert_layer_offset": 1}, 2),
    ],
)
def test_layers_with_experts_in_every_spelling(spelling: dict[str, Any], experts: int) -> None:
    routed = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 4}
    counts = layer_counts(architecture_from_config({**TINY, **routed, **spelling}))
    assert (counts["experts"], counts.get("dense", 0)) == (experts, 4 - experts)


def test_engines_defaults_stand_in_for_what_files_leave_out() -> None:
    torn = {k: v for k, v in TINY.items() if k not in ("num_key_value_heads", "head_dim")}
    plain = architecture_from_config({**torn, "model_type": "mixtral"}, approximate=True)
    assert not plain.is_moe
    config = {**torn, "model_type": "mixtral", "num_attention_heads": 8}
    built = architecture_from_config(config, assume=True)
    assert built.is_moe
    assert any("num_local_experts: 8" in a for a in built.approximations)
    nested = architecture_from_config({"text_config": {"model_type": "llama"}, "vision_config": {"a": 1}}, assume=True)
    assert parameters_count(nested).total == 6_738_415_616  # Llama 2 7B, whose sizes the class has
    with pytest.raises(InputError, match="hidden_size"):
        architecture_from_config({"model_type": "llama"}, assume=True)


def test_a_linear_layer_is_a_state_space_where_the_family_says_so() -> None:
    built = architecture_from_config(RELEASED["granite-4.0-h-small"][0])
    assert layer_counts(built)["mamba2"] == 36


def case(name: str) -> Architecture:
    file = CASES / name / "config.json"
    if not file.exists():
        pytest.skip(f"no {file}")
    return architecture_from_config(json.loads(file.read_text()), assume=True)


def test_case_mamba2() -> None:
    facts = architecture_facts(case("mamba2"), uniform("bf16"))
    assert facts["parameters_count"] == pytest.approx(0.78e9, rel=0.001)
    assert facts["kv_byte_tok"] == 0.0


def test_case_step() -> None:
    built = case("step-3.5")
    assert parameters_count(built).total == pytest.approx(196e9, rel=0.01)
    assert layer_counts(built) == {"full_attention": 12, "dense": 3, "sliding_attention": 33, "experts": 42}
