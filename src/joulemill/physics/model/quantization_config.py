"""Read which tensors carry which number format from a Hugging Face config's ``quantization_config``.

Understands fp8 (block or per tensor), fbgemm_fp8, mxfp4, compressed-tensors, ModelOpt, AWQ, GPTQ, bitsandbytes, Quark,
torchao. Which classes of tensors stay unquantized follows from the lists of modules to leave alone. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.model.config_fields import MOST_LAYERS, whole
from joulemill.physics.model.precision import BF16, FORMATS, Format, Precision, Tensor, format_named, uniform

#: Module names that mark a class as left alone; a mention of one layer only (a first or last one) does not.
_MARKS: dict[Tensor, re.Pattern[str]] = {
    "attention": re.compile(r"(self_attn|attention|attn)($|[.*])(?!.*(k_proj|norm|kv_a|indexer|weights_proj)\.?$)"),
    "dense": re.compile(r"\.mlp($|\*|\.\*)|mlp\.(gate_up|up|down)_proj"),
    "shared": re.compile(r"shared_expert(s)?($|[.*])(?!.*gate$)"),
    "experts": re.compile(r"(^|[^_])experts($|[.*])"),
    "state": re.compile(r"(mixer|mamba|linear_attn)($|[.*])"),
}
_LONGEST_NAME = 300
_LAYER = re.compile(r"layers?\.(\d+)\.")


def precision_from_config(config: Mapping[str, Any]) -> Precision:
    """Formats that a config states; bf16 (or its ``torch_dtype``) where it has no quantization.

    Raises InputError for a quantization method that is not known.
    """
    quant = _quantization(config)
    plain = _plain(config)
    if quant is None:
        return _with_state(plain, config)
    weights = _format_of(quant)
    chosen = replace(uniform(weights.name), name=weights.name) if weights.name in FORMATS else _filled(weights)
    method = str(quant.get("quant_method", "")).lower()
    if method == "mxfp4":
        chosen = replace(uniform("bf16"), name="mxfp4", experts=weights)
    if method == "fp8" and str(config.get("expert_dtype", "")).lower() == "fp4":  # DeepSeek V4
        chosen = replace(chosen, experts=FORMATS["mxfp4"])
    kept = _kept_classes(_ignored(quant), _layers(config))
    if method == "fbgemm_fp8":
        kept |= {"attention"}
    left: dict[str, Any] = {t: BF16 for t in kept if method != "mxfp4" or t != "experts"}
    chosen = replace(chosen, **left)
    return _with_state(_with_cache(chosen, quant), config)


def _filled(weights: Format) -> Precision:
    return Precision(
        name=weights.name, attention=weights, dense=weights, shared=weights, experts=weights, state=weights
    )


def _plain(config: Mapping[str, Any]) -> Precision:
    for part in (config, *(v for k, v in config.items() if k.endswith("text_config") and isinstance(v, Mapping))):
        dtype = part.get("torch_dtype") or part.get("dtype")
        if dtype:
            return uniform(str(dtype)[:60])
    return uniform("bf16")


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for part in (config, config.get("text_config"), config.get("language_config")):
        if isinstance(part, Mapping):
            for name in ("quantization_config", "compression_config", "quantization"):
                section = part.get(name)
                if isinstance(section, Mapping) and section:
                    return section
    return None


def _layers(config: Mapping[str, Any]) -> int:
    for part in (config.get("text_config"), config):
        if isinstance(part, Mapping):
            count = part.get("num_hidden_layers") or part.get("n_layer")
            if isinstance(count, int) and 0 <= count <= MOST_LAYERS:
                return count
    return 0


def _format_of(quant: Mapping[str, Any]) -> Format:
    method = str(quant.get("quant_method", "")).lower()
    algorithm = str(quant.get("quant_algo", "")).lower()
    if method in ("fp8", "fbgemm_fp8", "mxfp4", "mxfp8"):
        return FORMATS["fp8_block" if quant.get("weight_block_size") else method.removeprefix("fbgemm_")]
    if method in ("awq", "gptq", "auto-round", "autoround", "awq_marlin", "gptq_marlin"):
        bits = _size(quant.get("bits") or quant.get("w_bit") or 4, "bits")
        return _integer_format(bits, _size(quant.get("group_size") or 128, "group_size"))
    if method == "bitsandbytes":
        return FORMATS["nf4" if quant.get("load_in_4bit") or quant.get("_load_in_4bit") else "int8"]
    if method == "modelopt" or algorithm:
        return _modelopt(algorithm, quant)
    if method == "compressed-tensors" or "config_groups" in quant:
        return _compressed(quant)
    if method in ("quark", "torchao"):
        return _quark(quant) if method == "quark" else _torchao(str(quant).lower())
    raise InputError(
        f"quantization method {method or 'not given'!r} is not known; give the precision yourself (bf16, fp8 …)"
    )


def _modelopt(algorithm: str, quant: Mapping[str, Any]) -> Format:
    text = algorithm or str(quant.get("config_groups", "")).lower()
    for mark, name in (
        ("nvfp4", "nvfp4"),
        ("fp4", "nvfp4"),
        ("mxfp8", "mxfp8"),
        ("fp8", "fp8"),
        ("w4a16", "int4"),
        ("int4", "int4"),
        ("int8", "int8"),
    ):
        if mark in text:
            return FORMATS[name]
    if "config_groups" in quant:
        return _compressed(quant)
    raise InputError(f"ModelOpt algorithm {algorithm!r} is not known; give the precision yourself (fp8, nvfp4 …)")


def _integer_format(bits: int, group: int) -> Format:
    """Weight-only integers: ``bits`` and, per ``group``, an fp16 scale and a zero of ``bits``."""
    if bits == 8:
        return FORMATS["int8_weight_only"]
    if group == 32 and bits == 4:
        return FORMATS["int4_g32"]
    if bits == 4:
        return FORMATS["int4"]
    return Format(f"int{bits}", (bits + (16.0 + bits) / max(group, 32)) / 8.0, "bf16")


def _compressed(quant: Mapping[str, Any]) -> Format:
    groups = _object(quant.get("config_groups"))
    first = _object(next(iter(groups.values()), None))
    weights = _object(first.get("weights"))
    bits, kind = _size(weights.get("num_bits") or 8, "num_bits"), str(weights.get("type") or "float")
    acts = first.get("input_activations")
    if kind == "float" and bits == 8:
        block = weights.get("strategy") == "block" or weights.get("block_structure")
        return FORMATS["fp8_weight_only" if not acts else "fp8_block" if block else "fp8"]
    if kind == "float":
        return FORMATS["mxfp4" if weights.get("group_size") == 32 else "nvfp4"]
    if bits == 8 and acts:
        return FORMATS["int8"]
    return _integer_format(bits, _size(weights.get("group_size") or 128, "group_size"))


def _torchao(text: str) -> Format:
    return FORMATS["int4" if "int4" in text else "fp8" if "float8" in text else "int8"]


def _quark(quant: Mapping[str, Any]) -> Format:
    weight = _object(quant.get("global_quant_config")).get("weight") or {}
    weight = weight[0] if isinstance(weight, list) and weight else weight
    text = str(weight).lower()
    if "fp4" in text:
        return FORMATS["mxfp4_w4a4"]
    return FORMATS["int8"] if "int8" in text else FORMATS["int4"] if "int4" in text else FORMATS["fp8"]


def _ignored(quant: Mapping[str, Any]) -> list[str]:
    patterns: list[str] = []
    for name in (
        "modules_to_not_convert",
        "ignore",
        "exclude_modules",
        "exclude",
        "ignored_layers",
        "llm_int8_skip_modules",
    ):
        value = quant.get(name)
        if isinstance(value, list):
            patterns += [v[:_LONGEST_NAME] for v in value if isinstance(v, str)]
    return patterns


def _object(value: Any) -> Mapping[str, Any]:
    """A nested object, empty where it is none."""
    return value if isinstance(value, Mapping) else {}


def _size(value: Any, name: str) -> int:
    """Bits or a group's size; −1 is "one group a row" of GPTQ. InputError names the field."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if value == -1 and name == "group_size":
        return 1 << 12
    size = whole(value, f"quantization_config.{name}", 1 << 20)
    if name != "group_size" and not 1 <= size <= 32:
        raise InputError(f"quantization_config.{name} is {size}; it must lie between 1 and 32")
    return size


def _kept_classes(ignored: Iterable[str], layers: int) -> set[Tensor]:
    """Classes that most layers leave alone: named without a layer, or for more than half of the layers."""
    names = [n.removeprefix("re:").replace("\\", "") for n in ignored]
    kept: set[Tensor] = set()
    for tensor, mark in _MARKS.items():
        hits = [n for n in names if mark.search(n)]
        numbers = {m.group(1) for n in hits if (m := _LAYER.search(n))}
        general = any(_LAYER.search(n) is None for n in hits)
        if general or (numbers and len(numbers) > layers / 2):
            kept.add(tensor)
    return kept


def _with_cache(precision: Precision, quant: Mapping[str, Any]) -> Precision:
    scheme = quant.get("kv_cache_scheme")
    algorithm = str(quant.get("kv_cache_quant_algo") or "").lower()
    if isinstance(scheme, Mapping) and scheme.get("num_bits") == 8:
        return replace(precision, kv=FORMATS["fp8"])
    if algorithm in ("fp8", "nvfp4", "int8"):
        return replace(precision, kv=FORMATS[algorithm])
    return precision


def _with_state(precision: Precision, config: Mapping[str, Any]) -> Precision:
    """State-space state: fp32 unless ``mamba_ssm_dtype`` (or its cache's) says otherwise."""
    for part in (config.get("text_config"), config):
        if isinstance(part, Mapping):
            dtype = part.get("mamba_ssm_dtype") or part.get("mamba_ssm_cache_dtype")
            if dtype:
                return replace(precision, recurrent=format_named(str(dtype)[:60]))
    return precision
