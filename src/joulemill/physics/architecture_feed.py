"""The feed-forward block of every layer (dense or experts), from a config's fields. Pure."""

from __future__ import annotations

from typing import Any, Literal

from joulemill.errors import InputError
from joulemill.physics.architecture_families import Family
from joulemill.physics.architecture_fields import Fields
from joulemill.physics.blocks import DenseFeedForward, ExpertFeedForward, FeedForward

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
_TWO = {"relu2", "relu^2", "xielu", "squared_relu"}


def matrices_of(fields: Fields, family: Family) -> Literal[2, 3]:
    """Two matrices for plain activations, three for gated ones."""
    act = str(fields.get("mlp_hidden_act", "hidden_act", "hidden_activation", default="")).lower()
    return 2 if act in _TWO else family.matrices


def feed_forwards(fields: Fields, family: Family, layers: int, hidden: int) -> list[FeedForward]:
    """The feed-forward block of each layer."""
    experts = fields.integer(*_EXPERTS, default=0)
    widths = _dense_widths(fields, family, layers, hidden, bool(experts))
    matrices, bias = matrices_of(fields, family), fields.flag("mlp_bias", "use_mlp_bias", default=family.mlp_bias)
    dense = [DenseFeedForward(w, matrices, bias) for w in widths]
    if experts <= 1 or fields.get("enable_moe_block", default=True) is False:
        return list(dense)
    routed = expert_block(fields, family, hidden)
    chosen = _expert_layers(fields, layers)
    return [routed if i in chosen else dense[i] for i in range(layers)]


def _dense_widths(fields: Fields, family: Family, layers: int, hidden: int, moe: bool) -> list[int]:
    given: Any = fields.get(
        "intermediate_size_mlp",
        "dense_intermediate_size",
        "prefix_dense_intermediate_size",
        "intermediate_size",
        "ffn_hidden_size",
        "n_inner",
        "ffn_dim",
        "ffn_hidden_size",
    )
    if given is None and (moe and fields.get("moe_intermediate_size") is not None):
        given = 0
    if given is None:
        given = 4 * hidden  # GPT-2, Falcon, Bloom leave it out
        fields.approximate(f"no intermediate_size given: taken as 4 x hidden_size = {given}")
    if isinstance(given, list):
        if len(given) != layers:
            raise InputError(f"intermediate_size lists {len(given)} widths for {layers} layers")
        widths = [int(w) for w in given]
    else:
        widths = [int(given)] * layers
    if fields.model_type == "lfm2" and fields.flag("block_auto_adjust_ff_dim", default=True):
        widths = [_adjusted(w, fields) for w in widths]
    return widths


def _adjusted(width: int, fields: Fields) -> int:
    """LFM2 states the ungated width: two thirds of it, times a multiplier, rounded up."""
    multiple = fields.positive("block_multiple_of", default=256)
    scaled = int(float(fields.get("block_ffn_dim_multiplier", default=1.0)) * int(2 * width / 3))
    return -(-scaled // multiple) * multiple


def expert_block(fields: Fields, family: Family, hidden: int) -> ExpertFeedForward:
    """The routed block of a mixture-of-experts layer."""
    experts = fields.positive(*_EXPERTS)
    active = fields.positive(*_ACTIVE)
    if active > experts:
        raise InputError(f"{active} experts per token of only {experts}: the model config contradicts itself")
    width = fields.positive("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size", "ffn_hidden_size")
    matrices = matrices_of(fields, family)
    gemma4 = fields.model_type.startswith("gemma4")
    return ExpertFeedForward(
        experts,
        active,
        width,
        matrices,
        bias=family.expert_bias,
        shared=_shared(fields, width, matrices),
        shared_gate=family.shared_gate,
        router_bias=family.router_bias,
        latent=fields.integer("moe_latent_size", default=0) or None,
        extra_norms=4 if gemma4 else 0,
    )


def _shared(fields: Fields, width: int, matrices: Literal[2, 3]) -> DenseFeedForward | None:
    if fields.model_type.startswith("gemma4"):
        return DenseFeedForward(fields.positive("intermediate_size"), matrices, tensor="dense")
    if fields.model_type.startswith("llama4"):
        return DenseFeedForward(fields.positive("intermediate_size"), matrices, tensor="shared")
    own = fields.integer(
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
        "share_expert_dim",
        "moe_shared_intermediate_size",
        default=0,
    )
    count = fields.integer(
        "n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts", default=1 if own else 0
    )
    total = own if own else width
    many = count if not own or fields.get("moe_shared_expert_intermediate_size") is None else max(count, 1)
    return DenseFeedForward(total * many, matrices, tensor="shared") if count and total else None


def _expert_layers(fields: Fields, layers: int) -> set[int]:
    """Which layers route; the others are dense."""
    listed = fields.sequence("moe_layers")
    if listed is not None:
        return {int(i) for i in listed}
    freq = fields.get("moe_layer_freq")
    if isinstance(freq, list):
        return {i for i, f in enumerate(freq[:layers]) if f}
    step = fields.positive("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval", default=1)
    first = fields.integer(
        "first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "first_dense_layers", default=0
    )
    last = fields.get("moe_layer_end_index")
    last = layers - 1 if not isinstance(last, int) or last < 0 else last
    dense = {int(i) for i in fields.sequence("mlp_only_layers") or []}
    every = freq if isinstance(freq, int) and freq > 1 else 1
    if step > 1:
        return {i for i in range(layers) if (i + 1) % step == 0 and i not in dense}
    return {i for i in range(first, last + 1) if i not in dense and i % every == 0}
