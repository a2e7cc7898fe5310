"""Measured rows → one table of shards and demands → predicted quantities by name, all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.physics.serving.continuous_batching import Demand, Rates, steady
from joulemill.physics.serving.disaggregation import disaggregated_latency, usual_worker_req
from joulemill.physics.serving.shard import Shard, ShardTable, shard, shard_table
from joulemill.validation.row import MeasuredRow


@dataclass(frozen=True, kw_only=True)
class CompiledRows:
    """Rows compiled: shards of the serving devices and of the prefill pool, and what is asked of them."""

    table: ShardTable
    prefill: ShardTable
    disaggregated: NDArray[np.bool_]
    pools_known: NDArray[np.bool_]
    demand: Demand
    servers_count: Array
    in_flight_req: Array
    devices_count: Array

    def rows(self, index: NDArray[np.intp]) -> CompiledRows:
        """The rows at ``index``."""
        asked = {f.name: getattr(self.demand, f.name) for f in fields(Demand)}
        part: dict[str, Any] = {n: v[..., index] for n, v in asked.items() if isinstance(v, np.ndarray) and v.ndim}
        demand = replace(self.demand, **part)
        return CompiledRows(
            table=self.table.rows(index),
            prefill=self.prefill.rows(index),
            disaggregated=self.disaggregated[index],
            pools_known=self.pools_known[index],
            demand=demand,
            servers_count=self.servers_count[index],
            in_flight_req=self.in_flight_req[index],
            devices_count=self.devices_count[index],
        )


def compiled(rows: Sequence[MeasuredRow]) -> CompiledRows:
    """Compile ``rows``; equal deployments share one shard."""
    shards: dict[tuple[object, ...], Shard] = {}

    def of(row: MeasuredRow, pool: bool) -> Shard:
        parallelism = row.prefill if pool and row.prefill else row.parallelism
        key = (id(row.architecture), row.precision, row.device.name, parallelism)
        if key not in shards:
            shards[key] = shard(row.architecture, row.precision, row.device, parallelism)
        return shards[key]

    def column(values: Sequence[float]) -> Array:
        return np.array(values, dtype=np.float64)

    table = shard_table([of(r, False) for r in rows])
    table = table.replaced("fused_experts", column([r.fused_experts for r in rows]))
    tok = column([r.input_tok for r in rows])
    demand = Demand(
        concurrency=column([r.concurrency for r in rows]),
        input_tok=tok,
        computed_tok=tok,
        output_tok=column([r.output_tok for r in rows]),
        spread_ratio=column([r.spread_ratio for r in rows]),
        max_batched_tok=column([r.max_batched_tok for r in rows]),
        memory_use_ratio=np.full(len(rows), 0.9),
        limit_w=table.tdp_w * column([r.limit_ratio for r in rows]),
        running=column([r.running for r in rows]),
        domain_evenness_ratio=column([r.domain_evenness_ratio for r in rows]),
        uniform_lengths=column([r.lockstep for r in rows]),
        behind_router=column([r.gateway for r in rows]),
        scheduler_interval_count=column([r.scheduler_interval_count for r in rows]),
        hold_count=column([r.hold_count for r in rows]),
        captured_tok=column([r.captured_tok for r in rows]),
        draft_count=column([r.draft_count for r in rows]),
        drafts_hidden=column([r.drafts_hidden for r in rows]),
        arrivals_ratio=column([r.arrivals_ratio for r in rows]),
        generated_tok=column([r.generated_tok for r in rows]),
    )
    return CompiledRows(
        table=table,
        prefill=shard_table([of(r, True) for r in rows]),
        disaggregated=np.array([r.prefill is not None for r in rows]),
        pools_known=np.array([r.pools_known for r in rows]),
        demand=demand,
        servers_count=column([r.prefill_servers for r in rows]),
        in_flight_req=column([r.in_flight_req for r in rows]),
        devices_count=column([r.parallelism.devices * r.parallelism.replicas for r in rows]),
    )


def _disaggregated_latency(plant: CompiledRows, rates: Rates) -> tuple[Array, Array]:
    """TTFT and TPOT of rows whose prompts are computed on other devices [s]."""
    worker = usual_worker_req(rates.host, plant.in_flight_req, plant.table.data_count)
    demand = replace(plant.demand, concurrency=np.where(plant.pools_known, plant.demand.concurrency, worker))
    servers = np.where(plant.pools_known, plant.servers_count, 0.0)
    return disaggregated_latency(plant.table, plant.prefill, rates, demand, servers, plant.in_flight_req)


def predicted(plant: CompiledRows, rates: Rates) -> dict[str, Array]:
    """Quantities by name, one value per row: energy_j_tok, rate_tok_s, power_w (all devices), itl_s, ttft_s, tpot_s."""
    steady_state = steady(plant.table, rates, plant.demand)
    ttft_s, tpot_s = steady_state.ttft_s, steady_state.tpot_s
    if plant.disaggregated.any():
        index = np.flatnonzero(plant.disaggregated)
        ttft_s, tpot_s = ttft_s.copy(), tpot_s.copy()
        ttft_s[..., index], tpot_s[..., index] = _disaggregated_latency(plant.rows(index), rates)
    replicas = plant.devices_count / (plant.table.tensor_count * plant.table.data_count)
    return {
        "energy_j_tok": steady_state.energy_j_tok,
        "rate_tok_s": steady_state.rate_tok_s * replicas,
        "power_w": steady_state.power_w * plant.devices_count,
        "itl_s": steady_state.itl_s,
        "ttft_s": ttft_s,
        "tpot_s": tpot_s,
    }
