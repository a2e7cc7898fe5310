"""What happened over time, as columns in equal bins: tokens, requests, batch, queue, KV cache, power. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.simulation.bins import Bins, Spreader, rows_of_replicas
from joulemill.simulation.columns import Flags, Whole
from joulemill.simulation.controls import Controls
from joulemill.simulation.outcomes import Outcomes
from joulemill.simulation.plant import PlantPower
from joulemill.simulation.schedule import Schedule
from joulemill.simulation.timeline import ReplicaState, Timeline
from joulemill.simulation.traffic import NS_IN_S

#: What limited the output in a bin; the code in ``constraint``.
CONSTRAINTS = ("idle", "demand", "max_num_seqs", "kv_capacity", "power", "replicas", "throughput")
#: A bin is bound by a limit from this share of it on (assumed).
NEAR_RATIO = 0.95
#: Requests that wait on average from which a queue is one (assumed).
QUEUE_REQ = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaLimits:
    """Limits of one replica that a bin is compared with; None: not known."""

    max_running_req: float
    kv_tok: float | None
    full_load_tok_s: float | None


def timeline_columns(timeline: Timeline, bins: Bins) -> dict[str, Array]:
    """Sums over all replicas in each bin, of energies by stage, tokens, and request-seconds."""
    idle = (timeline.state == ReplicaState.LOADED_IDLE) | (timeline.state == ReplicaState.ACTIVE)
    quantities = {
        "prefill_j": timeline.prefill_j,
        "decode_j": timeline.decode_j,
        "transition_j": timeline.transition_j,
        "idle_j": timeline.idle_j,
        "prefill_tok": timeline.prefill_tok,
        "cached_tok": timeline.cached_tok,
        "output_tok": timeline.output_tok,
        "decode_req_s": timeline.decode_req * timeline.duration_s,
        "waiting_req_s": timeline.waiting_req * timeline.duration_s,
        "kv_tok_s": timeline.kv_tok * timeline.duration_s,
        "active_s": timeline.duration_s * (timeline.state == ReplicaState.ACTIVE),
        "serving_s": timeline.duration_s * idle,
    }
    columns = {name: np.zeros(bins.bins_count) for name in quantities}
    for rows in rows_of_replicas(timeline):
        spread = Spreader(timeline.start_ns[rows], timeline.end_ns[rows], bins)
        for name, quantity in quantities.items():
            columns[name] += spread.sums(quantity[rows])
    return columns


def series_columns(
    timeline: Timeline, outcomes: Outcomes, power: PlantPower, limits: ReplicaLimits, controls: Controls
) -> dict[str, Array]:
    """The series in the bins of ``power``: one column a quantity, its unit in its name."""
    bins = power.bins
    sums, lengths = timeline_columns(timeline, bins), bins.lengths_s
    columns = {"t_s": bins.edges_s[:-1]}
    for scope in ("device", "node", "site"):
        watts = power.power_w(scope)
        columns[f"{scope}_w"] = np.full(len(lengths), np.nan) if watts is None else watts
    for name in ("prefill", "decode", "idle", "transition"):
        columns[f"{name}_w"] = sums[f"{name}_j"] / lengths
    for name in ("prefill", "cached", "output"):
        columns[f"{name}_tok_s"] = sums[f"{name}_tok"] / lengths
    for name in ("decode_req", "waiting_req"):
        columns[name] = sums[f"{name}_s"] / lengths
    columns["serving_replicas"] = sums["serving_s"] / lengths
    columns["kv_tok"] = sums["kv_tok_s"] / lengths
    columns |= _arrivals(outcomes, bins)
    columns["utilization"] = _ratio(sums["output_tok"], limits.full_load_tok_s, lengths)
    columns["constraint"] = _constraint(sums, lengths, limits, _capped(controls, bins)).astype(np.float64)
    return columns


def _ratio(output_tok: Array, full_load_tok_s: float | None, lengths_s: Array) -> Array:
    """U: tokens over those at full load of all replicas."""
    if full_load_tok_s is None:
        return np.full(len(lengths_s), np.nan)
    return np.asarray(output_tok / (full_load_tok_s * lengths_s))


def _arrivals(outcomes: Outcomes, bins: Bins) -> dict[str, Array]:
    def rate(at_ns: Whole) -> Array:
        counts = np.histogram(at_ns[at_ns >= 0] / NS_IN_S, bins=bins.edges_s)[0]
        return np.asarray(counts / bins.lengths_s)

    return {"arrivals_req_s": rate(outcomes.arrival_ns), "completions_req_s": rate(outcomes.finish_ns)}


def _capped(controls: Controls, bins: Bins) -> Flags:
    """Whether a cap or a lower clock is set in each bin."""
    lowered = ~np.isnan(controls.power_cap_w) | (controls.clock_ratio < 1.0)
    means = Schedule(controls.at_ns / NS_IN_S, lowered.astype(np.float64)).means(bins.edges_s)
    return np.asarray(means > 0.5)


def _constraint(sums: Mapping[str, Array], lengths: Array, limits: ReplicaLimits, capped: Flags) -> Whole:
    """Code of what limited each bin: nothing waits → demand; else the limit that is reached, else the step itself."""
    code = CONSTRAINTS.index
    serving_s = np.maximum(sums["serving_s"], 1e-12)
    waiting = sums["waiting_req_s"] / lengths > QUEUE_REQ
    full = sums["decode_req_s"] >= NEAR_RATIO * limits.max_running_req * serving_s
    held = np.zeros(len(lengths), bool)
    if limits.kv_tok is not None:
        held = sums["kv_tok_s"] >= NEAR_RATIO * limits.kv_tok * serving_s
    bound = np.select(
        [sums["serving_s"] <= 0.0, held, full, capped],
        [code("replicas"), code("kv_capacity"), code("max_num_seqs"), code("power")],
        default=np.int64(code("throughput")),
    )
    running = np.where(sums["active_s"] > 0.0, code("demand"), code("idle"))
    return np.asarray(np.where(waiting, bound, running), dtype=np.int64)
