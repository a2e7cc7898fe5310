"""The mixer of every layer (attention, state space, linear attention), from a config's fields. Pure."""

from __future__ import annotations

from typing import Literal

from joulemill.errors import InputError
from joulemill.physics.model.blocks import (
    CompressedAttention,
    DeltaNet,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Mixer,
    SelectiveScan,
    ShortConvolution,
    StateSpace,
)
from joulemill.physics.model.config_fields import Fields
from joulemill.physics.model.families import Family
from joulemill.physics.model.layer_kinds import Kind, kind_named, window_of

#: Entries of few tokens are many: an indexer chooses among them (DeepSeek V4: 4 tokens; 128 have none).
_INDEXED_STRIDE = 4


def mixer_of(kind: Kind, fields: Fields, family: Family, hidden: int) -> Mixer | None:
    """The mixer of a layer of this ``kind``; of a hybrid layer its attention."""
    if kind == "none":
        return None
    if kind == "linear":
        return _linear(fields, hidden)
    if kind == "mamba":
        return recurrent_block(fields, family, hidden)
    if kind == "conv":
        channels = fields.positive("conv_dim", "block_dim", default=hidden)
        fields.get("conv_dim_out", "num_heads")
        return ShortConvolution(channels, fields.positive("conv_L_cache", default=3), fields.flag("conv_bias"))
    if family.mixer == "mla" and fields.has("kv_lora_rank"):
        return _latent(fields, hidden)
    if family.mixer == "compressed":
        return _compressed(fields)
    return _grouped(kind, fields, family, hidden)


def head_counts(fields: Fields, hidden: int) -> tuple[int, int, int]:
    """Query heads, key/value heads, head dim."""
    heads = fields.positive("num_attention_heads", "n_head", "n_heads", "num_heads")
    kv_heads = _kv_heads(fields, heads)
    dim = fields.integer("head_dim", "attention_head_dim", "kv_channels", "d_head", default=0)
    if not dim:
        if hidden % heads:
            raise InputError(
                f"hidden_size {hidden} does not divide into {heads} heads; give head_dim in the model config"
            )
        dim = hidden // heads
    return heads, _dividing(heads, kv_heads), dim


def _kv_heads(fields: Fields, heads: int) -> int:
    if fields.model_type == "chatglm" and fields.flag("multi_query_attention"):
        return fields.positive("multi_query_group_num")
    newer = fields.flag("new_decoder_architecture")
    if fields.flag("multi_query") and not newer:
        fields.get("num_kv_heads", "num_key_value_heads")
        return 1
    return fields.positive(
        "num_key_value_heads",
        "num_kv_heads",
        "n_head_kv",
        "n_kv_heads",
        "kv_n_heads",
        "num_attention_groups",
        "num_query_groups",
        default=heads,
    )


def _dividing(heads: int, kv_heads: int) -> int:
    if heads % kv_heads:
        raise InputError(f"{heads} attention heads do not divide over {kv_heads} key/value heads")
    return kv_heads


def _sizes(kind: Kind, fields: Fields, family: Family, hidden: int) -> tuple[int, int, int, int]:
    """Heads, key/value heads, dims of key and value of attention layers of one kind."""
    heads, kv_heads, dim = head_counts(fields, hidden)
    value_dim = fields.integer("v_head_dim", default=0) if family.mixer == "gqa" else 0
    if kind == "full":
        dim = fields.integer("global_head_dim", default=0) or dim
        kv_heads = fields.integer("num_global_key_value_heads", default=0) or kv_heads
    if kind == "sliding":
        heads = fields.integer("swa_num_attention_heads", "num_sliding_attention_heads", default=0) or heads
        kv_heads = fields.integer("swa_num_key_value_heads", default=0) or kv_heads
        dim = fields.integer("swa_head_dim", default=0) or dim
        value_dim = fields.integer("swa_v_head_dim", default=0) or value_dim
    other = fields.section("attention_other_setting")
    if other is not None and kind_named(other.get("attention_type")) == kind:
        heads = other.positive("num_attention_heads", default=heads)
        kv_heads = other.positive("num_attention_groups", "num_key_value_heads", default=kv_heads)
        dim = other.positive("head_dim", default=dim)
    return heads, _dividing(heads, kv_heads), dim, value_dim or dim


def _grouped(kind: Kind, fields: Fields, family: Family, hidden: int) -> GroupedAttention:
    heads, kv_heads, dim, value_dim = _sizes(kind, fields, family, hidden)
    if not fields.flag("use_cla"):
        fields.get("cla_share_factor")
    if family.listed and kind != "chunked":
        fields.get("attention_chunk_size")
    windows = {
        "sliding": window_of(fields, family) if kind == "sliding" else None,
        "chunked": fields.positive("attention_chunk_size", default=8192) if kind == "chunked" else None,
    }
    return GroupedAttention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=dim,
        value_dim=value_dim,
        window=windows.get(kind),
        chunked=kind == "chunked",
        qkv_bias=_qkv_bias(fields, family),
        output_bias=_output_bias(fields, family),
        gated=fields.flag("attn_output_gate", "use_attention_gate", default=family.gated),
        key_is_value=kind == "full" and fields.flag("attention_k_eq_v"),
        qk_norm=_qk_norm(fields, family),
        sinks=_sinks(kind, fields, family),
        head_gate=fields.flag("use_head_wise_attn_gate", default=family.head_gate),
        query_rank=fields.integer("share_q_dim", default=0) or None,
    )


def _sinks(kind: Kind, fields: Fields, family: Family) -> bool:
    sliding = fields.flag("add_swa_attention_sink_bias", default=family.sinks)
    full = fields.flag("add_full_attention_sink_bias", default=family.sinks)
    return sliding if kind == "sliding" else full


def _qkv_bias(fields: Fields, family: Family) -> bool:
    return fields.flag(
        "attention_bias",
        "qkv_bias",
        "add_qkv_bias",
        "attention_qkv_bias",
        "use_qkv_bias",
        "use_bias",
        "bias",
        default=family.qkv_bias,
    )


def _output_bias(fields: Fields, family: Family) -> bool:
    bias_everywhere = fields.flag("use_bias", "bias", default=False)
    own = fields.get("attention_out_bias", "attention_output_bias")
    if own is not None:
        return bool(own)
    # Llama's and gpt-oss' attention_bias covers the output too; GLM's, Qwen's and Seed's covers q, k, v only.
    if family.qkv_bias or fields.model_type == "glm4":
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


def _latent(fields: Fields, hidden: int) -> LatentAttention:
    heads = fields.positive("num_attention_heads")
    top = fields.integer("index_topk", default=0)
    indexer = None
    if top:
        indexer = Indexer(fields.positive("index_n_heads"), fields.positive("index_head_dim"), top)
    rank = fields.integer("q_lora_rank", default=0)
    fields.get("num_key_value_heads", "head_dim", "qk_head_dim")
    return LatentAttention(
        heads=heads,
        query_rank=rank or None,
        kv_rank=fields.positive("kv_lora_rank"),
        nope_dim=fields.positive("qk_nope_head_dim"),
        rope_dim=fields.integer("qk_rope_head_dim"),
        value_dim=fields.positive("v_head_dim", default=hidden // heads if fields.model_type == "minicpm3" else None),
        indexer=indexer,
        qkv_bias=fields.flag("attention_bias"),
    )


def _compressed(fields: Fields) -> CompressedAttention:
    """One layer of DeepSeek V4; ``compress_ratio`` is the layer's own: 0 has no entries, 4 has an indexer for them."""
    heads, groups = fields.positive("num_attention_heads"), fields.positive("o_groups")
    if heads % groups:
        raise InputError(f"{heads} attention heads do not divide into {groups} groups (o_groups)")
    stride = fields.integer("compress_ratio", default=0)
    sizes = (fields.positive("index_n_heads"), fields.positive("index_head_dim"), fields.positive("index_topk"))
    fields.get("num_key_value_heads", "qk_rope_head_dim", "qk_nope_head_dim", "num_hash_layers", "hc_sinkhorn_iters")
    return CompressedAttention(
        heads=heads,
        query_rank=fields.positive("q_lora_rank"),
        head_dim=fields.positive("head_dim"),
        window=fields.positive("sliding_window"),
        output_groups=groups,
        output_rank=fields.positive("o_lora_rank"),
        stride=stride or None,
        indexer=Indexer(*sizes) if 0 < stride <= _INDEXED_STRIDE else None,
    )


def _linear(fields: Fields, hidden: int) -> DeltaNet:
    kimi = fields.section("linear_attn_config")
    if kimi is not None:
        heads, dim = kimi.positive("num_heads"), kimi.positive("head_dim")
        kernel = kimi.positive("short_conv_kernel_size", default=4)
        return DeltaNet(
            key_heads=heads, value_heads=heads, key_dim=dim, value_dim=dim, kernel=kernel, gate_rank=dim, scalar_gates=1
        )
    if fields.has("linear_num_value_heads"):
        return DeltaNet(
            key_heads=fields.positive("linear_num_key_heads"),
            value_heads=fields.positive("linear_num_value_heads"),
            key_dim=fields.positive("linear_key_head_dim"),
            value_dim=fields.positive("linear_value_head_dim"),
            kernel=fields.integer("linear_conv_kernel_dim", default=4),
        )
    if fields.has("linear_num_heads"):  # Kimi Linear as newer libraries write it
        heads, dim = fields.positive("linear_num_heads"), fields.positive("linear_head_dim")
        kernel = fields.positive("linear_conv_kernel_dim", default=4)
        return DeltaNet(
            key_heads=heads, value_heads=heads, key_dim=dim, value_dim=dim, kernel=kernel, gate_rank=dim, scalar_gates=1
        )
    # Lightning attention (MiniMax-Text-01): q, k, v, gate of all heads, no convolution, no scalar gates.
    heads, _, dim = head_counts(fields, hidden)
    return DeltaNet(
        key_heads=heads,
        value_heads=heads,
        key_dim=dim,
        value_dim=dim,
        kernel=0,
        scalar_gates=0,
        chunk=fields.positive("block_size", default=256),
    )


def recurrent_block(fields: Fields, family: Family, hidden: int) -> StateSpace | SelectiveScan:
    """The Mamba-2 block of a model, or the Mamba-1 block of the older ones."""
    return _selective_scan(fields, family, hidden) if family.mamba == 1 else state_space(fields, family, hidden)


def state_space(fields: Fields, family: Family, hidden: int) -> StateSpace:
    """The Mamba-2 block."""
    heads = fields.positive("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", *family.own("num_heads"))
    return StateSpace(
        heads=heads,
        head_dim=_state_head_dim(fields, family, hidden, heads),
        state_dim=fields.positive("ssm_state_size", "mamba_d_state", "state_size"),
        groups=fields.positive("n_groups", "mamba_n_groups", "mamba_num_groups", "mamba_ngroups", default=1),
        kernel=fields.positive("conv_kernel", "mamba_d_conv", "conv_kernel_size", default=4),
        chunk=fields.positive("chunk_size", "mamba_chunk_size", default=256),
        bias=fields.flag("mamba_proj_bias", "projectors_bias", *family.own("use_bias"), "add_bias_linear"),
        conv_bias=fields.flag("mamba_conv_bias", "use_conv_bias", default=True),
        norm=fields.flag("mamba_rms_norm", default=family.state_norm),
    )


def _state_head_dim(fields: Fields, family: Family, hidden: int, heads: int) -> int:
    expand = fields.number_ratio("mamba_expand", "expand", default=2.0)
    widths = ("mamba_d_ssm", "mamba_intermediate_size", *family.own("intermediate_size"))
    inner = fields.integer(*widths, default=int(hidden * expand))
    head_dim = fields.get("mamba_head_dim", "mamba_d_head", "mamba_headdim", *family.own("head_dim"))
    if head_dim is None or head_dim == "auto":
        if inner % heads or not inner:
            raise InputError(f"the state space's width {inner} does not divide into {heads} heads")
        return inner // heads
    return fields.positive("mamba_head_dim", "mamba_d_head", "mamba_headdim", *family.own("head_dim"))


def _selective_scan(fields: Fields, family: Family, hidden: int) -> SelectiveScan:
    expanded = int(hidden * fields.number_ratio("mamba_expand", "expand", default=2.0))
    own = ("mamba_intermediate_size", "intermediate_size") if family.feed == "none" else ("mamba_intermediate_size",)
    inner = fields.integer(*own, default=0) or expanded
    rank = fields.get("mamba_dt_rank", "time_step_rank")
    automatic = rank is None or rank == "auto"
    return SelectiveScan(
        inner=inner,
        state_dim=fields.positive("mamba_d_state", "state_size", default=16),
        step_rank=-(-hidden // 16) if automatic else fields.positive("mamba_dt_rank", "time_step_rank"),
        kernel=fields.positive("mamba_d_conv", "conv_kernel", default=4),
        bias=fields.flag("mamba_proj_bias", "use_bias"),
        conv_bias=fields.flag("mamba_conv_bias", "use_conv_bias", default=True),
        inner_norms=family.state_norm and fields.flag("mamba_inner_layernorms", default=True),
    )
