"""What the names of model releases say: publisher, release words, dates, and how the weights were re-quantized.

Only words that are known not to change the architecture are taken off a name, so that ``Qwen3-Embedding-8B`` is never
mistaken for ``Qwen3-8B``. No files are read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.blocks import CompressedAttention, LatentAttention
from joulemill.physics.model.precision import BF16, FORMATS, TENSORS, Format, Precision, Tensor, format_named, uniform
from joulemill.suggestions import nearest

#: Endings that name a quantization -> our name of it. Longest first; several may follow each other.
QUANTIZATIONS: dict[str, str] = {
    "fp8-dynamic": "fp8",
    "fp8-block": "fp8_block",
    "block-fp8": "fp8_block",
    "fp8-kv": "fp8+kv",
    "w8a8-fp8": "fp8",
    "fp8": "fp8",
    "nvfp4": "nvfp4",
    "nvfp4a16": "nvfp4",
    "nvfp4-v2": "nvfp4",
    "fp4-v2": "nvfp4",
    "w-mxfp4-a-fp8": "mxfp4",
    "fp4": "nvfp4",
    "mxfp4": "mxfp4",
    "mxfp8": "mxfp8",
    "awq-int4": "int4",
    "awq-4bit": "int4",
    "awq": "int4",
    "gptq-int4": "int4",
    "gptq-int8": "int8_weight_only",
    "gptq": "int4",
    "int4-autoround": "int4",
    "autoround": "int4",
    "w4a16": "int4",
    "int4": "int4",
    "w8a16": "int8_weight_only",
    "w8a8": "int8",
    "int8": "int8",
    "bnb-4bit": "nf4",
    "bnb-8bit": "int8",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "fp16",
}
#: Whole-model bits per weight of llama.cpp's mixes (tools/quantize/README.md of llama.cpp, Llama-3.1-8B).
GGUF_BITS: dict[str, float] = {
    "q2-k": 3.16,
    "q3-k-m": 4.01,
    "q4-0": 4.66,
    "q4-k-s": 4.67,
    "q4-k-m": 4.89,
    "q5-k-m": 5.70,
    "q6-k": 6.56,
    "q8-0": 8.50,
}
#: Words of a release that leave the architecture as it is.
_RELEASE = frozenset({"instruct", "it", "chat", "base", "hf", "thinking", "pt", "preview", "qat", "unquantized"})
_DATE = re.compile(r"^(2[3-6](0[1-9]|1[0-2])|(0[1-9]|1[0-2])[0-3]\d)$")
#: Publishers whose FP8 releases scale by blocks of 128 x 128.
_BLOCK_FP8 = frozenset({"qwen", "deepseek-ai", "zai-org", "zhipuai", "minimaxai", "moonshotai", "xiaomimimo", ""})
_JOINED = re.compile(r"\b(llama|gemma|phi)(?=\d)")


@dataclass(frozen=True, slots=True)
class ReleaseName:
    """A Hub id or plain name in parts.

    publisher      what stands before the slash, lower case; empty where there is none
    full           the rest in lower case with dashes
    plain          ``full`` without quantization
    stem           ``plain`` without release words and dates
    dates          the dates that were taken off
    quantization   our name of it; None where the name says nothing
    """

    publisher: str
    full: str
    plain: str
    stem: str
    dates: tuple[str, ...]
    quantization: str | None


def without_slips(name: ReleaseName) -> str:
    """The stem without what are release words but for a slip (``instuct``), which would draw other models near."""
    return "-".join(t for t in name.stem.split("-") if len(t) < 4 or not nearest(t, _RELEASE, least_ratio=0.8))


def leaves_out_towers(name: ReleaseName) -> bool:
    """Whether the name is of a multimodal release of which only the language model is meant here."""
    return bool({"vl", "omni", "vision", "multimodal", "pixtral", "voxtral"} & set(name.full.split("-")))


def release_name(text: str) -> ReleaseName:
    """Take a name apart. InputError for a GGUF repository that does not say which quantization."""
    publisher, _, rest = text.strip().lower().rpartition("/")
    full = re.sub(r"[-_:\s]+", "-", rest).strip("-")
    full = _JOINED.sub(r"\1-", full).removeprefix("meta-")
    full = full.replace("quantized.", "")
    plain, quantization = _without_quantization(full, text)
    dates = tuple(t for t in plain.split("-") if _DATE.match(t))
    stem = "-".join(t for t in plain.split("-") if t not in _RELEASE and not _DATE.match(t))
    return ReleaseName(publisher.rpartition("/")[2], full, plain, stem, dates, quantization)


def _without_quantization(full: str, text: str) -> tuple[str, str | None]:
    ending_format: str | None = None
    rest = full
    names = sorted((*QUANTIZATIONS, *GGUF_BITS), key=len, reverse=True)
    gguf = rest.endswith("-gguf")
    rest = rest.removesuffix("-gguf")
    while (ending := next((n for n in names if rest.endswith("-" + n)), None)) is not None:
        ending_format = ending_format or QUANTIZATIONS.get(ending, ending)
        rest = rest[: -len(ending) - 1]
    if (gguf or rest.endswith("-gguf")) and ending_format is None:
        raise InputError(f"{text!r} does not say which GGUF quantization; add it, as in {text}:Q4_K_M")
    rest = rest.removesuffix("-gguf")
    # A quantization inside the name, before a release word or date (…-FP8-Instruct, -AWQ-2507).
    for name in names:
        head, mark, tail = rest.partition(f"-{name}-")
        if mark and all(t in _RELEASE or _DATE.match(t) for t in tail.split("-")):
            return f"{head}-{tail}", ending_format or QUANTIZATIONS.get(name, name)
    return rest, ending_format


def precision_of_spec(spec: str) -> Precision:
    """Read ``"bf16 experts=mxfp4"``: a format for all matrices, then classes that differ."""
    first, *others = spec.split()
    precision = uniform(first)
    changes: dict[str, Format] = {}
    for other in others:
        name, _, form = other.partition("=")
        if name not in (*TENSORS, "kv"):
            raise InputError(
                f"precision {spec!r}: {name!r} is no class of tensors; they are {', '.join((*TENSORS, 'kv'))}"
            )
        changes[name] = format_named(form)
    label = next((f.name for f in changes.values() if f is not BF16), precision.name) if others else precision.name
    return replace(precision, name=precision.name if first != "bf16" else label, **changes)


def requantized(
    architecture: Architecture, native: Precision, name: str, publisher: str = ""
) -> tuple[Precision, tuple[str, ...]]:
    """The precision of a re-quantized release, and what is assumed about it.

    ``name`` is one of the values of ``QUANTIZATIONS`` or a format; ``native`` the model's own precision, kept where the
    name says the same (FP8 of a model published in FP8, MXFP4 of gpt-oss).
    """
    if name in GGUF_BITS:
        mix = Format(name.replace("-", "_"), GGUF_BITS[name] / 8.0, "bf16")
        return _everywhere(mix), (f"GGUF {mix.name}: {GGUF_BITS[name]} bits a weight throughout",)
    if name == "fp8" and native.name == "fp8_block":
        name = "fp8_block"
    if name == native.name == native.experts.name:
        return native, ()
    if name == "fp8" and publisher in _BLOCK_FP8 and publisher:
        name = "fp8_block"
    if name == "fp8+kv":
        return uniform("fp8").with_kv("fp8"), ()
    if name in ("mxfp4", "nvfp4"):
        chosen, assumed = _four_bits(architecture, native, {"mxfp4": "mxfp4_w4a4"}.get(name, name))
    else:
        chosen, assumed = uniform(name), ()
    if publisher == "nvidia" and name in ("fp8", "nvfp4") and chosen.attention is not BF16:
        return chosen.with_kv("fp8"), (*assumed, "the KV cache is taken to be fp8, as NVIDIA's releases say")
    return chosen, assumed


def _everywhere(form: Format) -> Precision:
    classes: dict[Tensor, Format] = {t: form for t in TENSORS if t != "router"}
    return Precision(name=form.name, **classes)


def _four_bits(architecture: Architecture, native: Precision, name: str) -> tuple[Precision, tuple[str, ...]]:
    """Four-bit floats: publishers leave latent attention alone (ModelOpt's DeepSeek recipes exclude ``self_attn``)."""
    chosen = replace(uniform(name), state=BF16)
    if any(isinstance(g.mixer, CompressedAttention) for g in architecture.groups):
        kept = "all but the routed experts is taken to stay as DeepSeek released it, as in NVIDIA's release"
        return replace(native, name=FORMATS[name].name, experts=FORMATS[name]), (kept,)
    if any(isinstance(g.mixer, LatentAttention) for g in architecture.groups):
        return replace(chosen, attention=BF16), ("latent attention is taken to stay bf16, as in NVIDIA's releases",)
    return replace(chosen, name=FORMATS[name].name), ()
