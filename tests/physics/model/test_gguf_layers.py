"""GGUF files whose layers differ: recurrent blocks, heads and widths by layer, marks of windows, drafting layers."""

from __future__ import annotations

from typing import Any

import pytest

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture, DenseFeedForward, GroupedAttention, parameters_count
from joulemill.physics.model.facts import architecture_facts, layer_counts
from joulemill.physics.model.gguf import architecture_from_gguf
from joulemill.physics.model.hf_config import architecture_from_config
from joulemill.physics.model.precision import uniform

BASE = {"block_count": 4, "embedding_length": 64, "feed_forward_length": 128, "vocab_size": 100}
HEADS = {"attention.head_count": 4, "attention.head_count_kv": 2}
STATES = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 128,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 8,
    "ssm.group_count": 1,
}


def read(kind: str, tensors: Any = (), **values: Any) -> Architecture:
    keys = {f"{kind}.{k}": v for k, v in {**BASE, **values}.items()}
    return architecture_from_gguf({"general.architecture": kind} | keys, tensors)


def kv_byte_tok(built: Architecture) -> float:
    return float(architecture_facts(built, uniform("fp16"))["kv_byte_tok"])


def test_qwen3next_without_an_interval_is_full_every_fourth_layer() -> None:
    """Qwen3-Next-80B-A3B: 12 of 48 layers x 2 heads x (256 + 256) x 2 B."""
    sizes = {
        "block_count": 48, "embedding_length": 2048, "attention.head_count": 16, "attention.head_count_kv": 2,
        "attention.key_length": 256, "attention.value_length": 256, "expert_count": 512, "expert_used_count": 10,
        "expert_feed_forward_length": 512, "expert_shared_feed_forward_length": 512, "ssm.conv_kernel": 4,
        "ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.time_step_rank": 32, "ssm.group_count": 16,
        "vocab_size": 151936,
    }  # fmt: skip
    built = read("qwen3next", **sizes)
    assert layer_counts(built) == {"linear_attention": 36, "experts": 48, "full_attention": 12}
    assert kv_byte_tok(built) == 24_576
    assert parameters_count(built).total == pytest.approx(79.67e9, rel=0.005)
    every_second = read("qwen3next", **sizes, full_attention_interval=2)
    assert layer_counts(every_second)["full_attention"] == 24


def test_key_value_heads_by_layer_with_windows() -> None:
    """Gemma 4: full layers have fewer, wider heads than windowed ones."""
    built = read(
        "gemma4",
        **{
            "attention.head_count": 8, "attention.head_count_kv": [4, 4, 4, 1], "attention.key_length": 32,
            "attention.value_length": 32, "attention.key_length_swa": 16, "attention.value_length_swa": 16,
            "attention.sliding_window": 512, "attention.sliding_window_pattern": [True, True, True, False],
            "feed_forward_length": [128, 128, 256, 256], "attention.shared_kv_layers": 0,
        },
    )  # fmt: skip
    assert layer_counts(built) == {"sliding_attention": 3, "dense": 4, "full_attention": 1}
    assert kv_byte_tok(built) == 2 * 2 * (3 * 4 * 16 + 1 * 32)
    widths = [g.feed_forward.intermediate for g in built.groups if isinstance(g.feed_forward, DenseFeedForward)]
    assert sorted(widths) == [128, 256, 256]  # two windowed layers alike, one wider, one full


def test_zero_heads_are_what_the_family_has_instead() -> None:
    listed = {**HEADS, "attention.head_count_kv": [0, 2, 0, 0]}
    lfm = read("lfm2", **listed, **{"shortconv.l_cache": 3})
    assert layer_counts(lfm) == {"short_convolution": 3, "dense": 4, "full_attention": 1}
    granite = read("granitehybrid", **listed, **STATES)
    assert layer_counts(granite) == {"mamba2": 3, "dense": 4, "full_attention": 1}
    jamba = read("jamba", **listed, **STATES, expert_count=4, expert_used_count=2)
    assert layer_counts(jamba) == {"mamba1": 3, "dense": 2, "experts": 2, "full_attention": 1}
    assert kv_byte_tok(lfm) == kv_byte_tok(granite) == kv_byte_tok(jamba) == 2 * 2 * 2 * 16


def test_nemotron_h_layers_are_one_block_each() -> None:
    lists = {"attention.head_count": 4, "attention.head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, 128, 0, 0]}
    dense = read("nemotron_h", **lists, **STATES)
    assert layer_counts(dense) == {"mamba2": 2, "dense": 1, "full_attention": 1}
    config = {
        "model_type": "nemotron_h", "hidden_size": 64, "vocab_size": 100, "hybrid_override_pattern": "M-*M",
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "mlp_hidden_act": "relu2",
        "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1, "conv_kernel": 4,
    }  # fmt: skip
    assert set(dense.groups) == set(architecture_from_config(config).groups)


def test_deci_leaves_blocks_out() -> None:
    built = read(
        "deci",
        **{
            "attention.head_count": [4, 0, 4, 0], "attention.head_count_kv": [2, 0, 1, 0],
            "feed_forward_length": [128, 64, 0, 128],
        },
    )  # fmt: skip
    assert layer_counts(built) == {"full_attention": 2, "dense": 3}
    assert kv_byte_tok(built) == 2 * 2 * 16 * (2 + 1)
    with pytest.raises(InputError, match="is not read"):
        read("deci", **{"attention.head_count": [4] * 4, "attention.head_count_kv": [2, 2, 0, 2]})


def test_state_space_models() -> None:
    second = read("mamba2", **STATES, **{"attention.head_count": 0, "feed_forward_length": 0})
    assert layer_counts(second) == {"mamba2": 4}
    assert kv_byte_tok(second) == 0
    first = read("mamba", **{k: v for k, v in STATES.items() if k != "ssm.group_count"})
    assert layer_counts(first) == {"mamba1": 4}
    beside = read("falcon-h1", **HEADS, **STATES)
    assert layer_counts(beside) == {"full_attention": 4, "dense": 4, "mamba2": 4}
    with pytest.raises(InputError, match=r"ssm.inner_size 128 does not divide over mamba2.ssm.time_step_rank 7"):
        read("mamba2", **{**STATES, "ssm.time_step_rank": 7})


def test_drafting_layers_are_in_the_count_of_blocks() -> None:
    built = read("qwen3", **HEADS, nextn_predict_layers=1)
    assert built.layers == 3
    assert parameters_count(built).mtp > 0


def test_the_table_says_which_layers_route() -> None:
    experts = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32}
    tensors = [("token_embd.weight", (64, 100), "F16"), ("blk.1.ffn_gate_inp.weight", (64, 4), "F32")]
    built = read("qwen3moe", tensors, **HEADS, **experts)
    assert layer_counts(built) == {"full_attention": 4, "dense": 3, "experts": 1}


def test_values_that_are_the_keys() -> None:
    marks = {"attention.sliding_window": 32, "attention.sliding_window_pattern": [1, 1, 1, 0]}
    names = ["token_embd", *(f"blk.{i}.attn_k" for i in range(4)), *(f"blk.{i}.attn_v" for i in range(3))]
    built = read("gemma4", [(f"{n}.weight", (64, 100), "F16") for n in names], **HEADS, **marks)
    mixers = [g.mixer for g in built.groups if isinstance(g.mixer, GroupedAttention)]
    assert [(m.window, m.key_is_value) for m in mixers] == [(32, False), (None, True)]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("block_count", 2**62, "no model has more than 4096"),
        ("block_count", -1, "block_count"),
        ("block_count", "many", "block_count"),
        ("embedding_length", float("nan"), "embedding_length"),
        ("attention.head_count", [4, 4, "x", 4], "attention.head_count"),
        ("attention.head_count_kv", float("inf"), "num_key_value_heads"),
        ("feed_forward_length", [128], "lists 1 layers"),
        ("attention.sliding_window_pattern", [1], "lists 1 layers"),
    ],
)
def test_bad_values_name_their_key(key: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read("llama", **{**HEADS, key: value})
