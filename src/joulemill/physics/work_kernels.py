"""List the kernels of one engine step on one device. See ``work_listing`` for what a kernel states. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from joulemill.physics import attention as attn
from joulemill.physics.kernels_work import experts_touched
from joulemill.physics.model.architecture import Architecture, LayerGroup
from joulemill.physics.model.blocks import (
    CompressedAttention,
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    Linear,
    Recurrent,
    SoftmaxAttention,
)
from joulemill.physics.model.precision import Precision
from joulemill.physics.work_listing import (
    AttentionKernel,
    Collective,
    ExpertKernel,
    Gemm,
    Kernels,
    Phase,
    Pointwise,
    ScanKernel,
)
from joulemill.physics.work_step import Array, Sharding, Step, array_of, sharding

_ACT_BYTE = 2.0


@dataclass(slots=True)
class _Sheet:
    """The list as it grows."""

    precision: Precision
    step: Step
    cut: Sharding
    tokens: Array
    gemms: list[Gemm] = field(default_factory=list)
    attentions: list[AttentionKernel] = field(default_factory=list)
    experts: list[ExpertKernel] = field(default_factory=list)
    scans: list[ScanKernel] = field(default_factory=list)
    collectives: list[Collective] = field(default_factory=list)
    pointwise: list[Pointwise] = field(default_factory=list)

    def gemm(self, linear: Linear, rows: Array, count: int) -> None:
        """Add one matrix, cut for one device."""
        tp = self.cut.tp
        split = np.ceil(linear.split / tp)
        kv = linear.kv / linear.kv_heads * np.maximum(np.ceil(linear.kv_heads / tp), 1.0) if linear.kv else 0.0
        depth = np.ceil(linear.inputs / tp) if linear.cut_inputs else array_of(linear.inputs)
        width = split + kv + linear.whole
        self.gemms.append(Gemm(linear.name, linear.tensor, rows, width, depth, count, self.precision.of(linear.tensor)))

    def move(self, purpose: str, elements_per_token: Array | float, count: int) -> None:
        """Add a kernel that only moves bytes."""
        self.pointwise.append(Pointwise(purpose, self.tokens * elements_per_token * (_ACT_BYTE * count), count))

    def reduce(self, purpose: str, hidden: int, count: int) -> None:
        """Add the sum over tensor-parallel devices that follows a matrix with cut inputs."""
        times = np.where(self.cut.tp > 1, float(count), 0.0)
        self.collectives.append(
            Collective("all_reduce", purpose, self.cut.tp, self.tokens * (hidden * _ACT_BYTE), times)
        )


def step_kernels(architecture: Architecture, precision: Precision, step: Step, cut: Sharding | None = None) -> Kernels:
    """Every kernel of ``step`` on one device, for all deployments that the arrays in ``step`` and ``cut`` span."""
    cut = cut or sharding()
    sheet = _Sheet(precision, step, cut, step.tokens_tok)
    for group in architecture.groups:
        _mixer(sheet, group, architecture.hidden)
        _feed_forward(sheet, group, architecture.hidden)
    _ends(sheet, architecture)
    return Kernels(
        tuple(sheet.gemms),
        tuple(sheet.attentions),
        tuple(sheet.experts),
        tuple(sheet.scans),
        tuple(sheet.collectives),
        tuple(sheet.pointwise),
    )


def _mixer(sheet: _Sheet, group: LayerGroup, hidden: int) -> None:
    mixer = group.mixer
    if mixer is None:
        return
    for linear in mixer.linears(hidden):
        if linear.name != "kv_b":
            sheet.gemm(linear, sheet.tokens, group.count)
    sheet.move("norm", 4.0 * hidden, group.count)
    sheet.reduce("mixer", hidden, group.count)
    if isinstance(mixer, GroupedAttention):
        _grouped(sheet, mixer, group.count)
    elif isinstance(mixer, LatentAttention):
        _latent(sheet, mixer, group.count)
    elif isinstance(mixer, CompressedAttention):
        _compressed(sheet, mixer, group.count)
    else:
        _scan(sheet, mixer, group.count)


def _phases(step: Step) -> list[tuple[Phase, Array, Array, Array]]:
    """Phase, sequences, new tokens each, tokens cached before."""
    found: list[tuple[Phase, Array, Array, Array]] = []
    if step.decoding is not None:
        d = step.decoding
        found.append(("decode", d.sequences, d.queries, d.context - 1.0))
    if step.prefilling is not None:
        p = step.prefilling
        found.append(("prefill", p.prompts, p.new, p.past))
    return found


def _pairs_keys(mixer: SoftmaxAttention, phase: Phase, new: Array, past: Array) -> tuple[Array, Array]:
    """Pairs and keys read of one sequence; ``past`` + 1 is the mean context of a decoding token."""
    if phase == "decode":
        seen = attn.keys_seen(mixer, past + 1.0)
        return new * seen, seen + (new - 1.0)
    pairs = attn.pairs_seen(mixer, new, past)
    return pairs, new + np.minimum(past, attn.keys_seen(mixer, past))


def _grouped(sheet: _Sheet, mixer: GroupedAttention, count: int) -> None:
    tp = sheet.cut.tp
    heads, kv_heads = np.ceil(mixer.heads / tp), attn.kv_heads_held_count(mixer.kv_heads, tp)
    written = attn.kv_token_byte(mixer, sheet.precision, tp)
    read = (mixer.head_dim + mixer.value_dim) * kv_heads * sheet.precision.kv.element_byte
    for phase, batch, new, past in _phases(sheet.step):
        pairs, keys = _pairs_keys(mixer, phase, new, past)
        sheet.attentions.append(
            AttentionKernel(
                phase,
                "grouped",
                batch,
                new,
                pairs,
                keys,
                heads,
                kv_heads,
                mixer.head_dim,
                mixer.value_dim,
                mixer.window,
                count,
                sheet.precision.kv,
                read,
                written,
            )
        )
    sheet.move("rotation", 2.0 * (heads + kv_heads) * mixer.head_dim, count)


def _latent(sheet: _Sheet, mixer: LatentAttention, count: int) -> None:
    heads = np.ceil(mixer.heads / sheet.cut.tp)
    cached = array_of((mixer.kv_rank + mixer.rope_dim) * sheet.precision.kv.element_byte)
    one = array_of(1.0)
    for phase, batch, new, past in _phases(sheet.step):
        absorbed = phase == "decode" or mixer.indexer is not None
        pairs, keys = _pairs_keys(mixer, phase, new, past)
        kind: Literal["latent", "sparse"] = "latent" if mixer.indexer is None else "sparse"
        if absorbed:
            _absorbed(sheet, mixer, batch * new, count)
            sizes = (heads, one, mixer.kv_rank + mixer.rope_dim, mixer.kv_rank)
        else:
            up = Linear("kv_b", "attention", mixer.kv_rank, split=mixer.heads * (mixer.nope_dim + mixer.value_dim))
            sheet.gemm(up, batch * (new + past), count)
            sizes = (heads, heads, mixer.query_dim, mixer.value_dim)
        sheet.attentions.append(
            AttentionKernel(
                phase, kind, batch, new, pairs, keys, *sizes, None, count, sheet.precision.kv, cached, cached
            )
        )
        _index(sheet, mixer, phase, (batch, new, past), count)
    sheet.move("rotation", 2.0 * (heads + 1.0) * mixer.rope_dim, count)


def _compressed(sheet: _Sheet, mixer: CompressedAttention, count: int) -> None:
    """One vector a token, or an entry, for all heads: whole on each device."""
    heads, one = np.ceil(mixer.heads / sheet.cut.tp), array_of(1.0)
    cached = array_of(mixer.head_dim * sheet.precision.kv.element_byte)
    written = attn.kv_token_byte(mixer, sheet.precision) - attn.index_key_byte(mixer) / (mixer.stride or 1)
    kind: Literal["latent", "sparse"] = "latent" if mixer.indexer is None else "sparse"
    for phase, batch, new, past in _phases(sheet.step):
        pairs, keys = _pairs_keys(mixer, phase, new, past)
        sizes = (heads, one, mixer.head_dim, mixer.value_dim)
        sheet.attentions.append(
            AttentionKernel(
                phase, kind, batch, new, pairs, keys, *sizes, None, count, sheet.precision.kv, cached, written
            )
        )
        _index(sheet, mixer, phase, (batch, new, past), count)
    sheet.move("rotation", 2.0 * (heads + 1.0) * mixer.head_dim, count)


def _absorbed(sheet: _Sheet, mixer: LatentAttention, rows: Array, count: int) -> None:
    """Query into the latent space, output out of it: one small product a head."""
    heads, form = np.ceil(mixer.heads / sheet.cut.tp), sheet.precision.attention
    nope, rank, value = array_of(mixer.nope_dim), array_of(mixer.kv_rank), array_of(mixer.value_dim)
    sheet.gemms.append(Gemm("absorb_query", "attention", rows, rank, nope, count, form, heads))
    sheet.gemms.append(Gemm("absorb_output", "attention", rows, value, rank, count, form, heads))


def _index(
    sheet: _Sheet,
    mixer: LatentAttention | CompressedAttention,
    phase: Phase,
    sizes: tuple[Array, Array, Array],
    count: int,
) -> None:
    """The indexer looks at every key, or entry, whole on each device."""
    if mixer.indexer is None:
        return
    batch, new, past = sizes
    i = mixer.indexer
    stride = mixer.stride or 1 if isinstance(mixer, CompressedAttention) else 1
    pairs, keys = _pairs_keys(LatentAttention(i.heads, None, 0, i.head_dim, 0, 0), phase, new, past)
    byte = array_of(attn.index_key_byte(mixer))
    heads = (array_of(i.heads), array_of(1.0), i.head_dim, 0)
    sheet.attentions.append(
        AttentionKernel(
            phase, "indexer", batch, new, pairs / stride, keys / stride, *heads, None, count, sheet.precision.kv, byte,
            byte / stride,
        )
    )  # fmt: skip


def _scan(sheet: _Sheet, mixer: Recurrent, count: int) -> None:
    tp = sheet.cut.tp
    held = attn.state_held_byte(mixer, sheet.precision, tp)
    width = (2 * mixer.conv_channels + _inner(mixer)) / tp
    for phase, batch, new, _past in _phases(sheet.step):
        token = attn.recurrent_token_flop(mixer) if phase == "decode" else attn.recurrent_prefill_token_flop(mixer)
        sheet.scans.append(
            ScanKernel(
                phase,
                mixer,
                batch,
                new,
                tp,
                count,
                flop=batch * new * (token * count) / tp,
                state_byte=2.0 * batch * held * count,
                activation_byte=batch * new * width * (_ACT_BYTE * count),
            )
        )
    sheet.move("gated norm", 3.0 * _inner(mixer) / tp, count)


def _inner(mixer: Recurrent) -> int:
    return next(x.inputs for x in mixer.linears(1) if x.name == "state_output")


def _feed_forward(sheet: _Sheet, group: LayerGroup, hidden: int) -> None:
    feed = group.feed_forward
    if feed is None:
        return
    for linear in feed.linears(hidden):
        sheet.gemm(linear, sheet.tokens, group.count)
    sheet.move("norm", 4.0 * hidden, group.count)
    if isinstance(feed, ExpertFeedForward):
        _experts(sheet, feed, group.count, hidden)
        dense = feed.shared
    else:
        dense = feed
        sheet.reduce("feed-forward", hidden, group.count)
    if isinstance(dense, DenseFeedForward):
        sheet.move("activation", dense.matrices * np.ceil(dense.intermediate / sheet.cut.tp), group.count)


def _experts(sheet: _Sheet, feed: ExpertFeedForward, count: int, hidden: int) -> None:
    cut = sheet.cut
    width = feed.latent or hidden
    tokens = sheet.tokens * cut.dp
    sheet.experts.append(
        ExpertKernel(
            tokens,
            tokens * feed.active / cut.ep,
            experts_touched(tokens, feed.experts, feed.active) / cut.ep,
            feed.experts / cut.ep,
            feed.experts,
            feed.active,
            width,
            np.ceil(feed.intermediate / cut.moe_tp),
            feed.matrices,
            cut.ep,
            cut.moe_tp,
            count,
            sheet.precision.experts,
        )
    )
    replicated = cut.dp <= 1
    together = np.where(replicated & (cut.tp > 1), float(count), 0.0)
    message = sheet.tokens * (hidden * _ACT_BYTE)
    sheet.collectives.append(Collective("all_reduce", "experts", cut.tp, message, together))
    _exchange(sheet, feed, width, np.where(replicated, 0.0, float(count)))


def _exchange(sheet: _Sheet, feed: ExpertFeedForward, width: int, times: Array) -> None:
    """Tokens sent to the ranks of their experts and back, where attention replicas each have their own tokens.

    A token goes once to each rank that holds any of its k experts: ep·(1 − (1 − 1/ep)^k) of them, its own excepted.
    """
    cut = sheet.cut
    if not np.any(times > 0.0):
        return
    ranks = cut.ep * -np.expm1(feed.active * np.log1p(-1.0 / np.maximum(cut.ep, 1.0 + 1e-12)))
    ranks = np.where(cut.ep > 1, ranks, 1.0) * cut.moe_tp
    away = ranks * (1.0 - 1.0 / (cut.ep * cut.moe_tp))
    own = sheet.tokens / cut.tp * width * away
    sent = 1.0 if sheet.precision.experts.activation != "bf16" else _ACT_BYTE
    group = cut.ep * cut.moe_tp
    sheet.collectives.append(Collective("all_to_all", "dispatch", group, own * sent, times))
    sheet.collectives.append(Collective("all_to_all", "combine", group, own * _ACT_BYTE, times))


def _ends(sheet: _Sheet, a: Architecture) -> None:
    """Embedding look-up, last norm, head, and what pipeline stages hand over."""
    cut, rows = sheet.cut, sheet.step.sampled_tok
    sheet.gemm(a.head, rows, 1)
    sheet.move("embedding and last norm", 6.0 * a.hidden, 1)
    sheet.reduce("embedding", a.hidden, 1)
    once = np.where(cut.tp > 1, 1.0, 0.0)
    sheet.collectives.append(Collective("all_gather", "logits", cut.tp, rows * (a.vocabulary * _ACT_BYTE), once))
    if np.any(cut.pp > 1):
        sheet.collectives.append(
            Collective("send", "stages", cut.pp, sheet.tokens * (a.hidden * _ACT_BYTE), cut.pp - 1.0)
        )
