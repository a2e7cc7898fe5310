"""The mixer of every layer (attention, state space, linear attention), from a config's fields. Pure."""

from __future__ import annotations

import re
from typing import Any, Literal

from joulemill.errors import InputError
from joulemill.physics.architecture_families import Family
from joulemill.physics.architecture_fields import Fields
from joulemill.physics.blocks import (
    DeltaNet,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Mixer,
    ShortConvolution,
    StateSpace,
)

#: What one layer is: names as in ``layer_types`` of Hugging Face configs.
Kind = Literal["full", "sliding", "chunked", "linear", "mamba", "conv", "none"]
_KINDS: dict[str, Kind] = {
    "full_attention": "full",
    "attention": "full",
    "global_attention": "full",
    "sliding_attention": "sliding",
    "local_attention": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "linear",
    "mamba": "mamba",
    "mamba2": "mamba",
    "conv": "conv",
    "global": "full",
    "local": "sliding",
    "compressed_sparse_attention": "full",
    "heavily_compressed_attention": "full",
}


def layer_kinds(fields: Fields, family: Family, layers: int) -> list[Kind]:
    """What kind of mixer each of ``layers`` has. InputError for a kind that is not known."""
    declared = _declared_kinds(fields, layers)
    if declared is not None:
        return declared
    if _window(fields) is None and family.pattern != "chunked":
        return ["full"] * layers
    if family.pattern == "all":
        first = fields.integer("max_window_layers", default=0) if fields.flag("use_sliding_window") else 0
        return ["full" if i < first else "sliding" for i in range(layers)]
    if family.pattern == "none":
        return ["full"] * layers
    if family.pattern == "chunked":
        rope = fields.sequence("no_rope_layers")
        every = fields.integer("no_rope_layer_interval", default=4)
        if rope and len(rope) >= layers:
            return ["chunked" if rope[i] else "full" for i in range(layers)]
        return ["full" if (i + 1) % every == 0 else "chunked" for i in range(layers)]
    return _alternating(fields.get("sliding_window_pattern", "_sliding_window_pattern"), family.pattern, layers)


def _alternating(given: Any, default: int, layers: int) -> list[Kind]:
    if isinstance(given, str) and given:
        return ["sliding" if given[i % len(given)].upper() == "L" else "full" for i in range(layers)]
    every = given if isinstance(given, int) and given > 0 else default
    return ["full" if (i + 1) % every == 0 else "sliding" for i in range(layers)]


def _declared_kinds(fields: Fields, layers: int) -> list[Kind] | None:
    names = fields.sequence("layer_types", "layers_block_type")
    if names is not None:
        unknown = sorted({str(n) for n in names} - set(_KINDS))
        if unknown:
            raise InputError(f"layer type {unknown[0]!r} is not known; known are {', '.join(sorted(_KINDS))}")
        if len(names) < layers:
            raise InputError(f"layer_types names {len(names)} layers, num_hidden_layers says {layers}")
        return [_KINDS[str(n)] for n in names[:layers]]
    kimi = fields.get("linear_attn_config")
    if isinstance(kimi, dict) and kimi.get("kda_layers"):
        chosen = set(kimi["kda_layers"])
        return ["linear" if i + 1 in chosen else "full" for i in range(layers)]
    flags = fields.sequence("attn_type_list", "hybrid_layer_pattern")
    if flags is not None:
        other: Kind = "sliding" if fields.get("hybrid_layer_pattern") else "linear"
        zero: Kind = "full" if fields.get("hybrid_layer_pattern") else "linear"
        one: Kind = other if fields.get("hybrid_layer_pattern") else "full"
        return [one if int(f) else zero for f in flags[:layers]]
    every = fields.integer("full_attention_interval", default=0)
    if every and fields.get("linear_num_value_heads") is not None:
        return ["full" if (i + 1) % every == 0 else "linear" for i in range(layers)]
    chosen_full = fields.sequence("full_attn_idxs")
    if chosen_full is not None:
        return ["full" if i in set(chosen_full) else "conv" for i in range(layers)]
    return None


def _window(fields: Fields) -> int | None:
    if fields.get("use_sliding_window", default=True) is False:
        return None
    window = fields.integer("sliding_window", "sliding_window_size", "window_size", default=0)
    return window or None


def mixer_of(kind: Kind, fields: Fields, family: Family, hidden: int) -> Mixer | None:
    """The mixer of a layer of this ``kind``."""
    if kind == "none":
        return None
    if kind == "linear":
        return _linear(fields)
    if kind == "mamba":
        return state_space(fields, hidden)
    if kind == "conv":
        return ShortConvolution(fields.positive("conv_dim", default=hidden), fields.positive("conv_L_cache", default=3))
    if family.mixer == "mla" and fields.get("kv_lora_rank") is not None:
        return _latent(fields)
    return _grouped(kind, fields, family, hidden)


def head_counts(fields: Fields, hidden: int) -> tuple[int, int, int]:
    """Query heads, key/value heads, head dim."""
    heads = fields.positive("num_attention_heads", "n_head", "n_heads", "num_heads")
    if fields.flag("multi_query") and not fields.flag("new_decoder_architecture"):
        fields.get("num_kv_heads")
        kv_heads = 1
    else:
        kv_heads = fields.positive(
            "num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads", "num_attention_groups", default=heads
        )
    dim = fields.integer("head_dim", "attention_head_dim", "kv_channels", default=0)
    if not dim:
        if hidden % heads:
            raise InputError(
                f"hidden_size {hidden} does not divide into {heads} heads; give head_dim in the model config"
            )
        dim = hidden // heads
    if heads % kv_heads:
        raise InputError(f"{heads} attention heads do not divide over {kv_heads} key/value heads")
    return heads, kv_heads, dim


def _grouped(kind: Kind, fields: Fields, family: Family, hidden: int) -> GroupedAttention:
    heads, kv_heads, dim = head_counts(fields, hidden)
    value_dim = fields.integer("v_head_dim", default=dim) if family.mixer == "gqa" else dim
    if kind == "full":
        dim = value_dim if value_dim != dim else dim
        dim = fields.integer("global_head_dim", default=fields.integer("head_dim", default=dim) or dim)
        value_dim = fields.integer("v_head_dim", default=dim)
        kv_heads = fields.integer("num_global_key_value_heads", default=kv_heads)
    if kind == "sliding":
        kv_heads = fields.integer("swa_num_key_value_heads", default=kv_heads)
    window = {"sliding": _window(fields), "chunked": fields.integer("attention_chunk_size", default=8192)}.get(kind)
    return GroupedAttention(
        heads,
        kv_heads,
        dim,
        value_dim,
        window=window,
        chunked=kind == "chunked",
        qkv_bias=_qkv_bias(fields, family),
        output_bias=_output_bias(fields, family),
        gated=fields.flag("attn_output_gate", default=family.gated),
        key_is_value=kind == "full" and fields.flag("attention_k_eq_v"),
        qk_norm=_qk_norm(fields, family),
        sinks=family.sinks,
    )


def _qkv_bias(fields: Fields, family: Family) -> bool:
    return fields.flag(
        "attention_bias", "qkv_bias", "add_qkv_bias", "attention_qkv_bias", "use_bias", "bias", default=family.qkv_bias
    )


def _output_bias(fields: Fields, family: Family) -> bool:
    bias_everywhere = fields.flag("use_bias", "bias", default=False)
    own = fields.get("attention_out_bias", "attention_output_bias")
    if own is not None:
        return bool(own)
    # Llama's and gpt-oss' attention_bias covers the output too; GLM's, Qwen's and Seed's covers q, k, v only.
    if family.qkv_bias:
        return family.output_bias
    return family.output_bias or bias_everywhere or fields.flag("attention_bias")


def _qk_norm(fields: Fields, family: Family) -> Literal["none", "head", "full"]:
    declared = fields.get("use_qk_norm", "qk_layernorm", "qk_norm")
    if fields.model_type.startswith("llama4"):
        return "none"  # an L2 norm without weights
    if declared is None:
        return family.qk_norm if not fields.model_type.startswith("glm4") else "none"
    if not declared:
        return "none"
    return family.qk_norm if family.qk_norm != "none" else "head"


def _latent(fields: Fields) -> LatentAttention:
    heads = fields.positive("num_attention_heads")
    top = fields.integer("index_topk", default=0)
    indexer = None
    if top:
        indexer = Indexer(fields.positive("index_n_heads"), fields.positive("index_head_dim"), top)
    rank = fields.integer("q_lora_rank", default=0)
    fields.get("num_key_value_heads", "head_dim")
    return LatentAttention(
        heads,
        rank or None,
        fields.positive("kv_lora_rank"),
        fields.positive("qk_nope_head_dim"),
        fields.integer("qk_rope_head_dim"),
        fields.positive("v_head_dim"),
        indexer,
        qkv_bias=fields.flag("attention_bias"),
    )


def _linear(fields: Fields) -> DeltaNet:
    kimi = fields.get("linear_attn_config")
    if isinstance(kimi, dict):
        heads, dim = int(kimi["num_heads"]), int(kimi["head_dim"])
        return DeltaNet(
            heads, heads, dim, dim, int(kimi.get("short_conv_kernel_size", 4)), gate_rank=dim, scalar_gates=1
        )
    if fields.get("linear_num_value_heads") is not None:
        return DeltaNet(
            fields.positive("linear_num_key_heads"),
            fields.positive("linear_num_value_heads"),
            fields.positive("linear_key_head_dim"),
            fields.positive("linear_value_head_dim"),
            fields.integer("linear_conv_kernel_dim", default=4),
        )
    # Lightning attention (MiniMax-Text-01): q, k, v, gate of all heads, no convolution, no scalar gates.
    heads = fields.positive("num_attention_heads")
    dim = fields.positive("head_dim")
    return DeltaNet(heads, heads, dim, dim, kernel=0, scalar_gates=0, chunk=fields.integer("block_size", default=256))


def state_space(fields: Fields, hidden: int) -> StateSpace:
    """The Mamba-2 block of a hybrid model."""
    heads = fields.positive("mamba_num_heads", "mamba_n_heads")
    dim = fields.get("mamba_head_dim", "mamba_d_head")
    if not isinstance(dim, int):
        inner = fields.integer("mamba_d_ssm", default=hidden * fields.integer("mamba_expand", "expand", default=2))
        dim = inner // heads
    return StateSpace(
        heads,
        dim,
        fields.positive("ssm_state_size", "mamba_d_state"),
        fields.positive("n_groups", "mamba_n_groups", "mamba_num_groups", default=1),
        fields.positive("conv_kernel", "mamba_d_conv", default=4),
        chunk=fields.positive("chunk_size", "mamba_chunk_size", default=256),
        bias=fields.flag("mamba_proj_bias"),
        norm=fields.flag("mamba_rms_norm", default=True),
    )


def pattern_kinds(pattern: str) -> list[str]:
    """Letters of a hybrid pattern (Nemotron-H): M Mamba-2, * attention, - dense, E experts. InputError for others."""
    letters = re.sub(r"[|\s]", "", pattern)
    unknown = sorted(set(letters) - set("M*-E"))
    if unknown or not letters:
        raise InputError(f"hybrid_override_pattern {pattern!r} has {unknown or 'no letters'}; known are M * - E")
    return list(letters)
