"""Many deployments at once: one compiled deployment, arrays of workloads in, arrays of figures out.

The numbers are those of ``prediction.predict``: the same limits, the same intervals. Rows are taken in stretches whose
arrays stay in a core's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.catalog.serving import rates
from joulemill.physics.hardware.node import share_bounds_w
from joulemill.physics.production.predicted_ceilings import DEVICE_CEILINGS, device_ceiling_rates
from joulemill.physics.production.prediction import cap_range_w
from joulemill.physics.serving.batch import settled
from joulemill.physics.serving.clock import at_locked_clock
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, capacity_req, mean_context_tok
from joulemill.physics.serving.deployed import engine_terms, prefill_table, shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.shard import Shard, ShardTable, shard_table
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.spread import LOADS, half_width_ratio, kind_of, load_classes, widened_ratio

#: Rows of a stretch: some hundred arrays of it fit a core's second-level cache.
STRETCH = 16384
#: Figure of a row → the quantity whose half-width it has.
FIGURES = {
    "rate_tok_s": "rate_tok_s",
    "device_j_tok": "energy_j_tok",
    "node_j_tok": "node_energy_j_tok",
    "device_power_w": "power_w",
    "node_power_w": "node_power_w",
    "ttft_s": "ttft_s",
    "tpot_s": "tpot_s",
}
#: Figures with their bounds: what a row is told.
OUTPUTS = tuple(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high"))
#: What may differ from row to row of one compiled deployment.
NUMBERS = (
    "concurrency",
    "input_tokens",
    "output_tokens",
    "output_spread_ratio",
    "cached_ratio",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
    "power_cap_w",
)
Numbers = Mapping[str, Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class CompiledDeployment:
    """A deployment with all that does not depend on its workload."""

    deployment: Deployment
    share: Shard
    table: ShardTable
    rates: Rates
    widths: Mapping[str, tuple[float, ...]]
    terms: Mapping[str, Any]

    @property
    def ranks(self) -> int:
        """Ranks of data-parallel attention in a replica."""
        return self.deployment.parallelism.data


@dataclass(frozen=True, eq=False)
class Remarks:
    """What is told of rows beside their figures.

    bottleneck   index in ``DEVICE_CEILINGS``; None where it was not asked for
    faults       argument at fault, in words → the rows that have it; these have no figures
    """

    bottleneck: NDArray[np.intp] | None
    faults: Mapping[str, NDArray[np.bool_]]


def compiled(question: PredictionRequest) -> CompiledDeployment:
    """Resolve the names of ``question`` and shard the model. InputError as ``predict`` raises it."""
    deployment, _, profile, _ = resolved(question)
    kind, architecture = kind_of(deployment, profile, question.engine), deployment.architecture
    loads = range(LOADS)
    widths = {
        name: tuple(widened_ratio(half_width_ratio(quantity, kind, load), architecture) for load in loads)
        for name, quantity in FIGURES.items()
    }
    deployment, used = at_locked_clock(deployment, rates(profile))
    share = shard_of(deployment)
    return CompiledDeployment(
        deployment=deployment,
        share=share,
        table=shard_table([share]),
        rates=used,
        widths=widths,
        terms=engine_terms(deployment),
    )


def predicted(
    plant: CompiledDeployment, numbers: Numbers, figures: Numbers, *, bottleneck: bool
) -> Iterator[tuple[slice, Remarks]]:
    """Predict rows, stretch by stretch. ``numbers`` [count] or [1] by the names in ``NUMBERS``; ``figures`` [count] by
    those in ``OUTPUTS`` are filled, with NaN where unknown."""
    count = next(iter(figures.values())).size
    for start in range(0, count, STRETCH):
        rows = slice(start, min(start + STRETCH, count))
        here = {name: values[rows] if values.size > 1 else values for name, values in numbers.items()}
        yield rows, _stretch(plant, here, {name: values[rows] for name, values in figures.items()}, bottleneck)


def _stretch(plant: CompiledDeployment, numbers: Numbers, figures: Numbers, bottleneck: bool) -> Remarks:
    count, demand = figures["rate_tok_s"].size, _demand(plant, numbers)
    most = capacity_req(plant.table, demand, mean_context_tok(plant.rates.host, demand)) * plant.ranks
    faults = {text: np.broadcast_to(rows, count) for text, rows in _faults(plant, numbers, demand, most)}
    batch = np.minimum(demand.concurrency, most)
    bad = np.any(list(faults.values()), axis=0) if faults else None
    asked = replace(demand, concurrency=batch if bad is None else np.where(bad, 1, batch))
    steady_state = settled(plant.deployment, plant.table, plant.rates, asked)
    loads = load_classes(batch, demand.input_tok / demand.output_tok)
    _fill(plant, steady_state, figures, np.broadcast_to(loads, count))
    _blank_tpot(numbers["output_tokens"], figures)
    if bad is not None:
        for values in figures.values():
            values[bad] = np.nan
    least = None
    if bottleneck:
        heights = device_ceiling_rates(plant.deployment, plant.share, demand, steady_state)
        least = np.broadcast_to(np.argmin(heights, axis=0), count)
    return Remarks(least, faults)


def _demand(plant: CompiledDeployment, numbers: Numbers) -> Demand:
    one, none, cap = np.ones(1), np.zeros(1), numbers["power_cap_w"]
    computed_tok = numbers["input_tokens"] * (1.0 - numbers["cached_ratio"])
    max_batched_tok = numbers["max_num_batched_tokens"]
    return Demand(
        concurrency=numbers["concurrency"],
        input_tok=numbers["input_tokens"],
        computed_tok=computed_tok,
        output_tok=numbers["output_tokens"],
        spread_ratio=numbers["output_spread_ratio"],
        max_batched_tok=max_batched_tok
        if plant.deployment.chunked_prefill
        else np.maximum(max_batched_tok, computed_tok),
        memory_use_ratio=numbers["gpu_memory_utilization"],
        limit_w=np.where(np.isnan(cap), plant.table.tdp_w, cap),
        running=none,
        domain_evenness_ratio=one,
        **plant.terms,
    )


def _faults(
    plant: CompiledDeployment, numbers: Numbers, demand: Demand, most: Array
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    room = plant.table.memory_byte * demand.memory_use_ratio
    drafts = plant.terms.get("draft")
    weight_byte = plant.table.weight_byte + (0.0 if drafts is None else drafts.weight_byte)
    if plant.deployment.prefill is not None:
        weight_byte = np.maximum(weight_byte, prefill_table(plant.deployment, plant.table).weight_byte)
    short = (weight_byte >= room) | (most < 1.0)
    if short.any():
        yield "the weights and one request of this length do not fit; use more `devices`, or fewer bits", short
    cap = numbers["power_cap_w"]
    if np.isnan(cap).all():
        return
    least_w, most_w = cap_range_w(plant.deployment, plant.rates)
    wrong = ~(np.isnan(cap) | ((cap > least_w) & (cap <= most_w)))
    if wrong.any():
        yield f"`power_cap_w` must lie between {least_w:.0f} and {most_w:.0f} W on this device", wrong


def _fill(plant: CompiledDeployment, steady_state: Steady, figures: Numbers, loads: NDArray[np.intp]) -> None:
    deployment = plant.deployment
    rate, watts = figures["rate_tok_s"], figures["device_power_w"]
    np.multiply(steady_state.rate_tok_s, deployment.parallelism.replicas, out=rate)
    np.multiply(steady_state.power_w, deployment.device_count, out=watts)
    np.divide(watts, rate, out=figures["device_j_tok"])
    figures["ttft_s"][:] = steady_state.ttft_s
    figures["tpot_s"][:] = steady_state.tpot_s
    for name in ("rate_tok_s", "device_j_tok", "device_power_w", "ttft_s", "tpot_s"):
        _bound(plant, figures, name, loads)
    _fill_node(plant, figures, loads)


def _blank_tpot(output_tok: Array, figures: Numbers) -> None:
    """A request of one output token has no time per output token."""
    alone = output_tok <= 1.0
    if alone.any():
        for end in ("", "_low", "_high"):
            figures[f"tpot_s{end}"][np.broadcast_to(alone, figures["tpot_s"].shape)] = np.nan


def _bound(plant: CompiledDeployment, figures: Numbers, name: str, loads: NDArray[np.intp]) -> None:
    """The interval around a figure; ``loads``: the class of each row's load."""
    factor = np.exp(plant.widths[name])[loads]
    np.multiply(figures[name], 1.0 / factor, out=figures[f"{name}_low"])
    np.multiply(figures[name], factor, out=figures[f"{name}_high"])


def _fill_node(plant: CompiledDeployment, figures: Numbers, loads: NDArray[np.intp]) -> None:
    node, names = plant.deployment.node, ("device_power_w", "device_power_w_low", "device_power_w_high")
    watts = tuple(figures[name] for name in names)
    unknown = ~np.isfinite(watts[0])
    if node is None or unknown.all():
        for name in OUTPUTS:
            if name.startswith("node"):
                figures[name][:] = np.nan
        return
    drawn = tuple(np.where(unknown, 0.0, w) for w in watts) if unknown.any() else watts
    bounds = share_bounds_w((drawn[0], drawn[1], drawn[2]), plant.deployment.device_count, node)
    for end, value in zip(("", "_low", "_high"), bounds, strict=True):
        figures[f"node_power_w{end}"][:] = np.where(unknown, np.nan, value) if drawn is not watts else value
    np.divide(figures["node_power_w"], figures["rate_tok_s"], out=figures["node_j_tok"])
    _bound(plant, figures, "node_j_tok", loads)


__all__ = ["DEVICE_CEILINGS", "FIGURES", "NUMBERS", "OUTPUTS", "CompiledDeployment", "Remarks", "compiled", "predicted"]
