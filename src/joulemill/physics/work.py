"""Work of one engine step on one device: FLOPs by arithmetic, bytes by cause, collectives; and memory held.

    F_linear  = Σ matrices 2·m·n·k          weights = Σ n·k·b, read once a step for the whole batch
    experts   F = 2·matrices·h·i·T·k/ep     weights = the experts touched, E/ep·(1 − (1 − k/E)^T), even routing
    attention, caches, states               as in ``attention``
    collectives                             two sums of tokens·h a layer under tensor parallelism; dispatch and
                                            combine of experts where attention is data-parallel

All of it is the sum of the kernels that ``step_kernels`` lists. Left out: softmax, sampling, routing's sort, copies
between host and device, re-reading weights that do not fit a tile, uneven routing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from joulemill.physics import attention as attn
from joulemill.physics.model.architecture import Architecture, LayerGroup
from joulemill.physics.model.blocks import ExpertFeedForward
from joulemill.physics.model.precision import Precision
from joulemill.physics.work_kernels import step_kernels
from joulemill.physics.work_listing import (
    AttentionKernel,
    Collective,
    ExpertKernel,
    Gemm,
    Kernels,
    Pointwise,
    ScanKernel,
)
from joulemill.physics.work_step import (
    Array,
    Decoding,
    Prefilling,
    Sharding,
    Step,
    array_of,
    decode_step,
    mixed_step,
    prefill_step,
    sharding,
)

__all__ = [
    "AttentionKernel",
    "Collective",
    "Decoding",
    "ExpertKernel",
    "Gemm",
    "Kernels",
    "Pointwise",
    "Prefilling",
    "ScanKernel",
    "Sharding",
    "Step",
    "Work",
    "decode_step",
    "gemms",
    "kv_sequence_byte",
    "mixed_step",
    "prefill_step",
    "sharding",
    "step_kernels",
    "step_work",
    "weight_held_byte",
    "work_of",
]


@dataclass(frozen=True, slots=True)
class Work:
    """What one step makes one device do; arrays over deployments.

    linear_flop      by arithmetic of the weights' format (``bf16``, ``fp8``, ``fp4``, ``int8``) [flop]
    attention_flop, recurrent_flop  [flop]
    weight_byte      weights touched, each once [byte]
    kv_read_byte, kv_write_byte, state_byte  caches and running states [byte]
    activation_byte  what passes between kernels [byte]
    wire_byte        what the device sends to others [byte]; ``exchanges`` in how many collectives [count]
    tokens           tokens processed, per attention replica [tok]
    """

    tokens: Array
    linear_flop: Mapping[str, Array]
    attention_flop: Array
    recurrent_flop: Array
    weight_byte: Array
    kv_read_byte: Array
    kv_write_byte: Array
    state_byte: Array
    activation_byte: Array
    wire_byte: Array
    exchanges_count: Array

    @property
    def flop(self) -> Array:
        """All floating-point operations [flop]."""
        return _sum(self.linear_flop.values()) + self.attention_flop + self.recurrent_flop

    @property
    def memory_byte(self) -> Array:
        """All bytes that pass the device memory [byte]."""
        return self.weight_byte + self.kv_read_byte + self.kv_write_byte + self.state_byte + self.activation_byte


def _sum(arrays: Iterable[Array]) -> Array:
    total = array_of(0.0)
    for x in arrays:
        total = total + x
    return total


def step_work(architecture: Architecture, precision: Precision, step: Step, cut: Sharding | None = None) -> Work:
    """Work of ``step`` on one device of an instance cut as ``cut`` (one device by default).

    B sequences at context S on 8 devices: ``step_work(a, p, decode_step(B, S), sharding(tp=8))``.
    """
    return work_of(step_kernels(architecture, precision, step, cut), step)


def work_of(kernels: Kernels, step: Step) -> Work:
    """Sum a list of kernels."""
    by_arithmetic: dict[str, Array] = {}
    matrices: tuple[Gemm | ExpertKernel, ...] = (*kernels.gemms, *kernels.experts)
    for kernel in matrices:
        key = kernel.format.arithmetic
        by_arithmetic[key] = by_arithmetic.get(key, array_of(0.0)) + kernel.flop
    busy: tuple[Gemm | ExpertKernel | AttentionKernel | ScanKernel | Pointwise, ...]
    busy = (*kernels.gemms, *kernels.experts, *kernels.attentions, *kernels.scans, *kernels.pointwise)
    shared = [c for c in kernels.collectives if np.any(c.count > 0)]
    return Work(
        tokens=step.tokens_tok,
        linear_flop=by_arithmetic,
        attention_flop=_sum(x.flop for x in kernels.attentions),
        recurrent_flop=_sum(x.flop for x in kernels.scans),
        weight_byte=_sum(x.weight_byte for x in matrices),
        kv_read_byte=_sum(x.kv_read_byte for x in kernels.attentions),
        kv_write_byte=_sum(x.kv_write_byte for x in kernels.attentions),
        state_byte=_sum(x.state_byte for x in kernels.scans),
        activation_byte=_sum(x.activation_byte for x in busy),
        wire_byte=_sum(x.wire_byte for x in shared),
        exchanges_count=_sum(x.count for x in shared),
    )


def gemms(
    architecture: Architecture, precision: Precision, tokens: ArrayLike, tp: ArrayLike = 1, ep: ArrayLike | None = None
) -> tuple[Gemm, ...]:
    """The matrix products of a step of ``tokens`` decoding tokens on one device, without attention and experts."""
    return step_kernels(architecture, precision, decode_step(tokens, 1), sharding(tp, ep=ep)).gemms


def kv_sequence_byte(architecture: Architecture, precision: Precision, context: ArrayLike, tp: ArrayLike = 1) -> Array:
    """Cache and running state that one sequence of ``context`` tokens holds on one device, all layers [byte]."""
    held = array_of(0.0)
    for group in architecture.groups:
        if group.mixer is None:
            continue
        cache = attn.kv_held_byte(group.mixer, precision, context, tp)
        held = held + group.count * (cache + attn.state_held_byte(group.mixer, precision, tp))
    return held


def _run_again_byte(group: LayerGroup, hidden: int, precision: Precision) -> float:
    """Bytes of matrices that layers of a group share with others of it: run again, held once."""
    again = group.count - group.stored_count
    return sum(again * x.parameters * precision.of(x.tensor).element_byte for x in group.linears(hidden))


def weight_held_byte(architecture: Architecture, precision: Precision, cut: Sharding | None = None) -> Array:
    """Bytes of weights that one device holds: its share of every matrix and expert, head and embedding [byte].

    Pipeline stages hold 1/pp each; a tied head is held once; norms and convolutions are held whole, in bf16.
    """
    cut = cut or sharding()
    listed = step_kernels(architecture, precision, prefill_step(1), cut)
    held = _sum(x.weight_byte for x in listed.gemms if x.name != "head")
    for group in architecture.groups:
        feed = group.feed_forward
        held = held + 2.0 * group.stored_count * group.loose_parameters(architecture.hidden)
        held = held - _run_again_byte(group, architecture.hidden, precision) / cut.tp
        if isinstance(feed, ExpertFeedForward):
            each = feed.expert_parameters(architecture.hidden) * precision.experts.element_byte
            held = held + group.count * feed.experts * each / (cut.ep * cut.moe_tp)
    table = architecture.vocabulary * architecture.hidden / cut.tp
    ends = table * precision.embedding.element_byte
    ends = ends + (0.0 if architecture.tied else table * precision.head.element_byte)
    extra = architecture.unread_byte(precision) / cut.tp
    loose = architecture.loose_parameters + architecture.final_norms * architecture.hidden
    return (held + ends + extra + 2.0 * loose) / cut.pp
