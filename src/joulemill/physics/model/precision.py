"""How numbers are stored and multiplied: formats with their bytes per element, and which tensors carry which.

A format's bytes include its scales: NVFP4 is 4 bits plus an 8-bit scale per 16 elements, MXFP4 4 bits plus one per 32,
block FP8 8 bits plus a 32-bit scale per 128 x 128 tile. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from joulemill.errors import InputError
from joulemill.suggestions import nearest

#: The classes of tensors that quantizers treat alike.
Tensor = Literal["attention", "dense", "shared", "experts", "router", "state", "head", "embedding"]
TENSORS: tuple[Tensor, ...] = ("attention", "dense", "shared", "experts", "router", "state", "head", "embedding")


@dataclass(frozen=True, slots=True)
class Format:
    """A number format as stored and as multiplied.

    name          e.g. ``bf16``, ``fp8``, ``fp8_block``, ``nvfp4``, ``q4_k``
    element_byte  bytes per element, scales included [byte]
    arithmetic    dtype of the multiply where the device has it: ``fp32 bf16 fp8 int8 fp4``; ``bf16`` if weight-only
    activation    format that the activations are cast to before the multiply
    """

    name: str
    element_byte: float
    arithmetic: str
    activation: str = "bf16"


#: Groups behind the fractions: int4 128 with an fp16 scale and a 4-bit zero; int4_g32 with a bf16 scale; nf4 64.
FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("fp32", 4.0, "fp32", "fp32"),
        Format("bf16", 2.0, "bf16"),
        Format("fp16", 2.0, "bf16"),
        Format("fp8", 1.0, "fp8", "fp8"),
        Format("fp8_block", 1.0 + 4.0 / (128 * 128), "fp8", "fp8"),
        Format("mxfp8", 1.0 + 1.0 / 32, "fp8", "fp8"),
        Format("fp8_weight_only", 1.0, "bf16"),
        Format("int8", 1.0, "int8", "int8"),
        Format("int8_weight_only", 1.0, "bf16"),
        Format("int4", (4.0 + 20.0 / 128) / 8, "bf16"),
        Format("int4_g32", (4.0 + 16.0 / 32) / 8, "bf16"),
        Format("nf4", (4.0 + 8.0 / 64) / 8, "bf16"),
        Format("mxfp4", (4.0 + 8.0 / 32) / 8, "fp4", "fp8"),
        Format("mxfp4_w4a4", (4.0 + 8.0 / 32) / 8, "fp4", "mxfp4"),
        Format("nvfp4", (4.0 + 8.0 / 16) / 8, "fp4", "nvfp4"),
    )
}
_ALIASES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "float": "fp32",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "float8_e4m3fn": "fp8",
    "fp4": "nvfp4",
    "w8a8": "int8",
    "w4a16": "int4",
    "awq": "int4",
    "gptq": "int4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4",
    "w4a4_nvfp4": "nvfp4",
    "int4_wo": "int4",
    "int8_wo": "int8_weight_only",
    "fp8_static": "fp8",
    "fp8_dynamic": "fp8",
    "auto": "bf16",
    "torch.bfloat16": "bf16",
}


def _formats_meant(key: str) -> str:
    near = nearest(key, (*FORMATS, *_ALIASES), most=3)
    known = ", ".join(sorted(FORMATS))
    return f"did you mean {', '.join(near)}? Known are {known}" if near else f"known are {known}"


def format_named(name: str) -> Format:
    """The format called ``name`` (``bf16``, ``bfloat16``, ``fp8``, ``nvfp4`` …). InputError where there is none."""
    key = name.strip().lower()
    known_format = FORMATS.get(_ALIASES.get(key, key))
    if known_format is None:
        raise InputError(f"number format {name[:60]!r} is not known; {_formats_meant(key)}")
    return known_format


BF16 = FORMATS["bf16"]
FP32 = FORMATS["fp32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Which format each class of tensors is stored in.

    ``state`` are the projections of state-space and linear-attention layers, ``recurrent`` their running state (fp32
    unless the config says otherwise), ``kv`` the cache, ``activation`` what passes between layers.
    """

    name: str = "bf16"
    attention: Format = BF16
    dense: Format = BF16
    shared: Format = BF16
    experts: Format = BF16
    router: Format = BF16
    state: Format = BF16
    head: Format = BF16
    embedding: Format = BF16
    kv: Format = BF16
    recurrent: Format = FP32
    activation: Format = BF16

    def of(self, tensor: Tensor) -> Format:
        """The format of one class of tensors."""
        tensor_format: Format = getattr(self, tensor)
        return tensor_format

    def with_kv(self, name: str) -> Precision:
        """The same weights with another KV cache format."""
        return replace(self, kv=format_named(name))


def uniform(name: str, *, keep: tuple[Tensor, ...] = ("head", "embedding", "router")) -> Precision:
    """All matrices in one format but the classes in ``keep``, which stay bf16: what most quantizers do.

    ``uniform("bf16")`` is an unquantized model. Head, embedding and router stay bf16 in nearly all releases.
    """
    chosen = format_named(name)
    stays = BF16 if chosen.element_byte < BF16.element_byte else chosen
    classes = {t: stays if t in keep else chosen for t in TENSORS}
    return Precision(name=chosen.name, **classes)
