"""The blocks that a decoder layer is made of, each as the matrices a server multiplies by and its sizes.

A block says what it is (heads, ranks, experts), lists its matrices as ``Linear`` (q, k and v fused, as servers run
them) and counts the parameters that are in no matrix. What it costs to run is counted in ``physics.serving``. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from joulemill.physics.model.linear import Linear
from joulemill.physics.model.precision import Tensor
from joulemill.physics.model.recurrent_blocks import DeltaNet, Recurrent, SelectiveScan, ShortConvolution, StateSpace

__all__ = [
    "CompressedAttention",
    "DeltaNet",
    "DenseFeedForward",
    "ExpertFeedForward",
    "FeedForward",
    "GroupedAttention",
    "Indexer",
    "LatentAttention",
    "Linear",
    "Mixer",
    "Recurrent",
    "SelectiveScan",
    "ShortConvolution",
    "StateSpace",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedAttention:
    """Softmax attention with ``kv_heads`` <= ``heads`` (MHA, GQA, MQA).

    window          keys seen at most, None for all; ``chunked`` windows (Llama 4) see only their own chunk
    gated           an output gate as wide as the query (Qwen3-Next): doubles the query projection
    head_gate       an output gate of one number a head (Step-3.5)
    query_rank      width of a low-rank query (Step-3), None for none
    input_count     hidden vectors that queries, keys and values are made of, side by side (Zamba 2: two)
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
    head_gate: bool = False
    query_rank: int | None = None
    input_count: int = 1

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Fused qkv (with gate), and output."""
        query = self.heads * self.head_dim * (2 if self.gated else 1) + (self.heads if self.head_gate else 0)
        value = 0 if self.key_is_value else self.kv_heads * self.value_dim
        kv = self.kv_heads * self.head_dim + value if self.owns_cache else 0
        first: tuple[Linear, ...] = (self._qkv(hidden * self.input_count, query, kv),)
        if self.query_rank is not None:
            up = Linear(name="q_b", tensor="attention", inputs=self.query_rank, split=query)
            first = (replace(first[0], split=0, whole=self.query_rank), up)
        return (
            *first,
            Linear(
                name="attention_output",
                tensor="attention",
                inputs=self.heads * self.value_dim,
                whole=hidden,
                row_parallel=True,
                bias=self.output_bias,
            ),
        )

    def _qkv(self, inputs: int, query: int, kv: int) -> Linear:
        return Linear(
            name="qkv",
            tensor="attention",
            inputs=inputs,
            split=query,
            kv=kv,
            kv_heads=self.kv_heads,
            bias=self.qkv_bias,
        )

    def loose_parameters(self, hidden: int) -> int:
        """Norms of query and key, of a low-rank query, attention sinks."""
        key_heads = self.kv_heads if self.owns_cache else 0
        norm = {
            "none": 0,
            "head": (2 if self.owns_cache else 1) * self.head_dim,
            "full": (self.heads + key_heads) * self.head_dim,
        }
        return norm[self.qk_norm] + (self.heads if self.sinks else 0) + (self.query_rank or 0)


@dataclass(frozen=True, slots=True)
class Indexer:
    """The lightning indexer of DeepSeek sparse attention: scores all keys with small heads, keeps ``top`` of them."""

    heads: int
    head_dim: int
    top: int


@dataclass(frozen=True, slots=True, kw_only=True)
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
                Linear(
                    name="qkv_a", tensor="attention", inputs=hidden, split=query, whole=self.kv_rank + self.rope_dim
                ),
            )
        else:
            first = (
                Linear(
                    name="qkv_a",
                    tensor="attention",
                    inputs=hidden,
                    whole=self.query_rank + self.kv_rank + self.rope_dim,
                    bias=self.qkv_bias,
                ),
                Linear(name="q_b", tensor="attention", inputs=self.query_rank, split=query),
            )
        rest = (
            Linear(
                name="kv_b",
                tensor="attention",
                inputs=self.kv_rank,
                split=self.heads * (self.nope_dim + self.value_dim),
            ),
            Linear(
                name="attention_output",
                tensor="attention",
                inputs=self.heads * self.value_dim,
                whole=hidden,
                row_parallel=True,
            ),
        )
        return first + rest + self._index_linears(hidden)

    def _index_linears(self, hidden: int) -> tuple[Linear, ...]:
        if self.indexer is None:
            return ()
        queries = self.indexer.heads * self.indexer.head_dim
        return (
            Linear(name="index_q", tensor="attention", inputs=self.query_rank or hidden, whole=queries),
            Linear(name="index_k", tensor="attention", inputs=hidden, whole=self.indexer.head_dim + self.indexer.heads),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Norms of the two latents and of the indexer's key."""
        return (self.query_rank or 0) + self.kv_rank + (2 * self.indexer.head_dim if self.indexer else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedAttention:
    """DeepSeek V4's attention: the last tokens as they are, those before in entries of ``stride`` tokens each.

    One vector a token (``head_dim`` wide) is key and value of all heads; so is an entry, a weighted mean of tokens.

    query_rank     width of the low-rank query
    window         tokens seen as they are
    output_groups, output_rank   heads go through one narrow matrix a group, then together into the residual stream
    stride         tokens an entry stands for; None: the window alone
    indexer        chooses among entries, by entries of its own (strides then overlap); None: all are seen
    """

    heads: int
    query_rank: int
    head_dim: int
    window: int
    output_groups: int
    output_rank: int
    stride: int | None = None
    indexer: Indexer | None = None

    @property
    def value_dim(self) -> int:
        """Width of a value: the key is the value."""
        return self.head_dim

    @property
    def span(self) -> int:
        """Strides that one entry is made of: two where they overlap."""
        return 1 if self.indexer is None else 2

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Query, cached vector, grouped output; what makes entries (values and their weights), and the indexer's."""
        inner = self.heads * self.head_dim
        joined = self.output_groups * self.output_rank
        own = (
            Linear(name="qkv_a", tensor="attention", inputs=hidden, whole=self.query_rank + self.head_dim),
            Linear(name="q_b", tensor="attention", inputs=self.query_rank, split=inner),
            Linear(name="output_a", tensor="attention", inputs=inner // self.output_groups, split=joined),
            Linear(name="attention_output", tensor="attention", inputs=joined, whole=hidden, row_parallel=True),
        )
        if self.stride is None:
            return own
        entries = Linear(name="compress", tensor="attention", inputs=hidden, whole=2 * self.span * self.head_dim)
        return (*own, entries, *self._index_linears(hidden))

    def _index_linears(self, hidden: int) -> tuple[Linear, ...]:
        if self.indexer is None:
            return ()
        i = self.indexer
        return (
            Linear(name="index_q", tensor="attention", inputs=self.query_rank, whole=i.heads * i.head_dim),
            Linear(name="index_k", tensor="attention", inputs=hidden, whole=2 * self.span * i.head_dim + i.heads),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Norms of query and key, sinks; a bias for each place of a stride, and the norm of an entry."""
        each = self.head_dim + (self.indexer.head_dim if self.indexer else 0)
        places = 0 if self.stride is None else (self.stride * self.span + 1) * each
        return self.query_rank + self.head_dim + self.heads + places


SoftmaxAttention = GroupedAttention | LatentAttention | CompressedAttention
Mixer = SoftmaxAttention | StateSpace | SelectiveScan | DeltaNet | ShortConvolution


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
            Linear(
                name="up",
                tensor=self.tensor,
                inputs=hidden,
                split=self.intermediate * (self.matrices - 1),
                bias=self.bias,
            ),
            Linear(
                name="down",
                tensor=self.tensor,
                inputs=self.intermediate,
                whole=hidden,
                row_parallel=True,
                bias=self.bias,
            ),
        )

    def loose_parameters(self, hidden: int) -> int:
        """None."""
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertFeedForward:
    """``active`` of ``experts`` per token, beside ``shared`` (a dense block all tokens pass; None for none).

    latent   width that the routed experts work in, where the hidden state is projected down first; else None
    groups, groups_active   node-limited routing: a token's experts lie in so many of so many groups
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
    groups: int = 1
    groups_active: int = 1

    def expert_parameters(self, hidden: int) -> int:
        """Parameters of one routed expert."""
        width = self.latent or hidden
        bias = self.intermediate * (self.matrices - 1) + width if self.bias else 0
        return self.matrices * width * self.intermediate + bias

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Router, shared expert, latent projections; not the routed experts."""
        router = Linear(name="router", tensor="router", inputs=hidden, whole=self.experts, bias=self.router_bias)
        shared = self.shared.linears(hidden) if self.shared else ()
        latent: tuple[Linear, ...] = ()
        if self.latent:
            latent = (
                Linear(name="latent_down", tensor="shared", inputs=hidden, whole=self.latent),
                Linear(name="latent_up", tensor="shared", inputs=self.latent, whole=hidden),
            )
        return (router, *shared, *latent)

    def loose_parameters(self, hidden: int) -> int:
        """The shared expert's gate; extra norms around the experts."""
        return (hidden if self.shared_gate else 0) + self.extra_norms * hidden


FeedForward = DenseFeedForward | ExpertFeedForward
