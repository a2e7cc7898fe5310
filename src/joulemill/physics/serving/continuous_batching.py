"""Continuous batching at steady state: steps of a replica → token rate, latencies, energy. Pure, vectorised.

In flight are B requests a replica, b = B/ranks a rank of data-parallel attention, each with I prompt tokens to compute
and O to generate. A step ends b/O requests a rank and lets as many in, so prompts arrive in steps as a Poisson count:

    f = max((1 − e^(−Cλ/c))/C, λ_r·I/budget)  share of steps with a prefill; λ = B/O a step, λ_r a rank; c come
                                           together; answers end C times as dense as on average (``first_token``)
    p = λ_r·I/f                            prompt tokens in such a step; the busiest rank has at least one whole prompt
    T = (1 − f)·t(b, 0) + f·t(b, p)        mean step;  rate = B/T
    context = I₀ + κ·O(1 + s²)/2           what a decoding request has behind it

Where λ_r·I exceeds the budget, prompts wait: only b = budget/(1 + I/O) decode. Where keys and values of all do not fit,
the rest waits too (preempted). Latency follows from Little's law: a request stays B/X = TTFT + (O − 1)·TPOT, with
TTFT from ``first_token``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.counts import (
    StepLoad,
    counts,
    decode_load,
    prefill_load,
    verify_load,
    without_decoding,
)
from joulemill.physics.serving.first_token import ArrivalRates, OfferedLoad, PromptSteps, first_token_s
from joulemill.physics.serving.pipeline import micro_batches_count
from joulemill.physics.serving.power import PowerRates, floor_w, limited, step_work
from joulemill.physics.serving.roofline import soft_s
from joulemill.physics.serving.shard import ShardTable
from joulemill.physics.serving.speculation import accepted_tok
from joulemill.physics.serving.step import (
    StepRates,
    StepTimes,
    decode_attention,
    device_time_s,
    head_times,
    largest_of,
    times,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRates:
    """Fitted overheads of an engine's host side.

    step_s, sequence_s   time of a step, and of each sequence in it, that devices wait for
    rank_s               more of it where a step is handed to several processes
    overlap_ratio        share of that time that runs beside the devices' (asynchronous scheduling)
    eager_ratio          time to launch a kernel in a step with prompts, outside a captured graph, over that inside one
    arrivals             how requests come and wait for their first token, see ``first_token``
    pool_*, wide_*       usual sizes of pools where none are stated: decode workers (``usual_worker_req``), and prefill
    ranks over those that the load would keep busy all the time
    front_s              time that the process in front of a rank needs for a token, beside the steps
    draft_passes_count   times that the host prepares work in a step with drafts; from two on, nothing of it is hidden
    spread_ratio         weight of s² in the context
    context_ratio        κ above
    """

    step_s: float
    sequence_s: float
    rank_s: float
    overlap_ratio: float
    eager_ratio: float
    arrivals: ArrivalRates
    context_ratio: float
    spread_ratio: float
    front_s: float
    pool_workers_count: float
    wide_workers_count: float
    pool_margin_ratio: float
    draft_passes_count: float = 1.0


@dataclass(frozen=True, slots=True)
class Rates:
    """All fitted coefficients of one engine."""

    step: StepRates
    host: HostRates
    power: PowerRates


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of each row; arrays that broadcast.

    concurrency     requests in flight per replica;  input_tok  of a prompt;  computed_tok  of it not cached
    output_tok      of an answer, on average;  spread_ratio  standard deviation of answer lengths over their mean
    max_batched_tok   most tokens of a step;  memory_use_ratio  share of device memory for weights and KV cache
    limit_w         board power limit;  domain_evenness_ratio  see ``catalog.serving.Task``
    draft_count     tokens drafted a sequence and step;  acceptance_ratio  α of ``speculation``, NaN as published
    draft, draft_layers_count   source of draft tokens: a model (one row, or one per row), or so many layers of the
                    model's own per draft token (multi-token prediction; 0: n-grams, which cost nothing)
    drafts_hidden   1 where the host prepares steps with drafts beside the devices, though the engine usually does not
    chunked_prefill   1 where prompts go into steps in parts, beside decoding; 0 where whole, in steps of their own
    eager           1 where no step is a captured graph
    scheduler_interval_count   steps between two looks at the queue; 0 where it is the engine's usual number
    hold_count      steps that a prompt is held back at most for others to join it
    captured_tok    tokens up to which a step with prompts runs from captured graphs
    behind_router   1 where a router stands before the servers
    open_loop       1 where requests come as a steady stream instead of one as another ends
    uniform_lengths  1 where all prompts and answers are of one length: requests end, and the next begin, together
    arrivals_ratio  prompts computed a step over those of a steady state;  generated_tok  what a running request has
    generated on average, NaN as in a steady state: of a measurement that ends before one (``renewal``)
    """

    concurrency: Array
    input_tok: Array
    computed_tok: Array
    output_tok: Array
    spread_ratio: Array
    max_batched_tok: Array
    memory_use_ratio: Array
    limit_w: Array
    running: Array
    domain_evenness_ratio: Array
    uniform_lengths: Array | float = 0.0
    draft_count: Array | float = 0.0
    scheduler_interval_count: Array | float = 0.0
    hold_count: Array | float = 0.0
    captured_tok: Array | float = 0.0
    behind_router: Array | float = 0.0
    open_loop: Array | float = 0.0
    acceptance_ratio: Array | float = np.nan
    draft: ShardTable | None = None
    draft_layers_count: Array | float = 1.0
    drafts_hidden: Array | float = 0.0
    chunked_prefill: Array | float = 1.0
    eager: Array | float = 0.0
    arrivals_ratio: Array | float = 1.0
    generated_tok: Array | float = np.nan

    @property
    def accepted_tok(self) -> Array:
        """Tokens that a step yields a sequence; of a short answer no more than it has."""
        if not np.any(self.draft_count):
            return np.ones(1)
        return np.minimum(accepted_tok(self.draft_count, self.acceptance_ratio), np.maximum(self.output_tok, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Steady state, an array a field. Power and energy are of one device's board; rates of one replica.

    step_s   from one step of a sequence to its next;  step_req   sequences that a step of a rank decodes
    slowdown_ratio, clock_ratio   what the power limit stretches steps by, and the clock over the highest that it leaves
    """

    rate_tok_s: Array
    power_w: Array
    energy_j_tok: Array
    itl_s: Array
    ttft_s: Array
    tpot_s: Array
    step_s: Array
    decode_req: Array
    context_tok: Array
    capacity_req: Array
    prefill_ratio: Array
    slowdown_ratio: Array
    clock_ratio: Array
    decode: StepTimes
    mixed: StepTimes
    host_s: Array
    launch_wait_s: Array
    step_req: Array

    @property
    def prompts_added_s(self) -> Array:
        """What prompts add to a step that has any [s], before any power limit."""
        return np.asarray(self.mixed.device_s - self.decode.device_s + self.launch_wait_s)


#: Share of the memory that weights leave that the KV cache gets at least.
TIGHT_RATIO = 0.4
TIGHT_MORE_RATIO = 0.1


def kv_room_byte(t: ShardTable, memory_use_ratio: Array, reserve_byte: float = 4e9) -> Array:
    """Memory of a device that KV cache and recurrent state get beside the weights [byte]; below 0 where these do not
    fit.

    ``reserve_byte``: activations, graphs, communication buffers (assumed 4 GB). Where weights leave little, engines are
    run with a higher share of memory, by up to a tenth of it: never less than 40 % of what the weights then leave
    (assumed).
    """
    spare = t.memory_byte * np.minimum(memory_use_ratio + TIGHT_MORE_RATIO, 1.0) - t.weight_byte
    return np.maximum(t.memory_byte * memory_use_ratio - t.weight_byte - reserve_byte, TIGHT_RATIO * spare)


def kv_request_byte(t: ShardTable, context_tok: Array) -> Array:
    """KV cache and recurrent state of a request at ``context_tok`` on a device [byte]."""
    kept_tok = np.minimum(context_tok, t.window_tok)
    each = t.kv_store_byte_0 * context_tok + t.kv_store_byte_1 * kept_tok + t.state_byte
    return np.asarray(each * t.fullest_ratio)


def capacity_req(t: ShardTable, d: Demand, context_tok: Array) -> Array:
    """Requests whose KV cache and state fit a rank's devices beside the weights, those of a draft model included; 0
    where the weights do not."""
    each = kv_request_byte(t, context_tok)
    if d.draft is not None:
        t = t.replaced("weight_byte", t.weight_byte + d.draft.weight_byte)
        each = each + kv_request_byte(d.draft, context_tok)
    room = np.maximum(kv_room_byte(t, d.memory_use_ratio), 0.0)
    return np.asarray(room / np.maximum(each, 1.0))


def mean_context_tok(host: HostRates, d: Demand) -> Array:
    """What a decoding request has behind it on average [tok]."""
    spread = 1.0 + host.spread_ratio * d.spread_ratio * d.spread_ratio
    generated_tok = 0.5 * d.output_tok * spread
    if not np.all(np.isnan(d.generated_tok)):
        generated_tok = np.where(np.isnan(d.generated_tok), generated_tok, d.generated_tok)
    return np.asarray(d.input_tok + host.context_ratio * generated_tok)


def steady(t: ShardTable, rates: Rates, d: Demand) -> Steady:
    """The steady state of each row."""
    host = rates.host
    context = mean_context_tok(host, d)
    in_flight = d.concurrency / t.data_count
    batches = micro_batches_count(t, in_flight)
    offered = in_flight / batches
    capacity = capacity_req(t, d, context) / batches
    crowding = np.where(d.running > 0.0, np.minimum(capacity / offered, 1.0), 1.0)
    context = context * np.maximum(crowding, 0.1)
    capacity = np.where(d.running > 0.0, np.maximum(capacity, offered), capacity)
    step_tok = 1.0 + np.asarray(d.draft_count) + d.accepted_tok * d.computed_tok / d.output_tok
    running = np.minimum(np.minimum(offered, np.maximum(capacity, 1.0)), d.max_batched_tok / step_tok)
    d = replace(d, max_batched_tok=_prompt_room_tok(d, running))  # of which prompts alone take, from here on
    arrivals = running * d.accepted_tok / d.output_tok * np.asarray(d.arrivals_ratio)
    often = _prompts_often(t, rates, d, offered, arrivals)
    alone = decode_load(running, context, evenness_ratio(rates.step, d))
    prompt = arrivals * d.computed_tok / often
    work, steps = _step_variants(t, rates, d, alone, (offered, prompt))
    state = (offered, running, context, capacity, often)
    return _timed(t, rates, d, state, work, (steps, batches))


def _prompt_room_tok(d: Demand, running: Array) -> Array:
    """Prompt tokens that a step holds: of its budget what the sequences leave that decode in it; all of it where
    prompts have steps of their own."""
    beside_tok = running * (1.0 + np.asarray(d.draft_count)) * (np.asarray(d.chunked_prefill) > 0.0)
    return np.asarray(d.max_batched_tok - beside_tok)


def _prompts_often(t: ShardTable, rates: Rates, d: Demand, offered: Array, arrivals: Array) -> Array:
    """f: the share of steps that compute prompts."""
    load, fits = load_of(d, offered, np.zeros_like(offered), t.data_count), d.max_batched_tok / d.computed_tok
    together = np.minimum(rates.host.arrivals.clumped_count(load), _shared_count(d, offered))
    together = np.where(np.asarray(d.open_loop) > 0.0, 1.0, together)
    crowd = load.crowd_ratio(offered / (fits * load.answer_steps))
    often = -np.expm1(-arrivals * crowd * t.data_count / together) / crowd
    if np.any(load.hold_count):  # one step in so many as pass until a prompt comes, and then while it is held
        come = arrivals * t.data_count
        often = np.minimum(often, come / (1.0 + come * load.held_count(fits)))
    often = np.maximum(often, arrivals * d.computed_tok / d.max_batched_tok)
    return np.clip(often, 1e-9, 1.0)


def _shared_count(d: Demand, offered: Array) -> Array:
    """Most prompts that one step computes."""
    return np.minimum(np.maximum(offered, 1.0), np.maximum(d.max_batched_tok / d.computed_tok, 1.0))


def _step_variants(
    t: ShardTable, rates: Rates, d: Demand, alone: StepLoad, loads: tuple[Array, Array]
) -> tuple[tuple[StepTimes, StepTimes, Array], PromptSteps]:
    """A step without prompts, one with the usual number of prompt tokens, and what devices wait for the host; and how
    steps grow with prompts. ``loads``: requests offered to a rank, and prompt tokens of a step that has any."""
    host, (offered, prompt) = rates.host, loads
    mean_count = prompt / d.computed_tok
    most = busiest_prompts_count(t, mean_count, d.spread_ratio)
    if np.any(d.hold_count):  # prompts are held until each rank has one: none has many
        most = np.where(np.asarray(d.hold_count) > 0.0, np.maximum(mean_count, 1.0), most)
    busiest = np.maximum(np.minimum(d.computed_tok * most, d.max_batched_tok), prompt)
    shared = _shared_count(d, offered)
    packed_tok = np.minimum(shared * d.computed_tok, d.max_batched_tok)
    past = d.input_tok - 0.5 * d.computed_tok
    few = prefill_load(alone, prompt, (past, d.computed_tok), busiest, prompt / d.computed_tok)
    many = prefill_load(alone, packed_tok, (past, d.computed_tok), packed_tok, shared)
    plain, mixed, packed_s = _undrafted(t, rates.step, d, (alone, few, many))
    checked = drafted(t, rates.step, d, alone, plain)
    if checked is not plain:
        mixed, packed_s = mixed.changed(checked, plain), packed_s + checked.device_s - plain.device_s
        plain = checked
    plain_s, eager_s = plain.device_s, _launching_ratio(host, d, busiest + alone.decode_tok) * mixed.issued_s
    if np.any(np.asarray(d.eager) > 0.0):
        plain_s = np.where(np.asarray(d.eager) > 0.0, uncaptured_s(host, plain), plain_s)
    waited_s = host_s(t, host, d, alone.decode_tok, plain.device_s)
    free_s = plain_s + waited_s

    def added_s(device_s: Array, launching_s: Array) -> Array:
        """What prompts add to a step [s]: the host's time hides beside theirs too."""
        with_s = soft_s(device_s, launching_s)
        return np.asarray(with_s + host_s(t, host, d, alone.decode_tok, with_s) - free_s)

    packed_launch_s = _launching_ratio(host, d, packed_tok + alone.decode_tok) * mixed.issued_s
    steps = PromptSteps(
        free_s,
        busiest / d.computed_tok,
        added_s(mixed.device_s, eager_s),
        packed_tok / d.computed_tok,
        added_s(packed_s, packed_launch_s),
        d.max_batched_tok / d.computed_tok,
    )
    return (plain, mixed, waited_s), steps


#: Fixed times of a step with prompts whose layers run from captured graphs, but not its attention, over those of one
#: that runs whole from a graph (fitted to vLLM 0.11 at chat prompts).
CAPTURED_RATIO = 5.0


def _launching_ratio(host: HostRates, d: Demand, step_tok: Array) -> Array:
    """Fixed times of a step of ``step_tok`` with prompts over those of a captured step."""
    captured = step_tok <= np.asarray(d.captured_tok)
    return np.asarray(np.where(captured, np.minimum(host.eager_ratio, CAPTURED_RATIO), host.eager_ratio))


def _undrafted(
    t: ShardTable, r: StepRates, d: Demand, loads: tuple[StepLoad, StepLoad, StepLoad]
) -> tuple[StepTimes, StepTimes, Array]:
    """Steps of the model alone: without prompts, with few, and the time on the device of one with many [s]; the
    prompts pass the draft model as well, where there is one."""
    alone, few, many = loads
    attention = decode_attention(counts(t, alone), r)
    plain = times(counts(t, alone), r, attention)
    mixed = times(counts(t, few), r, attention)
    packed_s = device_time_s(counts(t, many), r, attention)
    whole = np.asarray(d.chunked_prefill) <= 0.0
    if np.any(whole):
        nothing = decode_load(np.zeros_like(alone.decode_tok), alone.context_tok, alone.evenness_ratio)
        apart = times(counts(t, without_decoding(few, nothing)), r)
        mixed = mixed.changed(plain.changed(apart, mixed).scaled(1.0 * whole), plain.scaled(0.0))
        many_s = times(counts(t, without_decoding(many, nothing)), r).device_s
        packed_s = np.where(whole, plain.device_s + many_s, packed_s)
    if d.draft is not None:
        small = decode_attention(counts(d.draft, alone), r)
        base = times(counts(d.draft, alone), r, small)
        mixed = mixed.changed(times(counts(d.draft, few), r, small), base)
        packed_s = packed_s + device_time_s(counts(d.draft, many), r, small) - base.device_s
    return plain, mixed, packed_s


def busiest_prompts_count(t: ShardTable, mean_count: Array, spread_ratio: Array | float = 0.0) -> Array:
    """Prompts, in mean lengths, in a step of the busiest of the data-parallel ranks, which take ``mean_count`` each:
    one at least, and the expected largest of so many Poisson counts of prompts whose lengths scatter by
    ``spread_ratio`` (as those of answers do: assumed)."""
    spread = largest_of(t.data_count) * np.sqrt(mean_count * (1.0 + spread_ratio * spread_ratio))
    return np.asarray(np.maximum(mean_count + spread, 1.0))


def evenness_ratio(r: StepRates, d: Demand) -> Array:
    """Shape of the popularity of experts as the requests of ``d`` choose them."""
    return np.asarray(r.evenness_ratio * d.domain_evenness_ratio)


def drafted(t: ShardTable, r: StepRates, d: Demand, alone: StepLoad, plain: StepTimes) -> StepTimes:
    """``plain`` where tokens are drafted: each sequence has 1 + k checked; each of the k passes one more layer and the
    head once more, or a step of the draft model."""
    k = np.asarray(d.draft_count, dtype=np.float64)
    if not np.any(k > 0.0):
        return plain
    check = times(counts(t, verify_load(alone, k)), r)
    if d.draft is None:
        layers = np.asarray(d.draft_layers_count, dtype=np.float64)
        passes = check.scaled(1.0 + k * layers / np.maximum(t.blocks_count, 1.0))
        head = head_times(counts(t, alone), r)
        return passes.changed(head.scaled(k * (layers > 0.0)), head.scaled(0.0))
    each = times(counts(d.draft, alone), r)
    return check.changed(each.scaled(k), each.scaled(0.0))


def uncaptured_s(host: HostRates, work: StepTimes) -> Array:
    """Time of a step that is no captured graph [s]: no shorter than its host takes to issue kernels one by one."""
    return soft_s(work.device_s, host.eager_ratio * work.issued_s)


def host_s(t: ShardTable, host: HostRates, d: Demand, running: Array, device_s: Array) -> Array:
    """What devices wait for the host in a step of ``device_s`` [s]: all of its time, or only what is longer than theirs
    where the engine prepares a step while the one before runs; and for the process in front of it, which hands tokens
    on while steps run, once it is the slower one."""
    several = t.tensor_count * t.data_count > 1.0
    own_s = host.step_s + host.sequence_s * running + host.rank_s * several
    hidden = np.minimum(host.overlap_ratio, 1.0)
    if np.any(d.draft_count):
        apart = (np.asarray(d.draft_count) > 0.0) & (np.asarray(d.drafts_hidden) <= 0.0)
        passes = np.where(apart, np.maximum(host.draft_passes_count, 1.0), 1.0)
        own_s, hidden = own_s * passes, hidden * np.maximum(2.0 - passes, 0.0)
    waited_s = hidden * (soft_s(device_s, own_s) - device_s) + (1.0 - hidden) * own_s
    front_s = host.front_s * running * d.accepted_tok
    return np.asarray(np.maximum(device_s + waited_s, front_s) - device_s)


def _timed(
    t: ShardTable,
    rates: Rates,
    d: Demand,
    state: tuple[Array, ...],
    work: tuple[StepTimes, StepTimes, Array],
    variants: tuple[PromptSteps, Array | float],
) -> Steady:
    offered, running, context, capacity, often = state
    plain, mixed, host_s = work
    steps, batches = variants
    plain_s = steps.plain_s
    mixed_s = plain_s + steps.few_s
    free_s = plain_s + often * (mixed_s - plain_s)
    without, with_prompts = (step_work(t, rates.power, w, s) for w, s in ((plain, plain_s), (mixed, mixed_s)))
    mean = without.scaled(1.0 - often).plus(with_prompts, often)
    # A stage steps for ``batches`` micro-batches in the time of as many steps as there are stages; else it waits.
    stages, staged = t.pipeline_count, bool(np.any(t.pipeline_count > 1.0))
    held = limited(t, rates.power, mean, d.limit_w)
    step_energy_j, step_s = held.energy_j, held.time_s
    if staged:
        busy = batches / stages
        step_energy_j = busy * step_energy_j + (1.0 - busy) * floor_w(t, rates.power) * step_s
    slow = step_s / free_s
    ranks = t.data_count
    period_s = step_s * stages if staged else step_s
    rank_rate = running * d.accepted_tok / period_s
    rate = rank_rate * ranks * batches if staged else rank_rate * ranks
    power_w = step_energy_j / step_s
    itl_s = (plain_s + _median_share(often) * (mixed_s - plain_s)) * slow
    ttft_s, tpot_s = _latency(
        rates.host, d, steps.scaled(stages) if staged else steps, (offered, running, rank_rate), (period_s, slow, ranks)
    )
    return Steady(
        rate_tok_s=rate,
        power_w=power_w,
        energy_j_tok=power_w * (t.tensor_count * ranks * stages) / rate,
        itl_s=itl_s * stages if staged else itl_s,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        step_s=period_s,
        decode_req=running * ranks * batches,
        context_tok=context,
        capacity_req=capacity * ranks * batches,
        prefill_ratio=often,
        slowdown_ratio=slow,
        clock_ratio=held.clock_ratio,
        decode=plain,
        mixed=mixed,
        host_s=host_s,
        launch_wait_s=steps.few_s - (mixed.device_s - plain.device_s),
        step_req=running,
    )


def _median_share(often: Array) -> Array:
    """Prompts in the median step over prompts in a step that has any: those that come together count as one, and the
    median of a Poisson count of mean μ = −ln(1 − f) is about μ − 0.35."""
    mean = -np.log1p(-np.minimum(often, 1.0 - 1e-9))
    return np.asarray(np.clip(often * (1.0 - 0.35 / np.maximum(mean, 1e-9)), 0.0, 1.0))


def _latency(
    host: HostRates, d: Demand, steps: PromptSteps, loop: tuple[Array, Array, Array], pace: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """TTFT and TPOT [s] of requests in a closed loop: ``loop`` is (requests in flight, of them decoding, tokens a
    second) of a rank; ``pace`` a mean step [s] and what the power limit stretches steps by. B/X = TTFT + (O − 1)·TPOT,
    no token sooner than steps without prompts yield it."""
    offered, running, rank_rate = loop
    step_s, slow, ranks = pace
    stay_s = offered * d.output_tok / rank_rate
    own_s = first_token_s(host.arrivals, steps, load_of(d, offered, step_s / slow, ranks)) * slow
    queue_s = (offered - running) * d.output_tok / rank_rate
    later_count = np.maximum(d.output_tok - 1.0, 1.0)
    tpot_s = np.maximum((stay_s - own_s - queue_s) / later_count, steps.plain_s * slow / d.accepted_tok)
    return np.where(d.output_tok > 1.0, stay_s - later_count * tpot_s, stay_s), tpot_s


def load_of(d: Demand, concurrency: Array, step_s: Array, ranks: Array | float = 1.0) -> OfferedLoad:
    """What ``d`` offers a rank with ``concurrency`` slots whose mean step lasts ``step_s``."""
    lock, polls, gateway = (np.asarray(x) for x in (d.uniform_lengths, d.scheduler_interval_count, d.behind_router))
    steps = d.output_tok / d.accepted_tok
    return OfferedLoad(
        concurrency=concurrency,
        input_tok=d.input_tok,
        answer_steps=steps,
        step_s=step_s,
        uniform_lengths=lock,
        scheduler_interval_count=polls,
        hold_count=np.asarray(d.hold_count),
        behind_router=gateway,
        open_loop=np.asarray(d.open_loop),
        spread_ratio=d.spread_ratio,
        ranks_count=ranks,
    )
