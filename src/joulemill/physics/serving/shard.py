"""One device's share of a model: what it multiplies, reads, keeps and sends, as a row of plain numbers.

A deployment is compiled once to a ``Shard``; a table of shards is a ``ShardTable`` of arrays, on which the time and
energy of any step are a few dozen array operations (``step.py``). Nothing here knows a measured speed. Pure.

Matrices are summed by the class of arithmetic they run in. Two slots suffice for a released model: slot 0 what stayed
in 16 bits, slot 1 what was quantized. Attention has two slots as well: 0 keys that grow with the context, 1
keys under a
window (the widest, where a model has several), each as bytes and flop per token of context.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.physics.hardware.device import Device, compute_dtype
from joulemill.physics.model.architecture import Architecture, LayerGroup
from joulemill.physics.model.blocks import (
    CompressedAttention,
    DeltaNet,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    Linear,
    Mixer,
    Recurrent,
    SelectiveScan,
    ShortConvolution,
    StateSpace,
)
from joulemill.physics.model.cache import index_key_byte, state_held_byte
from joulemill.physics.model.precision import Format, Precision
from joulemill.physics.model.recurrent_blocks import chunked_state_flop, state_flop
from joulemill.physics.serving.deployment import Parallelism

#: Bandwidth between devices whose links are not known [byte/s]: that of PCIe 4.0 x16 at large messages (assumed).
UNKNOWN_LINK_BYTE_S = 25e9
#: What one processor puts through in passes over logits, whose sorts wait for it and not for the memory [byte/s]: what
#: H100's memory gives each of its own (assumed; the fitted bytes of the sampler go with it).
PASS_BYTE_S = 3.35e12 / 132
#: Classes of matrix arithmetic whose speeds differ: 16-bit; 8-bit scaled per tensor or channel; 8-bit scaled
#: per block;
#: 4-bit in hardware; narrow weights unpacked to a wider multiply.
CLASSES = ("wide", "fp8", "fp8_block", "fp4", "unpacked")
WIDE, FP8, FP8_BLOCK, FP4, UNPACKED = range(5)
#: Elements of so many bytes or more multiply in 16 bits or wider.
WIDE_BYTE = 2.0
#: Norms, convolutions and other vectors are held whole on every device, in 16 bits [byte].
LOOSE_BYTE = 2.0


def arithmetic_class(form: Format, device: Device | None) -> tuple[int, float]:
    """Index in ``CLASSES`` and dense peak [flop/s] of a matrix stored in ``form`` on ``device``.

    Operands of unlike width multiply at the rate of the wider one: 4-bit weights under 8-bit activations run in 8 bits.
    Without a device only the slot is told: 16 bits, or quantized.
    """
    if device is None:
        return (WIDE if form.element_byte >= WIDE_BYTE else UNPACKED), 1.0
    dtype = compute_dtype(device, form.arithmetic)
    peak = device.peak_flop_s[dtype]
    if form.element_byte >= WIDE_BYTE:
        return WIDE, peak
    if dtype == "fp4" and form.activation == "fp8":
        return FP8, device.peak_flop_s[compute_dtype(device, "fp8")]
    if dtype == "fp4":
        return FP4, peak
    if dtype in ("fp8", "int8") and form.arithmetic in ("fp8", "int8"):
        return (FP8_BLOCK if form.name in ("fp8_block", "mxfp8") else FP8), peak
    return UNPACKED, device.peak_flop_s[compute_dtype(device, "bf16")]


#: Heads that a kernel of sparse attention computes at once, FlashMLA's.
SPARSE_HEADS = 64


@dataclass(slots=True, kw_only=True)
class Shard:
    """The share of one device; all floats. ``_i`` is the slot (0: 16 bit, 1: quantized; attention 0:
    growing, 1: windowed).

    matrix_byte, matrix_flop_tok   all matrices but head and routed experts: bytes read a step, flop a token
    head_*                         vocabulary head, run once a sequence and step
    kv_byte_i, kv_flop_i           read and computed per sequence, step and token of context (decode)
    prefill_flop_i                 per query–key pair of a prefill
    sparse_flop_tok                of a prompt token over all keys an indexer chooses, heads that fill tiles included
    kv_store_byte_i                kept per sequence and token
    state_byte, state_moved_byte   recurrent state of a sequence, kept; read and written in a step
    window_tok, chunked_window     keys under a window; 1 where windows are chunks of which a token sees its own
    decode_state_flop_tok, prefill_state_flop_tok   updates of recurrent state a decoded, a prompt token
    scan_flop_tok                  what kernels compute for the latter, masked halves of a chunk included
    expert_byte, expert_flop       one routed expert of all layers (this device's part): bytes; flop per token
    that chooses it
    choice_byte_tok                gathering a token's rows for its experts, activating and summing them: on
    every device,
                                   since each holds rows for all of a token's experts, its own or not
    kernels_count, blocks_count    kernels launched a step; layers
    reduce_count, reduce_byte_tok  sums over devices in a step; bytes of each a token
    exchange_byte_tok              bytes a token that data-parallel ranks exchange for experts, all layers
    sent_to_experts, overlaps_batches, balanced_experts   1 where rows are sent to their experts alone, in two
                                   micro-batches that overlap, to experts that are balanced (``wide_experts``);
                                   wide_byte_tok  bytes per row and copy, to the expert and back;
                                   groups_count, groups_active_count  of node-limited routing
    fused_experts                  1 where experts run FlashInfer's fused kernels
    pass_byte_s                    what the sampler's passes put through: bound by processors or memory
    pipeline_count                 stages that the layers are split into (``pipeline``); fullest_ratio, last_ratio:
                                   layers of the fullest and of the last stage over the mean;
    stage_byte_tok              sent on a row
    """

    matrix_byte_0: float = 0.0
    matrix_byte_1: float = 0.0
    matrix_flop_0: float = 0.0
    matrix_flop_1: float = 0.0
    matrix_class: float = 0.0
    matrix_count: float = 0.0
    quantized_count: float = 0.0
    head_byte: float = 0.0
    head_flop: float = 0.0
    act_byte_tok: float = 0.0
    kv_byte_0: float = 0.0
    kv_byte_1: float = 0.0
    kv_flop_0: float = 0.0
    kv_flop_1: float = 0.0
    prefill_flop_0: float = 0.0
    prefill_flop_1: float = 0.0
    sparse_flop_tok: float = 0.0
    kv_store_byte_0: float = 0.0
    kv_store_byte_1: float = 0.0
    window_tok: float = math.inf
    chunked_window: float = 0.0
    has_latent_kv: float = 0.0
    state_byte: float = 0.0
    state_moved_byte: float = 0.0
    decode_state_flop_tok: float = 0.0
    prefill_state_flop_tok: float = 0.0
    scan_flop_tok: float = 0.0
    state_count: float = 0.0
    expert_byte: float = 0.0
    expert_flop: float = 0.0
    expert_class: float = 0.0
    choice_byte_tok: float = 0.0
    experts_count: float = 1.0
    active_count: float = 0.0
    expert_split_count: float = 1.0
    expert_width_count: float = 1.0
    moe_layers_count: float = 0.0
    kernels_count: float = 0.0
    attention_count: float = 0.0
    blocks_count: float = 0.0
    reduce_count: float = 0.0
    reduce_byte_tok: float = 0.0
    exchange_byte_tok: float = 0.0
    exchange_count: float = 0.0
    sent_to_experts: float = 0.0
    overlaps_batches: float = 0.0
    balanced_experts: float = 0.0
    fused_experts: float = 0.0
    wide_byte_tok: float = 0.0
    groups_count: float = 1.0
    groups_active_count: float = 1.0
    tensor_count: float = 1.0
    data_count: float = 1.0
    pipeline_count: float = 1.0
    fullest_ratio: float = 1.0
    last_ratio: float = 1.0
    stage_byte_tok: float = 0.0
    expert_ranks_count: float = 1.0
    weight_byte: float = 0.0
    hidden_count: float = 0.0
    vocabulary_count: float = 0.0
    peak_0_flop_s: float = 1.0
    peak_1_flop_s: float = 1.0
    expert_peak_flop_s: float = 1.0
    bandwidth_byte_s: float = 1.0
    pass_byte_s: float = 1.0
    link_byte_s: float = math.inf
    scale_out_byte_s: float = math.inf
    domain_count: float = 1.0
    memory_byte: float = 0.0
    is_newest: float = 0.0
    tdp_w: float = 1.0
    rated_w: float = 1.0
    resting_w: float = 0.0


@dataclass(frozen=True, slots=True)
class ShardTable:
    """Shards as arrays: ``column("kv_byte_0")`` has one number a row."""

    columns: dict[str, Array]

    def __getattr__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            raise AttributeError(name) from None

    def replaced(self, name: str, column: Array) -> ShardTable:
        """The table with another column ``name``."""
        return ShardTable({**self.columns, name: column})

    def rows(self, index: NDArray[np.intp]) -> ShardTable:
        """The rows at ``index``, repeated as given."""
        return ShardTable({k: v[index] for k, v in self.columns.items()})


def shard_table(shards: list[Shard]) -> ShardTable:
    """Stack ``shards``; row i is shards[i]."""
    return ShardTable({f.name: np.array([getattr(s, f.name) for s in shards], dtype=np.float64) for f in fields(Shard)})


def link_rate_byte_s(t: ShardTable, devices: Array) -> Array:
    """Datasheet bandwidth [byte/s] between so many devices that work together: within a node's links, or beyond."""
    return np.where(devices > t.domain_count, t.scale_out_byte_s, t.link_byte_s)


def link_time_s(t: ShardTable, reduce_byte: Array, exchange_byte: Array) -> Array:
    """Least time on a device's links [s]: all-reduces in the tensor group, exchanges with all data-parallel ranks."""
    group = reduce_byte / link_rate_byte_s(t, t.tensor_count)
    return np.asarray(group + exchange_byte / link_rate_byte_s(t, t.tensor_count * t.data_count))


def whole_model(architecture: Architecture, precision: Precision, data: int = 1) -> Shard:
    """The model itself, of no device and not sharded: what its work is counted on. ``data`` ranks have requests of
    their own, each with its copy of all but the routed experts."""
    return shard(architecture, precision, None, Parallelism(1, data, data))


def drafting_model(architecture: Architecture, precision: Precision, data: int = 1) -> Shard:
    """One of the model's own drafting layers, with the matrix that joins its two inputs, and the head: what a drafted
    token passes. The architecture must have such layers (``mtp``)."""
    layer = replace(architecture, groups=(replace(architecture.mtp[0], count=1),), mtp=(), skipped=())
    s = whole_model(layer, precision, data)
    hidden = architecture.hidden
    _put_linear(s, Linear(name="join", tensor="dense", inputs=2 * hidden, whole=hidden), 1, precision, None)
    return s


def shard(architecture: Architecture, precision: Precision, device: Device | None, parallelism: Parallelism) -> Shard:
    """Compile the share of one device of a replica under ``parallelism``; None: the share of any device."""
    s = Shard(
        tensor_count=parallelism.tensor,
        data_count=parallelism.data,
        expert_ranks_count=parallelism.expert,
        hidden_count=architecture.hidden,
    )
    if device is not None:
        _put_device(s, device)
    for group in architecture.groups:
        _put_group(s, architecture, group, precision, device)
    head = architecture.head
    form = precision.head
    s.vocabulary_count = architecture.vocabulary
    s.head_byte = head.parameters / parallelism.tensor * form.element_byte
    s.head_flop = 2.0 * head.parameters / parallelism.tensor
    s.kernels_count += 4.0
    embedding = architecture.vocabulary * architecture.hidden * precision.embedding.element_byte / parallelism.tensor
    s.weight_byte += s.head_byte + (0.0 if architecture.tied else embedding)
    s.weight_byte += architecture.unread_byte(precision) / parallelism.tensor
    loose = architecture.loose_parameters + architecture.final_norms * architecture.hidden
    s.weight_byte += loose * LOOSE_BYTE
    if parallelism.tensor > 1:
        s.reduce_byte_tok = architecture.hidden * precision.activation.element_byte
    return s


def _put_device(s: Shard, device: Device) -> None:
    s.peak_0_flop_s = s.peak_1_flop_s = s.expert_peak_flop_s = device.peak_flop_s[compute_dtype(device, "bf16")]
    s.bandwidth_byte_s, s.memory_byte = device.memory_bandwidth_byte_s, device.memory_byte
    processors_byte_s = PASS_BYTE_S * device.sm_count if device.sm_count else math.inf
    s.pass_byte_s = min(device.memory_bandwidth_byte_s, processors_byte_s)
    s.link_byte_s = device.link_bandwidth_byte_s or UNKNOWN_LINK_BYTE_S
    s.scale_out_byte_s = device.scale_out_bandwidth_byte_s or UNKNOWN_LINK_BYTE_S
    s.domain_count = device.link_domain_count or 1.0
    s.is_newest = float(device.is_newest)
    s.tdp_w = math.nan if device.tdp_w is None else device.tdp_w
    s.rated_w, s.resting_w = device.power_scale_w or math.nan, device.resting_w or 0.0


def _put_group(s: Shard, a: Architecture, group: LayerGroup, precision: Precision, device: Device | None) -> None:
    n, t = group.count, s.tensor_count
    held_byte = s.weight_byte
    s.weight_byte += n * group.loose_parameters(a.hidden) * LOOSE_BYTE
    s.blocks_count += 0 if group.beside else n
    s.kernels_count += n * group.norms
    for linear in group.linears(a.hidden):
        _put_linear(s, linear, n, precision, device)
    mixer, feed = group.mixer, group.feed_forward
    if mixer is not None:
        _put_mixer(s, mixer, n, precision)
    if mixer is not None and t > 1:
        s.reduce_count += n
    if isinstance(feed, ExpertFeedForward):
        _put_experts(s, a, feed, n, precision, device)
    if feed is not None:
        s.kernels_count += n
        s.reduce_count += n if t > 1 else 0
    s.weight_byte = held_byte + (s.weight_byte - held_byte) * group.stored_count / n
    s.act_byte_tok += n * 12.0 * a.hidden * precision.activation.element_byte


def _put_mixer(s: Shard, mixer: Mixer, n: int, precision: Precision) -> None:
    if isinstance(mixer, GroupedAttention):
        _put_grouped(s, mixer, n, precision)
    elif isinstance(mixer, LatentAttention):
        _put_latent(s, mixer, n, precision)
    elif isinstance(mixer, CompressedAttention):
        _put_compressed(s, mixer, n, precision)
    else:
        _put_recurrent(s, mixer, n, precision)


def _put_linear(s: Shard, linear: Linear, layers: int, precision: Precision, device: Device | None) -> None:
    form = precision.of(linear.tensor)
    kind, peak = arithmetic_class(form, device)
    parameters = layers * _rank_parameters(linear, int(s.tensor_count))
    byte = parameters * form.element_byte
    s.matrix_count += layers
    s.kernels_count += layers
    s.weight_byte += byte
    if kind == WIDE:
        s.matrix_byte_0 += byte
        s.matrix_flop_0 += 2.0 * parameters
        return
    s.matrix_byte_1 += byte
    s.matrix_flop_1 += 2.0 * parameters
    s.matrix_class, s.peak_1_flop_s = kind, peak
    if kind != UNPACKED:
        s.quantized_count += layers


def _rank_parameters(linear: Linear, tensor: int) -> float:
    if linear.row_parallel:
        return linear.inputs / tensor * linear.outputs
    kv = linear.kv / linear.kv_heads * math.ceil(linear.kv_heads / tensor) if linear.kv else 0.0
    return linear.inputs * (linear.split / tensor + kv + linear.whole)


def _put_grouped(s: Shard, mixer: GroupedAttention, n: int, precision: Precision) -> None:
    heads = math.ceil(mixer.heads / s.tensor_count)
    kv_heads = math.ceil(mixer.kv_heads / s.tensor_count)
    width = mixer.head_dim + mixer.value_dim
    read = n * kv_heads * width * precision.kv.element_byte
    store = read if mixer.owns_cache else 0.0
    flop = 2.0 * n * heads * width
    _put_attention(s, mixer.window, read, store, flop, flop)
    s.chunked_window = 1.0 if mixer.chunked and mixer.window is not None else s.chunked_window
    s.kernels_count += 3.0 * n
    s.attention_count += n


def _put_attention(s: Shard, window: int | None, read: float, store: float, flop: float, prefill: float) -> None:
    if window is None:
        s.kv_byte_0 += read
        s.kv_store_byte_0 += store
        s.kv_flop_0 += flop
        s.prefill_flop_0 += prefill
        return
    s.kv_byte_1 += read
    s.kv_store_byte_1 += store
    s.kv_flop_1 += flop
    s.prefill_flop_1 += prefill
    s.window_tok = float(window) if math.isinf(s.window_tok) else max(s.window_tok, float(window))


def _put_latent(s: Shard, mixer: LatentAttention, n: int, precision: Precision) -> None:
    heads = math.ceil(mixer.heads / s.tensor_count)
    cached = mixer.kv_rank + mixer.rope_dim
    read = n * cached * precision.kv.element_byte
    flop = 2.0 * n * heads * (cached + mixer.kv_rank)
    prefill = 2.0 * n * heads * (mixer.query_dim + mixer.value_dim)
    s.has_latent_kv = 1.0
    s.kernels_count += 7.0 * n
    s.attention_count += n
    if mixer.indexer is None:
        _put_attention(s, None, read, read, flop, prefill)
        return
    index = mixer.indexer
    _put_attention(s, index.top, read, 0.0, flop, prefill)
    s.sparse_flop_tok += flop / heads * SPARSE_HEADS * math.ceil(heads / SPARSE_HEADS) * index.top
    keys = n * index_key_byte(mixer)
    scores = 2.0 * n * index.heads * index.head_dim
    _put_attention(s, None, keys, read + keys, scores, scores)
    s.kernels_count += 6.0 * n


def _put_compressed(s: Shard, mixer: CompressedAttention, n: int, precision: Precision) -> None:
    """Entries grow with the context; the window is full within the first tokens, so it counts as a state."""
    flop = 4.0 * n * math.ceil(mixer.heads / s.tensor_count) * mixer.head_dim
    byte = n * mixer.head_dim * precision.kv.element_byte
    s.has_latent_kv = 1.0
    s.attention_count += n
    s.kernels_count += 6.0 * n
    s.state_byte += byte * mixer.window
    s.state_moved_byte += byte * (mixer.window + 1.0)
    s.decode_state_flop_tok += flop * mixer.window
    s.prefill_state_flop_tok += flop * mixer.window
    s.scan_flop_tok += flop * mixer.window
    if mixer.stride is None:
        return
    read, scored = byte / mixer.stride, flop / mixer.stride
    s.kernels_count += 3.0 * n
    if mixer.indexer is None:
        _put_attention(s, None, read, read, scored, scored)
        return
    index = mixer.indexer
    _put_attention(s, index.top * mixer.stride, read, 0.0, scored, scored)
    keys = n * index_key_byte(mixer) / mixer.stride
    scores = 2.0 * n * index.heads * index.head_dim / mixer.stride
    _put_attention(s, None, keys, read + keys, scores, scores)
    s.kernels_count += 6.0 * n


def _put_recurrent(s: Shard, mixer: Recurrent, n: int, precision: Precision) -> None:
    t = s.tensor_count
    elements = n * mixer.state_elements / t
    held_byte = n * state_held_byte(mixer, precision) / t
    s.state_byte += held_byte
    s.state_moved_byte += 2.0 * held_byte
    s.state_count += n
    s.kernels_count += 4.0 * n
    s.decode_state_flop_tok += n * state_flop(mixer) / t
    s.prefill_state_flop_tok += n * chunked_state_flop(mixer) / t
    if isinstance(mixer, SelectiveScan):
        s.scan_flop_tok += 7.0 * elements
    elif isinstance(mixer, StateSpace | DeltaNet):
        chunk = mixer.chunk
        inner = mixer.inner if isinstance(mixer, StateSpace) else mixer.value_heads * mixer.value_dim
        s.scan_flop_tok += 6.0 * elements + 4.0 * n * chunk * inner / t
    elif isinstance(mixer, ShortConvolution):
        s.scan_flop_tok += 2.0 * n * mixer.channels * mixer.kernel / t


def _put_experts(
    s: Shard, a: Architecture, feed: ExpertFeedForward, n: int, precision: Precision, device: Device | None
) -> None:
    form = precision.experts
    kind, peak = arithmetic_class(form, device)
    devices, ranks = s.tensor_count * s.data_count, s.expert_ranks_count
    s.expert_split_count = max(1.0, devices / ranks)
    each = feed.expert_parameters(a.hidden) / s.expert_split_count
    s.expert_byte += n * each * form.element_byte
    s.expert_flop += 2.0 * n * each
    s.expert_class, s.expert_peak_flop_s = kind, peak
    s.experts_count, s.active_count = feed.experts, feed.active
    s.expert_width_count = feed.intermediate / s.expert_split_count
    s.moe_layers_count += n
    inner = feed.intermediate / s.expert_split_count
    s.choice_byte_tok += n * feed.active * 3.0 * (a.hidden + inner) * precision.activation.element_byte
    s.kernels_count += 7.0 * n
    s.weight_byte += n * feed.experts / ranks * each * form.element_byte
    if s.data_count > 1:
        width = (feed.latent or a.hidden) * precision.activation.element_byte
        s.exchange_byte_tok += n * 2.0 * width
        s.exchange_count += 2.0 * n
