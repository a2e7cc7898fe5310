"""Read an architecture and its number formats from GGUF: metadata keys and the tensor table. Pure.

Metadata is ``{key: value}`` as in the file's header (``llama.block_count`` …); tensors are (name, shape, type name)
with the shape in either order, or with the bytes a tensor takes as a fourth item. Bytes come from the table, never from
a name such as Q4_K_M.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.architecture import Architecture
from joulemill.physics.architecture_config import architecture_from_config
from joulemill.physics.precision import BF16, Format, Precision, Tensor

GgufTensor = Sequence[Any]

#: Bytes and elements of a block of each ggml type (ggml.h and ggml-common.h of llama.cpp).
BLOCKS: dict[str, tuple[int, int]] = {
    "F32": (4, 1),
    "F16": (2, 1),
    "BF16": (2, 1),
    "F64": (8, 1),
    "I8": (1, 1),
    "I16": (2, 1),
    "I32": (4, 1),
    "I64": (8, 1),
    "Q4_0": (18, 32),
    "Q4_1": (20, 32),
    "Q5_0": (22, 32),
    "Q5_1": (24, 32),
    "Q8_0": (34, 32),
    "Q8_1": (36, 32),
    "Q2_K": (84, 256),
    "Q3_K": (110, 256),
    "Q4_K": (144, 256),
    "Q5_K": (176, 256),
    "Q6_K": (210, 256),
    "Q8_K": (292, 256),
    "IQ2_XXS": (66, 256),
    "IQ2_XS": (74, 256),
    "IQ2_S": (82, 256),
    "IQ3_XXS": (98, 256),
    "IQ3_S": (110, 256),
    "IQ1_S": (50, 256),
    "IQ1_M": (56, 256),
    "IQ4_NL": (18, 32),
    "IQ4_XS": (136, 256),
    "TQ1_0": (54, 256),
    "TQ2_0": (66, 256),
    "MXFP4": (17, 32),
}

#: GGUF architecture -> the model type whose modelling code has the same layers.
_MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen2vl": "qwen2_vl",
    "qwen3vl": "qwen3_vl",
    "qwen3vlmoe": "qwen3_vl_moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "phi2": "phi",
    "phi3": "phi3",
    "phimoe": "phimoe",
    "gpt-oss": "gpt_oss",
    "deepseek2": "deepseek_v2",
    "glm4": "glm4",
    "glm4moe": "glm4_moe",
    "command-r": "cohere",
    "cohere2": "cohere2",
    "starcoder2": "starcoder2",
    "olmo2": "olmo2",
    "falcon": "falcon",
    "gpt2": "gpt2",
    "granite": "granite",
    "granitemoe": "granitemoe",
    "exaone": "exaone",
    "exaone4": "exaone4",
    "nemotron": "nemotron",
    "smollm3": "smollm3",
    "ernie4_5": "ernie4_5",
    "ernie4_5-moe": "ernie4_5_moe",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "seed_oss": "seed_oss",
    "minimax-m2": "minimax_m2",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "stablelm": "stablelm",
    "internlm2": "internlm2",
    "olmoe": "olmoe",
    "bailingmoe2": "bailing_moe_v2",
    "dots1": "dots1",
    "qwen": "qwen",
}
#: Our names of fields <- GGUF keys after the architecture's prefix.
_KEYS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "vocab_size": "vocab_size",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "first_k_dense_replace": "leading_dense_block_count",
    "sliding_window": "attention.sliding_window",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "attention_chunk_size": "attention.chunk_size",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "linear_key_head_dim": "ssm.state_size",
    "linear_num_key_heads": "ssm.group_count",
    "linear_num_value_heads": "ssm.time_step_rank",
    "linear_conv_kernel_dim": "ssm.conv_kernel",
    "full_attention_interval": "full_attention_interval",
}


def architecture_from_gguf(metadata: Mapping[str, Any], tensors: Iterable[GgufTensor] = ()) -> Architecture:
    """The architecture that GGUF metadata describes; the tensor table settles vocabulary, tying, biases and norms.

    Raises InputError where a key that is needed is missing, or the architecture is not known.
    """
    kind = str(metadata.get("general.architecture", ""))
    model_type = _MODEL_TYPES.get(kind)
    if model_type is None:
        raise InputError(
            f"GGUF architecture {kind or 'not given'!r} is not known; known are {', '.join(sorted(_MODEL_TYPES))}"
        )
    shapes = {str(t[0]): tuple(int(n) for n in t[1]) for t in tensors}
    config = {ours: metadata[f"{kind}.{key}"] for ours, key in _KEYS.items() if f"{kind}.{key}" in metadata}
    config["model_type"] = model_type
    _settle_heads(config)
    _settle_kind(config, kind)
    _settle_tensors(config, metadata, shapes)
    return architecture_from_config(config)


def _settle_heads(config: dict[str, Any]) -> None:
    """Per-layer lists become one number where all attention layers agree."""
    for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
        value = config.get(name)
        if isinstance(value, (list, tuple)):
            seen = {int(v) for v in value if int(v)}
            if len(seen) != 1:
                raise InputError(
                    f"GGUF gives {name} by layer ({sorted(seen)}): layers that differ are not read from GGUF"
                )
            config[name] = seen.pop()


def _settle_kind(config: dict[str, Any], kind: str) -> None:
    if kind == "deepseek2":
        rope = int(config["qk_rope_head_dim"])
        # Newer files store the latent width as key_length and the expanded one as key_length_mla.
        key, value = int(config.pop("head_dim")), int(config.pop("v_head_dim"))
        config["qk_nope_head_dim"] = key - rope
        config["v_head_dim"] = value
    elif kind not in ("deepseek2",):
        config.pop("qk_rope_head_dim", None)
    if "linear_num_value_heads" in config:
        config["linear_value_head_dim"] = config["linear_key_head_dim"]


def _settle_tensors(config: dict[str, Any], metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    hidden = int(config.get("hidden_size", 0))
    table = shapes.get("token_embd.weight")
    if table and hidden:
        config["vocab_size"] = prod(table) // hidden
    elif "vocab_size" not in config:
        config["vocab_size"] = len(metadata.get("tokenizer.ggml.tokens") or ()) or None
    if shapes:
        config["tie_word_embeddings"] = "output.weight" not in shapes
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes or "blk.0.attn_qkv.bias" in shapes
        config["attention_out_bias"] = "blk.0.attn_output.bias" in shapes
    if config.get("kv_lora_rank") and "blk.0.attn_k_b.weight" in shapes:
        mla_key, mla_value = (metadata.get(f"deepseek2.attention.{x}_length_mla") for x in ("key", "value"))
        if mla_key and mla_value:
            config["qk_nope_head_dim"] = int(mla_key) - int(config["qk_rope_head_dim"])
            config["v_head_dim"] = int(mla_value)


def tensor_class(name: str) -> Tensor:
    """The class that a GGUF tensor's name says it is of."""
    for mark, found in (
        ("token_embd", "embedding"),
        ("per_layer", "embedding"),
        ("output.weight", "head"),
        ("ffn_gate_inp", "router"),
        ("_norm", "router"),
        ("exp_probs", "router"),
        ("_exps", "experts"),
        ("_shexp", "shared"),
        ("ssm_", "state"),
        ("attn_", "attention"),
        ("ffn_", "dense"),
    ):
        if mark in name and not (mark == "output.weight" and "attn" in name):
            return found  # type: ignore[return-value]
    return "router"


def tensor_byte(tensor: GgufTensor) -> float:
    """Bytes that a tensor of the table takes: as stated, or by its type's block. InputError for an unknown type."""
    if len(tensor) > 3 and tensor[3] is not None:
        return float(tensor[3])
    kind = str(tensor[2]).upper()
    if kind not in BLOCKS:
        raise InputError(f"ggml type {kind!r} is not known; known are {', '.join(sorted(BLOCKS))}")
    byte, elements = BLOCKS[kind]
    return prod(int(n) for n in tensor[1]) * byte / elements


def precision_from_gguf(tensors: Iterable[GgufTensor], kv: str = "fp16") -> Precision:
    """Mean bytes per element of each class of tensors, from the table; ``kv`` is the cache's type (llama.cpp: f16).

    The name is that of the commonest type by bytes. Multiplies run in bf16 or, for q8 activations on a CPU, int8:
    the device's business.
    """
    byte: dict[Tensor, float] = {}
    elements: dict[Tensor, int] = {}
    by_type: dict[str, float] = {}
    for tensor in tensors:
        cls, size = tensor_class(str(tensor[0])), tensor_byte(tensor)
        byte[cls] = byte.get(cls, 0.0) + size
        elements[cls] = elements.get(cls, 0) + prod(int(n) for n in tensor[1])
        kind = str(tensor[2]).lower()
        by_type[kind] = by_type.get(kind, 0.0) + size
    if not byte:
        raise InputError("the GGUF file lists no tensors")
    name = max(by_type, key=lambda k: by_type[k])
    formats: dict[str, Any] = {cls: Format(f"{name} mix", byte[cls] / elements[cls], "bf16") for cls in byte}
    if "head" not in formats:
        formats["head"] = formats.get("embedding", BF16)
    plain = Precision(name=name, kv=Format("fp16", 2.0, "bf16") if kv in ("f16", "fp16") else BF16)
    return replace(plain, **formats)
