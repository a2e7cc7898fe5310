"""Read an architecture and its number formats from GGUF: metadata keys and the tensor table. Pure.

Metadata is ``{key: value}`` as in the file's header (``llama.block_count`` …); tensors are (name, shape, type name)
with the shape in either order, or with the bytes a tensor takes as a fourth item. Bytes come from the table, never from
a name such as Q4_K_M.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.config_fields import MOST_LAYERS, plain_name, shown, whole
from joulemill.physics.model.gguf_keys import BLOCKS, KEYS, MODEL_TYPES, STATE_NAMES, is_harmless_key
from joulemill.physics.model.gguf_layers import settle_layers
from joulemill.physics.model.hf_config import architecture_from_config, refuse_doubts
from joulemill.physics.model.precision import BF16, Format, Precision, Tensor

GgufTensor = Sequence[Any]
Shapes = Mapping[str, tuple[int, ...]]
_ROUTER = re.compile(r"blk\.(\d{1,5})\.ffn_gate_inp\.weight")
_LATENT = ("deepseek2", "glm-dsa")


def architecture_from_gguf(
    metadata: Mapping[str, Any], tensors: Iterable[GgufTensor] = (), *, approximate: bool = False
) -> Architecture:
    """The architecture that GGUF metadata describes; the tensor table settles vocabulary, tying, biases and norms.

    ``approximate``: an architecture or key that is not known is passed over, and stands in ``Architecture.doubts``.
    Raises InputError where a key that is needed is missing, or the architecture or a key that may matter is not known.
    """
    kind = str(metadata.get("general.architecture", ""))[:60]
    model_type = MODEL_TYPES.get(kind)
    if model_type is None and not approximate:
        raise InputError(
            f"GGUF architecture {kind or 'not given'!r} is not known; known are {', '.join(sorted(MODEL_TYPES))}"
        )
    shapes = {str(t[0]): _shape(t) for t in tensors}
    config = {ours: metadata[f"{kind}.{key}"] for ours, key in KEYS.items() if f"{kind}.{key}" in metadata}
    config["model_type"] = model_type or "llama"
    _settle_kind(config, kind, metadata)
    settle_layers(config, kind, shapes)
    _settle_tensors(config, metadata, shapes)
    built = architecture_from_config(config, approximate=True)
    unread = tuple(sorted({*(_key_of(f, kind) for f in built.unread), *_unknown_keys(metadata, kind)}))
    architecture = replace(built, unread=unread, unknown_type=None if model_type else kind or "not given")
    return architecture if approximate else refuse_doubts(architecture)


def _shape(tensor: GgufTensor) -> tuple[int, ...]:
    return tuple(whole(n, f"shape of {str(tensor[0])[:60]}", 1 << 48) for n in tensor[1])


def _key_of(field: str, kind: str) -> str:
    """The GGUF key that a field of ours was read from."""
    return f"{kind}.{KEYS[field]}" if field in KEYS else field


def _unknown_keys(metadata: Mapping[str, Any], kind: str) -> list[str]:
    """Keys of the architecture that no reader of ours knows and that say anything."""
    prefix, known = f"{kind}.", set(KEYS.values()) | _READ_HERE
    return [
        plain_name(key)
        for key, value in metadata.items()
        if key.startswith(prefix)
        and key[len(prefix) :] not in known
        and not is_harmless_key(key[len(prefix) :])
        and value not in (None, False, 0, "", (), [])
    ]


#: Keys read beside ``KEYS``.
_READ_HERE = frozenset(
    {"attention.key_length_mla", "attention.value_length_mla", "rope.dimension_count", "rope.dimension_count_swa"}
)


def _settle_kind(config: dict[str, Any], kind: str, metadata: Mapping[str, Any]) -> None:
    """What the architecture makes of keys: latent widths, recurrent sizes, drafting layers in the count of blocks."""
    if kind in _LATENT:
        _settle_latent(config, kind, metadata)
    else:
        config.pop("qk_rope_head_dim", None)
    for name in _MEANT_FOR_NOTHING.get(kind, ()):
        config.pop(name, None)
    _settle_states(config, kind)
    drafts = whole(config.get("num_nextn_predict_layers", 0), f"{kind}.nextn_predict_layers", MOST_LAYERS)
    layers = config.get("num_hidden_layers")
    if drafts and isinstance(layers, int) and layers > drafts:
        config["num_hidden_layers"] = layers - drafts
    if not config.get("num_experts"):
        for name in ("num_experts", "num_experts_per_tok"):
            config.pop(name, None)
    _settle_habits(config, kind)


def _settle_habits(config: dict[str, Any], kind: str) -> None:
    """What llama.cpp's files of some architectures mean otherwise than configs do."""
    if kind == "olmo2" and config.get("sliding_window"):
        config["model_type"] = "olmo3"  # both under one name
    if kind == "lfm2":
        config["block_auto_adjust_ff_dim"] = False  # the file states the width as it is
    if kind == "granitehybrid" and "num_experts" not in config:
        config.setdefault("shared_expert_intermediate_size", config.get("intermediate_size"))


_ATTENTION = ("num_attention_heads", "num_key_value_heads", "intermediate_size", "head_dim", "v_head_dim")
#: Keys that llama.cpp wants in every file and that mean nothing in these.
_MEANT_FOR_NOTHING = {"mamba": _ATTENTION, "mamba2": _ATTENTION}


def _settle_latent(config: dict[str, Any], kind: str, metadata: Mapping[str, Any]) -> None:
    """Newer files store the latent width as key_length and the expanded one as key_length_mla."""
    missing = [k for k in ("qk_rope_head_dim", "head_dim", "v_head_dim") if k not in config]
    if missing:
        raise InputError(f"the GGUF file has no {kind}.{KEYS[missing[0]]}")
    rope = whole(config["qk_rope_head_dim"], f"{kind}.rope.dimension_count")
    key, value = config.pop("head_dim"), config.pop("v_head_dim")
    own = metadata.get(f"{kind}.attention.key_length_mla"), metadata.get(f"{kind}.attention.value_length_mla")
    if all(own):
        key, value = own
    nope = whole(key, f"{kind}.attention.key_length") - rope
    config["qk_nope_head_dim"], config["v_head_dim"] = nope, value
    if nope < 1:
        raise InputError(f"{kind}.attention.key_length {shown(key)} is not above rope.dimension_count {rope}")


def _settle_states(config: dict[str, Any], kind: str) -> None:
    """Sizes of recurrent blocks under the names that the family's config has for them."""
    values = [config.pop(f"ssm_{n}", None) for n in ("state", "groups", "rank", "kernel")]
    inner = config.pop("ssm_inner", None)
    family = "delta" if kind in ("qwen3next", "qwen35", "qwen35moe") else kind.removesuffix("_moe")
    names = STATE_NAMES.get(family, STATE_NAMES[""])
    config.update({n: v for n, v in zip(names, values, strict=True) if n and v is not None})
    if family == "delta" and "linear_key_head_dim" in config:
        config["linear_value_head_dim"] = config["linear_key_head_dim"]
    if inner is not None:
        _settle_inner(config, family, whole(inner, f"{kind}.ssm.inner_size"), values[2], kind)


def _settle_inner(config: dict[str, Any], family: str, width: int, rank: Any, kind: str) -> None:
    """The width of the inner stream: Mamba-1's own, else heads (the rank) times their dim."""
    if family in ("mamba", "jamba"):
        config["intermediate_size" if family == "mamba" else "mamba_intermediate_size"] = width
        return
    heads = whole(rank, f"{kind}.ssm.time_step_rank") if rank is not None else 0
    if not heads or width % heads:
        raise InputError(f"{kind}.ssm.inner_size {width} does not divide over {kind}.ssm.time_step_rank {shown(rank)}")
    config[_HEAD_DIM.get(family, "mamba_d_head")] = width // heads


_HEAD_DIM = {"mamba2": "head_dim", "nemotron_h": "mamba_head_dim", "delta": "linear_value_head_dim"}


def _settle_tensors(config: dict[str, Any], metadata: Mapping[str, Any], shapes: Shapes) -> None:
    hidden = whole(config.get("hidden_size") or 0, "embedding_length")
    table = shapes.get("token_embd.weight")
    if table and hidden:
        config["vocab_size"] = prod(table) // hidden
    elif "vocab_size" not in config:
        tokens = metadata.get("tokenizer.ggml.tokens")
        config["vocab_size"] = len(tokens) if isinstance(tokens, (list, tuple)) and tokens else None
    if shapes:
        _settle_by_table(config, shapes)
    elif config["model_type"] == "jamba":
        config |= {"expert_layer_period": 2, "expert_layer_offset": 1}


def _settle_by_table(config: dict[str, Any], shapes: Shapes) -> None:
    """Tying, biases and layers with experts, from which tensors are there."""
    config["tie_word_embeddings"] = "output.weight" not in shapes
    held = {n.partition(".")[2].partition(".")[2] for n in shapes if n.startswith("blk.")}
    if config["model_type"] not in ("mamba", "mamba2"):
        config["attention_bias"] = "attn_q.bias" in held or "attn_qkv.bias" in held
        config["attention_out_bias"] = "attn_output.bias" in held
    layers = config.get("num_hidden_layers")
    routed = {int(m.group(1)) for n in shapes if (m := _ROUTER.fullmatch(n))}
    if routed and isinstance(layers, int) and config.get("num_experts") and "hybrid_override_pattern" not in config:
        config["moe_layers"] = sorted(i for i in routed if i < layers)
        for name in ("first_k_dense_replace", "interleave_moe_layer_step", "moe_every_n_layers"):
            config.pop(name, None)
    if config["model_type"] == "gemma4_text":
        config["attention_k_eq_v"] = _lacks_values(shapes)


def _lacks_values(shapes: Shapes) -> bool:
    """Whether some layers project no values of their own (Gemma 4's full layers use the keys)."""
    keys = {n.split(".")[1] for n in shapes if n.endswith(".attn_k.weight")}
    return any(f"blk.{i}.attn_v.weight" not in shapes for i in keys)


def tensor_class(name: str) -> Tensor:
    """The class that a GGUF tensor's name says it is of."""
    for mark, tensor in (
        ("token_embd", "embedding"),
        ("per_layer", "embedding"),
        ("output.weight", "head"),
        ("ffn_gate_inp", "router"),
        ("_norm", "router"),
        ("exp_probs", "router"),
        ("_exps", "experts"),
        ("_shexp", "shared"),
        ("ssm_", "state"),
        ("shortconv", "state"),
        ("attn_", "attention"),
        ("ffn_", "dense"),
    ):
        if mark in name and not (mark == "output.weight" and "attn" in name):
            return tensor  # type: ignore[return-value]
    return "router"


def tensor_byte(tensor: GgufTensor) -> float:
    """Bytes that a tensor of the table takes: as stated, or by its type's block. InputError for an unknown type."""
    if len(tensor) > 3 and tensor[3] is not None:
        return float(tensor[3])
    kind = str(tensor[2]).upper()
    if kind not in BLOCKS:
        raise InputError(f"ggml type {kind!r} is not known; known are {', '.join(sorted(BLOCKS))}")
    byte, elements = BLOCKS[kind]
    return prod(_shape(tensor)) * byte / elements


def precision_from_gguf(tensors: Iterable[GgufTensor], kv: str = "fp16") -> Precision:
    """Mean bytes per element of each class of tensors, from the table; ``kv`` is the cache's type (llama.cpp: f16).

    The name is that of the commonest type by bytes. Multiplies run in bf16 or, for q8 activations on a CPU, int8:
    the device's business.
    """
    byte: dict[Tensor, float] = {}
    elements: dict[Tensor, int] = {}
    by_type: dict[str, float] = {}
    for tensor in tensors:
        cls, size = tensor_class(str(tensor[0])), tensor_byte(tensor)
        byte[cls] = byte.get(cls, 0.0) + size
        elements[cls] = elements.get(cls, 0) + prod(_shape(tensor))
        kind = str(tensor[2]).lower()
        by_type[kind] = by_type.get(kind, 0.0) + size
    if not byte:
        raise InputError("the GGUF file lists no tensors")
    name = max(by_type, key=lambda k: by_type[k])
    formats: dict[str, Any] = {
        cls: Format(f"{name} mix", byte[cls] / elements[cls], "bf16") for cls in byte if byte[cls] and elements[cls]
    }
    if "head" not in formats:
        formats["head"] = formats.get("embedding", BF16)
    plain = Precision(name=name, kv=Format("fp16", 2.0, "bf16") if kv in ("f16", "fp16") else BF16)
    return replace(plain, **formats)
