"""From named coefficients to the rates that steps, hosts and boards are computed with. Pure.

Coefficients are positive numbers by name (``serving_parameters.csv`` says what each is). Ratios multiply the
coefficient that they are a ratio to, so that a class without data keeps a likely value when the common one moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.serving.continuous_batching import HostRates, Rates
from joulemill.physics.serving.first_token import ArrivalRates
from joulemill.physics.serving.power import PowerRates
from joulemill.physics.serving.step import StepRates

NAMES = (
    "memory",
    "memory_fp4",
    "attention_memory",
    "expert_memory",
    "wide_compute",
    "fp8_compute",
    "fp8_block_compute",
    "fp4_compute",
    "unpacked_compute",
    "expert_compute",
    "expert_fp8_compute",
    "expert_fp8_block_compute",
    "expert_width",
    "expert_grain",
    "expert_grain_fp8_block",
    "expert_grain_narrow",
    "prefill_attention",
    "prefill_grain",
    "latent_attention",
    "kernel",
    "kernel_newest",
    "quantize",
    "state",
    "routing",
    "routing_native",
    "sampling",
    "reduce",
    "reduce_growth",
    "node_hop",
    "link",
    "exchange",
    "evenness",
    "expert_newest",
    "expert_compute_newest",
    "expert_tile",
    "expert_block",
    "newest",
    "expert_block_newest",
    "imbalance",
    "step",
    "sequence",
    "rank",
    "overlap",
    "front",
    "context",
    "context_spread",
    "eager",
    "ingest",
    "ingest_token",
    "gateway",
    "scheduler_interval",
    "initial_burst",
    "arrival_burst",
    "lock",
    "padding",
    "gathered",
    "pool_workers",
    "wide_workers",
    "pool_margin",
    "draft_passes",
    "wait_power",
    "busy_power",
    "flop_energy",
    "flop_energy_fp8",
    "flop_energy_fp8_block",
    "flop_energy_fp4",
    "flop_energy_unpacked",
    "byte_energy",
    "link_energy",
    "power_ceiling",
    "newest_wait",
    "newest_busy",
    "newest_flop",
)
POWER_NAMES = NAMES[NAMES.index("wait_power") :]


def rates_of(c: Mapping[str, float]) -> Rates:
    """Rates from coefficients by name. InputError names what is missing or not positive."""
    for name in NAMES:
        if not (name in c and math.isfinite(c[name]) and c[name] > 0):
            raise InputError(f"coefficient {name!r} is {c.get(name)}; it must be a positive number")
    return unchecked_rates_of(c)


def unchecked_rates_of(c: Mapping[str, Any]) -> Rates:
    """As ``rates_of``, of values that a fit keeps positive: numbers, or columns [n, 1] that stand for n sets of rates
    at once and make every result [n, row]."""
    return Rates(_step(c), _host(c), _power(c))


def _step(c: Mapping[str, Any]) -> StepRates:
    wide = c["wide_compute"]
    fp8 = wide * c["fp8_compute"]
    block = fp8 * c["fp8_block_compute"]
    matrix = (wide, fp8, block, wide * c["fp4_compute"], wide * c["unpacked_compute"])
    expert = [x * c["expert_compute"] for x in matrix]
    expert[2] = block * c["expert_fp8_block_compute"]
    grain, narrow = c["expert_grain"], c["expert_grain"] * c["expert_grain_narrow"]
    return StepRates(
        memory_ratio=c["memory"],
        memory_fp4_ratio=c["memory_fp4"],
        attention_memory_ratio=c["attention_memory"],
        expert_memory_ratio=c["expert_memory"],
        compute_ratio=matrix,
        expert_compute_ratio=tuple(expert),
        expert_grain_count=(grain, grain, grain * c["expert_grain_fp8_block"], narrow, narrow),
        expert_fp8_ratio=wide * c["expert_fp8_compute"],
        expert_width_count=c["expert_width"],
        prefill_attention_ratio=c["prefill_attention"],
        prefill_grain_tok=c["prefill_grain"],
        latent_attention_ratio=c["latent_attention"],
        kernel_s=c["kernel"],
        kernel_newest_ratio=c["kernel_newest"],
        quantize_s=c["quantize"],
        state_s=c["state"],
        routing_s=c["routing"],
        routing_native_ratio=c["routing_native"],
        sampling_byte=c["sampling"],
        reduce_s=c["reduce"],
        reduce_growth_ratio=c["reduce_growth"],
        node_hop_ratio=c["node_hop"],
        link_ratio=c["link"],
        exchange_s=c["exchange"],
        evenness_ratio=c["evenness"],
        imbalance_ratio=c["imbalance"],
        expert_newest_ratio=c["expert_newest"],
        expert_compute_newest_ratio=c["expert_compute_newest"],
        newest_ratio=c["newest"],
        expert_block_newest_ratio=c["expert_block_newest"],
        expert_tile_ratio=c["expert_tile"],
        expert_block_s=c["expert_block"],
        padding_ratio=c["padding"],
        gathered_ratio=c["gathered"],
    )


def _host(c: Mapping[str, Any]) -> HostRates:
    return HostRates(
        step_s=c["step"],
        sequence_s=c["sequence"],
        rank_s=c["rank"],
        overlap_ratio=c["overlap"],
        eager_ratio=c["eager"],
        arrivals=ArrivalRates(
            ingest_s=c["ingest"],
            ingest_tok_s=c["ingest_token"],
            gateway_s=c["gateway"],
            scheduler_interval_count=c["scheduler_interval"],
            initial_burst_ratio=c["initial_burst"],
            arrival_burst_ratio=c["arrival_burst"],
            lock_ratio=c["lock"],
        ),
        context_ratio=c["context"],
        spread_ratio=c["context_spread"],
        front_s=c["front"],
        pool_workers_count=c["pool_workers"],
        wide_workers_count=c["wide_workers"],
        pool_margin_ratio=c["pool_margin"],
        draft_passes_count=c["draft_passes"],
    )


def _power(c: Mapping[str, Any]) -> PowerRates:
    flop = c["flop_energy"]
    fp8 = flop * c["flop_energy_fp8"]
    by_class = (
        flop,
        fp8,
        fp8 * c["flop_energy_fp8_block"],
        flop * c["flop_energy_fp4"],
        flop * c["flop_energy_unpacked"],
    )
    return PowerRates(
        wait_ratio=c["wait_power"],
        busy_ratio=c["busy_power"],
        flop_ratio=by_class,
        energy_j_byte=c["byte_energy"],
        link_j_byte=c["link_energy"],
        ceiling_ratio=c["power_ceiling"],
        newest_wait_ratio=c["newest_wait"],
        newest_busy_ratio=c["newest_busy"],
        newest_flop_ratio=c["newest_flop"],
    )
