"""Servers whose every step costs what a line says, so that closed forms of queues hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulemill.arrays import Array
from joulemill.simulation.cost import Knots, StepCost, tabulated
from joulemill.simulation.fleet import Fleet
from joulemill.simulation.resting import RestPolicy, always_loaded
from joulemill.simulation.scheduler import VLLM_SYNCHRONOUS, EngineLimits, SchedulerPolicy

IDLE_W, STEP_J = 50.0, 2.0


def cost_of(time_s: Callable[[Array, Array, Array], Array], most_req: int, most_tok: float = 4096.0) -> StepCost:
    """Steps that last ``time_s`` of (sequences, context of each, prompt tokens) and take ``STEP_J`` each."""

    def plain(sequences: Array, context: Array) -> tuple[Array, Array]:
        last = time_s(sequences, context, np.zeros_like(sequences * context))
        return last, np.full_like(last, STEP_J)

    def mixed(rows: Array, sequences: Array, context: Array, past: Array) -> tuple[Array, Array]:
        last = time_s(sequences, context, rows - sequences)
        return last, np.full_like(last, STEP_J)

    return tabulated(plain, mixed, Knots(most_req=most_req, most_rows_tok=most_tok, most_context_tok=most_tok))


def fleet_of(
    cost: StepCost,
    slots: int,
    *,
    replicas: int = 1,
    policy: SchedulerPolicy = VLLM_SYNCHRONOUS,
    budget: int = 4096,
    kv_tok: int = 10**9,
    router: str = "least-load",
    fast: bool = True,
    rest: RestPolicy | None = None,
    interval_ns: int = 0,
) -> Fleet:
    """A fleet of such servers."""
    limits = EngineLimits(policy=policy, max_num_seqs=slots, max_num_batched_tokens=budget, kv_tok=kv_tok)
    return Fleet(
        limits=limits,
        cost_at=lambda cap, clock: cost,
        rest=rest or always_loaded(IDLE_W),
        replicas_count=replicas,
        router=router,
        fast_forward=fast,
        least_interval_ns=interval_ns,
    )
