"""Layers that differ in a GGUF file: lists of heads, key/value heads and widths, made what configs say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.model.config_fields import MOST_LAYERS, whole
from joulemill.physics.model.gguf_keys import KEYS

_LISTED = ("num_attention_heads", "num_key_value_heads", "intermediate_size")
_OTHER = {"granitehybrid": "mamba", "jamba": "mamba", "lfm2": "conv", "lfm2moe": "conv"}


def settle_layers(config: dict[str, Any], kind: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Make per-layer lists what the family's config says. InputError where they do not fit the number of layers."""
    layers = whole(config.get("num_hidden_layers") or 0, f"{kind}.block_count", MOST_LAYERS)
    lists = {n: _numbers(config[n], n, kind, layers) for n in _LISTED if isinstance(config.get(n), (list, tuple))}
    maker = _MAKERS.get(kind)
    if maker is not None and lists:
        maker(config, kind, _full(config, lists, layers, kind))
        return
    for name, values in lists.items():
        _settle_list(config, name, values, kind)
    _settle_pattern(config, layers, kind)


def _numbers(values: Any, name: str, kind: str, layers: int) -> list[int]:
    key = f"{kind}.{KEYS[name]}"
    if len(values) < layers:
        raise InputError(f"{key} lists {len(values)} layers, block_count says {layers}")
    return [whole(v, key) for v in values[:layers]]


def _settle_list(config: dict[str, Any], name: str, values: list[int], kind: str) -> None:
    """One number where all layers agree; zeros are layers without attention; else a list by layer."""
    held = {v for v in values if v}
    if name == "num_key_value_heads" and 0 in values:
        if kind not in _OTHER:
            raise InputError(f"{kind}.{KEYS[name]} is 0 in some layers: what these layers are is not known")
        config["layer_types"] = ["full_attention" if v else _OTHER[kind] for v in values]
    elif 0 in values and name != "intermediate_size" and held:
        raise InputError(f"{kind}.{KEYS[name]} is 0 in some layers: what these layers are is not known")
    if len(held) == 1 and (name != "intermediate_size" or 0 not in values):
        config[name] = held.pop()
    else:
        config[name] = values if held else None


def _settle_pattern(config: dict[str, Any], layers: int, kind: str) -> None:
    """A mark a layer (true: windowed) becomes names of layers; a number stays the family's business."""
    marks = config.get("sliding_window_pattern")
    if not isinstance(marks, (list, tuple)):
        return
    if len(marks) < layers:
        raise InputError(
            f"{kind}.attention.sliding_window_pattern lists {len(marks)} layers, block_count says {layers}"
        )
    config.pop("sliding_window_pattern")
    config["layer_types"] = ["sliding_attention" if m else "full_attention" for m in marks[:layers]]
    if kind == "gemma4":  # key_length is the full layers', key_length_swa the windowed ones'
        config["global_head_dim"] = config.get("head_dim")
        config.pop("v_head_dim", None), config.pop("swa_v_head_dim", None)


def _full(config: dict[str, Any], lists: dict[str, list[int]], layers: int, kind: str) -> dict[str, list[int]]:
    """All three lists, from one number where the file gives one."""
    return {n: lists[n] if n in lists else [whole(config.get(n) or 0, f"{kind}.{KEYS[n]}")] * layers for n in _LISTED}


def _nemotron(config: dict[str, Any], kind: str, lists: dict[str, list[int]]) -> None:
    """Nemotron-H: a layer is one block alone: attention, feed-forward (experts where it has them), or a state space."""
    wide = "E" if kind.endswith("_moe") else "-"
    pairs = zip(lists["num_key_value_heads"], lists["intermediate_size"], strict=True)
    config["hybrid_override_pattern"] = "".join("*" if kv else wide if ff else "M" for kv, ff in pairs)
    for name in _LISTED:
        config[name] = max(lists[name], default=0) or None
    config["mlp_hidden_act"] = "relu2"


def _deci(config: dict[str, Any], kind: str, lists: dict[str, list[int]]) -> None:
    """Nemotron NAS: layers without heads have no attention, with heads but no key/value heads a plain projection."""
    heads = max(lists["num_attention_heads"], default=0)
    blocks = []
    for own, kv, width in zip(*(lists[n] for n in _LISTED), strict=True):
        if own and not kv:
            raise InputError(f"{kind}: a layer with {own} heads and no key/value heads is not read")
        share = own // kv if kv else 0
        blocks.append(
            {
                "attention": {"n_heads_in_group": share, "no_op": not kv},
                "ffn": {"intermediate_size": width, "no_op": not width},
            }
        )
    config["block_configs"] = blocks
    config["num_attention_heads"], config["num_key_value_heads"] = heads or None, None
    config.pop("intermediate_size", None)


_MAKERS: dict[str, Callable[[dict[str, Any], str, dict[str, list[int]]], None]] = {
    "nemotron_h": _nemotron,
    "nemotron_h_moe": _nemotron,
    "deci": _deci,
}
