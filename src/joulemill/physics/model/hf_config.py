"""Read an architecture from a Hugging Face ``config.json`` (as a mapping).

Fields mean what the family's modeling code takes them to mean (``architecture_families``). A model type that is not
known, or a field that may change the model and that nothing has read, refuses the config; with ``approximate`` it is
read as a plain decoder all the same, and ``Architecture.doubts`` says what is not understood. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture, LayerGroup
from joulemill.physics.model.blocks import Mixer
from joulemill.physics.model.config_defaults import DEFAULTS, SIZES
from joulemill.physics.model.config_fields import MOST_LAYERS, Fields, nested_config, text_config
from joulemill.physics.model.families import FAMILIES, REFUSED, Family
from joulemill.physics.model.feed_forward import feed_forwards
from joulemill.physics.model.hybrids import (
    adapters_count,
    pattern_layers,
    searched_layers,
    shared_block_layers,
    sharing_cache,
    with_states_beside,
    without_image_layers,
)
from joulemill.physics.model.layer_kinds import Kind, layer_kinds, pattern_of, spread_by_layer, values_by_layer
from joulemill.physics.model.mixers import mixer_of

_TABLES = ("gpt2", "opt", "gpt_bigcode")
#: Characters of a name that are looked at.
_SHOWN = 80
#: The name of a class of the engines' libraries, up to its task, in small letters → model type.
_CLASSES = {kind.replace("_", ""): kind for kind in FAMILIES}


def architecture_from_config(
    config: Mapping[str, Any], *, approximate: bool = False, assume: bool = False
) -> Architecture:
    """The architecture that a Hugging Face config describes.

    ``approximate``: read what is not understood as a plain decoder would be. ``assume``: fields that the config leaves
    out are what the engines' config classes take (for published files, which rely on that).
    Raises InputError where a field that is needed is missing or contradicts another, the model is no decoder, or
    (unless ``approximate``) its type is not known or a field that may matter is not.
    """
    fields, family = _opened(config, assume)
    hidden = fields.positive("hidden_size", "n_embd", "n_embed", "d_model", "dim", "model_dim")
    built = _finished(fields, family, hidden, _layers(fields, family, hidden))
    return built if approximate else refuse_doubts(built)


def refuse_doubts(built: Architecture) -> Architecture:
    """``built``, where all of its config is understood. Raises InputError that names what is not."""
    if built.doubts:
        raise InputError(
            f"the model is not understood: {'; '.join(built.doubts)}. Its figures could be wrong by several times; "
            "`approximate=True` predicts it anyway, with a wide interval"
        )
    return built


def _opened(config: Mapping[str, Any], assume: bool) -> tuple[Fields, Family]:
    flat = spread_by_layer(_with_ratios(_unwrapped(_of_state_spaces(text_config(config)))))
    model_type = str(flat.get("model_type", "")).lower()
    if model_type in REFUSED:
        raise InputError(f"model type {model_type!r} cannot be modelled: {REFUSED[model_type]}")
    family = FAMILIES.get(model_type, Family())
    nested = nested_config(config)
    assumed = {**(SIZES.get(model_type, {}) if nested is not None else {}), **DEFAULTS.get(model_type, {})}
    if "per_layer_config" in config or "per_layer_config" in (nested or {}):
        assumed.pop("global_head_dim", None)
    fields = Fields(flat, family.defaults, assumed if assume else None, outer=_glue(config))
    if fields.towers():
        fields.approximate("the vision tower is left out" if "vision_config" in flat else "towers are left out")
    return fields, family


def _glue(config: Mapping[str, Any]) -> list[str]:
    """Fields beside a nested language model, at any depth, that are not about layers, heads or experts."""
    marks = ("layer", "head", "expert", "kv", "moe", "window", "share")
    names: list[str] = []
    inner = nested_config(config)
    while inner is not None:
        names += [n for n in config if n not in inner]
        config, inner = inner, nested_config(inner)
    return [n for n in names if not any(m in n.lower() for m in marks)]


def _unwrapped(flat: dict[str, Any]) -> dict[str, Any]:
    """DBRX and MPT keep their sizes in two more nested objects."""
    for name in ("attn_config", "ffn_config"):
        inner = flat.get(name)
        if isinstance(inner, Mapping):
            rest = {k: v for k, v in flat.items() if k != name}
            flat = {**{k: v for k, v in inner.items() if k != "model_type"}, **rest}
    return flat


#: What newer libraries call DeepSeek V4's layers by → tokens an entry stands for, unless ``compress_rates`` says.
_RATIOS = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


def _with_ratios(flat: dict[str, Any]) -> dict[str, Any]:
    """DeepSeek V4's layers by name, as newer libraries write them, made the list that its own config has."""
    names, rates = flat.get("layer_types"), flat.get("compress_rates")
    if flat.get("model_type") != "deepseek_v4" or "compress_ratios" in flat or not isinstance(names, list):
        return flat
    known = {**_RATIOS, **rates} if isinstance(rates, Mapping) else _RATIOS
    ratios = [known.get(n) if isinstance(n, str) else None for n in names]
    return {k: v for k, v in flat.items() if k != "compress_rates"} | {"compress_ratios": ratios}


def _of_state_spaces(flat: dict[str, Any]) -> dict[str, Any]:
    """The config of the ``mamba_ssm`` package, which names no model type."""
    inner = flat.get("ssm_cfg")
    if flat.get("model_type") or not isinstance(inner, Mapping):
        return flat
    second = str(inner.get("layer", "")).lower() == "mamba2"
    hidden, spread = flat.get("d_model"), {k: v for k, v in inner.items() if k != "layer"}
    spread = {"d_state": 128 if second else 16, "headdim": 64, "expand": 2, **spread}
    names = {"d_state": "state_size", "headdim": "head_dim", "d_conv": "conv_kernel", "ngroups": "n_groups"}
    own: dict[str, Any] = {names.get(k, k): v for k, v in spread.items()}
    rounded = flat.pop("pad_vocab_size_multiple", 1)
    vocabulary = flat.get("vocab_size")
    if isinstance(rounded, int) and isinstance(vocabulary, int) and rounded > 0:
        own["vocab_size"] = -(-vocabulary // rounded) * rounded
    if second and all(isinstance(x, int) and x > 0 for x in (hidden, own["head_dim"], own["expand"])):
        own["num_heads"] = own["expand"] * int(hidden or 0) // own["head_dim"]
    if not second:
        own.pop("head_dim")
    if flat.get("d_intermediate") == 0 and not flat.get("attn_layer_idx"):
        flat = {k: v for k, v in flat.items() if k not in ("d_intermediate", "attn_layer_idx", "attn_cfg")}
    rest = {k: v for k, v in flat.items() if k not in ("ssm_cfg", "tie_embeddings")}
    tied = flat.get("tie_embeddings", True)
    return {**rest, **own, "model_type": "mamba2" if second else "mamba", "tie_word_embeddings": tied}


@dataclass(frozen=True, slots=True)
class _Layers:
    """The layers by kind, those that text skips, and parameters that are in none of them."""

    groups: tuple[LayerGroup, ...]
    skipped: tuple[LayerGroup, ...] = ()
    extra: int = 0


def _layers(fields: Fields, family: Family, hidden: int) -> _Layers:
    if fields.is_list("block_configs"):
        return _Layers(grouped(searched_layers(fields, family, hidden)))
    pattern = pattern_of(fields)
    if pattern is not None:
        return _Layers(grouped(pattern_layers(fields, family, hidden, pattern)))
    layers = fields.positive(
        "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers", most=MOST_LAYERS
    )
    kinds = layer_kinds(fields, family, layers)
    if fields.model_type == "zamba2":
        extra = adapters_count(fields, hidden, kinds)
        return _Layers(grouped(shared_block_layers(fields, family, hidden, kinds)), extra=extra)
    stack = _stack(fields, family, hidden, kinds)
    if "hybrid" in kinds:
        stack = with_states_beside(stack, fields, family, hidden)
    stack, skipped = without_image_layers(sharing_cache(stack, fields), fields)
    return _Layers(grouped(stack), grouped(skipped))


def _stack(fields: Fields, family: Family, hidden: int, kinds: list[Kind]) -> list[LayerGroup]:
    """One mixer and one feed-forward block a layer; sizes may differ by layer."""
    mixer_of_key: dict[tuple[Any, ...], Mixer | None] = {}
    mixers = []
    for kind, values in zip(kinds, values_by_layer(fields, len(kinds)), strict=True):
        key = (kind, *((n, repr(v)) for n, v in values.items()))
        if key not in mixer_of_key:
            own = fields.layer({k: v for k, v in values.items() if v or kind != "linear"})
            mixer_of_key[key] = mixer_of(kind, own, family, hidden)
        mixers.append(mixer_of_key[key])
    _pass_over(fields, family, kinds)
    feeds = feed_forwards(fields, family, len(kinds), hidden)
    return [LayerGroup(m, f, 1, family.norms) for m, f in zip(mixers, feeds, strict=True)]


#: Fields of mixers that a model of several kinds may have none of: they mean nothing then.
_OF_KIND: dict[str, tuple[str, ...]] = {
    "attention": ("num_attention_heads", "num_key_value_heads", "head_dim", "attention_bias", "sliding_window"),
    "mamba": (
        "mamba_n_heads",
        "mamba_d_head",
        "mamba_n_groups",
        "mamba_d_state",
        "mamba_d_conv",
        "mamba_expand",
        "mamba_chunk_size",
        "mamba_conv_bias",
        "mamba_proj_bias",
        "mamba_dt_rank",
        "mamba_d_ssm",
        "mamba_rms_norm",
    ),
    "conv": ("conv_L_cache", "conv_bias", "conv_dim", "block_dim"),
}


def _pass_over(fields: Fields, family: Family, kinds: list[Kind]) -> None:
    """Fields of kinds that no layer of a hybrid family's model has are settled."""
    if not family.other:
        return
    has = {"attention" if k in ("full", "sliding", "chunked", "hybrid") else k for k in kinds}
    has |= {"mamba"} if "hybrid" in kinds else set()
    for kind, names in _OF_KIND.items():
        if kind not in has:
            fields.get(*names)


def grouped(layers: Iterable[LayerGroup]) -> tuple[LayerGroup, ...]:
    """Like layers counted together, in order of first appearance."""
    counts: dict[LayerGroup, int] = {}
    for layer in layers:
        key = replace(layer, count=1)
        counts[key] = counts.get(key, 0) + layer.count
    return tuple(replace(k, count=n) for k, n in counts.items())


def _finished(fields: Fields, family: Family, hidden: int, layers: _Layers) -> Architecture:
    groups = layers.groups
    vocabulary = fields.positive("vocab_size", "padded_vocab_size")
    lookup, loose = _lookups(fields, hidden, groups)
    loose += vocabulary if fields.flag("lm_head_bias") else 0
    loose += _hyper_connections(fields, hidden, sum(g.count for g in groups))
    drafts = fields.integer(
        "num_nextn_predict_layers",
        "mtp_num_hidden_layers",
        "num_mtp_modules",
        "num_mtp_layers",
        default=0,
        most=MOST_LAYERS,
    )
    mtp = (replace(groups[-1], count=drafts),) if drafts else ()
    context = fields.integer(
        "max_position_embeddings", "max_sequence_length", "n_positions", "seq_length", "max_seq_len", default=0
    )
    tied = fields.flag("tie_word_embeddings", "tie_embedding", "tie_embeddings", default=family.tied)
    return Architecture(
        name=fields.model_type or "unknown",
        hidden=hidden,
        vocabulary=vocabulary,
        groups=groups,
        tied=tied,
        mtp=mtp,
        skipped=layers.skipped,
        lookup_parameters=lookup,
        loose_parameters=loose + layers.extra,
        final_norms=family.final_norms,
        max_context=context or None,
        unread=fields.unread(),
        unknown_type=_doubtful_type(fields),
        approximations=tuple(fields.approximations),
    )


def _doubtful_type(fields: Fields) -> str | None:
    """The type where it is not known, or where the class that the config names is of a family laid out otherwise."""
    kind = fields.model_type
    if kind not in FAMILIES:
        return kind or "not given"
    classes = fields.get("architectures")
    for name in classes if isinstance(classes, list) and not kind.endswith("_text") else ():
        other = _CLASSES.get(re.split("For[A-Z]|LMHead", str(name)[:_SHOWN])[0].lower(), kind)
        if FAMILIES[other] != FAMILIES[kind] or (other != kind and _lacks_experts(fields, other)):
            return f"{kind} of class {str(name)[:_SHOWN]}"
    return None


def _lacks_experts(fields: Fields, kind: str) -> bool:
    """Whether models of ``kind`` have experts that the config does not state."""
    return any("expert" in name and not fields.has(name) for name in DEFAULTS.get(kind, {}))


def _lookups(fields: Fields, hidden: int, groups: tuple[LayerGroup, ...]) -> tuple[int, int]:
    """Parameters of tables read by row, and of matrices that only the per-layer embeddings of Gemma 3n, 4 have."""
    lookup = 0
    if fields.model_type in _TABLES:
        lookup = fields.integer("n_positions", "max_position_embeddings", default=0) * hidden
    width = fields.integer("hidden_size_per_layer_input", default=0)
    if not width:
        fields.get("vocab_size_per_layer_input")
        return lookup, 0
    layers = sum(g.count for g in groups)
    extra = _residual_streams(fields, hidden, layers)
    rows = fields.positive("vocab_size_per_layer_input", "vocab_size")
    fields.approximate("per-layer embeddings are counted as parameters; their small projections are not timed")
    return lookup + rows * layers * width, layers * width * hidden * 3 + width + layers * hidden + extra


def _hyper_connections(fields: Fields, hidden: int, layers: int) -> int:
    """Parameters that mix DeepSeek V4's residual streams: before and after each block, and once before the head."""
    streams = fields.integer("hc_mult", default=0)
    if streams <= 1:
        return 0
    if streams > 64:
        raise InputError(f"'hc_mult' in the model config is {streams}; no model has more than 64")
    fields.approximate("mixing of residual streams is counted as parameters, not timed")
    outputs = (2 + streams) * streams
    block = outputs * streams * hidden + outputs + 3
    return 2 * layers * block + streams * (streams * hidden + 1) + 1


def _residual_streams(fields: Fields, hidden: int, layers: int) -> int:
    """Parameters of Gemma 3n's several residual streams (AltUp) and low-rank shortcuts (LAuReL)."""
    streams, rank = fields.integer("altup_num_inputs", default=0), fields.integer("laurel_rank", default=0)
    fields.get("altup_active_idx", "altup_correct_scale", "altup_coef_clip")
    if not streams and not rank:
        return 0
    if streams > 64:
        raise InputError(f"'altup_num_inputs' in the model config is {streams}; no model has more than 64")
    fields.approximate("residual streams and low-rank shortcuts are counted as parameters, not timed")
    mixing = streams**2 + streams**3 + hidden * streams + 2 * hidden if streams else 0
    shortcut = 2 * hidden * rank + hidden if rank else 0
    return layers * (mixing + shortcut) + 2 * max(streams - 1, 0) * hidden * hidden
