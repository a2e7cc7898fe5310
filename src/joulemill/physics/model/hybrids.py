"""Stacks whose layers are not one mixer and one feed-forward block each. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.model.architecture import LayerGroup
from joulemill.physics.model.blocks import DenseFeedForward, GroupedAttention, Mixer
from joulemill.physics.model.config_fields import MOST_LAYERS, Fields, shown, whole
from joulemill.physics.model.families import Family
from joulemill.physics.model.feed_forward import expert_block, matrices_of
from joulemill.physics.model.layer_kinds import Kind, pattern_kinds
from joulemill.physics.model.mixers import head_counts, mixer_of, recurrent_block, state_space


def pattern_layers(fields: Fields, family: Family, hidden: int, pattern: str) -> list[LayerGroup]:
    """Nemotron-H: each letter is a layer of one block alone."""
    letters = pattern_kinds(pattern)
    layers = fields.integer("num_hidden_layers", default=len(letters), most=MOST_LAYERS)
    if layers != len(letters):
        raise InputError(f"hybrid_override_pattern names {len(letters)} layers, num_hidden_layers says {layers}")
    fields.get(
        "intermediate_size",
        "moe_intermediate_size",
        "expand",
        "sliding_window",
        "n_routed_experts",
        "num_experts_per_tok",
        "n_shared_experts",
        "moe_shared_expert_intermediate_size",
        "moe_latent_size",
        "mamba_expand",
        "block_types",
        "layer_types",
        "layers_block_type",
        "attention_head_dim",
        "head_dim",
    )
    layer_of_letter = {letter: _letter_layer(letter, fields, family, hidden) for letter in sorted(set(letters))}
    return [layer_of_letter[x] for x in letters]


def _letter_layer(letter: str, fields: Fields, family: Family, hidden: int) -> LayerGroup:
    if letter == "M":
        return LayerGroup(state_space(fields, family, hidden), None, 1, 1)
    if letter == "*":
        return LayerGroup(mixer_of("full", fields, family, hidden), None, 1, 1)
    if letter == "E":
        return LayerGroup(None, expert_block(fields, family, hidden), 1, 1)
    width = fields.positive("intermediate_size")
    return LayerGroup(None, DenseFeedForward(width, matrices_of(fields, family), fields.flag("mlp_bias")), 1, 1)


def searched_layers(fields: Fields, family: Family, hidden: int) -> list[LayerGroup]:
    """Nemotron NAS: every layer says how many queries share a key head, or that it has none, and how wide it is."""
    blocks = fields.sequence("block_configs") or []
    layers = fields.integer("num_hidden_layers", default=len(blocks), most=MOST_LAYERS)
    if layers != len(blocks):
        raise InputError(f"block_configs lists {len(blocks)} layers, num_hidden_layers says {layers}")
    heads, _, dim = head_counts(fields, hidden)
    fields.get("num_key_value_heads", "intermediate_size")
    stack = []
    for block in blocks:
        if not isinstance(block, dict):
            raise InputError(f"block_configs of the model config holds {shown(block)}; each must be an object")
        mixer = _searched_mixer(block.get("attention"), heads, dim)
        wide = _searched_feed(block.get("ffn"), fields, family, hidden)
        stack.append(LayerGroup(mixer, wide, 1, int(mixer is not None) + int(wide is not None)))
    return stack


def _searched_mixer(attention: Any, heads: int, dim: int) -> Mixer | None:
    attention = attention if isinstance(attention, dict) else {}
    share = whole(attention.get("n_heads_in_group") or 0, "block_configs.attention.n_heads_in_group")
    if attention.get("replace_with_linear"):
        raise InputError("block_configs.attention.replace_with_linear is not read")
    if attention.get("no_op") or not share:
        return None
    if share > heads or heads % share:
        raise InputError(f"{heads} attention heads do not divide into groups of {share} (block_configs)")
    window = whole(attention.get("window_length") or 0, "block_configs.attention.window_length") or None
    return GroupedAttention(heads=heads, kv_heads=heads // share, head_dim=dim, value_dim=dim, window=window)


def _searched_feed(feed: Any, fields: Fields, family: Family, hidden: int) -> DenseFeedForward | None:
    feed = feed if isinstance(feed, dict) else {}
    if feed.get("replace_with_linear"):
        raise InputError("block_configs.ffn.replace_with_linear is not read")
    if feed.get("no_op"):
        return None
    width = whole(feed.get("intermediate_size") or _multiplied(hidden, feed.get("ffn_mult")), "block_configs.ffn")
    return DenseFeedForward(width, matrices_of(fields, family))


def _multiplied(hidden: int, multiple: Any) -> int:
    """Width from Nemotron NAS' ``ffn_mult``: two thirds of 4 x hidden x multiple, up to a multiple of 256."""
    if isinstance(multiple, bool) or not isinstance(multiple, (int, float)) or not 0 < multiple < 1e4:
        raise InputError("a block config names neither ffn.intermediate_size nor ffn.ffn_mult nor ffn.no_op")
    return -(-int(2 * float(multiple) * hidden / 3) // 256) * 256


def with_states_beside(stack: list[LayerGroup], fields: Fields, family: Family, hidden: int) -> list[LayerGroup]:
    """Falcon-H1: a state space beside the attention of every layer."""
    beside = LayerGroup(recurrent_block(fields, family, hidden), None, 1, 0, beside=True)
    return stack + [beside] * len(stack)


def shared_block_layers(fields: Fields, family: Family, hidden: int, kinds: list[Kind]) -> list[LayerGroup]:
    """Zamba 2: state spaces; before some of them one of a few shared transformer blocks, each with own adapters.

    The shared block reads the hidden state and the embedding side by side; a projection of the layer's own follows it.
    """
    states = LayerGroup(recurrent_block(fields, family, hidden), None, len(kinds), 1)
    count = sum(k == "hybrid" for k in kinds)
    if not count:
        return [states]
    fields.get(
        "attention_hidden_size",
        "attention_head_dim",
        "kv_channels",
        "hybrid_layer_ids",
        "num_query_groups",
        "state_size",
        "lora_rank",
        "ffn_hidden_size",
    )
    heads = fields.positive("num_attention_heads")
    kv_heads = fields.positive("num_key_value_heads", default=heads)
    if 2 * hidden % heads or heads % kv_heads:
        raise InputError(f"twice hidden_size {hidden} does not divide into {heads} heads, or these not over {kv_heads}")
    attention = GroupedAttention(
        heads=heads, kv_heads=kv_heads, head_dim=2 * hidden // heads, value_dim=2 * hidden // heads, input_count=2
    )
    width = fields.positive("intermediate_size", "ffn_hidden_size", default=4 * hidden)
    block = DenseFeedForward(width, 3, fields.flag("add_bias_linear"))
    shared = LayerGroup(attention, block, count, 3, copies=fields.positive("num_mem_blocks", default=1), beside=True)
    own = LayerGroup(None, DenseFeedForward(hidden // 2, 2), count, 0, beside=True)
    return [states, shared, own]


def adapters_count(fields: Fields, hidden: int, kinds: list[Kind]) -> int:
    """Parameters of the adapters that each use of Zamba 2's shared blocks has of its own."""
    rank = fields.positive("adapter_rank", "lora_rank", default=128)
    width = fields.positive("intermediate_size", "ffn_hidden_size", default=4 * hidden)
    each = rank * (hidden + 2 * width)
    if fields.flag("use_shared_attention_adapter"):
        each += 3 * rank * 4 * hidden
    count = sum(k == "hybrid" for k in kinds)
    if count:
        fields.approximate("the adapters of the shared blocks are counted as parameters, not timed")
    return each * count


def sharing_cache(stack: list[LayerGroup], fields: Fields) -> list[LayerGroup]:
    """The last layers of Gemma 3n and 4 E-models reuse keys and values of earlier ones, and may be twice as wide."""
    sharing = fields.integer("num_kv_shared_layers", default=0)
    if not sharing:
        fields.get("use_double_wide_mlp")
        return stack
    if sharing > len(stack):
        raise InputError(f"num_kv_shared_layers is {sharing}, of only {len(stack)} layers")
    wide = fields.flag("use_double_wide_mlp")
    shared = [_reusing(layer, wide) for layer in stack[-sharing:]]
    return stack[:-sharing] + shared


def without_image_layers(stack: list[LayerGroup], fields: Fields) -> tuple[list[LayerGroup], list[LayerGroup]]:
    """The layers that text passes, and those of Llama 3.2 Vision that attend to an image: text alone skips them."""
    chosen = fields.indices("cross_attention_layers", layers=len(stack)) or set()
    if not chosen:
        return stack, []
    fields.approximate(f"{len(chosen)} layers that attend to images are stored, not run: requests are of text alone")
    skipped = [_of_image(layer) for i, layer in enumerate(stack) if i in chosen]
    return [layer for i, layer in enumerate(stack) if i not in chosen], skipped


def _of_image(layer: LayerGroup) -> LayerGroup:
    """Cross-attention: queries of text, keys and values of the image, both with a norm a head."""
    mixer = replace(layer.mixer, qk_norm="head") if isinstance(layer.mixer, GroupedAttention) else layer.mixer
    return replace(layer, mixer=mixer)


def _reusing(layer: LayerGroup, wide: bool) -> LayerGroup:
    mixer, feed = layer.mixer, layer.feed_forward
    if isinstance(mixer, GroupedAttention):
        mixer = replace(mixer, owns_cache=False)
    if wide and isinstance(feed, DenseFeedForward):
        feed = replace(feed, intermediate=2 * feed.intermediate)
    return replace(layer, mixer=mixer, feed_forward=feed)
