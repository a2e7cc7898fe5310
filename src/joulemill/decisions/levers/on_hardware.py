"""Levers on devices and site: caps, clocks, cuts, generations, replicas, PUE, carbon, price. A case → changed. Pure."""

from __future__ import annotations

from dataclasses import replace

from joulemill.decisions.levers.case import Case, Lever, Settings, Transform
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.serving.deployment import Parallelism
from joulemill.wording import percent


def power_cap(case: Case, settings: Settings) -> Case | str:
    """A lower board power limit."""
    d = case.deployment
    if not d.device.tdp_w:
        return f"the power limit of {d.device.label} is not known"
    cap = settings.cap_ratio * d.device.tdp_w
    if d.power_cap_w is not None and d.power_cap_w <= cap:
        return f"devices are capped at {d.power_cap_w:.0f} W already"
    return replace(case, deployment=replace(d, power_cap_w=cap))


def clock_lock(case: Case, settings: Settings) -> Case | str:
    """A locked core clock below the highest."""
    locked = case.deployment.clock_ratio
    if locked <= settings.clock_ratio:
        return f"the clock is locked at {percent(locked)} already"
    if case.deployment.device.kind == "cpu":
        return "the effect of a locked clock on this device is not modelled"
    return replace(case, deployment=replace(case.deployment, clock_ratio=settings.clock_ratio))


def width(factor: float) -> Transform:
    """Replicas over ``factor`` times as many devices each, the same devices in all where they divide."""

    def apply(case: Case, settings: Settings) -> Case | str:
        parallelism = case.deployment.parallelism
        tensor = parallelism.tensor * factor
        if tensor < 1.0:
            return "a replica is on one device"
        if parallelism.expert not in (1, parallelism.devices):
            return "experts are split over part of a replica; a change of width is not defined"
        if not case.deployment.architecture.divides_over(int(tensor)):
            return f"the heads cannot be split over {tensor:.0f} devices"
        domain = case.deployment.device.link_domain_count or 1.0
        if tensor * parallelism.data > domain:
            return f"{tensor * parallelism.data:.0f} devices are more than one link domain holds ({domain:.0f})"
        devices = int(tensor) * parallelism.data
        replicas = max(1, parallelism.devices * parallelism.replicas // devices)
        changed = Parallelism(int(tensor), parallelism.data, devices if parallelism.expert > 1 else 1, replicas)
        return replace(case, deployment=replace(case.deployment, parallelism=changed))

    return apply


def generation(device: Device, node: Node | None) -> Lever:
    """The lever that moves the deployment to ``device``, the same number of them."""

    def apply(case: Case, settings: Settings) -> Case | str:
        d = case.deployment
        if d.device.name == device.name:
            return f"the deployment is on {device.label}"
        if not device.tdp_w:
            return f"the power limit of {device.label} is not known"
        return replace(case, deployment=replace(d, device=device, node=node, power_cap_w=None))

    return Lever(
        name=f"device-{device.name}",
        label=f"on {device.label}",
        family="device",
        moves="joules a flop and a byte, and all ceilings",
        kind="generation",
        cost="hardware",
        apply=apply,
    )


def consolidated(case: Case, settings: Settings) -> Case | str:
    """Half of the replicas take the offered rate; the others are unloaded, and their boards stay powered."""
    parallelism, w = case.deployment.parallelism, case.workload
    if w.rate_req_s is None:
        return "the replicas are saturated: none idles (--rate states what is offered)"
    if parallelism.replicas < 2:
        return "there is one replica; nothing to consolidate"
    fewer = replace(parallelism, replicas=max(1, parallelism.replicas // 2))
    parked = case.parked_count + (parallelism.replicas - fewer.replicas) * parallelism.devices
    return replace(case, deployment=replace(case.deployment, parallelism=fewer), parked_count=parked)


def boost_off(case: Case, settings: Settings) -> Case | str:
    """Boards clock down while no request runs, as a bare one does, though their contexts stay open."""
    device = case.deployment.device
    if case.workload.rate_req_s is None:
        return "the replicas are saturated: none idles (--rate states what is offered)"
    if device.vendor.lower() != "nvidia" or device.kind != "gpu":
        return "it is a setting of NVIDIA's driver (CUDA_DISABLE_PERF_BOOST)"
    if device.bare_w is None or device.resting_w is None or device.resting_w <= device.bare_w:
        return f"{device.label} idles with a model loaded as it does without"
    lower = replace(device, loaded_idle_w=device.bare_w)
    return replace(case, deployment=replace(case.deployment, device=lower))


def better_pue(case: Case, settings: Settings) -> Case | str:
    """Cooling and distribution as good as the best sites'."""
    if case.site is None or case.site.pue_ratio is None:
        return "the site's PUE is not known: --site FILE states it"
    if case.deployment.node is None:
        return "energy at the node is not known for this device, so PUE has nothing to apply to"
    if case.site.pue_ratio <= settings.pue_ratio:
        return f"PUE is {case.site.pue_ratio:g} already"
    return replace(case, site=replace(case.site, pue_ratio=settings.pue_ratio))


def shifted(what: str) -> Transform:
    """A share of the load runs where or when carbon, or price, is lower."""

    def apply(case: Case, settings: Settings) -> Case | str:
        site = case.site
        if site is None or site.pue_ratio is None or case.deployment.node is None:
            return "it needs energy at the site: --site FILE with PUE, and a device whose node is known"
        factor = 1.0 - settings.shift_ratio * (1.0 - settings.shifted_ratio)
        if what == "carbon":
            if site.carbon_gco2e_j is None:
                return "grid carbon is not stated in the site file"
            return replace(case, site=replace(site, carbon_gco2e_j=site.carbon_gco2e_j * factor))
        if site.price_currency_j is None:
            return "electricity price is not stated in the site file"
        return replace(case, site=replace(site, price_currency_j=site.price_currency_j * factor))

    return apply


PLANT_LEVERS = (
    Lever(
        name="power-cap",
        label="board power limit at 70 %",
        family="clock",
        moves="the clock falls only where the limit is reached",
        kind="modelled",
        cost="tuning",
        apply=power_cap,
    ),
    Lever(
        name="clock-lock",
        label="core clock locked at 70 %",
        family="clock",
        moves="J per FLOP fall with the clock; memory-bound work hardly slows",
        kind="modelled",
        cost="tuning",
        apply=clock_lock,
    ),
    Lever(
        name="tp-up",
        label="twice the devices per replica",
        family="width",
        moves="weights per device, against all-reduces",
        kind="devices",
        cost="restart",
        apply=width(2.0),
    ),
    Lever(
        name="tp-down",
        label="half the devices per replica",
        family="width",
        moves="all-reduces, against room for the KV cache",
        kind="devices",
        cost="restart",
        apply=width(0.5),
    ),
    Lever(
        name="consolidation",
        label="half of the replicas, the others unloaded",
        family="replicas",
        moves="utilization: of idle joules the share of an open context",
        kind="batch",
        cost="operations",
        apply=consolidated,
    ),
    Lever(
        name="boost-off",
        label="idle boards clock down (CUDA_DISABLE_PERF_BOOST=1)",
        family="idle",
        moves="idle joules: the clocks of an open context",
        kind="modelled",
        cost="restart",
        apply=boost_off,
    ),
    Lever(
        name="pue",
        label="PUE of a good site",
        family="pue",
        moves="site joules per node joule",
        kind="declared",
        cost="facility",
        apply=better_pue,
    ),
    Lever(
        name="carbon-shift",
        label="part of the load where the grid is cleaner",
        family="carbon",
        moves="grams per joule, not joules",
        kind="declared",
        cost="operations",
        apply=shifted("carbon"),
    ),
    Lever(
        name="price-shift",
        label="part of the load when power is cheaper",
        family="price",
        moves="price per joule, not joules",
        kind="declared",
        cost="operations",
        apply=shifted("price"),
    ),
)
