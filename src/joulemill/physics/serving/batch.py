"""The batch of a replica: how many requests fit, and the most that meet latency targets or the least that
meet demand.

Every whole batch up to what fits is computed at once and searched; nothing is assumed to be monotonic. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, steady
from joulemill.physics.serving.deployed import draft_shard_of, engine_terms, prefill_table, shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.disaggregation import steady_pools
from joulemill.physics.serving.shard import Shard, ShardTable, shard_table
from joulemill.physics.serving.workload import Workload

#: Most requests in flight per replica that are searched [req]; engines' own limits lie at 256 to 1,024.
SEARCH_REQ = 4096
DEFAULT_LIMIT_REQ = 1024.0


class MemoryShort(InputError):
    """The weights, or one request beside them, do not fit: ``needed_byte`` of a device's ``room_byte``."""

    def __init__(self, message: str, needed_byte: float, room_byte: float) -> None:
        super().__init__(message)
        self.needed_byte, self.room_byte = needed_byte, room_byte


@dataclass(frozen=True)
class BatchChoice:
    """The batch chosen and why; ``most_req`` fit in memory; ``meets`` is False where no batch meets the targets.

    limit_req, limit_tok_s   the batch that sustains the highest rate within limits and targets, and that rate of a
                             replica; None where a batch was asked for, or none meets the targets
    """

    concurrency: float
    most_req: float
    why: str
    meets: bool = True
    limit_req: float | None = None
    limit_tok_s: float | None = None


def step_budget_tok(deployment: Deployment, prompt_tok: float) -> float:
    """Tokens of a step; where prompts are not computed in parts, a step takes a whole one however long."""
    max_batched_tok = deployment.max_batched_tok
    return max_batched_tok if deployment.chunked_prefill else max(max_batched_tok, prompt_tok)


def demand_of(deployment: Deployment, workload: Workload, concurrency: Array, table: ShardTable) -> Demand:
    """The same deployment and workload at each of ``concurrency``."""
    one = np.ones_like(concurrency)
    w = workload
    return Demand(
        concurrency=concurrency,
        input_tok=one * w.input_tok,
        computed_tok=one * w.input_tok * (1.0 - w.cached_ratio),
        output_tok=one * w.output_tok,
        spread_ratio=one * w.output_spread_ratio,
        max_batched_tok=one * step_budget_tok(deployment, w.input_tok * (1.0 - w.cached_ratio)),
        memory_use_ratio=one * deployment.memory_use_ratio,
        limit_w=one * (deployment.power_cap_w or table.tdp_w),
        running=one * 0.0,
        domain_evenness_ratio=one,
        open_loop=one * float(w.rate_req_s is not None),
        **engine_terms(deployment, table),
    )


def swept(deployment: Deployment, workload: Workload, share: Shard, rates: Rates, concurrency: Array) -> Steady:
    """Steady states of one deployment over batches."""
    table = shard_table([share]).rows(np.zeros(concurrency.size, dtype=np.intp))
    return settled(deployment, table, rates, demand_of(deployment, workload, concurrency, table))


def settled(deployment: Deployment, table: ShardTable, rates: Rates, demand: Demand) -> Steady:
    """The steady state of a replica; where prompts are computed on devices of their own, with its share of these.

    ``table``: rows of the deployment's shard, whose device may differ from row to row.
    """
    if deployment.prefill is None:
        return steady(table, rates, demand)
    pools = (deployment.parallelism.replicas, deployment.prefill.replicas)
    return steady_pools(table, prefill_table(deployment, table), rates, demand, pools)


def choose(deployment: Deployment, workload: Workload, share: Shard, rates: Rates) -> BatchChoice:
    """Batch of one replica: as asked, as demand needs, or the largest that fits and meets the targets.

    InputError where the weights, or one request, do not fit.
    """
    most = most_that_fit_req(deployment, workload, share, rates)
    if workload.concurrency is not None:
        fits = workload.concurrency <= most
        return BatchChoice(
            min(workload.concurrency, most), most, "as asked" if fits else "as asked, but only so many fit"
        )
    limit = min(most, deployment.batch_limit_req or DEFAULT_LIMIT_REQ, SEARCH_REQ)
    grid = np.arange(1.0, max(1.0, np.floor(limit)) + 1.0)
    steady_states = swept(deployment, workload, share, rates, grid)
    ok = _meets(workload, steady_states)
    if not ok.any():
        return BatchChoice(1.0, most, "no batch meets the latency targets; one request is shown", meets=False)
    top = int(np.argmax(np.where(ok, steady_states.rate_tok_s, -np.inf)))
    limits = (float(grid[top]), float(steady_states.rate_tok_s[top]))
    if workload.rate_req_s is not None:
        wanted = workload.rate_req_s / deployment.parallelism.replicas * workload.output_tok
        enough = ok & (steady_states.rate_tok_s >= wanted)
        if enough.any():
            return BatchChoice(float(grid[enough][0]), most, "the least that meets the offered rate", True, *limits)
    best = float(grid[ok][-1])
    why = "memory" if best >= np.floor(most) else "the latency targets" if best < grid[-1] else "the engine's limit"
    limit_text = f"the most that {why} allow" if why.endswith("s") else f"the most that {why} allows"
    return BatchChoice(best, most, limit_text, True, *limits)


def _meets(workload: Workload, steady_states: Steady) -> NDArray[np.bool_]:
    ok = np.ones(steady_states.rate_tok_s.size, dtype=bool)
    if workload.ttft_limit_s is not None:
        ok &= steady_states.ttft_s <= workload.ttft_limit_s
    if workload.binding_tpot_limit_s is not None:
        ok &= steady_states.tpot_s <= workload.binding_tpot_limit_s
    return ok


def most_that_fit_req(deployment: Deployment, workload: Workload, share: Shard, rates: Rates) -> float:
    """Requests in flight that a replica's memory holds beside the weights. MemoryShort where it is not even one."""
    weight_byte, room = weights_that_fit(deployment, share)
    one = swept(deployment, workload, share, rates, np.ones(1))
    most = float(one.capacity_req[0])
    if most < 1.0:
        raise MemoryShort(
            f"one request of {workload.input_tok:.0f} + {workload.output_tok:.0f} tokens does not fit beside the "
            "weights; use more devices or fewer bits",
            weight_byte + (room - weight_byte) / max(most, 1e-9),
            room,
        )
    return most


def weights_that_fit(deployment: Deployment, share: Shard) -> tuple[float, float]:
    """Weights on a device, a draft model's among them, and the memory that the engine may use [byte].

    MemoryShort where there is no room beside the weights, on a device that decodes or one that computes prompts.
    """
    room = share.memory_byte * deployment.memory_use_ratio
    drafts = draft_shard_of(deployment)
    weight_byte = share.weight_byte + (drafts.weight_byte if drafts else 0.0)
    if weight_byte >= room:
        raise MemoryShort(
            f"weights take {weight_byte / 1e9:.0f} GB per device, and {room / 1e9:.0f} GB are available; "
            "spread the model over more devices, or use fewer bits",
            weight_byte,
            room,
        )
    if deployment.prefill is not None:
        _check_prefill_pool(shard_of(deployment, deployment.prefill), room)
    return weight_byte, room


def _check_prefill_pool(share: Shard, room: float) -> None:
    """MemoryShort where the devices that compute prompts do not hold the model."""
    if share.weight_byte >= room:
        raise MemoryShort(
            f"weights take {share.weight_byte / 1e9:.0f} GB per device of the prefill pool, and {room / 1e9:.0f} GB "
            "are available; spread it over more devices with `prefill_tp`",
            share.weight_byte,
            room,
        )
