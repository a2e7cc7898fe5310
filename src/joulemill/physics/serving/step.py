"""Time of one step of a replica, and what its devices execute, from the work that it has. Pure, vectorised.

``times`` takes the useful work of a step (``counts``) and an engine's rates, and adds what costs time and joules but is
no work: padding, rows that wait for the busiest rank, launches, collectives. On each device, one after another:

    matrices   softmax( W/(η_m·β), 2N·m/(η_c·π) )           per class of arithmetic; m = decode + prefill tokens
    experts    softmax( E(m)·w/(η_x·β), f·(c + g·E(m))/(η_xc·π) )    E(m) experts touched, c rows that land here,
                                                             g rows that each touched expert is padded by
    attention  B·S·b/(η_a·β) ∨ flop;  prefill: pairs·flop/(η_p·π);  recurrent state read and written once
    launches   kernels·τ + quantized matrices·τ_q
    sums       n·min(τ + (r − 1)·bytes/(η_l·link), 2τ + 2(r − 1)/r·bytes/(η_l·link)), τ = τ_r·(log2 r)^γ of r ranks
    exchanges  of data-parallel ranks: n·τ_x + bytes/(η_l·link)         latencies grow by a hop where ranks span nodes

β, π: datasheet bandwidth and dense peak. Softmax is (a³ + b³)^⅓. Left out: overlap of communication with arithmetic,
cache hits, pipeline parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.counts import Counts, StepLoad, experts_touched_count
from joulemill.physics.serving.shard import FP8_BLOCK, WIDE, ShardTable, link_rate_byte_s

#: Share of the 16-bit peak that the scan of a recurrent layer's prompt reaches (assumed; not fitted).
STATE_COMPUTE_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class StepRates:
    """Fitted speeds of one engine's kernels. Tuples run over ``shard.CLASSES``.

    memory_ratio, attention_memory_ratio, expert_memory_ratio   share of bandwidth reached
    compute_ratio, expert_compute_ratio   share of the dense peak reached, by class
    expert_grain_count  rows of padding that each touched expert costs, by class
    prefill_attention_ratio, latent_attention_ratio   share of the 16-bit peak that attention reaches
    kernel_s, quantize_s   fixed time of a kernel, of quantizing a matrix's inputs
    state_s, routing_s     fixed time of a recurrent block; of choosing, sorting and gathering experts in a layer
    sampling_byte  moved by the sampler per vocabulary entry and sequence, on one device of a tensor group [byte]
    reduce_s, link_ratio, exchange_s   latency of a sum over two ranks; share of link bandwidth;
    latency of an exchange
    reduce_growth_ratio  γ: a sum's latency grows as (log2 ranks)^γ: 1 a tree, 0 all read all at once
    node_hop_ratio  latency of sums and exchanges that leave a node's links over that within
    expert_newest_ratio expert_memory_ratio on devices with 4-bit units over that on older ones: kernels less tuned
    padding_ratio       how much of the rows that data-parallel ranks lack of the busiest are computed as padding
    gathered_ratio      how much of the rows of other data-parallel ranks each device moves: 1 where engines gather all
    tokens on all ranks, near 0 where they send rows to their experts alone
    imbalance_ratio     how much of the expected excess of the busiest of n ranks is waited for
    evenness_ratio      shape of the gamma-distributed popularity of experts
    """

    memory_ratio: float
    attention_memory_ratio: float
    expert_memory_ratio: float
    compute_ratio: tuple[float, ...]
    expert_compute_ratio: tuple[float, ...]
    expert_grain_count: tuple[float, ...]
    prefill_attention_ratio: float
    latent_attention_ratio: float
    kernel_s: float
    quantize_s: float
    state_s: float
    routing_s: float
    sampling_byte: float
    reduce_s: float
    reduce_growth_ratio: float
    node_hop_ratio: float
    link_ratio: float
    exchange_s: float
    evenness_ratio: float
    imbalance_ratio: float
    expert_newest_ratio: float
    newest_ratio: float
    expert_block_newest_ratio: float
    expert_tile_ratio: float
    expert_block_s: float
    padding_ratio: float
    gathered_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """A step on one device: seconds of each part, and what is executed, which energy goes with.

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

    @property
    def busy_s(self) -> Array:
        """Time that arithmetic units or device memory work [s]: the step less launches and waiting for other
        devices."""
        return self.matrix_s + self.expert_s + self.attention_s + self.prefill_attention_s + self.sampling_s

    @property
    def device_s(self) -> Array:
        """Time of the step on the device [s]."""
        return (
            self.matrix_s + self.expert_s + self.attention_s + self.prefill_attention_s
            + self.launch_s + self.collective_s + self.sampling_s
        )  # fmt: skip

    def changed(self, added: StepTimes, removed: StepTimes) -> StepTimes:
        """This step with the work of ``added`` instead of that of ``removed`` within it."""
        names = [f.name for f in fields(self)]
        return replace(self, **{n: getattr(self, n) + getattr(added, n) - getattr(removed, n) for n in names})

    def scaled(self, factor: Array) -> StepTimes:
        """All time and work times ``factor``."""
        names = [f.name for f in fields(self)]
        return replace(self, **{n: getattr(self, n) * factor for n in names})


def soft_s(a_s: Array, b_s: Array) -> Array:
    """(a³ + b³)^⅓: the larger of two times where they differ, 26 % above both where they are equal."""
    return np.asarray(np.cbrt(a_s * a_s * a_s + b_s * b_s * b_s))


def by_class(values: tuple[float, ...], kind: Array) -> Array:
    """Of each row the value of its class of arithmetic."""
    if isinstance(values[0], np.ndarray):  # a column of rates to compute with at once
        return np.choose(kind.astype(np.intp), values)
    return np.asarray(values)[kind.astype(np.intp)]


def times(work: Counts, r: StepRates) -> StepTimes:
    """Time of a step that has ``work`` to do, row by row of its table; arrays in, arrays out."""
    t, load = work.table, work.load
    wait_tok = load.decode_tok + load.busiest_tok
    real_tok = load.rows_tok
    routed_tok = real_tok + np.minimum(r.padding_ratio, 1.0) * (wait_tok - real_tok)
    matrix_s, compute_s, exposed_s = _matrices(t, r, load, wait_tok)
    expert_s, expert_compute_s, expert_flop, expert_byte = _experts(t, r, routed_tok, load.evenness_ratio)
    attention_flop, attention_byte = work.attention_flop, work.decode_cache_byte
    state_byte = load.decode_tok * t.state_moved_byte
    keys_s = (attention_byte - state_byte) / (r.attention_memory_ratio * t.bandwidth_byte_s)
    memory_s = keys_s + state_byte / (r.memory_ratio * t.bandwidth_byte_s)
    scores_s = attention_flop / (r.latent_attention_ratio * t.peak_0_flop_s)
    attention_s = soft_s(memory_s, scores_s)
    pairs_flop = _pairs_flop(t, load.past_tok)
    prefill_s = load.busiest_tok * pairs_flop / (r.prefill_attention_ratio * t.peak_0_flop_s)
    scan_tok_s = t.scan_flop_tok / (STATE_COMPUTE_RATIO * t.peak_0_flop_s)
    prefill_s = prefill_s + load.busiest_tok * scan_tok_s
    collective_s, link_byte = _collectives(t, r, wait_tok)
    launch_s = t.kernels_count * r.kernel_s + t.quantized_count * r.quantize_s + t.state_count * r.state_s
    launch_s = launch_s + t.moe_layers_count * r.routing_s
    sampled = load.head_tok * t.vocabulary_count * r.sampling_byte
    sampling_s = sampled / (r.memory_ratio * t.bandwidth_byte_s)
    touched_byte = sampled + t.matrix_byte_0 + t.matrix_byte_1 + t.head_byte + t.act_byte_tok * wait_tok
    flop_0 = t.matrix_flop_0 * wait_tok + t.head_flop * load.head_tok + attention_flop + load.prefill_tok * pairs_flop
    return StepTimes(
        matrix_s=matrix_s, expert_s=expert_s, attention_s=attention_s, prefill_attention_s=prefill_s,
        launch_s=launch_s, collective_s=collective_s, sampling_s=sampling_s,
        compute_s=compute_s + expert_compute_s + prefill_s + scores_s,
        exposed_s=exposed_s + _exposed_s(expert_compute_s, expert_s) + prefill_s + _exposed_s(scores_s, attention_s),
        executed_0_flop=flop_0,
        executed_1_flop=t.matrix_flop_1 * wait_tok, executed_expert_flop=expert_flop,
        executed_byte=touched_byte + expert_byte + attention_byte, executed_link_byte=link_byte,
    )  # fmt: skip


def _exposed_s(compute_s: Array, whole_s: Array) -> Array:
    """d whole / d ln(slowdown of arithmetic) of a soft maximum: c³/s², 0 where there is nothing to do."""
    ratio = compute_s / np.maximum(whole_s, 1e-30)
    return np.asarray(compute_s * ratio * ratio)


def _matrices(t: ShardTable, r: StepRates, load: StepLoad, tok: Array) -> tuple[Array, Array, Array]:
    """Time of the matrices and the head, its arithmetic part, and how much of that is exposed."""
    newest = np.where(t.newest_count > 0.0, r.newest_ratio, 1.0)
    beta = newest * r.memory_ratio * t.bandwidth_byte_s
    wide = newest * t.peak_0_flop_s * r.compute_ratio[0]
    narrow = newest * t.peak_1_flop_s * by_class(r.compute_ratio, t.matrix_class_count)
    flow_s = t.act_byte_tok * tok / beta
    compute_0, compute_1 = t.matrix_flop_0 * tok / wide, t.matrix_flop_1 * tok / narrow
    words_s = t.head_flop * load.head_tok / wide
    head_s = soft_s(t.head_byte / beta, words_s)
    first_s, second_s = soft_s(t.matrix_byte_0 / beta, compute_0), soft_s(t.matrix_byte_1 / beta, compute_1)
    exposed_s = _exposed_s(compute_0, first_s) + _exposed_s(compute_1, second_s) + _exposed_s(words_s, head_s)
    return first_s + second_s + head_s + flow_s, compute_0 + compute_1 + words_s, exposed_s


#: Expected largest of n standard normals minus their mean, n = 1, 2, 4, 8 …: 0, 0.56, 1.03, 1.42, 1.77,
#: 2.07, 2.34 (Harter 1961).
_LARGEST = np.array([0.0, 0.5642, 1.0294, 1.4236, 1.7660, 2.0697, 2.3437, 2.5946])


def largest_of(ranks: Array) -> Array:
    """Expected largest of so many standard normals."""
    return np.asarray(np.interp(np.log2(np.maximum(ranks, 1.0)), np.arange(_LARGEST.size), _LARGEST))


def _experts(t: ShardTable, r: StepRates, tok: Array, evenness_ratio: Array) -> tuple[Array, Array, Array, Array]:
    """Time, its arithmetic part, flop and byte of the routed experts; time is that of the slowest rank."""
    if not np.any(t.expert_byte):
        none = np.zeros_like(tok)
        return none, none, none, none
    tok, ranks = tok * t.data_count, t.expert_ranks_count
    local = t.experts_count / ranks
    touched = experts_touched_count(tok, t.experts_count, t.active_count, evenness_ratio) / ranks
    x = tok * t.active_count / t.experts_count
    rows = x * local
    above = r.imbalance_ratio * largest_of(ranks)
    late_touched = np.minimum(touched + above * np.sqrt(touched * np.maximum(1.0 - touched / local, 0.0)), local)
    late_rows = np.minimum(rows + above * np.sqrt(local * (x + x * x / evenness_ratio)), rows * ranks)
    grain = by_class(r.expert_grain_count, t.expert_class_count)
    flop = t.expert_flop * (rows + touched * grain)
    late_flop = t.expert_flop * (late_rows + late_touched * grain)
    newest = t.newest_count > 0.0
    reached = np.where(newest, r.newest_ratio, 1.0) * by_class(r.expert_compute_ratio, t.expert_class_count)
    reached = reached * np.where(newest & (t.expert_class_count == FP8_BLOCK), r.expert_block_newest_ratio, 1.0)
    compute_s = late_flop / (t.expert_peak_flop_s * reached)
    share = r.expert_memory_ratio * np.where(newest, r.expert_newest_ratio, 1.0)
    untuned = (tok > local) & (ranks > 1.0) & (t.expert_class_count == WIDE)
    share = share * np.where(untuned, r.expert_tile_ratio, 1.0)
    memory_s = t.expert_byte * late_touched / (share * t.bandwidth_byte_s)
    visible_ratio = 1.0 / t.data_count + np.minimum(r.gathered_ratio, 1.0) * (1.0 - 1.0 / t.data_count)
    flow_byte = t.choice_byte_tok * tok * visible_ratio
    flow_s = flow_byte / (r.memory_ratio * t.bandwidth_byte_s)
    block_s = t.moe_layers_count * r.expert_block_s * (t.expert_class_count == FP8_BLOCK)
    return soft_s(memory_s, compute_s) + flow_s + block_s, compute_s, flop, t.expert_byte * touched + flow_byte


def _pairs_flop(t: ShardTable, past_tok: Array) -> Array:
    return np.asarray(t.prefill_flop_0 * past_tok + t.prefill_flop_1 * np.minimum(past_tok, t.window_tok))


def _collectives(t: ShardTable, r: StepRates, wait_tok: Array) -> tuple[Array, Array]:
    """Time [s], and bytes that a device sends, of sums over a tensor group and of exchanges between ranks of data."""
    ranks = t.tensor_count
    devices = t.tensor_count * t.data_count
    link, hop = _links(t, r, ranks)
    message_byte = t.reduce_byte_tok * wait_tok
    latency_s = r.reduce_s * hop * np.log2(np.maximum(ranks, 2.0)) ** r.reduce_growth_ratio
    at_once_s = latency_s + (ranks - 1.0) * message_byte / link
    in_turn_s = 2.0 * latency_s + 2.0 * (ranks - 1.0) / ranks * message_byte / link
    sent_ratio = (ranks - 1.0) * np.where(at_once_s < in_turn_s, 1.0, 2.0 / ranks)
    sums_s = t.reduce_count * np.minimum(at_once_s, in_turn_s) * (ranks > 1.0)
    exchange_byte_tok = t.exchange_byte_tok * np.minimum(t.active_count, t.data_count)
    link, hop = _links(t, r, devices)
    exchanges_s = t.exchange_count * r.exchange_s * hop + exchange_byte_tok * wait_tok / link
    return sums_s + exchanges_s, (t.reduce_count * t.reduce_byte_tok * sent_ratio + exchange_byte_tok) * wait_tok


def _links(t: ShardTable, r: StepRates, devices: Array) -> tuple[Array, Array]:
    """Bandwidth [byte/s] between so many devices that work together, and how much longer than within a node a message
    takes."""
    link = r.link_ratio * link_rate_byte_s(t, devices)
    return np.asarray(link), np.where(devices > t.domain_count, r.node_hop_ratio, 1.0)
