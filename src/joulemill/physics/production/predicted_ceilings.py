"""The ceilings of a predicted deployment, and what one per cent more of each resource buys. Pure.

Ceilings are ideal: datasheet capacity over the work of a token at this load. Elasticities are of the model
itself: each
resource is raised by 1 % and the steady state computed again, so launches, waiting and overlap are in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.hardware.site import Site, it_limit_figure
from joulemill.physics.production.ceilings import (
    CeilingValue,
    compute_ceiling,
    cooling_ceiling,
    demand_ceiling,
    interconnect_ceiling,
    kv_capacity_ceiling,
    latency_ceiling,
    memory_bandwidth_ceiling,
    power_ceiling,
)
from joulemill.physics.production.token_work import TokenLoad, sent_byte_tok, token_work
from joulemill.physics.serving.batch import BatchChoice, demand_of, settled, swept
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, kv_request_byte, kv_room_byte
from joulemill.physics.serving.deployed import drafting_table
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.shard import Shard, link_time_s, shard_table, whole_model
from joulemill.physics.serving.speculation import accepted_tok
from joulemill.physics.serving.workload import Workload


@dataclass(frozen=True)
class ResourceSensitivity:
    """Elasticity d ln rate / d ln capacity of a resource and its shadow price [tok/s per ``unit`` of all devices]; None
    and unknown for the power limit of a device whose TDP is not known."""

    resource: str
    elasticity_ratio: float | None
    shadow_price: Figure


def least_other(limits: tuple[CeilingValue, ...]) -> Figure:
    """The least ceiling of the plant itself: neither demand nor a latency target."""
    heights = [c.rate_tok_s for c in limits if c.rate_tok_s.value is not None and c.name not in ("demand", "latency")]
    return min(heights, key=lambda f: f.value or np.inf) if heights else unknown("tok/s", "no ceiling is known")


def ceilings_of(
    deployment: Deployment,
    workload: Workload,
    share: Shard,
    steady_state: Steady,
    figures: Mapping[str, Figure],
    *,
    site: Site | None,
    rates: Rates,
) -> tuple[CeilingValue, ...]:
    """All ceilings at the predicted load."""
    limits = [
        *_device_ceilings(deployment, workload, share, steady_state),
        _kv_ceiling(deployment, workload, share, steady_state),
    ]
    limits += _site_ceilings(site, figures["full_node_j_tok"])
    limits.append(_latency(deployment, workload, share, rates, figures["full_tok_s"]))
    if workload.rate_req_s is not None:
        asked = Figure(workload.rate_req_s, "req/s", Basis.DECLARED)
        limits.append(demand_ceiling(asked, Figure(workload.output_tok, "tok/req", Basis.DECLARED)))
    return tuple(limits)


def _device_ceilings(
    deployment: Deployment, workload: Workload, share: Shard, steady_state: Steady
) -> list[CeilingValue]:
    parallelism, count = deployment.parallelism, deployment.device_count
    load = _token_load(deployment, workload, steady_state)
    model = whole_model(deployment.architecture, deployment.precision, parallelism.data)
    work = token_work(shard_table([model]), load, drafting_table(deployment))
    parts = (
        (float(work.flop_0_tok[0]), share.peak_0_flop_s),
        (float(work.flop_1_tok[0]), share.peak_1_flop_s),
        (float(work.expert_flop_tok[0]), share.expert_peak_flop_s),
    )
    flop = sum(f for f, _ in parts)
    peak = flop / sum(f / p for f, p in parts)
    ceilings = [
        compute_ceiling(_sheet(peak * count, "flop/s"), _work(flop, "flop/tok"), "dense peaks, by dtype"),
        memory_bandwidth_ceiling(
            _sheet(share.bandwidth_byte_s * count, "byte/s"), _work(float(work.byte_tok[0]), "byte/tok")
        ),
    ]
    return ceilings if parallelism.devices == 1 else [*ceilings, *_interconnect(share, load, count)]


#: The ceilings of the hardware, in the order of ``device_ceiling_rates``.
DEVICE_CEILINGS = ("compute", "memory_bandwidth", "interconnect", "kv_capacity")


def device_ceiling_rates(deployment: Deployment, share: Shard, demand: Demand, steady_state: Steady) -> Array:
    """Token rates [tok/s] that ``DEVICE_CEILINGS`` allow [4, rows], as ``ceilings_of`` has them; inf where one is none.

    One deployment; ``demand`` and ``found`` of many rows.
    """
    parallelism, count, table = deployment.parallelism, deployment.device_count, shard_table([share])
    load = TokenLoad(
        sequences_count=steady_state.step_req,
        context_tok=steady_state.context_tok,
        prompt_tok=demand.computed_tok,
        cached_tok=demand.input_tok - demand.computed_tok,
        output_tok=demand.output_tok,
        draft_count=demand.draft_count,
        accepted_tok=demand.accepted_tok,
    )
    model = shard_table([whole_model(deployment.architecture, deployment.precision, parallelism.data)])
    work = token_work(model, load, drafting_table(deployment))
    flop_s = (
        work.flop_0_tok / share.peak_0_flop_s
        + work.flop_1_tok / share.peak_1_flop_s
        + work.expert_flop_tok / share.expert_peak_flop_s
    )
    held_byte = kv_request_byte(table, steady_state.context_tok) * (parallelism.tensor * parallelism.pipeline)
    stay_s = (steady_state.ttft_s + np.maximum(demand.output_tok - 1.0, 0.0) * steady_state.tpot_s) / demand.output_tok
    limits = [count / flop_s, share.bandwidth_byte_s * count / work.byte_tok]
    if parallelism.devices > 1:
        link_s = link_time_s(table, *sent_byte_tok(table, load))
        limits.append(count / np.maximum(link_s, 1e-300))
    else:
        limits.append(np.full_like(flop_s, np.inf))
    limits.append(kv_room_byte(table, demand.memory_use_ratio) * deployment.decode_device_count / (held_byte * stay_s))
    return np.stack(np.broadcast_arrays(*limits))


def _interconnect(share: Shard, load: TokenLoad, count: int) -> list[CeilingValue]:
    """None where nothing crosses a link: replicas of a dense model beside each other."""
    table = shard_table([share])
    reduce_byte_tok, exchange_byte_tok = sent_byte_tok(table, load)
    sent = float((reduce_byte_tok + exchange_byte_tok)[0])
    if sent <= 0.0:
        return []
    link = sent / float(link_time_s(table, reduce_byte_tok, exchange_byte_tok)[0])
    return [interconnect_ceiling(_sheet(link * count, "byte/s"), _work(sent, "byte/tok"))]


def _token_load(deployment: Deployment, workload: Workload, steady_state: Steady) -> TokenLoad:
    """The load of one rank at the predicted steady state."""
    how = deployment.speculation
    drafts = 0.0 if how is None else float(how.draft_count)
    accepted = accepted_tok(drafts, np.nan if how is None else how.accepting_ratio)
    cached = workload.input_tok * workload.cached_ratio
    return TokenLoad(
        sequences_count=steady_state.step_req,
        context_tok=steady_state.context_tok,
        prompt_tok=np.array([workload.input_tok - cached]),
        cached_tok=np.array([cached]),
        output_tok=np.array([workload.output_tok]),
        draft_count=drafts,
        accepted_tok=np.minimum(accepted, max(workload.output_tok, 1.0)),
    )


def _sheet(value: float, unit: str) -> Figure:
    return Figure(value, unit, Basis.DATASHEET)


def _work(value: float, unit: str) -> Figure:
    return Figure(value, unit, Basis.MODELLED)


def _kv_ceiling(deployment: Deployment, workload: Workload, share: Shard, steady_state: Steady) -> CeilingValue:
    """Little's law at these latencies: each of the requests that fit stays TTFT + (O − 1)·TPOT for its O tokens."""
    table = shard_table([share])
    room = float(kv_room_byte(table, np.array([deployment.memory_use_ratio]))[0])
    each = float(kv_request_byte(table, steady_state.context_tok)[0])
    later = max(workload.output_tok - 1.0, 0.0)
    stay = (float(steady_state.ttft_s[0]) + later * float(steady_state.tpot_s[0])) / workload.output_tok
    return kv_capacity_ceiling(
        Figure(room * deployment.decode_device_count, "byte", Basis.DATASHEET),
        _work(each * deployment.parallelism.tensor * deployment.parallelism.pipeline, "byte"),
        _work(stay, "s/tok"),
        "at the predicted TPOT; more requests in flight would lengthen it",
    )


def _site_ceilings(site: Site | None, node_j_tok: Figure) -> list[CeilingValue]:
    if site is None:
        why = "no site is given: a site file states power and cooling"
        return [CeilingValue(name, unknown("tok/s", why)) for name in ("power", "cooling")]
    cooling = (
        unknown("W", "cooling_limit is not stated in the site file")
        if site.cooling_limit_w is None
        else Figure(site.cooling_limit_w, "W", Basis.DECLARED)
    )
    return [power_ceiling(it_limit_figure(site), node_j_tok), cooling_ceiling(cooling, node_j_tok)]


def _latency(deployment: Deployment, workload: Workload, share: Shard, rates: Rates, like: Figure) -> CeilingValue:
    if workload.binding_tpot_limit_s is None and workload.ttft_limit_s is None:
        return CeilingValue("latency", unknown("tok/s", "no latency target is given"))
    grid = np.unique(np.round(np.geomspace(1.0, 2048.0, 60)))
    steady_states = swept(deployment, workload, share, rates, grid)
    points = []
    for limit, latency in (
        (workload.binding_tpot_limit_s, steady_states.tpot_s),
        (workload.ttft_limit_s, steady_states.ttft_s),
    ):
        if limit is not None:
            rate = steady_states.rate_tok_s * deployment.parallelism.replicas
            points.append(latency_ceiling(list(zip(rate.tolist(), latency.tolist(), strict=True)), limit, like))
    return min(points, key=lambda c: np.inf if c.rate_tok_s.value is None else c.rate_tok_s.value)


#: resource → (columns of the shard that grow with it, unit of its shadow price, column that holds its size)
RESOURCES: dict[str, tuple[tuple[str, ...], str, str | None]] = {
    "compute": (("peak_0_flop_s", "peak_1_flop_s", "expert_peak_flop_s"), "tok/s per flop/s", "peak_0_flop_s"),
    "memory_bandwidth": (("bandwidth_byte_s",), "tok/s per byte/s", "bandwidth_byte_s"),
    "interconnect": (("link_byte_s", "scale_out_byte_s"), "tok/s per byte/s", "link_byte_s"),
}


def sensitivities(
    deployment: Deployment,
    workload: Workload,
    share: Shard,
    rates: Rates,
    choice: BatchChoice,
    step: float = 0.01,
    *,
    held: float = 1.0,
) -> tuple[ResourceSensitivity, ...]:
    """What a little more of each resource buys, at the chosen batch; one array call.

    held   share of the rate that the site's power and cooling leave; below 1 a resource moves the rate only by the
           joules of a token that it saves
    """
    names = [*RESOURCES, "power_limit", "batch", "kv_capacity"]
    rows = 1 + len(names)
    table = shard_table([share]).rows(np.zeros(rows, dtype=np.intp))
    for i, name in enumerate(RESOURCES, start=1):
        for column in RESOURCES[name][0]:
            table.columns[column][i] *= 1.0 + step
    demand = demand_of(deployment, workload, np.full(rows, choice.concurrency), table)
    demand.limit_w[names.index("power_limit") + 1] *= 1.0 + step
    demand.concurrency[names.index("batch") + 1] *= 1.0 + step
    tight = choice.concurrency >= np.floor(choice.most_req)
    if tight:
        row = names.index("kv_capacity") + 1
        table.columns["memory_byte"][row] += _more_memory_byte(deployment, share, step)
        demand.concurrency[row] *= 1.0 + step
    state = settled(deployment, table, rates, demand)
    rate = state.rate_tok_s
    moved = 1.0 / state.energy_j_tok if held < 1.0 else rate
    elastic = np.log(moved[1:] / moved[0]) / np.log1p(step)
    total = float(rate[0]) * deployment.parallelism.replicas * held
    sensitivities = [
        _marginal(n, float(e), total, deployment, share, choice) for n, e in zip(names, elastic, strict=True)
    ]
    replica = Figure(total / deployment.device_count, "tok/s per device", Basis.MODELLED, reason="in whole replicas")
    if held < 1.0:
        replica = Figure(0.0, "tok/s per device", Basis.MODELLED, reason="the site delivers no more power")
    return (*sensitivities, ResourceSensitivity("devices", 0.0 if held < 1.0 else 1.0, replica))


def _room_byte(deployment: Deployment, share: Shard) -> float:
    room = kv_room_byte(shard_table([share]), np.array([deployment.memory_use_ratio]))
    return max(float(room[0]), 1.0)


def _more_memory_byte(deployment: Deployment, share: Shard, step: float) -> float:
    """Device memory that makes the room for KV cache larger by ``step`` of itself [byte]."""
    room, larger = _room_byte(deployment, share), replace(share, memory_byte=share.memory_byte + 1e9)
    return step * room * 1e9 / max(_room_byte(deployment, larger) - room, 1.0)


def _marginal(
    name: str, elastic: float, total: float, deployment: Deployment, share: Shard, choice: BatchChoice
) -> ResourceSensitivity:
    count = deployment.device_count
    if name in RESOURCES:
        _, unit, column = RESOURCES[name]
        size = getattr(share, column or "") * count
    elif name == "power_limit":
        unit, size = "tok/s per W", (deployment.power_cap_w or share.tdp_w) * count
        if deployment.device.tdp_w is None:
            return ResourceSensitivity(name, None, unknown(unit, f"TDP of {deployment.device.label} is not known"))
    elif name == "kv_capacity":
        unit, size = "tok/s per byte", _room_byte(deployment, share) * count
    else:
        unit, size = "tok/s per request in flight", choice.concurrency * deployment.parallelism.replicas
    return ResourceSensitivity(name, elastic, Figure(elastic * total / max(size, 1e-30), unit, Basis.MODELLED))
