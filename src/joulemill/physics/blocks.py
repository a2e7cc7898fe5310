"""The blocks that a decoder layer is made of, each as the matrices a server multiplies by and its sizes.

A block says what it is (heads, ranks, experts), lists its matrices as ``Linear`` (q, k and v fused, as servers run
them) and counts the parameters that are in no matrix. What it costs to run is in ``attention`` and ``work``. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from joulemill.physics.precision import Tensor


@dataclass(frozen=True, slots=True)
class Linear:
    """One matrix, inputs x outputs, and how tensor parallelism cuts it.

    Outputs come in three parts: ``split`` (cut by tp), ``kv`` (cut by tp but never below one of ``kv_heads``), and
    ``whole`` (on every device). ``cut_inputs``: the inputs are cut instead, and a sum over devices follows.
    """

    name: str
    tensor: Tensor
    inputs: int
    split: int = 0
    kv: int = 0
    kv_heads: int = 1
    whole: int = 0
    cut_inputs: bool = False
    bias: bool = False

    @property
    def outputs(self) -> int:
        """Columns of the uncut matrix."""
        return self.split + self.kv + self.whole

    @property
    def parameters(self) -> int:
        """Weights and biases of the uncut matrix."""
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True, slots=True)
class GroupedAttention:
    """Softmax attention with ``kv_heads`` <= ``heads`` (MHA, GQA, MQA).

    window          keys seen at most, None for all; ``chunked`` windows (Llama 4) see only their own chunk
    gated           an output gate as wide as the query (Qwen3-Next): doubles the query projection
    key_is_value    no value projection (Gemma 4 global layers); both are cached
    owns_cache      False where keys and values of an earlier layer are used again (Gemma 3n, 4 E-models)
    qk_norm         parameters of the query and key norms: one vector per head dim, or over all heads
    """

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None
    chunked: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    gated: bool = False
    key_is_value: bool = False
    owns_cache: bool = True
    qk_norm: Literal["none", "head", "full"] = "none"
    sinks: bool = False
    layer_norm_bias: bool = False

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Fused qkv (with gate), and output."""
        query = self.heads * self.head_dim * (2 if self.gated else 1)
        value = 0 if self.key_is_value else self.kv_heads * self.value_dim
        kv = self.kv_heads * self.head_dim + value if self.owns_cache else 0
        return (
            Linear("qkv", "attention", hidden, split=query, kv=kv, kv_heads=self.kv_heads, bias=self.qkv_bias),
            Linear(
                "attention_output",
                "attention",
                self.heads * self.value_dim,
                whole=hidden,
                cut_inputs=True,
                bias=self.output_bias,
            ),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Norms of query and key, attention sinks."""
        key_heads = self.kv_heads if self.owns_cache else 0
        norm = {
            "none": 0,
            "head": (2 if self.owns_cache else 1) * self.head_dim,
            "full": (self.heads + key_heads) * self.head_dim,
        }
        return norm[self.qk_norm] + (self.heads if self.sinks else 0)


@dataclass(frozen=True, slots=True)
class Indexer:
    """The lightning indexer of DeepSeek sparse attention: scores all keys with small heads, keeps ``top`` of them."""

    heads: int
    head_dim: int
    top: int


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention: one vector of ``kv_rank + rope_dim`` cached per token for all heads.

    Decode runs absorbed (heads attend in the latent space), prefill expands keys and values. ``query_rank`` None: no
    low-rank query. ``indexer`` None: dense.
    """

    heads: int
    query_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    indexer: Indexer | None = None
    qkv_bias: bool = False

    @property
    def query_dim(self) -> int:
        """Width of one query head."""
        return self.nope_dim + self.rope_dim

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Down- and up-projections, output, and the indexer's; ``kv_b`` is what absorption folds into the heads."""
        query = self.heads * self.query_dim
        if self.query_rank is None:
            first: tuple[Linear, ...] = (
                Linear("qkv_a", "attention", hidden, split=query, whole=self.kv_rank + self.rope_dim),
            )
        else:
            first = (
                Linear(
                    "qkv_a",
                    "attention",
                    hidden,
                    whole=self.query_rank + self.kv_rank + self.rope_dim,
                    bias=self.qkv_bias,
                ),
                Linear("q_b", "attention", self.query_rank, split=query),
            )
        rest = (
            Linear("kv_b", "attention", self.kv_rank, split=self.heads * (self.nope_dim + self.value_dim)),
            Linear("attention_output", "attention", self.heads * self.value_dim, whole=hidden, cut_inputs=True),
        )
        return first + rest + self._index_linears(hidden)

    def _index_linears(self, hidden: int) -> tuple[Linear, ...]:
        if self.indexer is None:
            return ()
        queries = self.indexer.heads * self.indexer.head_dim
        return (
            Linear("index_q", "attention", self.query_rank or hidden, whole=queries),
            Linear("index_k", "attention", hidden, whole=self.indexer.head_dim + self.indexer.heads),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Norms of the two latents and of the indexer's key."""
        return (self.query_rank or 0) + self.kv_rank + (2 * self.indexer.head_dim if self.indexer else 0)


@dataclass(frozen=True, slots=True)
class StateSpace:
    """Mamba-2: ``heads`` of ``head_dim`` with a state of ``state_dim``; B and C shared in ``groups``; a convolution."""

    heads: int
    head_dim: int
    state_dim: int
    groups: int
    kernel: int
    chunk: int = 256
    bias: bool = False
    conv_bias: bool = True
    norm: bool = True

    @property
    def inner(self) -> int:
        """Width of the inner stream."""
        return self.heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution: x, B, C."""
        return self.inner + 2 * self.groups * self.state_dim

    @property
    def state_elements(self) -> int:
        """Elements of the running state of one sequence, layer."""
        return self.inner * self.state_dim

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Input projection to gate, x, B, C, dt; output projection."""
        split = 2 * self.inner + self.heads
        groups = 2 * self.groups * self.state_dim
        return (
            Linear("state_input", "state", hidden, split=split, kv=groups, kv_heads=self.groups, bias=self.bias),
            Linear("state_output", "state", self.inner, whole=hidden, cut_inputs=True, bias=self.bias),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Convolution, A, D, dt bias, gate norm."""
        conv = self.conv_channels * (self.kernel + (1 if self.conv_bias else 0))
        return conv + 3 * self.heads + (self.inner if self.norm else 0)


@dataclass(frozen=True, slots=True)
class DeltaNet:
    """Gated delta rule (Qwen3-Next), or gated linear attention (``kernel`` 0): one key x value state a head.

    gate_rank   None: gates are full matrices; else low-rank gates per channel (Kimi delta attention)
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int = 4
    chunk: int = 64
    gate_rank: int | None = None
    scalar_gates: int = 2

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution: q, k, v."""
        return (2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim) if self.kernel else 0

    @property
    def state_elements(self) -> int:
        """Elements of the running state of one sequence, layer."""
        return self.value_heads * self.key_dim * self.value_dim

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """q, k, v, output gate and the scalar gates in one; output projection."""
        keys, values = 2 * self.key_heads * self.key_dim, self.value_heads * self.value_dim
        scalars = self.scalar_gates * self.value_heads
        out = Linear("state_output", "state", values, whole=hidden, cut_inputs=True)
        if self.gate_rank is None:
            return (Linear("state_input", "state", hidden, split=keys + 2 * values + scalars), out)
        return (
            Linear("state_input", "state", hidden, split=keys + values + scalars, whole=2 * self.gate_rank),
            Linear("state_gates", "state", self.gate_rank, split=self.value_heads * self.key_dim + values),
            out,
        )

    def loose_parameters(self, hidden: int) -> int:
        """Convolution, decay and step biases, norm of the output."""
        return self.conv_channels * self.kernel + 2 * self.value_heads + self.value_dim


@dataclass(frozen=True, slots=True)
class ShortConvolution:
    """Gated short convolution (LFM2): three projections, a depthwise convolution, an output projection."""

    channels: int
    kernel: int

    @property
    def state_elements(self) -> int:
        """Elements of the running state of one sequence, layer."""
        return 0

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution."""
        return self.channels

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Input to B, C, x; output."""
        return (
            Linear("state_input", "state", hidden, split=3 * self.channels),
            Linear("state_output", "state", self.channels, whole=hidden, cut_inputs=True),
        )

    def loose_parameters(self, hidden: int) -> int:
        """The convolution."""
        return self.channels * self.kernel


Mixer = GroupedAttention | LatentAttention | StateSpace | DeltaNet | ShortConvolution
Recurrent = StateSpace | DeltaNet | ShortConvolution


@dataclass(frozen=True, slots=True)
class DenseFeedForward:
    """Two matrices (``up``, ``down``) or three (with ``gate``, as SwiGLU)."""

    intermediate: int
    matrices: Literal[2, 3] = 3
    bias: bool = False
    tensor: Tensor = "dense"

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Gate and up fused, and down."""
        return (
            Linear("up", self.tensor, hidden, split=self.intermediate * (self.matrices - 1), bias=self.bias),
            Linear("down", self.tensor, self.intermediate, whole=hidden, cut_inputs=True, bias=self.bias),
        )

    def loose_parameters(self, hidden: int) -> int:
        """None."""
        return 0


@dataclass(frozen=True, slots=True)
class ExpertFeedForward:
    """``active`` of ``experts`` per token, beside ``shared`` (a dense block all tokens pass; None for none).

    latent   width that the routed experts work in, where the hidden state is projected down first; else None
    """

    experts: int
    active: int
    intermediate: int
    matrices: Literal[2, 3] = 3
    bias: bool = False
    shared: DenseFeedForward | None = None
    shared_gate: bool = False
    router_bias: bool = False
    latent: int | None = None
    extra_norms: int = 0

    def expert_parameters(self, hidden: int) -> int:
        """Parameters of one routed expert."""
        width = self.latent or hidden
        bias = self.intermediate * (self.matrices - 1) + width if self.bias else 0
        return self.matrices * width * self.intermediate + bias

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Router, shared expert, latent projections; not the routed experts."""
        router = Linear("router", "router", hidden, whole=self.experts, bias=self.router_bias)
        shared = self.shared.linears(hidden) if self.shared else ()
        latent: tuple[Linear, ...] = ()
        if self.latent:
            latent = (
                Linear("latent_down", "shared", hidden, whole=self.latent),
                Linear("latent_up", "shared", self.latent, whole=hidden),
            )
        return (router, *shared, *latent)

    def loose_parameters(self, hidden: int) -> int:
        """The shared expert's gate; extra norms around the experts."""
        return (hidden if self.shared_gate else 0) + self.extra_norms * hidden


FeedForward = DenseFeedForward | ExpertFeedForward
