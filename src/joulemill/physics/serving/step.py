"""Time of one step of a replica, and what its devices execute, from the work that it has. Pure, vectorised.

``times`` takes the useful work of a step (``counts``) and an engine's rates, and adds what costs time and joules but is
no work: padding, rows that wait for the busiest rank, launches, collectives. On each device, one after another:

    matrices   softmax( W/(η_m·β), 2N·m/(η_c·π) )           per class of arithmetic; m = decode + prefill tokens
    experts    softmax( E(m)·w/(η_x·β), f·(c + g·E(m))/(η_xc·π) )    E(m) experts touched, c rows that land here,
                                                             g rows that each touched expert is padded by
    attention  B·S·b/(η_a·β) ∨ flop;  prefill: (pairs + γ/2)·flop/(η_p·π);  recurrent state read and written once
    launches   kernels·τ + quantized matrices·τ_q
    sums       n·min(τ + (r − 1)·bytes/(η_l·link), 2τ + 2(r − 1)/r·bytes/(η_l·link)), τ = τ_r·(log2 r)^γ of r ranks
    exchanges  of data-parallel ranks: n·τ_x + bytes/(η_l·link)         latencies grow by a hop where ranks span nodes

    stages     wait for the fullest + τ_r + h·m·byte/(η_l·link)                       of a pipeline (``pipeline``)

β, π: datasheet bandwidth and dense peak. Softmax is (a³ + b³)^⅓. Wide expert parallelism sends rows to their experts
alone and overlaps two micro-batches (``wide_experts``). Left out: other overlap of communication, cache hits.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemill.arrays import Array
from joulemill.physics.serving.counts import Counts, StepLoad, counts, experts_touched_count
from joulemill.physics.serving.pipeline import stage_byte, stage_link_byte_s, waiting_s
from joulemill.physics.serving.prompt_attention import padding_flop, pairs_flop
from joulemill.physics.serving.roofline import RooflinePart, by_class, exposed_s, soft_s
from joulemill.physics.serving.shard import FP4, FP8, FP8_BLOCK, WIDE, ShardTable, link_rate_byte_s
from joulemill.physics.serving.wide_experts import (
    REDUNDANT_RATIO,
    copies_by_node,
    copies_s,
    direct_copies,
    halved,
    overlapped_s,
    spread_left_ratio,
)

#: Share of the 16-bit peak that the scan of a recurrent layer's prompt reaches (assumed; not fitted).
STATE_COMPUTE_RATIO = 0.1
#: Bytes an operation below which weights are in 4 bits: kernels for those were written for devices with 4-bit units.
NATIVE_BYTE_FLOP = 0.35
#: FlashInfer's fused kernels for experts (those of TensorRT-LLM) take tiles of 8 to 64 rows, as the mean number of rows
#: of an expert asks: least and most rows that fill one, half a tile on average. The fixed time of block scales in a
#: layer [s] is as engines have it that run such kernels (prior of the latency points; they fit 1.5 to 1.9e-5).
FUSED_GRAIN_COUNT, FUSED_BLOCK_S = (8.0, 32.0), 1.5e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRates:
    """Fitted speeds of one engine's kernels. Tuples run over ``shard.CLASSES``.

    memory_ratio, attention_memory_ratio, expert_memory_ratio   share of bandwidth reached
    compute_ratio, expert_compute_ratio   share of the dense peak reached, by class
    expert_fp8_ratio  the same of 8-bit experts without a scale a block on devices without 4-bit units
    expert_grain_count  rows of padding that each touched expert costs, by class;  expert_width_count  width of an
    expert's part on a device at which half of that share is reached
    prefill_attention_ratio, latent_attention_ratio   share of the 16-bit peak that attention reaches
    prefill_grain_tok   keys that a prompt token's attention pays for twice beside its own (``prompt_attention``)
    kernel_s, quantize_s   fixed time of a kernel, of quantizing a matrix's inputs;
    kernel_newest_ratio    both on devices with 4-bit units over those on older ones
    state_s, routing_s     fixed time of a recurrent block; of choosing, sorting and gathering experts in a layer
    sampling_byte  moved by the sampler per vocabulary entry and sequence, on one device of a tensor group [byte]
    reduce_s, link_ratio, exchange_s   latency of a sum over two ranks; share of link bandwidth;
    latency of an exchange
    reduce_growth_ratio  γ: a sum's latency grows as (log2 ranks)^γ: 1 a tree, 0 all read all at once
    node_hop_ratio  latency of sums and exchanges that leave a node's links over that within
    expert_newest_ratio, expert_compute_newest_ratio  share of bandwidth, of the peak that experts in 8 bits or more
    reach on devices with 4-bit units over that on older ones: kernels less tuned
    padding_ratio       how much of the rows that data-parallel ranks lack of the busiest are computed as padding
    gathered_ratio      how much of the rows of other data-parallel ranks each device moves: 1 where engines gather all
    tokens on all ranks, near 0 where they send rows to their experts alone
    imbalance_ratio     how much of the expected excess of the busiest of n ranks is waited for
    evenness_ratio      shape of the gamma-distributed popularity of experts
    """

    memory_ratio: float
    memory_fp4_ratio: float
    attention_memory_ratio: float
    expert_memory_ratio: float
    compute_ratio: tuple[float, ...]
    expert_compute_ratio: tuple[float, ...]
    expert_grain_count: tuple[float, ...]
    expert_fp8_ratio: float
    expert_width_count: float
    prefill_attention_ratio: float
    prefill_grain_tok: float
    latent_attention_ratio: float
    kernel_s: float
    kernel_newest_ratio: float
    quantize_s: float
    state_s: float
    routing_s: float
    routing_native_ratio: float
    sampling_byte: float
    reduce_s: float
    reduce_growth_ratio: float
    node_hop_ratio: float
    link_ratio: float
    exchange_s: float
    evenness_ratio: float
    imbalance_ratio: float
    expert_newest_ratio: float
    expert_compute_newest_ratio: float
    newest_ratio: float
    expert_block_newest_ratio: float
    expert_tile_ratio: float
    expert_block_s: float
    padding_ratio: float
    gathered_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """A step on one device: seconds of each part, and what is executed, which energy goes with.

    issued_s        fixed times of kernels, whatever the device: a step that is no captured graph lasts at least an
                    engine's ``eager_ratio`` times as long, for its host issues them one by one
    compute_s       arithmetic alone, were nothing else to do;  exposed_s  Σ c³/s² of arithmetic c within parts of
                    time s: what a little slower arithmetic lengthens the step by, over how much slower
    executed_*      in 16 bits, in the quantized class, by experts, padding and waiting rows included [flop]; through
                    device memory, and sent to other devices, the sampler's passes included [byte]
    """

    matrix_s: Array
    expert_s: Array
    attention_s: Array
    prefill_attention_s: Array
    launch_s: Array
    collective_s: Array
    sampling_s: Array
    compute_s: Array
    exposed_s: Array
    executed_0_flop: Array
    executed_1_flop: Array
    executed_expert_flop: Array
    executed_byte: Array
    executed_link_byte: Array
    issued_s: Array

    @property
    def busy_s(self) -> Array:
        """Time that arithmetic units or device memory work [s]: the step less launches and waiting for other
        devices."""
        return self.matrix_s + self.expert_s + self.attention_s + self.prefill_attention_s + self.sampling_s

    @property
    def device_s(self) -> Array:
        """Time of the step on the device [s]."""
        return (
            self.matrix_s
            + self.expert_s
            + self.attention_s
            + self.prefill_attention_s
            + self.launch_s
            + self.collective_s
            + self.sampling_s
        )

    def changed(self, added: StepTimes, removed: StepTimes) -> StepTimes:
        """This step with the work of ``added`` instead of that of ``removed`` within it."""
        names = [f.name for f in fields(self)]
        return replace(self, **{n: getattr(self, n) + getattr(added, n) - getattr(removed, n) for n in names})

    def either(self, other: StepTimes, chosen: NDArray[np.bool_]) -> StepTimes:
        """This step, and the other one where that is ``chosen``."""
        return StepTimes(
            **{f.name: np.where(chosen, getattr(other, f.name), getattr(self, f.name)) for f in fields(self)}
        )

    def scaled(self, factor: ArrayLike) -> StepTimes:
        """All time and work times ``factor``."""
        names = [f.name for f in fields(self)]
        return replace(self, **{n: getattr(self, n) * factor for n in names})


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of the sequences that decode: what steps of the same sequences share, whatever prompts join them."""

    flop: Array
    byte: Array
    scores_s: Array
    whole_s: Array


def decode_attention(work: Counts, r: StepRates) -> Attention:
    """Of the sequences that decode in a step that has ``work`` to do."""
    t, flop, byte = work.table, work.attention_flop, work.decode_cache_byte
    state_byte = work.load.decode_tok * t.state_moved_byte
    reached_byte = (byte - state_byte) / r.attention_memory_ratio + state_byte / r.memory_ratio
    memory_s = reached_byte / t.bandwidth_byte_s
    scores_s = flop / (r.latent_attention_ratio * t.peak_0_flop_s)
    return Attention(flop, byte, scores_s, soft_s(memory_s, scores_s))


def _prompt_cache_s(work: Counts, r: StepRates) -> Array:
    """What prompts take at least, to move their keys and their recurrent state through memory [s]: the longer part of
    prompts of a few tokens, or of a few that follow a long cached prefix."""
    t = work.table
    state_byte = work.load.prompts_count * t.state_moved_byte
    keys_byte = work.prompt_cache_byte - state_byte
    return (keys_byte / r.attention_memory_ratio + state_byte / r.memory_ratio) / t.bandwidth_byte_s


def times(work: Counts, r: StepRates, attention: Attention | None = None) -> StepTimes:
    """Time of a step that has ``work`` to do, row by row of its table; arrays in, arrays out.

    ``attention``: that of its sequences, where it is computed already.
    """
    if np.any(work.table.overlaps_batches):
        return _overlapped(work, r)
    t, load = work.table, work.load
    attention = attention or decode_attention(work, r)
    wait_tok = load.decode_tok + load.busiest_tok
    matrices, flow_s = _matrices(t, r, load, wait_tok)
    wholes = [m.both_s for m in matrices]
    experts = _experts(t, r, _routed_tok(t, r, load, wait_tok), load.evenness_ratio)
    expert_both_s = experts.part.both_s
    pairs = pairs_flop(t, load)
    prefill_s = np.maximum(_prefill_s(t, r, load, pairs), _prompt_cache_s(work, r))
    collective_s, link_byte = _collectives(t, r, wait_tok)
    sampled_byte = _sampled_byte(t, r, load)
    sampling_s = _passes_s(t, r, sampled_byte)
    touched_byte = sampled_byte + t.matrix_byte_0 + t.matrix_byte_1 + t.head_byte + t.act_byte_tok * wait_tok
    flop_0 = t.matrix_flop_0 * wait_tok + t.head_flop * load.head_tok + attention.flop + load.prefill_tok * pairs
    hidden_s = [exposed_s(m.compute_s, s) for m, s in zip(matrices, wholes, strict=True)]
    step = StepTimes(
        matrix_s=sum(wholes[1:], wholes[0]) + flow_s,
        expert_s=expert_both_s + experts.part.more_s,
        attention_s=attention.whole_s,
        prefill_attention_s=prefill_s,
        launch_s=_launch_s(t, r),
        collective_s=collective_s,
        sampling_s=sampling_s,
        compute_s=sum((m.compute_s for m in matrices), experts.part.compute_s + prefill_s) + attention.scores_s,
        exposed_s=sum(hidden_s, exposed_s(experts.part.compute_s, expert_both_s + experts.part.more_s))
        + prefill_s
        + exposed_s(attention.scores_s, attention.whole_s),
        executed_0_flop=flop_0,
        executed_1_flop=t.matrix_flop_1 * wait_tok,
        executed_expert_flop=experts.flop,
        executed_byte=touched_byte + experts.byte + attention.byte,
        executed_link_byte=link_byte,
        issued_s=_issued_s(t, r),
    )
    if not np.any(t.pipeline_count > 1.0):
        return step
    between_s = _between_stages_s(t, r, wait_tok, (step.device_s, wholes[0] + sampling_s))
    sent_byte = step.executed_link_byte + stage_byte(t, wait_tok)
    return replace(step, collective_s=step.collective_s + between_s, executed_link_byte=sent_byte)


def _overlapped(work: Counts, r: StepRates) -> StepTimes:
    """A step in two micro-batches, of which one computes while the rows of the other travel; where that takes longer
    than one after the other, as without overlap."""
    t = work.table.replaced("overlaps_batches", np.zeros_like(work.table.overlaps_batches))
    whole, half = times(counts(t, work.load), r), times(counts(t, halved(work.load)), r)
    compute_s = half.device_s - half.collective_s
    both_s = overlapped_s(compute_s, half.collective_s, t.moe_layers_count)
    pays = (work.table.overlaps_batches > 0.0) & (both_s < whole.device_s)
    # The device runs every kernel twice; the host is taken to launch those of one half while the other's run.
    own_s = 2.0 * half.launch_s - whole.launch_s
    waited_s = both_s - 2.0 * compute_s + own_s
    twice = replace(half.scaled(2.0), launch_s=whole.launch_s, issued_s=whole.issued_s, collective_s=waited_s)
    return whole.either(twice, pays)


def head_times(work: Counts, r: StepRates) -> StepTimes:
    """The vocabulary head and the sampler alone, over the rows of ``work`` that pass the head: what a drafted token
    takes beside its layer."""
    t, load = work.table, work.load
    head = _matrices(t, r, load, np.zeros_like(load.head_tok))[0][0]
    sampled_byte = _sampled_byte(t, r, load)
    nothing = np.zeros_like(sampled_byte)
    none = {f.name: nothing for f in fields(StepTimes)}
    done = {
        "matrix_s": head.both_s,
        "sampling_s": _passes_s(t, r, sampled_byte),
        "compute_s": head.compute_s,
        "exposed_s": exposed_s(head.compute_s, head.both_s),
        "executed_0_flop": load.head_tok * t.head_flop,
        "executed_byte": sampled_byte + t.head_byte,
    }
    return StepTimes(**(none | done))


def device_time_s(work: Counts, r: StepRates, attention: Attention) -> Array:
    """``times(…).device_s`` alone [s], for a step whose energy nobody asks for."""
    if np.any(work.table.overlaps_batches):
        return _overlapped(work, r).device_s
    t, load = work.table, work.load
    wait_tok = load.decode_tok + load.busiest_tok
    matrices, flow_s = _matrices(t, r, load, wait_tok)
    sampling_s = _passes_s(t, r, _sampled_byte(t, r, load))
    total_s = attention.whole_s + _prefill_s(t, r, load, pairs_flop(t, load)) + flow_s + sampling_s
    total_s = sum((m.both_s for m in matrices), total_s + _launch_s(t, r)) + _collectives(t, r, wait_tok)[0]
    if np.any(t.expert_byte):
        part = _experts(t, r, _routed_tok(t, r, load, wait_tok), load.evenness_ratio).part
        total_s = total_s + part.both_s + part.more_s
    if np.any(t.pipeline_count > 1.0):
        total_s = total_s + _between_stages_s(t, r, wait_tok, (total_s, matrices[0].both_s + sampling_s))
    return np.asarray(total_s)


def _between_stages_s(t: ShardTable, r: StepRates, rows_tok: Array, stage_s: tuple[Array, Array]) -> Array:
    """What a stage waits for the fullest one, and hands its activations on [s]; ``stage_s``: time of the mean stage,
    and of its share of the head."""
    devices = t.tensor_count * t.data_count * t.pipeline_count
    hop = np.where(devices > t.domain_count, r.node_hop_ratio, 1.0)
    sent_s = r.reduce_s * hop + stage_byte(t, rows_tok) / (r.link_ratio * stage_link_byte_s(t))
    return np.where(t.pipeline_count > 1.0, waiting_s(t, *stage_s) + sent_s, 0.0)


def _routed_tok(t: ShardTable, r: StepRates, load: StepLoad, wait_tok: Array) -> Array:
    """Rows that pass the experts, those that are computed as padding included; none is sent to an expert far away."""
    padding = np.minimum(r.padding_ratio, 1.0) * (1.0 - t.sent_to_experts)
    real_tok = load.rows_tok
    return np.asarray(real_tok + padding * (wait_tok - real_tok))


def _launch_s(t: ShardTable, r: StepRates) -> Array:
    newest = np.where(t.is_newest > 0.0, r.kernel_newest_ratio, 1.0)
    return np.asarray(newest * (t.kernels_count * r.kernel_s + t.quantized_count * r.quantize_s) + _blocks_s(t, r))


def _issued_s(t: ShardTable, r: StepRates) -> Array:
    """``StepTimes.issued_s``: quantizing is one kernel as any other."""
    return np.asarray((t.kernels_count + t.quantized_count) * r.kernel_s + _blocks_s(t, r))


def _blocks_s(t: ShardTable, r: StepRates) -> Array:
    """Fixed times of recurrent blocks, and of choosing experts."""
    fused = (t.is_newest > 0.0) & (t.expert_byte <= NATIVE_BYTE_FLOP * t.expert_flop)
    routed_s = t.moe_layers_count * r.routing_s * np.where(fused, r.routing_native_ratio, 1.0)
    return np.asarray(t.state_count * r.state_s + routed_s)


def _sampled_byte(t: ShardTable, r: StepRates, load: StepLoad) -> Array:
    return np.asarray(load.head_tok * (t.vocabulary_count * r.sampling_byte))


def _passes_s(t: ShardTable, r: StepRates, byte: Array) -> Array:
    """Time of the sampler's passes [s]: sorts are paced by the processors, where those are slower than the memory."""
    return np.asarray(byte / (r.memory_ratio * t.pass_byte_s))


def _prefill_s(t: ShardTable, r: StepRates, load: StepLoad, pairs: Array) -> Array:
    """Attention of prompts, and the scan of recurrent layers over them [s]; ``pairs``: FLOP a prompt token."""
    padded = pairs + padding_flop(t, load, 0.5 * r.prefill_grain_tok)
    token_s = padded / (r.prefill_attention_ratio * t.peak_0_flop_s)
    return np.asarray(load.busiest_tok * (token_s + t.scan_flop_tok / (STATE_COMPUTE_RATIO * t.peak_0_flop_s)))


def _matrices(t: ShardTable, r: StepRates, load: StepLoad, tok: Array) -> tuple[list[RooflinePart], Array]:
    """The matrices of each class and the head; and the time that activations between them take."""
    newest = _newest_ratio(t, r)
    beta = newest * r.memory_ratio * t.bandwidth_byte_s
    wide = newest * t.peak_0_flop_s * r.compute_ratio[0]
    parts = [
        RooflinePart(t.head_byte / beta, load.head_tok * (t.head_flop / wide)),
        RooflinePart(t.matrix_byte_0 / beta, tok * (t.matrix_flop_0 / wide)),
    ]
    if np.any(t.matrix_byte_1):
        narrow = newest * t.peak_1_flop_s * by_class(r.compute_ratio, t.matrix_class)
        slow = np.where(t.matrix_class == FP4, r.memory_fp4_ratio, 1.0)
        parts.append(RooflinePart(t.matrix_byte_1 / (slow * beta), tok * (t.matrix_flop_1 / narrow)))
    return parts, np.asarray(tok * (t.act_byte_tok / beta))


#: Expected largest of n standard normals minus their mean, n = 1, 2, 4, 8 …: 0, 0.56, 1.03, 1.42, 1.77,
#: 2.07, 2.34 (Harter 1961).
_LARGEST = np.array([0.0, 0.5642, 1.0294, 1.4236, 1.7660, 2.0697, 2.3437, 2.5946])


def largest_of(ranks: Array) -> Array:
    """Expected largest of so many standard normals."""
    return np.asarray(np.interp(np.log2(np.maximum(ranks, 1.0)), np.arange(_LARGEST.size), _LARGEST))


@dataclass(frozen=True, slots=True)
class _Experts:
    """The routed experts: time of the slowest rank, and what is executed on each."""

    part: RooflinePart
    flop: Array
    byte: Array


def _experts(t: ShardTable, r: StepRates, tok: Array, evenness_ratio: Array) -> _Experts:
    if not np.any(t.expert_byte):
        none = np.zeros_like(t.expert_byte)
        return _Experts(RooflinePart(none, none), none, none)
    tok, ranks = tok * t.data_count, t.expert_ranks_count
    # Experts that are kept twice are streamed twice, and each copy has half the rows.
    kept = 1.0 + REDUNDANT_RATIO * t.balanced_experts
    local = t.experts_count * kept / ranks
    touched = kept * experts_touched_count(tok, t.experts_count, t.active_count, evenness_ratio) / ranks
    x = tok * t.active_count / (t.experts_count * kept)
    rows = x * local
    above = r.imbalance_ratio * largest_of(ranks)
    late_touched = np.minimum(touched + above * np.sqrt(touched * np.maximum(1.0 - touched / local, 0.0)), local)
    uneven = spread_left_ratio(t)
    late_rows = np.minimum(rows + above * np.sqrt(local * (x + x * x * uneven * uneven / evenness_ratio)), rows * ranks)
    fused = t.fused_experts > 0.0
    grain = np.where(fused, np.clip(0.5 * x, *FUSED_GRAIN_COUNT), by_class(r.expert_grain_count, t.expert_class))
    flop = t.expert_flop * (rows + touched * grain)
    late_flop = t.expert_flop * (late_rows + late_touched * grain)
    reached, share = _expert_ratios(t, r, tok > local)
    compute_s = late_flop / (t.expert_peak_flop_s * reached)
    memory_s = t.expert_byte * late_touched / (share * t.bandwidth_byte_s)
    gathered = np.minimum(r.gathered_ratio, 1.0) * (1.0 - t.sent_to_experts)
    visible_ratio = 1.0 / t.data_count + gathered * (1.0 - 1.0 / t.data_count)
    flow_byte = t.choice_byte_tok * tok * visible_ratio
    each_s = np.where(fused, np.minimum(FUSED_BLOCK_S, r.expert_block_s), r.expert_block_s)
    block_s = t.moe_layers_count * each_s * (t.expert_class == FP8_BLOCK)
    flow_s = flow_byte / (r.memory_ratio * t.bandwidth_byte_s) + block_s
    return _Experts(RooflinePart(memory_s, compute_s, flow_s), flop, t.expert_byte * touched + flow_byte)


def _expert_ratios(t: ShardTable, r: StepRates, many: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Shares of peak and of bandwidth that the routed experts reach; ``many``: more tokens than a rank has experts."""
    newest, kind = t.is_newest > 0.0, t.expert_class
    reached = np.where(~newest & (kind == FP8), r.expert_fp8_ratio, by_class(r.expert_compute_ratio, kind))
    reached = reached * (t.expert_width_count / (t.expert_width_count + r.expert_width_count))
    reached = reached * np.where(newest & (kind == FP8_BLOCK), r.expert_block_newest_ratio, 1.0)
    older = newest & (t.expert_byte > NATIVE_BYTE_FLOP * t.expert_flop)
    reached = reached * np.where(older, r.expert_compute_newest_ratio, 1.0)
    share = r.expert_memory_ratio * np.where(older, r.expert_newest_ratio, 1.0)
    untuned = many & (t.expert_ranks_count > 1.0) & (kind == WIDE)
    return reached, share * np.where(untuned, r.expert_tile_ratio, 1.0)


def _newest_ratio(t: ShardTable, r: StepRates) -> Array:
    return np.where(t.is_newest > 0.0, r.newest_ratio, 1.0)


def _collectives(t: ShardTable, r: StepRates, wait_tok: Array) -> tuple[Array, Array]:
    """Time [s], and bytes that a device sends, of sums over a tensor group and of exchanges between ranks of data."""
    sums_s, sent_byte = _sums(t, r, wait_tok)
    if not np.any(t.exchange_byte_tok):
        return sums_s, sent_byte
    exchange_byte_tok = t.exchange_byte_tok * np.minimum(t.active_count, t.data_count)
    link, hop = _links(t, r, t.tensor_count * t.data_count)
    exchanges_s = t.exchange_count * r.exchange_s * hop + wait_tok * (exchange_byte_tok / link)
    if np.any(t.sent_to_experts):
        wide_s, wide_byte = _wide_exchanges(t, r, wait_tok, hop)
        exchanges_s = np.where(t.sent_to_experts > 0.0, wide_s, exchanges_s)
        return sums_s + exchanges_s, sent_byte + np.where(
            t.sent_to_experts > 0.0, wide_byte, wait_tok * exchange_byte_tok
        )
    return np.asarray(sums_s + exchanges_s), np.asarray(sent_byte + wait_tok * exchange_byte_tok)


def _wide_exchanges(t: ShardTable, r: StepRates, wait_tok: Array, hop: Array) -> tuple[Array, Array]:
    """Rows sent to their experts alone and back, each row directly or by node, whichever takes less [s]; bytes sent."""
    direct, by_node = direct_copies(t), copies_by_node(t)
    latency_s = t.exchange_count * r.exchange_s
    direct_s = latency_s * hop + wait_tok * copies_s(t, direct, r.link_ratio)
    by_node_s = latency_s * (hop + 1.0) + wait_tok * copies_s(t, by_node, r.link_ratio)
    shorter = direct_s <= by_node_s
    copies = np.where(shorter, direct.beyond_count + direct.within_count, by_node.beyond_count + by_node.within_count)
    return np.where(shorter, direct_s, by_node_s), t.wide_byte_tok * copies * wait_tok


def _sums(t: ShardTable, r: StepRates, wait_tok: Array) -> tuple[Array, Array]:
    """Sums over a tensor group, each the faster of two ways: every rank sends all of a message to all others at once,
    or its parts in turn."""
    ranks = t.tensor_count
    if not np.any(t.reduce_count):
        return t.reduce_count, t.reduce_count
    link, hop = _links(t, r, ranks)
    latency_s = r.reduce_s * hop * np.log2(np.maximum(ranks, 2.0)) ** r.reduce_growth_ratio
    at_once_s = latency_s + wait_tok * (t.reduce_byte_tok * (ranks - 1.0) / link)
    in_turn_s = 2.0 * latency_s + wait_tok * (t.reduce_byte_tok * 2.0 * (ranks - 1.0) / ranks / link)
    sent_byte_tok = np.where(at_once_s < in_turn_s, 1.0, 2.0 / ranks) * (
        t.reduce_count * t.reduce_byte_tok * (ranks - 1.0)
    )
    sums_s = np.minimum(at_once_s, in_turn_s) * np.where(ranks > 1.0, t.reduce_count, 0.0)
    return sums_s, sent_byte_tok * wait_tok


def _links(t: ShardTable, r: StepRates, devices: Array) -> tuple[Array, Array]:
    """Bandwidth [byte/s] between so many devices that work together, and how much longer than within a node a message
    takes."""
    link = r.link_ratio * link_rate_byte_s(t, devices)
    return np.asarray(link), np.where(devices > t.domain_count, r.node_hop_ratio, 1.0)
