"""Step costs of a deployment's replica, from the production function: the same counts, times and power as ``predict``.

One replica of r data-parallel ranks spreads its sequences evenly over them. Its prompts are computed by one rank each:
the others wait for the busiest, as ``steady`` has it. A power cap and a locked clock hold in every step by itself:
boards settle within tens of milliseconds, as long as a step of prompts is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.physics.serving.batch import weights_that_fit
from joulemill.physics.serving.clock import at_locked_clock
from joulemill.physics.serving.continuous_batching import (
    Demand,
    HostRates,
    Rates,
    drafted,
    evenness_ratio,
    host_s,
    kv_request_byte,
    kv_room_byte,
    uncaptured_s,
)
from joulemill.physics.serving.counts import StepLoad, counts, decode_load, prefill_load
from joulemill.physics.serving.deployed import engine_terms, shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.power import limited, step_work
from joulemill.physics.serving.shard import ShardTable, shard_table
from joulemill.physics.serving.speculation import accepted_tok
from joulemill.physics.serving.step import StepTimes, decode_attention, times
from joulemill.simulation.cost import Knots, StepCost, tabulated

#: Parts of a token that contexts are counted in where a step yields more than one.
GRAINS = 64


@dataclass(frozen=True, kw_only=True)
class ReplicaPhysics:
    """One replica as the production function has it, with ``table`` of one row.

    cap_w         power limit of a device
    terms         what the engine's switches ask, see ``deployed.engine_terms``
    time_ratio, energy_ratio   what measurements of this deployment correct its steps by
    """

    table: ShardTable
    rates: Rates
    cap_w: float
    terms: Mapping[str, Any] = field(default_factory=dict)
    time_ratio: float = 1.0
    energy_ratio: float = 1.0

    @property
    def devices_count(self) -> int:
        """Devices of the replica."""
        return int(self.table.tensor_count[0] * self.table.data_count[0])

    @property
    def ranks_count(self) -> int:
        """Ranks of data-parallel attention."""
        return int(self.table.data_count[0])

    def plain(self, decode_req: Array, context_tok: Array) -> tuple[Array, Array]:
        """Time and energy of decode steps, see ``cost.PlainStep``."""
        shape = np.broadcast_shapes(decode_req.shape, context_tok.shape)
        sequences, context = (np.broadcast_to(x, shape).ravel() for x in (decode_req, context_tok))
        t, demand = self._rows(sequences.size), self._demand(sequences.size)
        alone = decode_load(sequences / self.ranks_count, context, evenness_ratio(self.rates.step, demand))
        work = times(counts(t, alone), self.rates.step)
        work, waited_s = self._drafted(t, demand, alone, work)
        device_s = work.device_s
        if self.terms.get("eager"):
            device_s = uncaptured_s(self.rates.host, work)
        time_s, energy_j = self._spent(t, work, device_s + waited_s)
        return time_s.reshape(shape), energy_j.reshape(shape)

    def mixed(self, rows_tok: Array, decode_req: Array, context_tok: Array, past_tok: Array) -> tuple[Array, Array]:
        """Time and energy of steps with prompts on one rank, see ``cost.MixedStep``; the knots go with all sequences
        of the replica, and prompts with the rank that computes them."""
        t, demand, rates = self._rows(rows_tok.size), self._demand(rows_tok.size), self.rates
        running = decode_req / self.ranks_count
        # Knots with fewer rows than sequences stand for less than no prompt, but no rank has less than no row.
        prompt_tok = np.maximum(rows_tok - decode_req, -running)
        alone = decode_load(running, context_tok, evenness_ratio(rates.step, demand))
        few = prefill_load(
            alone, prompt_tok / self.ranks_count, (past_tok, prompt_tok), prompt_tok, np.ones_like(running)
        )
        attention = decode_attention(counts(t, alone), rates.step)
        plain = times(counts(t, alone), rates.step, attention)
        work = times(counts(t, few), rates.step, attention)
        small = demand.draft
        if small is not None:
            work = work.changed(times(counts(small, few), rates.step), times(counts(small, alone), rates.step))
        checked, waited_s = self._drafted(t, demand, alone, plain)
        if checked is not plain:
            work = work.changed(checked, plain)
        return self._spent(t, work, uncaptured_s(rates.host, work) + waited_s)

    def _drafted(self, t: ShardTable, d: Demand, alone: StepLoad, plain: StepTimes) -> tuple[StepTimes, Array]:
        """A decode step with what it drafts and checks, and what devices wait for the host in it [s]."""
        checked = drafted(t, self.rates.step, d, alone, plain)
        return checked, host_s(t, self.rates.host, d, alone.decode_tok, checked.device_s)

    def _spent(self, t: ShardTable, work: StepTimes, step_s: Array) -> tuple[Array, Array]:
        power = self.rates.power
        held = limited(t, power, step_work(t, power, work, step_s), np.full(step_s.shape, self.cap_w))
        return held.time_s * self.time_ratio, held.energy_j * (self.devices_count * self.energy_ratio)

    def _rows(self, size: int) -> ShardTable:
        return self.table.rows(np.zeros(size, dtype=np.intp))

    def _demand(self, size: int) -> Demand:
        """What ``steady``'s parts ask of a demand besides lengths: how tokens choose experts, drafts."""
        one, zero = np.ones(size), np.zeros(size)
        terms = dict(self.terms)
        if terms.get("draft") is not None:
            terms["draft"] = terms["draft"].rows(np.zeros(size, dtype=np.intp))
        return Demand(
            concurrency=one,
            input_tok=one,
            computed_tok=one,
            output_tok=one,
            spread_ratio=zero,
            max_batched_tok=one,
            memory_use_ratio=one,
            limit_w=one,
            running=zero,
            domain_evenness_ratio=one,
            **terms,
        )


def replica_physics(
    deployment: Deployment, rates: Rates, *, time_ratio: float = 1.0, energy_ratio: float = 1.0
) -> ReplicaPhysics:
    """One replica of ``deployment``, under its power cap and its locked clock. InputError for pipeline stages, whose
    steps overlap each other in a way that the loop does not know."""
    if deployment.parallelism.pipeline > 1:
        raise InputError("a simulation does not model pipeline stages; give `pp` 1 and more of `tp`")
    deployment, rates = at_locked_clock(deployment, rates)
    table = shard_table([shard_of(deployment)])
    cap_w = deployment.power_cap_w or float(table.tdp_w[0])
    return ReplicaPhysics(
        table=table,
        rates=rates,
        cap_w=np.inf if np.isnan(cap_w) else cap_w,
        terms=engine_terms(deployment),
        time_ratio=time_ratio,
        energy_ratio=energy_ratio,
    )


def step_yield_tok(deployment: Deployment) -> float:
    """Tokens that a step yields a sequence: one, and those of its drafts that are accepted."""
    terms = engine_terms(deployment)
    if not terms.get("draft_count"):
        return 1.0
    return float(accepted_tok(terms["draft_count"], terms["acceptance_ratio"]))


def step_cost(
    deployment: Deployment,
    rates: Rates,
    *,
    max_num_seqs: int,
    most_context_tok: float,
    time_ratio: float = 1.0,
    energy_ratio: float = 1.0,
) -> StepCost:
    """Tables of one replica's steps under the cap and the clock that ``deployment`` has."""
    physics = replica_physics(deployment, rates, time_ratio=time_ratio, energy_ratio=energy_ratio)
    knots = Knots(
        most_req=max_num_seqs,
        most_rows_tok=deployment.max_batched_tok * physics.ranks_count,
        most_context_tok=most_context_tok,
        grain_count=GRAINS if physics.terms.get("draft_count") else 1,
        bend_tok=(float(physics.table.window_tok[0]),),
    )
    return tabulated(physics.plain, physics.mixed, knots)


def kv_tok_capacity(deployment: Deployment, context_tok: float) -> int:
    """Tokens that the KV cache of a replica holds, all ranks together, where requests hold ``context_tok`` each.

    Windowed layers keep less a token and recurrent state is kept a request: both count as what a token of such a
    request takes on average. MemoryShort where the weights do not fit.
    """
    share = shard_of(deployment)
    weights_that_fit(deployment, share)
    table = shard_table([share])
    each_byte = float(kv_request_byte(table, np.array([context_tok]))[0])
    small = engine_terms(deployment).get("draft")
    if small is not None:
        table = table.replaced("weight_byte", table.weight_byte + small.weight_byte)
        each_byte += float(kv_request_byte(small, np.array([context_tok]))[0])
    room_byte = float(kv_room_byte(table, np.array([deployment.memory_use_ratio]))[0])
    return int(room_byte / max(each_byte / context_tok, 1e-9) * deployment.parallelism.data)


def kv_transfer(deployment: Deployment, rates: Rates) -> tuple[float, float]:
    """To move the KV cache of a token from where prompts are computed to where they are decoded: seconds, and
    joules of both ends. Each device of the decoding replica takes its share over its own link to other nodes."""
    t = shard_table([shard_of(deployment)])
    each_byte = float((t.kv_store_byte_0 + t.kv_store_byte_1)[0])
    link_byte_s = rates.step.link_ratio * float(t.scale_out_byte_s[0])
    return each_byte / link_byte_s, 2.0 * rates.power.link_j_byte * each_byte * float(t.tensor_count[0])


def ingest_s(host: HostRates) -> tuple[float, float]:
    """Time before a request's first step [s]: fixed, and a prompt token."""
    return host.arrivals.ingest_s, host.arrivals.ingest_tok_s


def at_setting(deployment: Deployment, cap_w: float, clock_ratio: float) -> Deployment:
    """``deployment`` under a control's cap (NaN: its own) and clock."""
    cap = deployment.power_cap_w if np.isnan(cap_w) else cap_w
    return replace(deployment, power_cap_w=cap, clock_ratio=min(clock_ratio, deployment.clock_ratio))
