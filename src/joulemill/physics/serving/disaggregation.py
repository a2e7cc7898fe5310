"""Prompts computed on one pool of devices, answers decoded on another: who waits, how many decode. Pure, vectorised.

A closed loop of N requests. The prefill pool ends at most servers/t_p requests a second, t_p a prompt's share of a
step; a request stays N/X = TTFT + O·TPOT (Little), so of N

    X = min(servers/t_p, N/(TTFT₀ + O·TPOT(n)))        n = X·O·TPOT(n) decode, N − n wait for their first token

TTFT₀ is that of an idle enough pool (``first_token``, with N/servers slots behind a router, plus a step at the decode
worker that takes over). Where prompts are the bottleneck, more users wait longer and decode no slower. No more decode
than have their KV cache in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.continuous_batching import (
    Demand,
    HostRates,
    Rates,
    Steady,
    capacity_req,
    drafted,
    evenness_ratio,
    host_s,
    load_of,
    mean_context_tok,
    uncaptured_s,
)
from joulemill.physics.serving.counts import counts, decode_load, prefill_load
from joulemill.physics.serving.first_token import PromptSteps, pool_token_s
from joulemill.physics.serving.power import PowerLimitedStep, limited, step_work
from joulemill.physics.serving.shard import ShardTable
from joulemill.physics.serving.step import StepTimes, times


def usual_worker_req(host: HostRates, in_flight_req: Array, data_count: Array) -> Array:
    """Requests of a decode worker that operators usually choose for so many in flight, for rows that do not state their
    pools: a few tensor groups, or fewer wide workers of data-parallel attention."""
    workers = np.where(data_count > 1.0, host.wide_workers_count, host.pool_workers_count)
    return np.asarray(in_flight_req / np.minimum(np.maximum(workers, 1.0), np.maximum(in_flight_req, 1.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """A closed loop over two pools, an array a field.

    ttft_s, tpot_s   of a request
    share_ratio      of the requests in flight those that decode;  step_s  of a decode worker, with so many
    servers_count    ranks that compute prompts: each ``many_count`` at once, in ``many_s``
    """

    ttft_s: Array
    tpot_s: Array
    share_ratio: Array
    step_s: Array
    servers_count: Array
    many_count: Array
    many_s: Array


def disaggregated_latency(
    t: ShardTable, prefill: ShardTable, rates: Rates, d: Demand, prefill_servers: Array, in_flight_req: Array
) -> tuple[Array, Array]:
    """TTFT and TPOT [s] where prompts are computed on other devices, see ``pools_of``."""
    pools = pools_of(t, prefill, rates, d, (prefill_servers, in_flight_req))
    return pools.ttft_s, pools.tpot_s


def pools_of(t: ShardTable, prefill: ShardTable, rates: Rates, d: Demand, sizes: tuple[Array, Array]) -> Pools:
    """The loop where prompts are computed on other devices (``prefill``, a row a row of ``t``).

    ``sizes``: ranks of the prefill pool (0: as many as the load needs, times a usual margin), which take prompts as
    steps have room; and requests in flight, ``d.concurrency`` of which belong to each decode worker.
    """
    prefill_servers, in_flight_req = sizes
    one = np.ones_like(in_flight_req)
    zero = np.zeros_like(in_flight_req)
    fits = d.max_batched_tok / d.computed_tok
    slots = in_flight_req / np.maximum(prefill_servers, 1.0)
    many = np.minimum(np.maximum(slots, 1.0), np.maximum(fits, 1.0))
    many_s = _prompts_alone_s(prefill, rates, d, many)
    each_s = many_s / many
    step_s = _decode_step_s(t, rates, d)
    full_s = step_s(one)
    answer_s = d.output_tok / d.accepted_tok
    matched = np.maximum(rates.host.pool_margin_ratio * in_flight_req * each_s / (answer_s * full_s), 1.0)
    servers = np.where(prefill_servers > 0.0, prefill_servers, matched)
    queue = in_flight_req / servers
    least = one / prefill.data_count
    lone_s = _prompts_alone_s(prefill, rates, d, least, one)
    steps = PromptSteps(zero, least, lone_s, many, many_s, fits)
    load = replace(load_of(d, queue, full_s, prefill.data_count), behind_router=one)
    idle_s = pool_token_s(rates.host.arrivals, steps, load, answer_s * full_s)
    share = decoding_ratio(lambda r: answer_s * step_s(r), full_s + idle_s, queue * each_s)
    capacity = capacity_req(t, d, mean_context_tok(rates.host, d)) * t.data_count
    held = np.clip(capacity / d.concurrency, 1e-3, 1.0)
    share = np.minimum(share, held)
    mean_s = step_s(share)
    stay_s = answer_s * mean_s
    waits_s = np.maximum(queue * each_s - stay_s, stay_s * (1.0 / held - 1.0))
    return Pools(
        ttft_s=np.maximum(idle_s + mean_s, waits_s),
        tpot_s=mean_s / d.accepted_tok,
        share_ratio=share,
        step_s=mean_s,
        servers_count=servers,
        many_count=many,
        many_s=many_s,
    )


def steady_pools(t: ShardTable, prefill: ShardTable, rates: Rates, d: Demand, replicas: tuple[int, int]) -> Steady:
    """The steady state of a decode replica of two pools, its share of the prefill pool with it.

    ``replicas``: of the decode pool and of the prefill pool. Power and energy of a device are the mean over both. Each
    device spends what its steps take, and while no request is there, what it idles at with the model loaded; keys and
    values cross a link twice. A power limit holds on each pool.
    """
    decoding, prompting = replicas
    in_flight = d.concurrency * decoding
    pools = pools_of(t, prefill, rates, d, (np.full_like(in_flight, prompting) * prefill.data_count, in_flight))
    running = pools.share_ratio * d.concurrency / t.data_count
    prompt_work, decode_work = _prompts_alone(prefill, rates, d, pools.many_count), _decode_step(t, rates, d, running)
    prompt_held = limited(prefill, rates.power, step_work(prefill, rates.power, prompt_work, pools.many_s), d.limit_w)
    decode_held = limited(t, rates.power, step_work(t, rates.power, decode_work, pools.step_s), d.limit_w)
    slow = decode_held.time_s / pools.step_s
    ttft_s, tpot_s = pools.ttft_s * np.maximum(prompt_held.time_s / pools.many_s, 1.0), pools.tpot_s * slow
    most_req_s = pools.servers_count * pools.many_count / prompt_held.time_s
    stay_s = ttft_s + np.maximum(d.output_tok - 1.0, 0.0) * tpot_s
    request_req_s = np.minimum(in_flight / stay_s, most_req_s)
    rate = request_req_s * d.output_tok / decoding
    keys_j = _keys_j(t, rates, d) * t.tensor_count
    decode_w = _with_idle_w(t, decode_held, np.minimum(running, 1.0))
    prompt_w = _with_idle_w(prefill, prompt_held, np.minimum(request_req_s / most_req_s, 1.0))
    decode_devices = t.tensor_count * t.data_count
    prompt_devices = prefill.tensor_count * prefill.data_count * (prompting / decoding)
    all_w = decode_w * decode_devices + prompt_w * prompt_devices + 2.0 * keys_j * request_req_s / decoding
    context = mean_context_tok(rates.host, d)
    return Steady(
        rate_tok_s=rate,
        power_w=all_w / (decode_devices + prompt_devices),
        energy_j_tok=all_w / rate,
        itl_s=decode_held.time_s,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        step_s=decode_held.time_s,
        decode_req=running * t.data_count,
        context_tok=context,
        capacity_req=capacity_req(t, d, context) * t.data_count,
        prefill_ratio=np.minimum(request_req_s / most_req_s, 1.0),
        slowdown_ratio=slow,
        clock_ratio=decode_held.clock_ratio,
        decode=decode_work,
        mixed=prompt_work,
        host_s=pools.step_s - decode_work.device_s,
        launch_wait_s=pools.many_s - prompt_work.device_s,
        step_req=running,
    )


def _with_idle_w(t: ShardTable, held: PowerLimitedStep, busy_ratio: Array) -> Array:
    """Mean power of a device [W] that steps for a share of the time, and idles with its model loaded for the rest."""
    return np.asarray(busy_ratio * held.energy_j / held.time_s + (1.0 - busy_ratio) * t.resting_w)


def _keys_j(t: ShardTable, rates: Rates, d: Demand) -> Array:
    """Joules on a device to send or take a request's keys, values and state."""
    keys_byte = (t.kv_store_byte_0 + t.kv_store_byte_1) * d.input_tok + t.state_byte
    return np.asarray(rates.power.link_j_byte * keys_byte)


def decoding_ratio(stay_s: Callable[[Array], Array], first_s: Array, round_s: Array) -> Array:
    """Share of the requests in flight that decode: r = min(stay(r)/round, stay(r)/(first + stay(r))).

    stay_s   time that a request decodes for [s] when a share of them all does; grows with the share
    first_s  time to first token where prompts do not wait for each other [s]
    round_s  time that the prefill pool needs for the prompts of all in flight [s]
    Two rounds from r = 1 down, then twice the secant, of which one is exact for a stay that is a line.
    """

    def after(share: Array) -> Array:
        stay = stay_s(share)
        return np.asarray(np.minimum(stay / np.maximum(round_s, first_s + stay), 1.0))

    def meeting(x: Array, at_x: Array, z: Array, at_z: Array) -> Array:
        """Where the line through two points of ``after`` meets the diagonal."""
        bend = (z - x) - (at_z - at_x)
        apart = np.abs(bend) > 1e-12
        limit = at_z + np.where(apart, (at_z - at_x) * (at_z - z) / np.where(apart, bend, 1.0), 0.0)
        return np.asarray(np.clip(limit, np.minimum(at_z, 1e-3), 1.0))

    one = np.ones_like(round_s)
    first = after(one)
    second = after(first)
    third = meeting(one, first, first, second)
    return meeting(first, second, third, after(third))


def _decode_step_s(t: ShardTable, rates: Rates, d: Demand) -> Callable[[Array], Array]:
    """Time of a pure decode step [s] by the share of a worker's requests that decode."""

    def step_s(share: Array) -> Array:
        running = share * d.concurrency / t.data_count
        plain = _decode_step(t, rates, d, running)
        return np.asarray(plain.device_s + host_s(t, rates.host, d, running, plain.device_s))

    return step_s


def _decode_step(t: ShardTable, rates: Rates, d: Demand, running: Array) -> StepTimes:
    """A pure decode step of ``running`` sequences a rank."""
    alone = decode_load(running, mean_context_tok(rates.host, d), evenness_ratio(rates.step, d))
    return drafted(t, rates.step, d, alone, times(counts(t, alone), rates.step))


def _prompts_alone_s(t: ShardTable, rates: Rates, d: Demand, count: Array, busiest_count: Array | None = None) -> Array:
    """Time of a step that computes whole prompts as ``_prompts_alone`` has them, and nothing else [s]."""
    return uncaptured_s(rates.host, _prompts_alone(t, rates, d, count, busiest_count)) + rates.host.step_s


def _prompts_alone(
    t: ShardTable, rates: Rates, d: Demand, count: Array, busiest_count: Array | None = None
) -> StepTimes:
    """A step with ``count`` whole prompts a rank; the busiest has ``busiest_count`` (None: all have as many)."""
    zero = np.zeros_like(count)
    tok = count * d.computed_tok
    past = d.input_tok - 0.5 * d.computed_tok
    nothing = decode_load(zero, zero, evenness_ratio(rates.step, d))
    most = tok if busiest_count is None else busiest_count * d.computed_tok
    load = prefill_load(nothing, tok, (past, d.computed_tok), most, count)
    return times(counts(t, load), rates.step)
