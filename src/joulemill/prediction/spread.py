"""How wide a prediction's interval is: from errors on model families that the fit had not seen.

The half-width is the 80 % quantile of |ln(predicted ÷ measured)| on left-out families: dense and mixture-of-experts
models, newer and older silicon, and formats of 16, 8 and 4 bits apart (``serving_widths.csv``). What was never
measured widens it by what leaving such groups out of the fit costs (``serving_groups.csv``): the logarithms' variances
add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemill.catalog.serving import group_cost_ratio, load_ratios, widths
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.serving.deployment import Deployment

#: Devices and number formats whose runs the fits have seen, by what was measured on them. Exact names: an H100 NVL or
#: PCIe is no H100 SXM.
SEEN_ENERGY = ("h100-sxm", "b200")
SEEN_LATENCY = ("h100-sxm", "h200-sxm", "b200", "gb200")
SEEN_FORMATS = ("bf16", "fp16", "fp8", "fp8_block", "mxfp4")
SEEN_LATENCY_FORMATS = (*SEEN_FORMATS, "nvfp4")
SEEN_VENDOR = "nvidia"
#: A device of another vendor, over one of another generation of the same (assumed: only one vendor's runs are fitted).
VENDOR_RATIO = 2.0
#: The boards whose silicon and memory are those of boards that were measured; another one errs by this much more than
#: one of them does that is left out (assumed).
RELATED = ("h100", "h200", "h800", "gh200", "b200", "b300", "gb200", "gb300")
UNRELATED_RATIO = 1.5
#: Added half-width of energy at the node [ln, 80 %] (assumed).
NODE = 0.08
ENERGY = ("energy_j_tok", "power_w", "node_power_w", "node_energy_j_tok")
#: Formats whose weights are unpacked before a multiply in 16 bits.
WEIGHT_ONLY = ("int4", "int4_g32", "nf4", "int8_weight_only", "fp8_weight_only")
#: Requests in flight per replica up to which they can cost more than the format they replace (see ``caveats``).
SMALL_BATCH_REQ = 16.0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What an interval's width depends on beside the quantity: where it runs, and in which number formats.

    single   a replica has one device, whose host others use too
    """

    engine: str
    device: str
    vendor: str = "NVIDIA"
    formats: tuple[str, ...] = ()
    is_moe: bool = False
    pools: str = ""
    untried: tuple[str, ...] = ()
    release_stated: bool = True
    single: bool = False


def kind_of(deployment: Deployment, profile: str, engine: str | None = None) -> Kind:
    """The kind of ``deployment`` under the engine profile ``profile``; ``engine``: as it was asked for, by release or
    not."""
    precision, moe = deployment.precision, deployment.architecture.is_moe
    tensors = (precision.attention, precision.dense, *((precision.experts,) if moe else ()))
    formats = tuple(sorted({f.name for f in tensors}))
    drafts = deployment.speculation is not None and deployment.speculation.draft_count > 0
    pools = "disaggregated" if deployment.prefill else "drafted" if drafts else ""
    return Kind(
        engine=profile,
        device=deployment.device.name,
        vendor=deployment.device.vendor,
        formats=formats,
        is_moe=moe,
        pools=pools,
        untried=untried_of(deployment),
        release_stated=(engine or profile).lower() != "vllm",
        single=deployment.parallelism.devices == 1,
    )


#: What no run was measured with → what it is called. Each widens the interval by what leaving a number format out costs
#: (assumed: the largest of the costs that were measured).
UNTRIED = {
    "pipeline": "pipeline parallelism",
    "disaggregated": "prompts and answers on pools of their own",
    "drafted": "speculative decoding",
    "whole prompts": "prompts that are not computed in parts",
    "wide": "experts spread wide, with overlapping micro-batches or balanced experts",
    "eager": "decoding without captured graphs",
}
#: Of these, latency was measured: ``serving_errors.csv`` has its errors.
LATENCY_TRIED = ("disaggregated", "drafted")
#: Half-width [ln, 80 %] that a release not stated adds, by quantity: the median distance of the two fitted releases of
#: vLLM, 0.11 and 0.19, over 240 deployments, as it was in the first fit of both (modelled). Fitted anew they are nearer
#: (0.12 to 0.14 in rate); what lies between two releases that were fitted bounds no third one, so the width is kept.
RELEASE_LN = {
    "rate_tok_s": 0.34,
    "tpot_s": 0.34,
    "itl_s": 0.34,
    "energy_j_tok": 0.20,
    "power_w": 0.12,
    "ttft_s": 0.25,
}


def untried_of(deployment: Deployment) -> tuple[str, ...]:
    """What of ``deployment`` no run was measured with, by the names of ``UNTRIED``."""
    how = deployment.speculation
    flags = {
        "pipeline": deployment.parallelism.pipeline > 1,
        "disaggregated": deployment.prefill is not None,
        "drafted": how is not None and how.draft_count > 0,
        "whole prompts": not deployment.chunked_prefill,
        "wide": deployment.traffic is not None,
        "eager": deployment.eager,
    }
    return tuple(name for name, untried in flags.items() if untried)


def unmeasured(quantity: str, kind: Kind) -> tuple[str, ...]:
    """Groups that ``kind`` belongs to and of which no run of ``quantity`` was measured."""
    energy = quantity in ENERGY
    first = energy or kind.engine == "vllm-0.11"
    groups = {
        "vendor": kind.vendor.lower() != SEEN_VENDOR,
        "device": kind.device not in (SEEN_ENERGY if first else SEEN_LATENCY),
        "format": any(f not in (SEEN_FORMATS if first else SEEN_LATENCY_FORMATS) for f in kind.formats),
        "engine": kind.engine != "vllm-0.11" and (energy or quantity == "rate_tok_s"),
    }
    return tuple(name for name, missing in groups.items() if missing)


#: Requests in flight per replica up to which a batch is of the first, of the second class; the rest is of the third.
LOADS_REQ = (64.5, 256.5)
#: Prompt tokens a token of the answer up to which a load is mostly answers, is even; the rest is mostly prompts.
PROMPTS_RATIO = (0.25, 2.0)
#: Classes of a load: of its batch, within those of its prompts.
LOADS = (len(LOADS_REQ) + 1) * (len(PROMPTS_RATIO) + 1)


def load_class(concurrency: float, prompts_ratio: float = 1.0) -> int:
    """The class of a load: widths differ by its batch, and by its prompt tokens a token of the answer."""
    return int(load_classes(np.float64(concurrency), np.float64(prompts_ratio)))


def load_classes(concurrency: ArrayLike, prompts_ratio: ArrayLike) -> NDArray[np.intp]:
    """``load_class`` of each row."""
    batches = sum(np.greater(concurrency, most).astype(np.intp) for most in LOADS_REQ)
    prompts = sum(np.greater(prompts_ratio, most).astype(np.intp) for most in PROMPTS_RATIO)
    return np.asarray(batches + (len(LOADS_REQ) + 1) * prompts)


@cache
def half_width_ratio(quantity: str, kind: Kind, load: int | None = None) -> float:
    """Half-width of the 80 % interval of ``quantity``, as a logarithm: [x·e^−w, x·e^w].

    ``kind.pools``: "disaggregated", "unstated pools" or "drafted" where a deployment is one of these. ``load``: class
    of the load, None where it is not known.
    """
    groups = unmeasured(quantity, kind)
    base = _base(quantity, kind)
    if groups:  # however sure those are that it is like
        base = max(base, _base(quantity, replace(kind, device=SEEN_ENERGY[0], formats=("bf16",), single=False)))
    parts = [base * (1.0 if load is None else _load_ratio(quantity, kind, load))]
    name = {"node_power_w": "power_w", "node_energy_j_tok": "energy_j_tok"}.get(quantity, quantity)
    latency = quantity in ("tpot_s", "ttft_s")
    parts += [group_cost_ratio(name, "format") for what in kind.untried if not (latency and what in LATENCY_TRIED)]
    if not kind.release_stated:
        parts.append(RELEASE_LN[name])
    for group in groups:
        parts.append(group_cost_ratio(name, "device" if group == "vendor" else group) * _ratio(group, kind))
    if quantity.startswith("node"):
        parts.append(NODE)
    return math.sqrt(sum(p * p for p in parts))


def _load_ratio(quantity: str, kind: Kind, load: int) -> float:
    name = {"node_power_w": "power_w", "node_energy_j_tok": "energy_j_tok"}.get(quantity, quantity)
    name = "itl_s" if name == "tpot_s" and kind.engine == "vllm-0.11" and not kind.pools else name
    return load_ratios()[name][load]


def _ratio(group: str, kind: Kind) -> float:
    """How much more than the measured cost of leaving such a group out is added."""
    if group == "vendor":
        return VENDOR_RATIO
    return UNRELATED_RATIO if group == "device" and not kind.device.startswith(RELATED) else 1.0


def caveats(kind: Kind, concurrency: float) -> tuple[str, ...]:
    """What must be said of a prediction for a kind that nobody measured, and of weight-only formats at few requests."""
    groups = unmeasured("energy_j_tok", kind)
    texts = []
    if "vendor" in groups:
        texts.append(
            f"no run of {kind.vendor}'s devices was measured: what share of its peaks {kind.device} reaches is taken "
            "from NVIDIA's kernels, and the interval is wider"
        )
    elif "device" in groups:
        texts.append(
            f"no energy was measured on {kind.device}: the interval is wider by what leaving a device out costs"
        )
    if "format" in groups:
        new = ", ".join(f for f in kind.formats if f not in SEEN_FORMATS)
        texts.append(f"no energy was measured in {new}: the interval is wider by what leaving a format out costs")
    if kind.untried:
        texts.append(
            f"no energy was measured with {' and '.join(UNTRIED[name] for name in kind.untried)}: the interval is wider"
        )
    if not kind.release_stated:
        texts.append(
            f"no release of vLLM is stated: {kind.engine} is taken, and the interval is wider; name one, e.g. vllm-0.19"
        )
    if concurrency <= SMALL_BATCH_REQ and any(f in WEIGHT_ONLY for f in kind.formats):
        texts.append(
            "weight-only formats can cost more at small batch, which is not modelled: LLM.int8() +17 to +33 % J/token "
            "at batch 1, NF4 +25 to +55 % below 5 billion parameters and −11 to −23 % from 6 billion on (RTX 4090D, "
            "bitsandbytes documentation)"
        )
    return tuple(texts)


#: Devices with 4-bit units, whose kernels are younger, and formats by the width of their elements.
NEWEST = ("b200", "b300", "gb200", "gb300", "mi355x", "rtx-5090", "rtx-pro-6000-blackwell")
EIGHT_BIT = ("fp8", "fp8_block", "mxfp8", "int8", "int8_weight_only", "fp8_weight_only")
FOUR_BIT = ("mxfp4", "nvfp4", "int4", "int4_g32", "nf4")


def levels_of(kind: Kind) -> tuple[str, str]:
    """What an interval's width depends on: silicon, "newest" or "older", and "newest alone" where a replica has one
    such device (a third of those that were measured ran on hosts crowded by others); format, "16-bit", "8-bit" or
    "4-bit"."""
    formats = kind.formats
    narrowest = "8-bit" if any(f in EIGHT_BIT for f in formats) else "16-bit"
    bits = "4-bit" if any(f in FOUR_BIT for f in formats) else narrowest
    newest = "newest alone" if kind.single else "newest"
    return newest if kind.device in NEWEST else "older", bits


def _base(quantity: str, kind: Kind) -> float:
    known = widths()
    name = {"node_power_w": "power_w", "node_energy_j_tok": "energy_j_tok"}.get(quantity, quantity)
    plain = "moe" if kind.is_moe else "dense"
    silicon, bits = levels_of(kind)
    tried = kind.pools in LATENCY_TRIED and quantity in ("tpot_s", "ttft_s")
    slow = kind.engine == "vllm-0.11" and quantity == "tpot_s"
    if not tried and (slow or (name, plain, silicon, "16-bit") in known):
        name = "itl_s" if quantity == "tpot_s" else name
        return known.get((name, plain, silicon, bits), known[name, plain, silicon, "16-bit"])
    engine = "vllm-0.19" if kind.engine == "vllm-0.11" else kind.engine
    pools = kind.pools or plain
    for stratum in (f"{engine} {pools}", f"latency {pools}", f"latency {plain}"):
        for format_name in (bits, "16-bit"):
            if (name, stratum, silicon, format_name) in known:
                return known[name, stratum, silicon, format_name]
    return max(v for (n, *_), v in known.items() if n == name)


#: Half-width [ln, 80 %] that a model not understood adds: a factor of three either way. Read as plain decoders, four of
#: five cataloged models come out within 3 % and the worst 1.6 times off; but a model that is not understood is not
#: drawn from these, and the worst plain reading known (Mamba-2 taken for attention) has three times the parameters.
NOT_UNDERSTOOD_LN = math.log(3.0)


def widened_ratio(half_width_ratio: float, architecture: Architecture) -> float:
    """Half-width of an interval as a logarithm, wider where the architecture was not understood."""
    return math.hypot(half_width_ratio, NOT_UNDERSTOOD_LN) if architecture.doubts else half_width_ratio
