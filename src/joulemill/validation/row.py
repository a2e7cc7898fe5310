"""One row of a table of measurements, ready to predict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from joulemill.physics.hardware.device import Device
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.inferencex_pools import Launch


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a point comes from: day (since 1 January of year 1) and version of its campaign; whether it is in the dump
    that lists configurations; ``mixed`` where it is in one that holds deployments with and without drafts; ``image``:
    the container that it ran in."""

    day: int = 0
    version: str = ""
    image: str = ""
    listed: bool = False
    mixed: bool = False


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """One row, ready to predict. ``measured`` holds what was measured in SI units; ``groups`` what to break
    errors down by.

    concurrency    in flight per replica; ``running``: that is the batch that really ran, not an upper bound
    prefill        parallelism of the prefill pool where prompts are computed elsewhere; prefill_servers: its ranks
    limit_ratio    power limit over TDP
    in_flight_req  requests of the closed loop over all decode workers
    pools_known    sizes of the pools are stated or inferred from the row; ``pools_stated``: stated
    lockstep       all prompts and answers are of one length;  gateway: a router stood before the server
    scheduler_interval_count   steps between two looks at the queue of new requests; 0 where it is the engine's
    hold_count     steps that a prompt waits at most for others;  captured_tok: tokens of steps with prompts that run
                   from captured graphs
    copies_count   rows of the table that hold this same measurement; ``is_representative``: this one stands for them
    stated_count   columns of parallelism and pools that are filled in
    origin         where the row comes from;  draft_count: tokens drafted a step by multi-token prediction
    drafts_hidden  the engine was told to schedule beside drafts
    shared_host    one device of a node whose others may have run something else: its host may have been crowded
    arrivals_ratio, generated_tok   of a window before the steady state, see ``mlenergy_window``; NaN: it is steady
    fused_experts  experts run FlashInfer's fused kernels
    launches       configurations that the row may have been launched with, where its columns do not state its pools
    notes          what was assumed
    """

    number: int
    model: str
    architecture: Architecture
    precision: Precision
    device: Device
    parallelism: Parallelism
    engine: str
    concurrency: float
    input_tok: float
    output_tok: float
    spread_ratio: float
    domain_evenness_ratio: float
    running: bool
    max_batched_tok: float
    measured: Mapping[str, float]
    groups: Mapping[str, str]
    prefill: Parallelism | None = None
    prefill_servers: float = 1.0
    in_flight_req: float = 1.0
    pools_known: bool = True
    pools_stated: bool = True
    limit_ratio: float = 1.0
    lockstep: bool = False
    gateway: bool = False
    scheduler_interval_count: float = 0.0
    hold_count: float = 0.0
    captured_tok: float = 0.0
    copies_count: int = 1
    is_representative: bool = True
    stated_count: int = 0
    origin: Origin = field(default_factory=Origin)
    draft_count: int = 0
    drafts_hidden: bool = False
    shared_host: bool = False
    arrivals_ratio: float = 1.0
    generated_tok: float = math.nan
    fused_experts: bool = False
    launches: tuple[Launch, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def stratum(self) -> str:
        """Which errors the row's are like: "drafted", "disaggregated", "unstated pools", or "" for all others."""
        if self.draft_count:
            return "drafted"
        return "" if self.prefill is None else "disaggregated" if self.pools_stated else "unstated pools"
