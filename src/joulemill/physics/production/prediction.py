"""The Token Production Function of a deployment: rate, ceilings, energy at each scope, latency, and how sure. Pure.

``predict`` is for one deployment and says everything; ``predict_many`` is for arrays and says the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.hardware.node import node_figure
from joulemill.physics.hardware.site import ReferencePue, Site, SiteFigures, it_limit_figure, site_figures
from joulemill.physics.production.ceilings import BindingValue, CeilingValue, binding
from joulemill.physics.production.predicted_ceilings import ResourceSensitivity, ceilings_of, least_other, sensitivities
from joulemill.physics.production.terms import Term, terms_of
from joulemill.physics.production.token_production import TwoCeiling, phi_figure, theta
from joulemill.physics.production.utilization import PartLoad, energy_j_tok
from joulemill.physics.serving.batch import BatchChoice, choose, swept
from joulemill.physics.serving.clock import at_locked_clock
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, steady
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.first_token import slot_wait_s
from joulemill.physics.serving.shard import UNKNOWN_LINK_BYTE_S, ShardTable
from joulemill.physics.serving.workload import Workload
from joulemill.units import say_quantity
from joulemill.wording import digits, percent

LEVEL = 0.8
#: A cap may be this much above the board's own limit, which data sheets round.
MOST_CAP_RATIO = 1.001
#: A cap must be this much above what the board draws while it waits.
CAP_MARGIN_RATIO = 1.05
#: Half-width of the interval of a quantity, as a logarithm.
Widths = Callable[[str], float]


@dataclass(frozen=True)
class Scaling:
    """What measurements of this deployment correct a prediction by, at a batch: factor and half-width of a quantity."""

    factor: Callable[[str, float], float]
    width: Callable[[str, float], float]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a deployment would do. Figures carry 80 % intervals; energy is per output token, prefill's share included.

    rate_tok_s, request_rate_req_s   of all replicas
    device_*, node_*, site           power and energy by scope
    batch            requests in flight per replica, and why
    ceilings, binding, phi   limits at this load, the least, and the share of it that is reached
    sensitivities    elasticity and shadow price of each resource
    two_ceilings     compute against power, the form of the source; None without a site power limit
    j_tok_by_utilization   node J/tok at utilization 0.25, 0.5, 0.75, idle energy included
    cap_slowdown_ratio  time under the power limit over time without it
    clock_ratio         core clock over the highest, under the power limit and a locked clock
    full_node_power_w   power that all the devices would draw at full load, whatever the site delivers; of the devices
                        alone where the node is not known
    held_ratio          share of the rate that the site's power and cooling leave; 1 where they do not bind
    prefill_busy_ratio  share of steps that compute prompts; of two pools, of its time that the prefill pool is busy
    sustainable_req_s   the highest offered rate that does not make the queue grow without bound, within limits and
                        targets; unknown where no rate is offered
    """

    rate_tok_s: Figure
    request_rate_req_s: Figure
    device_power_w: Figure
    node_power_w: Figure
    device_j_tok: Figure
    node_j_tok: Figure
    site: SiteFigures | None
    ttft_s: Figure
    tpot_s: Figure
    itl_s: Figure
    batch: BatchChoice
    ceilings: tuple[CeilingValue, ...]
    binding: BindingValue
    phi: Figure
    sensitivities: tuple[ResourceSensitivity, ...]
    two_ceilings: TwoCeiling | None
    j_tok_by_utilization: Mapping[float, float]
    cap_slowdown_ratio: float
    clock_ratio: float
    terms: tuple[Term, ...]
    notes: tuple[str, ...]
    full_node_power_w: Figure
    held_ratio: float
    sustainable_req_s: Figure
    prefill_busy_ratio: float


def predict(
    deployment: Deployment,
    workload: Workload,
    rates: Rates,
    widths: Widths,
    site: Site | None = None,
    references: tuple[ReferencePue, ...] = (),
    *,
    scaling: Scaling | None = None,
    prices: bool = True,
) -> Prediction:
    """Everything about one deployment under one workload. InputError where it does not fit.

    ``scaling`` corrects rate, power, energy and latency at the batch that the model chooses; ceilings stay the model's.
    Without ``prices`` sensitivities are left out, a fifth of the time, as comparisons of many deployments do.
    """
    check_cap(deployment, rates)
    deployment, rates = at_locked_clock(deployment, rates)
    share = shard_of(deployment)
    choice = choose(deployment, workload, share, rates)
    batches = np.array([choice.concurrency])
    plain = steady_state = swept(deployment, workload, share, rates, batches)
    faster_ratio = 1.0
    if scaling is not None:
        steady_state, widths = (
            scaled(plain, scaling, choice.concurrency),
            partial(_width_ratio, scaling, choice.concurrency),
        )
        faster_ratio = scaling.factor("rate_tok_s", choice.concurrency)
    used = _used_ratio(deployment, workload, steady_state)
    free = _figures(deployment, workload, steady_state, widths, used)
    full = free if used == 1.0 else _figures(deployment, workload, steady_state, widths, 1.0)
    held = held_ratio(_drawn(free), site)
    sustained = _sustained_req_s(deployment, workload, choice, faster_ratio * held_ratio(_drawn(full), site))
    free = free | _open_latency(deployment, workload, choice, sustained, free, widths)
    figures = _held(free, held, site) | {
        "full_tok_s": free["full_tok_s"].scaled(held_ratio(_drawn(full), site), "tok/s"),
        "full_node_j_tok": full["node_j_tok"],
    }
    node_w, node_j = figures["node_power_w"], figures["node_j_tok"]
    at_site = None
    if site is not None and node_j.known:
        at_site = site_figures(node_j, node_w, site, references=references)
    limits = ceilings_of(deployment, workload, share, plain, figures, site=site, rates=rates)
    bound = binding(limits, figures["rate_tok_s"])
    return Prediction(
        rate_tok_s=figures["rate_tok_s"],
        request_rate_req_s=figures["request_rate_req_s"],
        device_power_w=figures["device_power_w"],
        node_power_w=node_w,
        device_j_tok=figures["device_j_tok"],
        node_j_tok=node_j,
        site=at_site,
        ttft_s=figures["ttft_s"],
        tpot_s=figures["tpot_s"],
        itl_s=figures["itl_s"],
        batch=choice,
        ceilings=limits,
        binding=bound,
        phi=_at_most_one(phi_figure(figures["full_tok_s"], least_other(limits))),
        sensitivities=(
            *sensitivities(deployment, workload, share, rates, choice, held=held),
            *_site_marginal(figures, site, held),
        )
        if prices
        else (),
        two_ceilings=_two_ceilings(limits, site, figures),
        j_tok_by_utilization=_day(deployment, full),
        cap_slowdown_ratio=float(steady_state.slowdown_ratio[0]),
        clock_ratio=float(steady_state.clock_ratio[0]),
        terms=terms_of(share, steady_state),
        notes=(*_notes(deployment, choice, used), *_unused_limit(bound.name, _drawn(full), held, site)),
        full_node_power_w=_drawn(full),
        held_ratio=held,
        sustainable_req_s=_sustained_figure(sustained, workload, widths),
        prefill_busy_ratio=used * float(np.broadcast_to(steady_state.prefill_ratio, 1)[0]),
    )


def scaled(steady_state: Steady, scaling: Scaling, concurrency: float) -> Steady:
    """A steady state corrected by what was measured; power is J/token × rate, before as after."""

    def by_ratio(quantity: str) -> float:
        return scaling.factor(quantity, concurrency)

    return replace(
        steady_state,
        rate_tok_s=steady_state.rate_tok_s * by_ratio("rate_tok_s"),
        power_w=steady_state.power_w * by_ratio("power_w"),
        energy_j_tok=steady_state.energy_j_tok * by_ratio("energy_j_tok"),
        ttft_s=steady_state.ttft_s * by_ratio("ttft_s"),
        tpot_s=steady_state.tpot_s * by_ratio("tpot_s"),
        itl_s=steady_state.itl_s * by_ratio("itl_s"),
    )


def _width_ratio(scaling: Scaling, concurrency: float, quantity: str) -> float:
    return scaling.width(quantity, concurrency)


def _at_most_one(phi: Figure) -> Figure:
    """Φ with its interval cut at 1: no plant does more than its least ceiling."""
    if phi.value is None or phi.value > 1.0 + 1e-9:
        return phi
    return replace(phi, value=min(phi.value, 1.0), high=None if phi.high is None else min(phi.high, 1.0))


def _drawn(figures: Mapping[str, Figure]) -> Figure:
    """Power at the node; of the devices alone, which is less, where the node is not known."""
    node = figures["node_power_w"]
    return node if node.known else figures["device_power_w"]


def held_ratio(drawn: Figure, site: Site | None) -> float:
    """Share of a load that the site's power and cooling leave, as devices that run while the rest stand off; at most 1.

    What runs costs as much a token as before, so power and rate fall alike.
    """
    if site is None or not drawn.value:
        return 1.0
    limits = (it_limit_figure(site).value, site.cooling_limit_w)
    return min([1.0, *(limit / drawn.value for limit in limits if limit is not None)])


def _held(figures: Mapping[str, Figure], held: float, site: Site | None) -> dict[str, Figure]:
    """Rate and power under the site's limits; the node's power never above them, its interval included."""
    if held == 1.0:
        return dict(figures)
    names = ("rate_tok_s", "request_rate_req_s", "device_power_w", "node_power_w")
    less = {n: figures[n].scaled(held, figures[n].unit) for n in names}
    why = f"{percent(held)} of what all devices would do: the site delivers no more; the rest are off"
    less["rate_tok_s"] = replace(less["rate_tok_s"], reason=why)
    node = less["node_power_w"]
    if node.known and site is not None:
        less["node_power_w"] = replace(node, high=node.value, reason=why)
    return {**figures, **less}


def _unused_limit(bound: str, drawn: Figure, held: float, site: Site | None) -> tuple[str, ...]:
    """A note where a limit of the site is the lowest ceiling, and the devices do not draw it all.

    A power ceiling is the limit over the joules that a token really costs; those of the hardware are ideal. So it can
    be the lowest while more of it would not raise the rate.
    """
    if bound not in ("power", "cooling") or held < 1.0 or site is None or drawn.value is None:
        return ()
    limit_w = it_limit_figure(site).value if bound == "power" else site.cooling_limit_w
    of_limit = "" if limit_w is None else f" of {say_quantity(limit_w, 'W')}"
    drawn_text = f"yet at full load the devices draw {say_quantity(drawn.value, 'W')}{of_limit}"
    return (f"{bound} is the lowest ceiling, {drawn_text}: more of it would not raise the rate",)


def _site_marginal(figures: Mapping[str, Figure], site: Site | None, held: float) -> tuple[ResourceSensitivity, ...]:
    """What one watt more from the site buys, where it states what it delivers."""
    limit, rate = None if site is None else it_limit_figure(site).value, figures["rate_tok_s"].value
    if limit is None or rate is None or site is None:
        return ()
    binds = held < 1.0 and not (site.cooling_limit_w is not None and site.cooling_limit_w < limit)
    price = Figure(rate / limit if binds else 0.0, "tok/s per W", Basis.MODELLED)
    return (ResourceSensitivity("site_power", 1.0 if binds else 0.0, price),)


def predict_many(table: ShardTable, demand: Demand, rates: Rates, widths: Widths) -> dict[str, Array]:
    """Rate, energy, power and latency of each row with 80 % intervals: name → value, ``name_low``, ``name_high``.

    Rows of ``table`` go with elements of ``demand``; ``power_w`` and ``energy_j_tok`` are of all devices of
    a replica.
    """
    steady_state = steady(table, rates, demand)
    devices = table.tensor_count * table.data_count * table.pipeline_count
    values = {
        "rate_tok_s": steady_state.rate_tok_s,
        "energy_j_tok": steady_state.energy_j_tok,
        "power_w": steady_state.power_w * devices,
        "itl_s": steady_state.itl_s,
        "ttft_s": steady_state.ttft_s,
        "tpot_s": steady_state.tpot_s,
    }
    spread = {}
    for name, value in values.items():
        factor = np.exp(widths(name))
        spread[f"{name}_low"], spread[f"{name}_high"] = value / factor, value * factor
    return values | spread


def spread_figure(value: float, unit: str, half_width: float, source: str, reason: str | None = None) -> Figure:
    """A modelled figure with its 80 % interval [value·e^−w, value·e^w]."""
    factor = float(np.exp(half_width))
    return Figure(
        value, unit, Basis.MODELLED, low=value / factor, high=value * factor, level=LEVEL, reason=reason, source=source
    )


def check_cap(deployment: Deployment, rates: Rates) -> None:
    """InputError for a power cap whose effect cannot be told, or under which the board could not even wait."""
    cap_w, device = deployment.power_cap_w, deployment.device
    if cap_w is None:
        return
    cap_text = say_quantity(cap_w, "W")
    if not device.tdp_w:
        raise InputError(
            f"the effect of a power cap on {device.label} is unknown, because its TDP is; leave the cap out"
        )
    least_w, most_w = cap_range_w(deployment, rates)
    if cap_w <= least_w:
        raise InputError(
            f"power cap is {cap_text}, but {device.label} draws about {least_w / CAP_MARGIN_RATIO:.0f} W "
            "while it waits; raise it"
        )
    if cap_w > most_w:
        raise InputError(
            f"power cap is {cap_text}, above the {device.tdp_w:.0f} W that {device.label} draws at most; give less, or "
            "leave it out"
        )


def cap_range_w(deployment: Deployment, rates: Rates) -> tuple[float, float]:
    """Caps that a device can keep: above the first, and up to the second, which is NaN where its TDP is unknown."""
    device = deployment.device
    share = rates.power.wait_ratio * (rates.power.newest_wait_ratio if device.is_newest else 1.0)
    waiting_w = max(share * (device.power_scale_w or 0.0), device.resting_w or 0.0)
    tdp_w = np.nan if device.tdp_w is None else device.tdp_w
    return CAP_MARGIN_RATIO * waiting_w / rates.power.ceiling_ratio, MOST_CAP_RATIO * tdp_w


def _used_ratio(deployment: Deployment, workload: Workload, steady_state: Steady) -> float:
    """Share of the time that the replicas are busy: below 1 where less is asked than they could do."""
    if workload.rate_req_s is None:
        return 1.0
    full = float(steady_state.rate_tok_s[0]) * deployment.parallelism.replicas
    return min(1.0, workload.rate_req_s * workload.output_tok / full)


def _sustained_req_s(deployment: Deployment, workload: Workload, choice: BatchChoice, held: float) -> float | None:
    """Requests per second that all replicas sustain, ``held`` by the site; None where no rate is offered, or no batch
    meets the targets."""
    if workload.rate_req_s is None or choice.limit_tok_s is None:
        return None
    return held * choice.limit_tok_s * deployment.parallelism.replicas / workload.output_tok


def _sustained_figure(sustained: float | None, workload: Workload, widths: Widths) -> Figure:
    if sustained is None:
        why = "no rate is offered" if workload.rate_req_s is None else "no batch meets the targets"
        return unknown("req/s", why)
    return spread_figure(sustained, "req/s", widths("rate_tok_s"), "serving model")


def _open_latency(
    deployment: Deployment,
    workload: Workload,
    choice: BatchChoice,
    sustained: float | None,
    free: Mapping[str, Figure],
    widths: Widths,
) -> dict[str, Figure]:
    """Time to first token of a steady stream: the wait for a slot is added, and there is none under overload."""
    offered, ttft = workload.rate_req_s, free["ttft_s"].value
    if offered is None or sustained is None or choice.limit_req is None or ttft is None:
        return {}
    if offered >= sustained:
        why = (
            f"overload: {digits(offered)} req/s are offered, {digits(sustained)} req/s are sustainable: the queue grows"
        )
        return {"ttft_s": unknown("s", why)}
    slots, stay_s = choice.limit_req, choice.limit_req * deployment.parallelism.replicas / sustained
    wait_s = slot_wait_s(np.asarray(offered / sustained), slots, stay_s, workload.output_spread_ratio)
    return {"ttft_s": spread_figure(ttft + float(wait_s), "s", widths("ttft_s"), "serving model, steady stream")}


def _figures(
    deployment: Deployment, workload: Workload, steady_state: Steady, widths: Widths, used: float
) -> dict[str, Figure]:
    replicas, devices = deployment.parallelism.replicas, deployment.device_count
    full = float(steady_state.rate_tok_s[0]) * replicas
    idle = deployment.device.resting_w or np.nan
    power = devices * (float(steady_state.power_w[0]) * used + idle * (1.0 - used))
    if not deployment.device.tdp_w:
        device_w = unknown("W", f"TDP of {deployment.device.label} is not known")
        device_j = unknown("J/tok", f"TDP of {deployment.device.label} is not known")
    else:
        device_w = spread_figure(power, "W", widths("power_w"), "serving model")
        device_j = spread_figure(power / (full * used), "J/tok", widths("energy_j_tok"), "serving model")
    figures = {
        "full_tok_s": spread_figure(full, "tok/s", widths("rate_tok_s"), "serving model"),
        "rate_tok_s": spread_figure(full * used, "tok/s", widths("rate_tok_s"), "serving model"),
        "device_power_w": device_w,
        "device_j_tok": device_j,
        "ttft_s": spread_figure(float(steady_state.ttft_s[0]), "s", widths("ttft_s"), "serving model, closed loop"),
        "tpot_s": _tpot_figure(workload, steady_state, widths),
        "itl_s": spread_figure(float(steady_state.itl_s[0]), "s", widths("itl_s"), "serving model, median step"),
    }
    rate = figures["rate_tok_s"]
    figures["request_rate_req_s"] = rate.scaled(1.0 / workload.output_tok, "req/s")
    return figures | _node_figures(deployment, device_w, full * used, widths)


def _tpot_figure(workload: Workload, steady_state: Steady, widths: Widths) -> Figure:
    if not workload.has_tpot:
        return unknown("s", "a request has one output token, and none after it")
    return spread_figure(float(steady_state.tpot_s[0]), "s", widths("tpot_s"), "serving model, closed loop")


def _node_figures(deployment: Deployment, device_w: Figure, rate: float, widths: Widths) -> dict[str, Figure]:
    if deployment.node is None or device_w.value is None:
        reason = device_w.reason or "the catalog has no node for this device"
        return {"node_power_w": unknown("W", reason), "node_j_tok": unknown("J/tok", reason)}
    node_w = node_figure(device_w, deployment.device_count, deployment.node)
    value = (node_w.value or 0.0) / rate
    return {
        "node_power_w": node_w,
        "node_j_tok": spread_figure(
            value, "J/tok", widths("node_energy_j_tok"), node_w.source or "node model", node_w.reason
        ),
    }


def _two_ceilings(
    limits: tuple[CeilingValue, ...], site: Site | None, figures: Mapping[str, Figure]
) -> TwoCeiling | None:
    """Compute against power, the form of the source, where the site states what power it delivers."""
    if site is None or figures["node_j_tok"].value is None:
        return None
    compute = next(c for c in limits if c.name == "compute")
    facility, share = site.facility_power_limit_w, theta(site.pue_ratio)
    if facility is None and site.it_power_limit_w is not None:
        facility, share = site.it_power_limit_w, 1.0
    if facility is None or share is None or compute.capacity is None or compute.intensity is None:
        return None
    k, c, rate = compute.capacity.value, compute.intensity.value, figures["full_tok_s"].value
    e = figures["full_node_j_tok"].value
    if not k or not c or not rate or not e:
        return None
    least = min(k / c, share * facility / e)
    return TwoCeiling(
        compute_flop_s=k,
        work_flop_tok=c,
        facility_w=facility,
        energy_j_tok=e,
        theta_ratio=share,
        phi_ratio=rate / least,
    )


def _day(deployment: Deployment, figures: Mapping[str, Figure]) -> dict[float, float]:
    node_w, rate = figures["node_power_w"].value, figures["full_tok_s"].value
    if node_w is None or rate is None or deployment.node is None:
        return {}
    idle = deployment.device.resting_w or np.nan
    resting = node_figure(
        Figure(idle * deployment.device_count, "W", Basis.DATASHEET), deployment.device_count, deployment.node
    )
    plant = PartLoad(rate, node_w, min(resting.value or 0.0, node_w))
    return {u: float(energy_j_tok(plant, u)) for u in (0.25, 0.5, 0.75, 1.0)}


def _notes(deployment: Deployment, choice: BatchChoice, used: float) -> tuple[str, ...]:
    device, parallelism = deployment.device, deployment.parallelism
    notes = list(deployment.architecture.approximations)
    if used < 1.0:
        notes.append(f"devices are busy {percent(used)} of the time at the offered rate; the rest is idle power")
    if device.loaded_idle_w is None and device.resting_w:
        notes.append(f"idle power of {device.label} with a model loaded is not known: {device.resting_w:.0f} W assumed")
    if parallelism.devices > 1 and device.link_bandwidth_byte_s is None:
        notes.append(f"link bandwidth of {device.label} is not known: {UNKNOWN_LINK_BYTE_S / 1e9:.0f} GB/s assumed")
    max_batched_tok = deployment.max_batched_tok
    if choice.concurrency > max_batched_tok * parallelism.data:
        notes.append(
            f"a step of {max_batched_tok:,.0f} tokens (`max_num_batched_tokens`) lets no more requests than that "
            f"decode at once on {'a rank' if parallelism.data > 1 else 'a replica'}; the others in flight wait"
        )
    if not choice.meets:
        notes.append("the latency targets cannot be met on these devices")
    return tuple(notes)
