"""Mixers with a running state instead of a cache: Mamba-1 and -2, the delta rule, short convolutions. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.physics.model.linear import Linear


@dataclass(frozen=True, slots=True, kw_only=True)
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
            Linear(
                name="state_input",
                tensor="state",
                inputs=hidden,
                split=split,
                kv=groups,
                kv_heads=self.groups,
                bias=self.bias,
            ),
            Linear(
                name="state_output", tensor="state", inputs=self.inner, whole=hidden, row_parallel=True, bias=self.bias
            ),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Convolution, A, D, dt bias, gate norm."""
        conv = self.conv_channels * (self.kernel + (1 if self.conv_bias else 0))
        return conv + 3 * self.heads + (self.inner if self.norm else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveScan:
    """Mamba-1: every channel of ``inner`` has a state of ``state_dim``; its step comes from a vector of ``step_rank``.

    inner_norms   norms of the step, B and C (Jamba)
    """

    inner: int
    state_dim: int
    step_rank: int
    kernel: int = 4
    bias: bool = False
    conv_bias: bool = True
    inner_norms: bool = False

    @property
    def conv_channels(self) -> int:
        """Channels that pass the convolution."""
        return self.inner

    @property
    def state_elements(self) -> int:
        """Elements of the running state of one sequence, layer."""
        return self.inner * self.state_dim

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """Input projection to x and gate; to step, B, C; the step's; output projection."""
        return (
            Linear(name="state_input", tensor="state", inputs=hidden, split=2 * self.inner, bias=self.bias),
            Linear(
                name="state_select",
                tensor="state",
                inputs=self.inner,
                whole=self.step_rank + 2 * self.state_dim,
                row_parallel=True,
            ),
            Linear(name="state_step", tensor="state", inputs=self.step_rank, split=self.inner, bias=True),
            Linear(
                name="state_output", tensor="state", inputs=self.inner, whole=hidden, row_parallel=True, bias=self.bias
            ),
        )

    def loose_parameters(self, hidden: int) -> int:
        """Convolution, A (a row a channel), D; norms of step, B and C."""
        norms = self.step_rank + 2 * self.state_dim if self.inner_norms else 0
        return self.inner * (self.kernel + (1 if self.conv_bias else 0) + self.state_dim + 1) + norms


@dataclass(frozen=True, slots=True, kw_only=True)
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
        out = Linear(name="state_output", tensor="state", inputs=values, whole=hidden, row_parallel=True)
        if self.gate_rank is None:
            return (Linear(name="state_input", tensor="state", inputs=hidden, split=keys + 2 * values + scalars), out)
        return (
            Linear(
                name="state_input",
                tensor="state",
                inputs=hidden,
                split=keys + values + scalars,
                whole=2 * self.gate_rank,
            ),
            Linear(
                name="state_gates",
                tensor="state",
                inputs=self.gate_rank,
                split=self.value_heads * self.key_dim + values,
            ),
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
    bias: bool = False

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
            Linear(name="state_input", tensor="state", inputs=hidden, split=3 * self.channels, bias=self.bias),
            Linear(
                name="state_output",
                tensor="state",
                inputs=self.channels,
                whole=hidden,
                row_parallel=True,
                bias=self.bias,
            ),
        )

    def loose_parameters(self, hidden: int) -> int:
        """The convolution."""
        return self.channels * (self.kernel + (1 if self.bias else 0))


Recurrent = StateSpace | SelectiveScan | DeltaNet | ShortConvolution


def state_flop(mixer: Recurrent) -> float:
    """FLOP of one decoded token in one recurrent layer, projections aside [flop].

    Mamba-2: decay 1, outer product and sum 3, read-out 2 per state element. Delta rule: decay 1, recall 2, outer
    product 2, read-out 2; Mamba-1 an exponential of its own per element. Convolution 2·kernel a channel.
    """
    per_element = 6.0 if isinstance(mixer, StateSpace) else 7.0
    return 2.0 * mixer.conv_channels * mixer.kernel + per_element * mixer.state_elements


def chunked_state_flop(mixer: Recurrent) -> float:
    """FLOP of one prompt token in one recurrent layer in chunks of L, projections aside [flop].

    Mamba-1: as decode, token by token. Mamba-2 (SSD): C·Bᵀ within the chunk G·L·N, its use H·L·P, states in and out
    4·H·P·N. Delta rule: q·kᵀ, k·kᵀ and two triangular products H·L·(3·d_k + 2·d_v), states 6·H·d_k·d_v. Triangles
    count half.
    """
    conv = 2.0 * mixer.conv_channels * mixer.kernel
    if isinstance(mixer, StateSpace):
        inside = mixer.chunk * (mixer.groups * mixer.state_dim + mixer.inner)
        return conv + inside + 4.0 * mixer.state_elements
    if isinstance(mixer, DeltaNet):
        inside = mixer.value_heads * mixer.chunk * (3 * mixer.key_dim + 2 * mixer.value_dim)
        return conv + inside + 6.0 * mixer.state_elements
    return state_flop(mixer)
