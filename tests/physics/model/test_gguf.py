"""GGUF metadata against the same models' Hugging Face configs, and the tensor table against hand sums."""

from __future__ import annotations

from typing import Any

import pytest

from joulemill.errors import InputError
from joulemill.physics.model.architecture import GroupedAttention, LatentAttention, parameters_count
from joulemill.physics.model.gguf import architecture_from_gguf, precision_from_gguf, tensor_byte, tensor_class
from joulemill.physics.model.hf_config import architecture_from_config


def keys(kind: str, **values: Any) -> dict[str, Any]:
    return {"general.architecture": kind} | {f"{kind}.{k.replace('__', '.')}": v for k, v in values.items()}


def test_llama_reads_as_its_config() -> None:
    metadata = keys(
        "llama",
        block_count=32,
        embedding_length=4096,
        feed_forward_length=14336,
        attention__head_count=32,
        attention__head_count_kv=8,
        context_length=131072,
        vocab_size=128256,
    )
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
    }
    assert architecture_from_gguf(metadata) == architecture_from_config(config)


def test_the_table_settles_vocabulary_tying_and_biases() -> None:
    metadata = keys(
        "qwen2",
        block_count=2,
        embedding_length=8,
        feed_forward_length=16,
        attention__head_count=4,
        attention__head_count_kv=2,
    )
    tensors = [("token_embd.weight", (8, 12), "Q8_0"), ("blk.0.attn_q.bias", (8,), "F32")]
    a = architecture_from_gguf(metadata, tensors)
    assert (a.vocabulary, a.tied) == (12, True)
    assert isinstance(a.groups[0].mixer, GroupedAttention)
    assert a.groups[0].mixer.qkv_bias
    assert not a.groups[0].mixer.output_bias


def test_experts_and_windows() -> None:
    metadata = keys(
        "gpt-oss",
        block_count=4,
        embedding_length=64,
        attention__head_count=8,
        attention__head_count_kv=2,
        attention__key_length=16,
        attention__value_length=16,
        expert_count=8,
        expert_used_count=2,
        expert_feed_forward_length=32,
        attention__sliding_window=128,
        vocab_size=100,
    )
    a = architecture_from_gguf(metadata)
    assert a.is_moe
    assert sorted(g.mixer.window or 0 for g in a.groups if isinstance(g.mixer, GroupedAttention)) == [0, 128]


def test_latent_attention_of_both_file_generations() -> None:
    common = dict(
        block_count=3,
        embedding_length=64,
        attention__head_count=4,
        vocab_size=50,
        feed_forward_length=64,
        expert_count=4,
        expert_used_count=2,
        expert_shared_count=1,
        expert_feed_forward_length=16,
        leading_dense_block_count=1,
        attention__kv_lora_rank=16,
        attention__q_lora_rank=24,
        rope__dimension_count=8,
    )
    old = architecture_from_gguf(keys("deepseek2", **common, attention__key_length=24, attention__value_length=12))
    new = architecture_from_gguf(
        keys(
            "deepseek2",
            **common,
            attention__key_length=24,
            attention__value_length=16,
            attention__key_length_mla=24,
            attention__value_length_mla=12,
        ),
        [
            ("token_embd.weight", (64, 50), "F16"),
            ("output.weight", (64, 50), "F16"),
            ("blk.0.attn_k_b.weight", (16, 16, 4), "F16"),
        ],
    )
    assert old.groups == new.groups
    assert isinstance(old.groups[0].mixer, LatentAttention)
    assert (old.groups[0].mixer.nope_dim, old.groups[0].mixer.value_dim) == (16, 12)


def test_bytes_come_from_the_table() -> None:
    tensors = [
        ("token_embd.weight", (256, 10), "Q6_K"),
        ("blk.0.attn_q.weight", (256, 256), "Q4_K"),
        ("blk.0.attn_v.weight", (256, 256), "Q6_K"),
        ("blk.0.ffn_down_exps.weight", (256, 256), "MXFP4"),
        ("blk.0.attn_norm.weight", (256,), "F32"),
    ]
    p = precision_from_gguf(tensors)
    assert p.attention.element_byte == pytest.approx((144 + 210) / 512)
    assert p.experts.element_byte == 17 / 32
    assert p.head == p.embedding
    assert tensor_byte(("x", (3,), "anything", 7)) == 7
    assert [
        tensor_class(n)
        for n in ("blk.1.ffn_gate_inp.weight", "blk.1.attn_output.weight", "output.weight", "blk.0.ssm_in.weight")
    ] == [
        "router",
        "attention",
        "head",
        "state",
    ]


def test_refusals() -> None:
    with pytest.raises(InputError, match="starship"):
        architecture_from_gguf({"general.architecture": "starship"})
    with pytest.raises(InputError, match="Q9"):
        tensor_byte(("x", (32,), "Q9"))
    with pytest.raises(InputError, match="no tensors"):
        precision_from_gguf([])
    two = {"block_count": 2, "embedding_length": 8, "feed_forward_length": 8, "vocab_size": 4}
    with pytest.raises(InputError, match="what these layers are is not known"):
        architecture_from_gguf(keys("llama", **two, attention__head_count=2, attention__head_count_kv=[2, 0]))
    with pytest.raises(InputError, match=r"head_count_kv lists 1 layers, block_count says 2"):
        architecture_from_gguf(keys("llama", **two, attention__head_count=2, attention__head_count_kv=[2]))
    with pytest.raises(InputError, match=r"not read: llama.memory_heads"):
        architecture_from_gguf(keys("llama", **two, attention__head_count=2, memory_heads=2))


def test_parameters_agree_with_the_smollm2_file() -> None:
    metadata = keys(
        "llama",
        block_count=30,
        embedding_length=576,
        feed_forward_length=1536,
        attention__head_count=9,
        attention__head_count_kv=3,
    )
    count = parameters_count(architecture_from_gguf(metadata, [("token_embd.weight", (576, 49152), "Q8_0")]))
    assert count.total == 134_515_008  # safetensors total on the model card
