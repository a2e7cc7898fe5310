"""The feed-forward block of every layer (dense or experts), from a config's fields. Pure."""

from __future__ import annotations

from typing import Any, Literal

from joulemill.errors import InputError
from joulemill.physics.model.blocks import DenseFeedForward, ExpertFeedForward, FeedForward
from joulemill.physics.model.config_fields import Fields, whole
from joulemill.physics.model.families import Family
from joulemill.physics.model.layer_kinds import expert_layers

_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", "num_routed_experts")
_ACTIVE = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_k",
    "moe_top_k",
)
_SHARED = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
    "share_expert_dims",
    "moe_shared_intermediate_size",
)
_OF_EXPERTS = (
    "moe_intermediate_size",
    "expert_ffn_hidden_size",
    "n_shared_experts",
    "num_shared_experts",
    "num_shared_expert",
    "moe_num_shared_experts",
    "first_k_dense_replace",
    "num_dense_layers",
    "decoder_sparse_step",
    "moe_layer_freq",
    "mlp_only_layers",
    "moe_latent_size",
    "expert_layer_period",
    "expert_layer_offset",
    "moe_layer_start_index",
    "moe_layer_end_index",
    "moe_layer_interval",
    "interleave_moe_layer_step",
)
_TWO = {"relu2", "relu^2", "xielu", "squared_relu"}


def matrices_of(fields: Fields, family: Family) -> Literal[2, 3]:
    """Two matrices for plain activations, three for gated ones."""
    act = str(fields.get("mlp_hidden_act", "hidden_act", "hidden_activation", default="")).lower()
    return 2 if act in _TWO else family.matrices


def feed_forwards(fields: Fields, family: Family, layers: int, hidden: int) -> list[FeedForward | None]:
    """The feed-forward block of each layer."""
    if family.feed == "none":
        return [None] * layers
    experts = fields.integer(*_EXPERTS, default=0)
    matrices = matrices_of(fields, family)
    bias = fields.flag("mlp_bias", "use_mlp_bias", default=family.mlp_bias)
    if experts <= 1 or fields.get("enable_moe_block", default=True) is False:
        if fields.has(*_EXPERTS):  # none, said so: the rest about experts means nothing
            fields.get(*_ACTIVE, *_OF_EXPERTS, *_SHARED)
        return list(_dense(fields, family, layers, hidden, matrices, bias=bias))
    routed = expert_block(fields, family, hidden)
    chosen = expert_layers(fields, family, layers)
    if len(chosen & set(range(layers))) == layers:
        fields.get("intermediate_size", "intermediate_size_mlp", "ffn_hidden_size", "block_ff_dim")
        return [routed] * layers
    dense = _dense(fields, family, layers, hidden, matrices, bias=bias)
    return [routed if i in chosen else dense[i] for i in range(layers)]


def _dense(
    fields: Fields, family: Family, layers: int, hidden: int, matrices: Literal[2, 3], *, bias: bool
) -> list[DenseFeedForward]:
    return [DenseFeedForward(w, matrices, bias) for w in _dense_widths(fields, family, layers, hidden)]


def _dense_widths(fields: Fields, family: Family, layers: int, hidden: int) -> list[int]:
    width = _stated_width(fields, family, hidden)
    if isinstance(width, (list, tuple)):
        if len(width) != layers:
            raise InputError(f"intermediate_size lists {len(width)} widths for {layers} layers")
        widths = [whole(w, "intermediate_size") for w in width]
    else:
        widths = [whole(width, "intermediate_size")] * layers
    if fields.model_type == "lfm2" and fields.flag("block_auto_adjust_ff_dim", default=True):
        widths = [_adjusted(w, fields) for w in widths]
    if fields.model_type == "qwen":
        widths = [w // 2 for w in widths]  # its modeling code halves the width that the config states
    return widths


def _stated_width(fields: Fields, family: Family, hidden: int) -> Any:
    if family.feed == "shared":
        fields.get("intermediate_size")
        return fields.positive(*_SHARED)
    width = fields.get(
        "intermediate_size_mlp",
        "dense_intermediate_size",
        "prefix_dense_intermediate_size",
        "intermediate_size",
        "block_ff_dim",
        "ffn_hidden_size",
        "n_inner",
        "ffn_dim",
        "hidden_dim",
    )
    if width is not None:
        fields.get("mlp_expansion_factor", "expansion_ratio")
        return width
    if not family.plain_width:
        raise InputError("the model config has no 'intermediate_size' (nor another name for it)")
    return int(hidden * fields.number_ratio("expansion_ratio", "ffn_mult", default=4.0))


def _adjusted(width: int, fields: Fields) -> int:
    """LFM2 states the ungated width: two thirds of it, times a multiplier, rounded up."""
    multiple = fields.positive("block_multiple_of", default=256)
    scaled = int(fields.number_ratio("block_ffn_dim_multiplier", default=1.0) * int(2 * width / 3))
    return -(-scaled // multiple) * multiple


def expert_block(fields: Fields, family: Family, hidden: int) -> ExpertFeedForward:
    """The routed block of a mixture-of-experts layer."""
    experts = fields.positive(*_EXPERTS)
    active = fields.positive(*_ACTIVE)
    if active > experts:
        raise InputError(f"{active} experts per token of only {experts}: the model config contradicts itself")
    width = fields.integer("moe_intermediate_size", "expert_ffn_hidden_size", default=0)
    width = width or fields.positive("intermediate_size", "ffn_hidden_size")
    matrices = matrices_of(fields, family)
    gemma4 = fields.model_type.startswith("gemma4")
    groups = fields.positive("n_group", default=1)
    return ExpertFeedForward(
        experts=experts,
        active=active,
        intermediate=width,
        matrices=matrices,
        bias=family.expert_bias,
        shared=_shared(fields, width, matrices),
        shared_gate=family.shared_gate,
        router_bias=family.router_bias,
        latent=fields.integer("moe_latent_size", default=0) or None,
        extra_norms=4 if gemma4 else 0,
        groups=groups,
        groups_active=min(groups, fields.positive("topk_group", default=groups)),
    )


def _shared(fields: Fields, width: int, matrices: Literal[2, 3]) -> DenseFeedForward | None:
    if fields.model_type.startswith("gemma4"):
        return DenseFeedForward(fields.positive("intermediate_size"), matrices, tensor="dense")
    if fields.model_type.startswith("llama4"):
        return DenseFeedForward(fields.positive("intermediate_size"), matrices, tensor="shared")
    own = fields.integer(*_SHARED, default=0)
    count = fields.integer(
        "n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts", default=1 if own else 0
    )
    total = own if own else width
    many = count if not own or not fields.has("moe_shared_expert_intermediate_size") else max(count, 1)
    return DenseFeedForward(total * many, matrices, tensor="shared") if count and total else None
