"""How a deployment draws less: caps, clocks, fewer requests, fewer replicas, later requests → ``Controls``. Pure.

A site limit P over a time becomes a limit of the nodes (``facility``), then of each device, all alike (``node``). A
policy is one way to keep it, at a setting s from 0 (all that it can do) to 1 (nothing):

    cap         every device gets its limit: kept at every moment, whatever comes; not tuned
    clock       the core clock is lowered to s of its range
    admission   1 − s of the arrivals is refused
    batch       s of the sequences that ran at once run at once, the others wait
    shed        s of the replicas serve, the others stop and rest
    shift       1 − s of the requests comes after the time, as far as they can wait

Policies joined by + act together, at one setting: shift+shed asks a part of the requests later, and as few replicas
serve the rest. Whoever plays the policy tunes s on a part of the time. A policy that cannot keep the limit does what
it can, and the run says how far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.physics.hardware.node import share_power
from joulemill.simulation.assembly import parts_of
from joulemill.simulation.columns import Whole
from joulemill.simulation.controls import UNSET, Controls
from joulemill.simulation.events import SiteEvent
from joulemill.simulation.plant import Plant
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import NS_IN_S, Traffic
from joulemill.suggestions import meant
from joulemill.units import parse_quantity

#: Name → what it does, for people.
POLICIES = {
    "none": "the limit is not kept",
    "cap": "every device is capped alike",
    "clock": "the core clock is lowered",
    "admission": "a share of the requests is refused",
    "batch": "fewer sequences run at once",
    "shed": "replicas stop and rest",
    "shift": "deferrable requests come later",
}
#: Those of them that can be joined by +: they have a setting that can be tuned.
JOINED = ("clock", "admission", "batch", "shed", "shift")
#: Rest of an idle replica → state, and the seconds of idleness until it goes there where none are stated (assumed).
RESTS: dict[str, tuple[ReplicaState, float]] = {
    "loaded": (ReplicaState.LOADED_IDLE, 0.0),
    "boost-off": (ReplicaState.LOADED_IDLE, 0.0),
    "sleep-1": (ReplicaState.SLEEP_1, 60.0),
    "sleep-2": (ReplicaState.SLEEP_2, 60.0),
    "unload": (ReplicaState.BARE, 600.0),
}
LEAST_CLOCK_RATIO = 0.2
#: A cap is kept this far above what a board draws between kernels: no board holds a lower one (assumed).
ABOVE_FLOOR_RATIO = 1.05
HALVINGS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizing:
    """What a policy is sized by.

    rated_w, floor_w  of a device: its limit, and what it draws between kernels
    concurrency         sequences that ran on average in a replica while it worked
    """

    plant: Plant
    rated_w: float
    floor_w: float
    concurrency: float
    deferrable_ratio: float = 0.0


def need_policy(name: str) -> str:
    """``name`` where it is a policy's, or what idle replicas do: ``sleep-1:60s``. Raises InputError."""
    parts = name.split("+")
    if len(parts) > 1:
        return _need_joined(name, parts)
    if name not in POLICIES and name.partition(":")[0] not in RESTS:
        raise InputError(f"policy {name!r} is not known; {meant(name, (*POLICIES, *RESTS))}")
    if name not in POLICIES:
        rest_named(name)
    return name


def _need_joined(name: str, parts: list[str]) -> str:
    for part in parts:
        if part not in JOINED:
            raise InputError(f"policy {name!r}: {part!r} acts with no other; {meant(part, JOINED)}")
    if len(set(parts)) < len(parts):
        raise InputError(f"policy {name!r} names a part twice")
    return name


def moves_requests(policy: str) -> bool:
    """Whether requests come later under ``policy``."""
    return "shift" in policy.split("+")


def rest_named(text: str) -> tuple[str, ReplicaState, float]:
    """Name, state and seconds of idleness of ``loaded``, ``boost-off``, ``sleep-1:60s``, ``sleep-2``, ``unload:10min``.

    Raises InputError for another.
    """
    name, colon, after = text.partition(":")
    if name not in RESTS:
        raise InputError(f"`rest` {text!r} is not known; {meant(name, RESTS)} With a time: sleep-1:60s")
    state, after_s = RESTS[name]
    if colon and state == ReplicaState.LOADED_IDLE:
        raise InputError(f"rest {text!r}: {name} has no time; write {name}")
    return name, state, parse_quantity(after, "s", name=f"rest {name}", least=0.0) if colon else after_s


def device_limit_w(plant: Plant, event: SiteEvent, site_w: float) -> float:
    """What all devices may draw together where the site may draw ``site_w`` and its nodes what cooling removes."""
    node_w = site_w
    if plant.facility is not None and np.isfinite(site_w):
        edges = np.array([event.start_s, event.end_s])
        node_w = float(plant.facility.node_limit_w(np.array([site_w]), edges)[0])
    if event.cooling_limit_w is not None:
        node_w = min(node_w, event.cooling_limit_w)
    if plant.node is None or not np.isfinite(node_w):
        return node_w
    devices = plant.devices_count * plant.replicas_count
    low, high = 0.0, node_w
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        fits = float(share_power(middle, devices, plant.node).node_w) <= node_w
        low, high = (middle, high) if fits else (low, middle)
    return low


def cap_under(event: SiteEvent, limit_w: float, sizing: Sizing, before: Controls) -> Controls:
    """``before`` with every device capped alike during ``event``, for ``limit_w`` of all devices together."""
    devices = sizing.plant.devices_count * sizing.plant.replicas_count
    each = max(limit_w / devices, ABOVE_FLOOR_RATIO * sizing.floor_w)
    return set_within(before, event, power_cap_w=min(each, sizing.rated_w))


def controls_at(policy: str, event: SiteEvent, setting: float, sizing: Sizing, before: Controls) -> Controls:
    """``before`` with ``policy`` in force during ``event`` at ``setting``, see the header."""
    for part in policy.split("+"):
        before = _controls_of(part, event, setting, sizing, before)
    return before


def _controls_of(part: str, event: SiteEvent, setting: float, sizing: Sizing, before: Controls) -> Controls:
    if part == "clock":
        return set_within(before, event, clock_ratio=LEAST_CLOCK_RATIO + (1.0 - LEAST_CLOCK_RATIO) * setting)
    if part == "admission":
        return set_within(before, event, admission_ratio=setting)
    if part == "batch":
        return set_within(before, event, max_running_req=max(1, round(sizing.concurrency * setting)))
    if part == "shed":
        if sizing.plant.replicas_count < 2:
            raise InputError("policy shed needs two replicas or more: one that stops would serve nothing")
        return set_within(before, event, replicas_active=max(1, int(sizing.plant.replicas_count * setting + 1e-9)))
    return before


def set_within(
    controls: Controls,
    event: SiteEvent,
    *,
    power_cap_w: float | None = None,
    clock_ratio: float | None = None,
    admission_ratio: float | None = None,
    max_running_req: int | None = None,
    replicas_active: int | None = None,
) -> Controls:
    """``controls`` with what is stated in force during ``event``; what holds already stays where it is tighter."""
    start, end = (round(t * NS_IN_S) for t in (event.start_s, event.end_s))
    at = np.union1d(controls.at_ns, np.array([start, end], dtype=np.int64))
    row = np.searchsorted(controls.at_ns, at, side="right") - 1
    inside = (at >= start) & (at < end)

    def tighter(column: Array | Whole, value: float | None, unset: float) -> Array:
        spread = column[row].astype(np.float64)
        if value is None:
            return spread
        free = np.isnan(spread) if np.isnan(unset) else spread == unset
        return np.asarray(np.where(inside, np.where(free, value, np.minimum(spread, value)), spread))

    return Controls(
        at_ns=at,
        power_cap_w=tighter(controls.power_cap_w, power_cap_w, np.nan),
        clock_ratio=tighter(controls.clock_ratio, clock_ratio, 1.0),
        admission_ratio=tighter(controls.admission_ratio, admission_ratio, 1.0),
        max_running_req=tighter(controls.max_running_req, max_running_req, UNSET).astype(np.int64),
        replicas_active=tighter(controls.replicas_active, replicas_active, UNSET).astype(np.int64),
    )


def deferred(
    traffic: Traffic, event: SiteEvent, share: float, rng: np.random.Generator
) -> tuple[Traffic, float, float]:
    """``traffic`` with ``share`` of the requests of the event's time coming after it, evenly over as long again.

    Also how many were moved, and their mean delay [s]. Only requests that wait for no other, and that no other waits
    for, are moved.
    """
    requests = parts_of(traffic)
    inside = (requests.at_ns >= event.start_s * NS_IN_S) & (requests.at_ns < event.end_s * NS_IN_S)
    inside &= requests.session < 0
    moved = inside & (rng.random(len(inside)) < share)
    length_ns = (event.end_s - event.start_s) * NS_IN_S
    later = event.end_s * NS_IN_S + rng.random(len(inside)) * length_ns
    at_ns = np.where(moved, later, requests.at_ns).astype(np.int64)
    delay_s = float((at_ns - requests.at_ns)[moved].mean()) / NS_IN_S if moved.any() else 0.0
    return replace(requests, at_ns=at_ns).in_order(), float(moved.sum()), delay_s
