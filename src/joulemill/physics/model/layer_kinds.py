"""What kind of mixer each layer has, and which layers route to experts: every spelling that configs use. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from joulemill.errors import InputError
from joulemill.physics.model.config_fields import MOST_LAYERS, Fields, shown, whole
from joulemill.physics.model.families import Family

#: What one layer is: names as in ``layer_types`` of Hugging Face configs.
Kind = Literal["full", "sliding", "chunked", "linear", "mamba", "conv", "hybrid", "none"]
_KINDS: dict[str, Kind] = {
    "full_attention": "full",
    "attention": "full",
    "global_attention": "full",
    "sliding_attention": "sliding",
    "sliding_window_attention": "sliding",
    "local_attention": "sliding",
    "chunked_attention": "chunked",
    "indexed_attention": "full",
    "deepseek_sparse_attention": "full",
    "compressed_sparse_attention": "full",
    "heavily_compressed_attention": "full",
    "linear_attention": "linear",
    "mamba": "mamba",
    "mamba2": "mamba",
    "conv": "conv",
    "short_conv": "conv",
    "hybrid": "hybrid",
    "global": "full",
    "local": "sliding",
}
_NAMED = ("layer_types", "layers_block_type", "block_types")
#: Fields that say over again what a list of names says.
_ALSO = (
    *_NAMED,
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "max_window_layers",
    "use_sliding_window",
    "full_attention_interval",
    "sliding_window",
    "global_attn_every_n_layers",
    "full_attn_idxs",
    "attn_layer_indices",
    "attn_layer_period",
    "attn_layer_offset",
    "layer_group_size",
    "hybrid_layer_pattern",
    "layer_switch",
)
_OF_WINDOWS = (
    "max_window_layers",
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "global_attn_every_n_layers",
    "order_of_interleaved_layers",
    "layer_switch",
)
_PERIOD = ("expert_layer_period", "expert_layer_offset", "moe_layer_start_index", "moe_layer_end_index")
#: Fields that some configs list by layer, under the name that readers ask for.
_BY_LAYER = {
    "num_attention_heads": ("num_attention_heads", "num_attention_heads_per_layer", "num_query_heads"),
    "num_key_value_heads": ("num_key_value_heads", "num_key_value_heads_per_layer", "num_kv_heads"),
    "head_dim": ("head_dim", "head_dims"),
    "sliding_window": ("sliding_window", "interleaved_sliding_window", "sliding_window_size"),
    "compress_ratio": ("compress_ratio", "compress_ratios"),
}


def layer_kinds(fields: Fields, family: Family, layers: int) -> list[Kind]:
    """What kind of mixer each of ``layers`` has. InputError for a kind that is not known."""
    declared = _named_kinds(fields, family, layers) or _indexed_kinds(fields, family, layers)
    declared = declared or _periodic_kinds(fields, family, layers) or _windowed_kinds(fields, layers)
    if declared is not None:
        return declared
    if family.listed:
        raise InputError(f"a config of type {fields.model_type!r} must list the kinds of its layers (layer_types)")
    if family.only is not None:
        return [family.only] * layers
    if family.pattern == "chunked":
        return _chunked_kinds(fields, layers)
    if window_of(fields, family) is None or family.pattern == "none":
        fields.get(*_OF_WINDOWS)  # no window, so nothing that says where windows are means anything
        return ["full"] * layers
    if family.pattern == "all":
        uses = fields.flag("use_sliding_window") or fields.model_type == "dots1"
        first = fields.integer("max_window_layers", default=0) if uses else 0
        return ["full" if i < first else "sliding" for i in range(layers)]
    pattern = fields.get(
        "sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers", "layer_switch"
    )
    return _alternating(pattern, family.pattern, layers)


def kind_named(name: object) -> Kind | None:
    """The kind that a configs' name of a layer means, None for no name that is known."""
    return _KINDS.get(name) if isinstance(name, str) else None


def window_of(fields: Fields, family: Family) -> int | None:
    """The sliding window [tok], None where there is none or it is switched off."""
    if not fields.flag("use_sliding_window", default=not family.window_off):
        fields.get("sliding_window", "max_window_layers")
        return None
    value = fields.get("sliding_window", "sliding_window_size", "window_size", "interleaved_sliding_window")
    if isinstance(value, (list, tuple)):
        value = next((v for v in value if v), 0)
    return (whole(value, "sliding_window") or None) if value is not None and value != -1 else None


def _alternating(pattern: Any, default: int | str, layers: int) -> list[Kind]:
    if isinstance(pattern, str) and pattern:
        return ["sliding" if pattern[i % len(pattern)].upper() == "L" else "full" for i in range(layers)]
    if isinstance(pattern, (list, tuple)) and pattern:
        return ["sliding" if pattern[i % len(pattern)] else "full" for i in range(layers)]
    every = whole(pattern, "sliding_window_pattern", 1 << 16) if pattern else default
    return ["full" if (i + 1) % int(every) == 0 else "sliding" for i in range(layers)]


def _named_kinds(fields: Fields, family: Family, layers: int) -> list[Kind] | None:
    names = fields.sequence(*_NAMED)
    if names is None:
        return None
    fields.get(*_ALSO)
    unknown = sorted({shown(n).strip("'") for n in names if not isinstance(n, str) or n not in _KINDS})
    if unknown:
        raise InputError(f"layer type {unknown[0]!r} is not known; known are {', '.join(sorted(_KINDS))}")
    if len(names) < layers:
        raise InputError(f"layer_types names {len(names)} layers, num_hidden_layers says {layers}")
    kinds: list[Kind] = [_KINDS[n] for n in names[:layers]]
    # Newer libraries write every layer with a running state as "linear_attention".
    return [family.other if k == "linear" and family.other else k for k in kinds]


def _indexed_kinds(fields: Fields, family: Family, layers: int) -> list[Kind] | None:
    """From lists of layers' numbers, or one mark a layer."""
    full = fields.indices("attn_layer_indices", "full_attn_idxs", "attn_layer_idx", layers=layers)
    if full is not None:
        return ["full" if i in full else _other(fields, family) for i in range(layers)]
    kimi = fields.section("linear_attn_config")
    if kimi is not None and (chosen := kimi.indices("kda_layers", layers=layers)):
        kimi.get("full_attn_layers")
        return ["linear" if i + 1 in chosen else "full" for i in range(layers)]
    for name, zero, one in (("hybrid_layer_pattern", "full", "sliding"), ("attn_type_list", "linear", "full")):
        marks = fields.sequence(name)
        if marks is not None:
            _check_length(marks, name, layers)
            return [one if whole(m, name, 1) else zero for m in marks[:layers]]  # type: ignore[misc]
    return None


def _periodic_kinds(fields: Fields, family: Family, layers: int) -> list[Kind] | None:
    """Every n-th layer has full attention."""
    if fields.has("attn_layer_period"):
        period = fields.positive("attn_layer_period")
        offset = fields.integer("attn_layer_offset", default=0)
        return ["full" if i % period == offset else _other(fields, family) for i in range(layers)]
    if fields.has("linear_num_value_heads"):
        every = fields.integer("full_attention_interval", default=family.full_every or 0)
        if every:
            return ["full" if (i + 1) % every == 0 else "linear" for i in range(layers)]
    return None


def _windowed_kinds(fields: Fields, layers: int) -> list[Kind] | None:
    """From windows by layer: null or 0 is full attention."""
    windows = next((w for n in _BY_LAYER["sliding_window"] if (w := fields.sequence(n)) is not None), None)
    if windows is None:
        return None
    _check_length(windows, "sliding_window", layers)
    return ["sliding" if w else "full" for w in windows[:layers]]


def _chunked_kinds(fields: Fields, layers: int) -> list[Kind]:
    rope = fields.sequence("no_rope_layers")
    every = fields.positive("no_rope_layer_interval", default=4)
    if rope and len(rope) >= layers:
        return ["chunked" if rope[i] else "full" for i in range(layers)]
    return ["full" if (i + 1) % every == 0 else "chunked" for i in range(layers)]


def _other(fields: Fields, family: Family) -> Kind:
    """What the layers without attention are."""
    if family.other is not None:
        return family.other
    return "mamba" if fields.has("mamba_d_state", "ssm_state_size", "state_size") else "linear"


def _check_length(values: list[Any], name: str, layers: int) -> None:
    if len(values) < layers:
        raise InputError(f"{name} lists {len(values)} layers, num_hidden_layers says {layers}")


def values_by_layer(fields: Fields, layers: int) -> list[Mapping[str, Any]]:
    """For each layer the fields that the config lists by layer."""
    lists: dict[str, list[Any]] = {}
    for name, spellings in _BY_LAYER.items():
        values = next((v for s in spellings if fields.has(s) and (v := _listed(fields, s)) is not None), None)
        if values is not None:
            _check_length(values, name, layers)
            lists[name] = values
    return [{n: v[i] for n, v in lists.items()} for i in range(layers)]


def spread_by_layer(flat: dict[str, Any]) -> dict[str, Any]:
    """Overrides by layer (``per_layer_config: {"5": {"head_dim": 512}}``) as lists, where readers know the field."""
    per_layer, layers = flat.get("per_layer_config"), flat.get("num_hidden_layers")
    if not isinstance(per_layer, Mapping) or not isinstance(layers, int) or not 0 < layers <= MOST_LAYERS:
        return flat
    rows = {int(i): v for i, v in per_layer.items() if str(i).isascii() and str(i).isdigit() and len(str(i)) < 6}
    if len(rows) != len(per_layer) or not all(isinstance(v, Mapping) for v in rows.values()):
        return flat
    names = {n for row in rows.values() for n in row}
    if not names <= {*_BY_LAYER, "intermediate_size"}:
        return flat
    lists = {n: [rows.get(i, {}).get(n, flat.get(n)) for i in range(layers)] for n in names}
    return {k: v for k, v in flat.items() if k != "per_layer_config"} | lists


def _listed(fields: Fields, name: str) -> list[Any] | None:
    """A list of a field without marking a single number read."""
    return fields.sequence(name) if fields.is_list(name) else None


def expert_layers(fields: Fields, family: Family, layers: int) -> set[int]:
    """Which layers route to experts; the others are dense."""
    listed = fields.indices("moe_layers", "moe_layers_enum", "moe_layer_indices", layers=layers)
    if listed is not None:
        fields.get("interleave_moe_layer_step", "first_k_dense_replace", "moe_layer_freq")
        return listed
    for name in ("mlp_layer_types", "moe_layer_freq", "moe_layer_pattern"):
        if fields.is_list(name):
            marks = fields.sequence(name) or []
            _check_length(marks, name, layers)
            fields.get("first_k_dense_replace", "num_dense_layers", "decoder_sparse_step", "mlp_only_layers", *_PERIOD)
            return {i for i, m in enumerate(marks[:layers]) if m not in (0, False, None, "dense", "mlp")}
    if fields.has("expert_layer_period"):
        period = fields.positive("expert_layer_period")
        offset = fields.integer("expert_layer_offset", default=0)
        return {i for i in range(layers) if i % period == offset}
    return _stepped_layers(fields, family, layers)


def _stepped_layers(fields: Fields, family: Family, layers: int) -> set[int]:
    step = fields.positive(
        "interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval", "moe_every_n_layers", default=1
    )
    first = fields.integer(
        "first_k_dense_replace",
        "num_dense_layers",
        "moe_layer_start_index",
        "first_dense_layers",
        default=min(family.first_dense, layers),
    )
    last = fields.get("moe_layer_end_index")
    last = layers - 1 if not isinstance(last, int) or last < 0 else min(last, layers - 1)
    dense = fields.indices("mlp_only_layers", layers=layers) or set()
    freq = fields.integer("moe_layer_freq", default=1) or 1
    if step > 1:
        return {i for i in range(first, layers) if (i + 1) % step == 0 and i not in dense}
    return {i for i in range(first, last + 1) if i not in dense and i % freq == 0}


def pattern_of(fields: Fields) -> str | None:
    """Nemotron-H's pattern of layers, from its string or its list of names."""
    pattern = fields.get("hybrid_override_pattern")
    if pattern is not None and not isinstance(pattern, str):
        raise InputError(f"'hybrid_override_pattern' in the model config is {shown(pattern)}; it must be text")
    names = fields.sequence("layers_block_type", "layer_types") if fields.model_type == "nemotron_h" else None
    if pattern is None and names is not None:
        letters = {
            "mamba": "M",
            "mamba2": "M",
            "linear_attention": "M",
            "attention": "*",
            "full_attention": "*",
            "moe": "E",
            "mlp": "-",
        }
        return "".join(letters.get(str(n), "?") for n in names)
    return None if pattern is None else str(pattern)


def pattern_kinds(pattern: str) -> list[str]:
    """Letters of a hybrid pattern (Nemotron-H): M Mamba-2, * attention, - dense, E experts. InputError for others."""
    letters = re.sub(r"[|\s]", "", pattern)
    unknown = sorted(set(letters) - set("M*-E"))
    if unknown or not letters:
        raise InputError(f"hybrid_override_pattern {shown(pattern)} has {unknown or 'no letters'}; known are M * - E")
    return list(letters)
