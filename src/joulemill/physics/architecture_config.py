"""Read an architecture from a Hugging Face ``config.json`` (as a mapping).

Fields mean what the family's modelling code takes them to mean (``architecture_families``). A model type that is
not known is read as a plain decoder, and says so in ``Architecture.approximations``; so does a field that looks
structural and is not modelled. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.architecture import Architecture, LayerGroup
from joulemill.physics.architecture_families import FAMILIES, REFUSED, Family
from joulemill.physics.architecture_feed import expert_block, feed_forwards, matrices_of
from joulemill.physics.architecture_fields import Fields, text_config
from joulemill.physics.architecture_mixers import head_counts, layer_kinds, mixer_of, pattern_kinds, state_space
from joulemill.physics.blocks import DenseFeedForward, GroupedAttention, Mixer


def architecture_from_config(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a Hugging Face config describes.

    Raises InputError where a field that is needed is missing or contradicts another, or the model is no decoder.
    """
    flat = _unwrapped(text_config(config))
    model_type = str(flat.get("model_type", "")).lower()
    if model_type in REFUSED:
        raise InputError(f"model type {model_type!r} cannot be modelled: {REFUSED[model_type]}")
    family = FAMILIES.get(model_type, Family())
    fields = Fields(flat, family.defaults)
    if model_type not in FAMILIES:
        fields.approximate(
            f"model type {model_type or 'not given'!r} is not known: read as a plain decoder from its common fields"
        )
    if isinstance(config.get("vision_config"), Mapping):
        fields.approximate("the vision tower is left out")
    hidden = fields.positive("hidden_size", "n_embd", "d_model", "dim")
    groups = _groups(fields, family, hidden)
    return _finished(fields, family, hidden, groups)


def _unwrapped(flat: dict[str, Any]) -> dict[str, Any]:
    """DBRX keeps its sizes in two more nested objects."""
    for name in ("attn_config", "ffn_config"):
        inner = flat.get(name)
        if isinstance(inner, Mapping):
            flat = {**{k: v for k, v in inner.items() if k != "model_type"}, **flat}
    return flat


def _groups(fields: Fields, family: Family, hidden: int) -> tuple[LayerGroup, ...]:
    if fields.sequence("block_configs") is not None:
        return grouped(_searched_layers(fields, family, hidden))
    pattern = _pattern(fields)
    if pattern is not None:
        return grouped(_pattern_layers(fields, family, hidden, pattern))
    layers = fields.positive("num_hidden_layers", "n_layer", "n_layers", "num_layers")
    kinds = layer_kinds(fields, family, layers)
    made: dict[str, Mixer | None] = {k: mixer_of(k, fields, family, hidden) for k in dict.fromkeys(kinds)}
    feeds = feed_forwards(fields, family, layers, hidden)
    stack = [LayerGroup(made[k], f, 1, family.norms) for k, f in zip(kinds, feeds, strict=True)]
    if fields.model_type == "falcon_h1":
        stack += [LayerGroup(state_space(fields, hidden), None, 1, 0)] * layers
    return grouped(_sharing_cache(stack, fields))


def _pattern(fields: Fields) -> str | None:
    """Nemotron-H's pattern of layers, from its string or its list of names."""
    pattern = fields.get("hybrid_override_pattern")
    names = fields.sequence("layers_block_type") if fields.model_type == "nemotron_h" else None
    if pattern is None and names is not None:
        letters = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}
        pattern = "".join(letters.get(str(n), "?") for n in names)
    return pattern if isinstance(pattern, str) else None


def grouped(layers: Iterable[LayerGroup]) -> tuple[LayerGroup, ...]:
    """Like layers counted together, in order of first appearance."""
    counts: dict[LayerGroup, int] = {}
    for layer in layers:
        key = replace(layer, count=1)
        counts[key] = counts.get(key, 0) + layer.count
    return tuple(replace(k, count=n) for k, n in counts.items())


def _sharing_cache(stack: list[LayerGroup], fields: Fields) -> list[LayerGroup]:
    """The last layers of Gemma 3n and 4 E-models reuse keys and values of earlier ones, and may be twice as wide."""
    sharing = fields.integer("num_kv_shared_layers", default=0)
    if not sharing:
        return stack
    wide = fields.flag("use_double_wide_mlp")
    shared = [_reusing(layer, wide) for layer in stack[-sharing:]]
    return stack[:-sharing] + shared


def _reusing(layer: LayerGroup, wide: bool) -> LayerGroup:
    mixer, feed = layer.mixer, layer.feed_forward
    if isinstance(mixer, GroupedAttention):
        mixer = replace(mixer, owns_cache=False)
    if wide and isinstance(feed, DenseFeedForward):
        feed = replace(feed, intermediate=2 * feed.intermediate)
    return replace(layer, mixer=mixer, feed_forward=feed)


def _pattern_layers(fields: Fields, family: Family, hidden: int, pattern: str) -> list[LayerGroup]:
    """Nemotron-H: each letter is a layer of one block alone."""
    letters = pattern_kinds(pattern)
    fields.get("num_hidden_layers", "intermediate_size", "moe_intermediate_size")
    kinds: dict[str, LayerGroup] = {}
    for letter in set(letters):
        if letter == "M":
            kinds[letter] = LayerGroup(state_space(fields, hidden), None, 1, 1)
        elif letter == "*":
            kinds[letter] = LayerGroup(mixer_of("full", fields, family, hidden), None, 1, 1)
        elif letter == "E":
            kinds[letter] = LayerGroup(None, expert_block(fields, family, hidden), 1, 1)
        else:
            width = fields.positive("intermediate_size")
            kinds[letter] = LayerGroup(
                None, DenseFeedForward(width, matrices_of(fields, family), fields.flag("mlp_bias")), 1, 1
            )
    return [kinds[x] for x in letters]


def _searched_layers(fields: Fields, family: Family, hidden: int) -> list[LayerGroup]:
    """Nemotron NAS: every layer says how many queries share a key head, or that it has none, and how wide it is."""
    heads, _, dim = head_counts(fields, hidden)
    stack = []
    for block in fields.sequence("block_configs") or []:
        attention, feed = block.get("attention", {}), block.get("ffn", {})
        mixer: Mixer | None = None
        share = attention.get("n_heads_in_group")
        if not attention.get("no_op") and share and not attention.get("replace_with_linear"):
            window = (attention.get("window_length") or None) if isinstance(attention, Mapping) else None
            mixer = GroupedAttention(heads, heads // int(share), dim, dim, window=window)
        wide: DenseFeedForward | None = None
        if not feed.get("no_op"):
            width = int(feed.get("intermediate_size") or _multiplied(hidden, feed.get("ffn_mult")))
            wide = DenseFeedForward(width, matrices_of(fields, family))
        stack.append(LayerGroup(mixer, wide, 1, int(mixer is not None) + int(wide is not None)))
    fields.get("num_key_value_heads", "intermediate_size", "num_hidden_layers")
    return stack


def _multiplied(hidden: int, multiple: Any) -> int:
    """Width from Nemotron NAS' ``ffn_mult``: two thirds of 4 x hidden x multiple, up to a multiple of 256."""
    if multiple is None:
        raise InputError("a block config names neither ffn.intermediate_size nor ffn.ffn_mult nor ffn.no_op")
    return -(-int(2 * float(multiple) * hidden / 3) // 256) * 256


def _finished(fields: Fields, family: Family, hidden: int, groups: tuple[LayerGroup, ...]) -> Architecture:
    vocabulary = fields.positive("vocab_size", "padded_vocab_size")
    lookup, loose = _lookups(fields, hidden, groups)
    drafts = fields.integer("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules", default=0)
    mtp = (replace(groups[-1], count=drafts),) if drafts else ()
    context = fields.integer(
        "max_position_embeddings", "max_sequence_length", "n_positions", "seq_length", "max_seq_len", default=0
    )
    for name in fields.unread():
        fields.approximate(f"field {name!r} is not modelled")
    return Architecture(
        name=fields.model_type or "unknown",
        hidden=hidden,
        vocabulary=vocabulary,
        groups=groups,
        tied=fields.flag("tie_word_embeddings", default=family.tied),
        mtp=mtp,
        lookup_parameters=lookup,
        loose_parameters=loose,
        final_norms=family.final_norms,
        max_context=context or None,
        approximations=tuple(fields.approximations),
    )


def _lookups(fields: Fields, hidden: int, groups: tuple[LayerGroup, ...]) -> tuple[int, int]:
    """Parameters of tables read by row, and of matrices that only the per-layer embeddings of Gemma 3n, 4 have."""
    lookup = 0
    if fields.model_type in ("gpt2", "opt", "gpt_bigcode"):
        lookup = fields.integer("n_positions", "max_position_embeddings", default=0) * hidden
    width = fields.integer("hidden_size_per_layer_input", default=0)
    if not width:
        return lookup, 0
    layers = sum(g.count for g in groups)
    rows = fields.positive("vocab_size_per_layer_input", "vocab_size")
    fields.approximate("per-layer embeddings are counted as parameters; their small projections are not timed")
    return lookup + rows * layers * width, layers * width * hidden * 3 + width + layers * hidden
