"""Step costs of a deployment's replica, from the production function: the same counts, times and power as ``predict``.

One replica of r data-parallel ranks spreads its sequences evenly over them. Its prompts are computed by one rank each:
the others wait for the busiest, as ``steady`` has it. A power cap and a locked clock hold in every step by itself:
boards settle within tens of milliseconds, as long as a step of prompts is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.batch import MemoryShort
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
    prompts_s,
)
from joulemill.physics.serving.counts import counts, decode_load, prefill_load
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.power import limited, step_work
from joulemill.physics.serving.shard import ShardTable, shard, shard_table
from joulemill.physics.serving.step import StepTimes, times
from joulemill.simulation.cost import Knots, StepCost, tabulated


@dataclass(frozen=True, kw_only=True)
class ReplicaPhysics:
    """One replica as the production function has it, with ``table`` of one row.

    cap_w         power limit of a device
    draft_count   tokens drafted a step (multi-token prediction)
    time_ratio, energy_ratio   what measurements of this deployment correct its steps by
    """

    table: ShardTable
    rates: Rates
    cap_w: float
    draft_count: float = 0.0
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
        work, waited_s = self._decode(t, demand, sequences / self.ranks_count, context)
        time_s, energy_j = self._spent(t, work, work.device_s + waited_s)
        return time_s.reshape(shape), energy_j.reshape(shape)

    def mixed(self, rows_tok: Array, decode_req: Array, context_tok: Array, past_tok: Array) -> tuple[Array, Array]:
        """Time and energy of steps with prompts on one rank, see ``cost.MixedStep``; the knots go with all sequences
        of the replica, and prompts with the rank that computes them."""
        t, demand = self._rows(rows_tok.size), self._demand(rows_tok.size)
        running = decode_req / self.ranks_count
        prompt_tok = rows_tok - decode_req
        alone = decode_load(running, context_tok, evenness_ratio(self.rates.step, demand))
        few = prefill_load(
            alone, prompt_tok / self.ranks_count, (past_tok, prompt_tok), prompt_tok, np.ones_like(running)
        )
        work = times(counts(t, few), self.rates.step)
        checked, waited_s = self._decode(t, demand, running, context_tok)
        if self.draft_count:
            work = work.changed(checked, times(counts(t, alone), self.rates.step))
        return self._spent(t, work, prompts_s(self.rates.host, work) + waited_s)

    def _decode(self, t: ShardTable, d: Demand, running: Array, context_tok: Array) -> tuple[StepTimes, Array]:
        alone = decode_load(running, context_tok, evenness_ratio(self.rates.step, d))
        plain = times(counts(t, alone), self.rates.step)
        checked = drafted(t, self.rates.step, d, alone, plain)
        return checked, host_s(t, self.rates.host, d, running, checked.device_s)

    def _spent(self, t: ShardTable, work: StepTimes, step_s: Array) -> tuple[Array, Array]:
        power = self.rates.power
        held = limited(t, power, step_work(t, power, work, step_s), np.full(step_s.shape, self.cap_w))
        return held.time_s * self.time_ratio, held.energy_j * (self.devices_count * self.energy_ratio)

    def _rows(self, size: int) -> ShardTable:
        return self.table.rows(np.zeros(size, dtype=np.intp))

    def _demand(self, size: int) -> Demand:
        """What ``steady``'s parts ask of a demand besides lengths: how tokens choose experts, drafts."""
        one, zero = np.ones(size), np.zeros(size)
        return Demand(
            batch_req=one,
            input_tok=one,
            computed_tok=one,
            output_tok=one,
            spread_ratio=zero,
            budget_tok=one,
            memory_use_ratio=one,
            limit_w=one,
            running=zero,
            narrow_ratio=one,
            draft_count=one * self.draft_count,
        )


def replica_physics(
    deployment: Deployment,
    rates: Rates,
    *,
    draft_count: float = 0.0,
    time_ratio: float = 1.0,
    energy_ratio: float = 1.0,
) -> ReplicaPhysics:
    """One replica of ``deployment``, under its power cap and its locked clock."""
    deployment, rates = at_locked_clock(deployment, rates)
    share = shard(deployment.architecture, deployment.precision, deployment.device, deployment.parallelism)
    table = shard_table([share])
    cap_w = deployment.power_cap_w or float(table.tdp_w[0])
    return ReplicaPhysics(
        table=table,
        rates=rates,
        cap_w=np.inf if np.isnan(cap_w) else cap_w,
        draft_count=draft_count,
        time_ratio=time_ratio,
        energy_ratio=energy_ratio,
    )


def step_cost(
    deployment: Deployment,
    rates: Rates,
    *,
    max_num_seqs: int,
    most_context_tok: float,
    draft_count: float = 0.0,
    time_ratio: float = 1.0,
    energy_ratio: float = 1.0,
) -> StepCost:
    """Tables of one replica's steps under the cap and the clock that ``deployment`` has."""
    physics = replica_physics(
        deployment, rates, draft_count=draft_count, time_ratio=time_ratio, energy_ratio=energy_ratio
    )
    window_tok = float(physics.table.window_tok[0])
    knots = Knots(
        most_req=max_num_seqs,
        most_rows_tok=deployment.prefill_budget_tok * physics.ranks_count,
        most_context_tok=most_context_tok,
        bend_tok=(window_tok,),
    )
    return tabulated(physics.plain, physics.mixed, knots)


def kv_tok_capacity(deployment: Deployment, context_tok: float) -> int:
    """Tokens that the KV cache of a replica holds, all ranks together, where requests hold ``context_tok`` each.

    Windowed layers keep less a token and recurrent state is kept a request: both count as what a token of such a
    request takes on average. MemoryShort where the weights do not fit.
    """
    share = shard(deployment.architecture, deployment.precision, deployment.device, deployment.parallelism)
    table = shard_table([share])
    room_byte = float(kv_room_byte(table, np.array([deployment.memory_use_ratio]))[0])
    if room_byte <= 0.0:
        raise MemoryShort(
            f"weights take {share.weight_byte / 1e9:.0f} GB per device and leave no room for a KV cache; "
            "spread the model over more devices, or use fewer bits",
            share.weight_byte,
            share.memory_byte * deployment.memory_use_ratio,
        )
    each_byte = float(kv_request_byte(table, np.array([context_tok]))[0]) / context_tok
    return int(room_byte / max(each_byte, 1e-9) * deployment.parallelism.data)


def ingest_s(host: HostRates) -> tuple[float, float]:
    """Time before a request's first step [s]: fixed, and a prompt token."""
    return host.arrivals.ingest_s, host.arrivals.ingest_tok_s


def at_setting(deployment: Deployment, cap_w: float, clock_ratio: float) -> Deployment:
    """``deployment`` under a control's cap (NaN: its own) and clock."""
    cap = deployment.power_cap_w if np.isnan(cap_w) else cap_w
    return replace(deployment, power_cap_w=cap, clock_ratio=min(clock_ratio, deployment.clock_ratio))
