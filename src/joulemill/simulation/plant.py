"""Power of devices, nodes and site over time, from what replicas did, and the energy that each part takes. Pure.

Devices: the energies of the timeline, spread exactly into bins of 0.25 s. Nodes: replicas fill nodes one by one; host,
fans and conversion (``physics.hardware.node``) follow the mean power of a node's devices over each such bin, since
supplies hold up milliseconds and fans take seconds. A node whose boards are all off draws nothing. Site: nodes and the
facility's overhead (``facility``). Coarser series are sums of these bins, so no result depends on the resolution.

    prefill + decode + idle by state + transitions + host + fans + loss + facility = site
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.physics.hardware.node import Node, share_power
from joulemill.simulation.bins import FINEST_S, MOST_BINS, Bins, Spreader, bins_of, rows_of_replicas
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.timeline import ReplicaState, Timeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Plant:
    """What stands around the replicas: ``devices_count`` of each, the nodes that hold them, the facility.

    node, facility   None: unknown, and so is all beyond
    """

    devices_count: int
    replicas_count: int
    node: Node | None = None
    facility: FacilityModel | None = None

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Replicas that share a node, or have nodes of their own, in their order."""
        each = max(1, (self.node.device_count if self.node else self.devices_count) // self.devices_count)
        return tuple(
            tuple(range(first, min(first + each, self.replicas_count))) for first in range(0, self.replicas_count, each)
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PlantPower:
    """Energy in each of ``bins`` [J]; None where it is not known."""

    bins: Bins
    device_j: Array
    host_j: Array | None
    fan_j: Array | None
    loss_j: Array | None
    facility_j: Array | None

    @property
    def node_j(self) -> Array | None:
        """Devices, host, fans and loss."""
        if self.host_j is None or self.fan_j is None or self.loss_j is None:
            return None
        return self.device_j + self.host_j + self.fan_j + self.loss_j

    @property
    def site_j(self) -> Array | None:
        """Nodes and facility: what the site's meter counts."""
        return None if self.node_j is None or self.facility_j is None else self.node_j + self.facility_j

    def at_scope(self, scope: str) -> Array | None:
        """Energy in each bin at a scope: device, node or site."""
        return {"device": self.device_j, "node": self.node_j, "site": self.site_j}[scope]

    def power_w(self, scope: str) -> Array | None:
        """Mean power in each bin at a scope."""
        energy = self.at_scope(scope)
        return None if energy is None else energy / self.bins.lengths_s

    def coarser(self, width_s: float) -> PlantPower:
        """The same in bins of ``width_s``, a multiple of these."""
        factor = round(width_s / self.bins.width_s)
        if factor < 1 or abs(factor * self.bins.width_s - width_s) > 1e-9 * width_s:
            raise InputError(f"a resolution of {width_s:g} s is no multiple of {self.bins.width_s:g} s")
        beyond = {
            name: None if part is None else in_groups(part, factor)
            for name in ("host_j", "fan_j", "loss_j", "facility_j")
            for part in (getattr(self, name),)
        }
        device_j = in_groups(self.device_j, factor)
        return PlantPower(bins=Bins(width_s, self.bins.end_s), device_j=device_j, **beyond)


def in_groups(values: Array, factor: int) -> Array:
    """Sums of ``factor`` neighbors; the last group may have fewer."""
    return np.asarray(np.add.reduceat(values, np.arange(0, len(values), factor)))


def plant_power(timeline: Timeline, plant: Plant, finest_s: float = FINEST_S) -> PlantPower:
    """Power of the plant over the whole of ``timeline``. Raises InputError where it is too long for such bins."""
    bins = bins_of(timeline, finest_s)
    if bins.bins_count > MOST_BINS:
        most_s = MOST_BINS * finest_s
        raise InputError(
            f"the run lasts {bins.end_s:,.0f} s, and power is kept for {most_s:,.0f} s ({most_s / 86400:.1f} days) at "
            "most; give a shorter duration, or fewer requests of the trace"
        )
    rows = dict(zip(np.unique(timeline.replica).tolist(), rows_of_replicas(timeline), strict=True))
    device_j = np.zeros(bins.bins_count)
    overhead_j = np.zeros((3, bins.bins_count))
    for group in plant.groups():
        present = [rows[r] for r in group if r in rows]
        energy_j, on_s = _devices(timeline, present, bins)
        device_j += energy_j
        if plant.node is not None:
            overhead_j += _overhead_j(energy_j, on_s, plant.devices_count * len(group), plant.node)
    host_j, fan_j, loss_j = overhead_j if plant.node is not None else (None, None, None)
    facility_j = None
    if plant.node is not None and plant.facility is not None:
        node_w = (device_j + overhead_j.sum(axis=0)) / bins.lengths_s
        facility_j = plant.facility.overhead_w(node_w, bins.edges_s) * bins.lengths_s
    return PlantPower(bins=bins, device_j=device_j, host_j=host_j, fan_j=fan_j, loss_j=loss_j, facility_j=facility_j)


def _devices(timeline: Timeline, present: list[slice], bins: Bins) -> tuple[Array, Array]:
    """Energy of a node's devices in each bin, and for how much of it any of them was not off."""
    energy_j, on_s = np.zeros(bins.bins_count), np.zeros(bins.bins_count)
    for rows in present:
        spread = Spreader(timeline.start_ns[rows], timeline.end_ns[rows], bins)
        energy_j += spread.sums(timeline.device_j[rows])
        on = timeline.state[rows] != ReplicaState.OFF
        on_s = np.maximum(on_s, bins.lengths_s if on.all() else spread.sums(timeline.duration_s[rows] * on))
    return energy_j, np.minimum(on_s, bins.lengths_s)


def _overhead_j(device_j: Array, on_s: Array, devices: int, node: Node) -> Array:
    """Host, fans and loss of one node's share in each bin [J], shape (3, bins)."""
    while_on = np.divide(device_j, on_s, out=np.zeros_like(device_j), where=on_s > 1e-9)
    power = share_power(np.maximum(while_on, 0.0), devices, node)
    return np.stack([power.host_w, power.fan_w, power.loss_w]) * on_s


def device_parts_j(timeline: Timeline) -> Mapping[str, float]:
    """Energy of the devices by what it was spent on: prefill, decode, idle by state, transitions [J]."""
    idle = {
        f"idle_{state.label}": float(timeline.idle_j[timeline.state == state].sum())
        for state in ReplicaState
        if np.any(timeline.idle_j[timeline.state == state] != 0.0)
    }
    return {
        "prefill": float(timeline.prefill_j.sum()),
        "decode": float(timeline.decode_j.sum()),
        **idle,
        "transition": float(timeline.transition_j.sum()),
    }


def closure_j(parts: Mapping[str, float], power: PlantPower) -> float:
    """The site's meter less all parts, or that of the widest scope that is known: 0 but for rounding [J]."""
    scope = next(s for s in ("site", "node", "device") if power.at_scope(s) is not None)
    metered = power.at_scope(scope)
    beyond = [power.host_j, power.fan_j, power.loss_j, power.facility_j]
    known = sum(float(part.sum()) for part in beyond if part is not None)
    return float(0.0 if metered is None else metered.sum()) - sum(parts.values()) - known
