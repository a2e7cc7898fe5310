"""The kernels of one engine step on one device, by shape: products, attention, experts, scans, collectives.

A kernel-level time model sums over this list; ``work`` sums the same list into FLOPs and bytes, so the two cannot
disagree. Sizes are arrays over deployments (or numbers); ``count`` is how many layers run the kernel. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from joulemill.physics.model.blocks import Recurrent
from joulemill.physics.model.precision import Format, Tensor
from joulemill.physics.work_step import Array, array_of

Phase = Literal["decode", "prefill"]


@dataclass(frozen=True, slots=True)
class Gemm:
    """C[m, n] = A[m, k] · W[k, n], ``copies`` times side by side (heads of a batched product), in ``count`` layers."""

    name: str
    tensor: Tensor
    m: Array
    n: Array
    k: Array
    count: int
    format: Format
    copies: Array = field(default_factory=lambda: array_of(1.0))

    @property
    def flop(self) -> Array:
        """2·m·n·k, all copies and layers [flop]."""
        return 2.0 * self.m * self.n * self.k * (self.copies * self.count)

    @property
    def weight_byte(self) -> Array:
        """n·k elements in the stored format, read once however many rows [byte]."""
        return self.n * self.k * (self.copies * self.count * self.format.element_byte)

    @property
    def activation_byte(self) -> Array:
        """m·(k + n) elements in and out, 2 bytes each [byte]."""
        return 2.0 * self.m * (self.n + self.k) * (self.copies * self.count)


@dataclass(frozen=True, slots=True)
class AttentionKernel:
    """Softmax attention of ``batch`` sequences with ``new`` queries each.

    pairs        query–key pairs of one sequence and head [tok²]
    keys         cached tokens read for one sequence [tok] (window and top-k applied)
    heads, kv_heads  on this device; latent attention has one key/value head that is key and value at once
    """

    phase: Phase
    kind: Literal["grouped", "latent", "sparse", "indexer"]
    batch: Array
    new: Array
    pairs: Array
    keys: Array
    heads: Array
    kv_heads: Array
    head_dim: int
    value_dim: int
    window: int | None
    count: int
    kv: Format
    read_token_byte: Array
    write_token_byte: Array

    @property
    def flop(self) -> Array:
        """2·pairs·H·(d_k + d_v), all sequences and layers [flop]."""
        return 2.0 * self.batch * self.pairs * self.heads * ((self.head_dim + self.value_dim) * self.count)

    @property
    def kv_read_byte(self) -> Array:
        """Cache read: every key once for all queries of its sequence [byte]."""
        return self.batch * self.keys * self.read_token_byte * self.count

    @property
    def kv_write_byte(self) -> Array:
        """Cache written: the new tokens [byte]."""
        return self.batch * self.new * self.write_token_byte * self.count

    @property
    def activation_byte(self) -> Array:
        """Queries in, outputs out [byte]."""
        return 2.0 * self.batch * self.new * self.heads * ((self.head_dim + self.value_dim) * self.count)


@dataclass(frozen=True, slots=True)
class ExpertKernel:
    """The routed experts of one layer on one device.

    tokens    tokens that reach the expert-parallel group [tok]
    choices   token–expert pairs that land on this device: tokens·k/ep, even routing
    touched   its experts with at least one token: E/ep·(1 − (1 − k/E)^tokens), even routing
    experts   experts held here; ``all_experts`` of the layer
    intermediate  width after ``moe_tp`` cut it
    """

    tokens: Array
    choices: Array
    touched: Array
    experts: Array
    all_experts: int
    top_k: int
    hidden: int
    intermediate: Array
    matrices: int
    ep: Array
    moe_tp: Array
    count: int
    format: Format

    @property
    def flop(self) -> Array:
        """2·matrices·h·i for each choice [flop]."""
        return 2.0 * self.choices * self.intermediate * (self.matrices * self.hidden * self.count)

    @property
    def weight_byte(self) -> Array:
        """The matrices of the experts touched [byte]."""
        return self.touched * self.intermediate * (self.matrices * self.hidden * self.count * self.format.element_byte)

    @property
    def activation_byte(self) -> Array:
        """Each choice: hidden in and out, gate, up and product in between [byte]."""
        return 2.0 * self.choices * (2.0 * self.hidden + self.matrices * self.intermediate) * self.count


@dataclass(frozen=True, slots=True)
class ScanKernel:
    """A recurrent block's state update (convolution included) for ``batch`` sequences of ``new`` tokens.

    ``mixer`` has the uncut sizes, ``tp`` how many devices share its heads; ``state_byte`` all layers' state, read and
    written.
    """

    phase: Phase
    mixer: Recurrent
    batch: Array
    new: Array
    tp: Array
    count: int
    flop: Array
    state_byte: Array
    activation_byte: Array


@dataclass(frozen=True, slots=True)
class Collective:
    """``count`` exchanges among ``ranks`` devices; none where ranks is 1.

    message_byte   all_reduce: the tensor reduced; all_gather: the tensor assembled; all_to_all: what one device sends
    """

    kind: Literal["all_reduce", "all_gather", "all_to_all", "send"]
    purpose: str
    ranks: Array
    message_byte: Array
    count: Array

    @property
    def wire_byte(self) -> Array:
        """Bytes that each device puts on its links: 2(n−1)/n, (n−1)/n or 1 of the message, all layers [byte]."""
        share = (self.ranks - 1.0) / self.ranks
        if self.kind == "all_reduce":
            return 2.0 * share * self.message_byte * self.count
        return self.message_byte * self.count * (share if self.kind == "all_gather" else 1.0)


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Norms, residual sums, rotations, activations: kernels that only move bytes."""

    purpose: str
    activation_byte: Array
    count: int


@dataclass(frozen=True, slots=True)
class Kernels:
    """All kernels of one step on one device (of one pipeline after another where there are stages)."""

    gemms: tuple[Gemm, ...]
    attentions: tuple[AttentionKernel, ...]
    experts: tuple[ExpertKernel, ...]
    scans: tuple[ScanKernel, ...]
    collectives: tuple[Collective, ...]
    pointwise: tuple[Pointwise, ...]
