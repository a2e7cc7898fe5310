"""A node: devices plus host, fans and conversion loss → power at the plug. Pure, vectorised.

For the devices of one node drawing D watt together:

    host  H = host_idle + host_share · D                          CPUs, memory, switches, NICs, disks
    fans  F = fan_max · s³,  s = floor + (full − floor) · min(1, (D + H)/full_load)      power ∝ speed³ (affinity law)
    load  L = D + H + F
    loss  Λ = a·S + b·L + c·L²/S                                  a converter: fixed, ∝ current, ∝ current²; S = rating
    node  N = L + Λ

So the factor from device to node depends on load: it is largest at idle. Left out: inlet temperature, fan control with
hysteresis, supplies that switch off at low load, and how host power differs by model and server.

The interval takes the host's, the fans' and the conversion's uncertainties as independent: half-widths add in squares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure


@dataclass(frozen=True, kw_only=True)
class Node:
    """One server that holds ``device_count`` devices. Symbols as in the header of this file.

    ``host_spread_ratio`` and its like are half-widths of the interval, as shares of the part that they belong to.

    cooling   air, or liquid: cold plates, and few fans. What is outside the server is the site's cooling
    link_*, scale_out_*   of a device where the server decides them (an NVLink bridge, its NICs); None: the device's own
    """

    name: str
    label: str
    device_count: int
    host_idle_w: float
    host_share_ratio: float
    fan_max_w: float
    fan_floor_ratio: float
    fan_full_ratio: float
    full_load_w: float
    supply_w: float
    loss_fixed_ratio: float
    loss_linear_ratio: float
    loss_square_ratio: float
    host_spread_ratio: float
    fan_spread_ratio: float
    loss_spread_ratio: float
    cooling: str = "air"
    link_bandwidth_byte_s: float | None = None
    link_domain_count: float | None = None
    scale_out_bandwidth_byte_s: float | None = None

    def __post_init__(self) -> None:
        check_node(self)


@dataclass(frozen=True, kw_only=True)
class NodePower:
    """Power at the plug [W] and where it goes, in the shape that went in; low, high: assumed, meant as 95 %."""

    node_w: Array
    low_w: Array
    high_w: Array
    device_w: Array
    host_w: Array
    fan_w: Array
    loss_w: Array

    def scaled(self, factor: float) -> NodePower:
        """Every part times ``factor``: a share of a node, or several nodes."""
        return NodePower(**{name: part * factor for name, part in vars(self).items()})


def check_node(node: Node) -> None:
    """Refuse a node that cannot exist. Raises InputError naming the fact."""
    if node.device_count < 1:
        raise InputError(f"node {node.name}: device_count is {node.device_count}; it must be 1 or more")
    for name in ("host_idle_w", "full_load_w", "supply_w"):
        if not getattr(node, name) > 0:
            raise InputError(f"node {node.name}: {name} is {getattr(node, name)}; it must be positive")
    for name, value in vars(node).items():
        if name.endswith("_ratio") and not 0 <= value <= 1:
            raise InputError(f"node {node.name}: {name} is {value}; it must lie between 0 and 1")
    if node.fan_floor_ratio > node.fan_full_ratio or node.fan_max_w < 0:
        raise InputError(f"node {node.name}: fan_floor must not exceed fan_full, nor fan_max be negative")


def host_power_w(device_w: ArrayLike, node: Node) -> Array:
    """Host power [W] when the devices draw ``device_w`` [W] together: host_idle + host_share · device_w."""
    return np.asarray(node.host_idle_w + node.host_share_ratio * np.asarray(device_w, float))


def fan_power_w(heat_w: ArrayLike, node: Node) -> Array:
    """Fan power [W] for ``heat_w`` [W] of devices and host: fan_max · speed³, speed linear in the heat."""
    load = np.minimum(1.0, np.asarray(heat_w, float) / node.full_load_w)
    speed = node.fan_floor_ratio + (node.fan_full_ratio - node.fan_floor_ratio) * load
    return np.asarray(node.fan_max_w * speed * speed * speed)


def conversion_loss_w(load_w: ArrayLike, node: Node) -> Array:
    """Loss [W] of the supplies that deliver ``load_w`` [W]: a·S + b·L + c·L²/S, with S the sum of their ratings."""
    load = np.asarray(load_w, float)
    fixed = node.loss_fixed_ratio * node.supply_w
    return np.asarray(fixed + node.loss_linear_ratio * load + (node.loss_square_ratio / node.supply_w) * load * load)


def node_power(device_w: ArrayLike, node: Node) -> NodePower:
    """Power at the plug of one node whose devices draw ``device_w`` [W] together (any shape).

    Raises InputError for negative or non-finite power.
    """
    device = np.asarray(device_w, float)
    if not np.all(np.isfinite(device)) or np.any(device < 0):
        raise InputError("device power must be finite and not negative")
    total, (host, fan, loss) = _at_plug_w(device, node)
    half = _half_width_w((host, fan, loss), node)
    return NodePower(
        node_w=total,
        low_w=np.maximum(device, total - half),
        high_w=total + half,
        device_w=device,
        host_w=host,
        fan_w=fan,
        loss_w=loss,
    )


def _at_plug_w(device_w: Array, node: Node) -> tuple[Array, tuple[Array, Array, Array]]:
    """Power at the plug; of it host, fans and conversion loss."""
    host = host_power_w(device_w, node)
    heat = device_w + host
    fan = fan_power_w(heat, node)
    load = heat + fan
    loss = conversion_loss_w(load, node)
    return load + loss, (host, fan, loss)


def _half_width_w(parts_w: tuple[Array, Array, Array], node: Node) -> Array:
    spreads = (node.host_spread_ratio, node.fan_spread_ratio, node.loss_spread_ratio)
    host, fan, loss = (part * spread for part, spread in zip(parts_w, spreads, strict=True))
    return np.sqrt(host * host + fan * fan + loss * loss)


def part_of(node: Node, devices: int) -> Node:
    """A node with host, fans and supplies for so many devices: a share of ``node``, or several of it."""
    if devices < 1:
        raise InputError(f"devices is {devices}; it must be 1 or more")
    nodes = devices / node.device_count
    sizes = ("host_idle_w", "fan_max_w", "full_load_w", "supply_w")
    return replace(node, device_count=devices, **{name: getattr(node, name) * nodes for name in sizes})


def share_power(device_w: ArrayLike, devices: int, node: Node) -> NodePower:
    """Power at the plug of a deployment on ``devices`` devices that draw ``device_w`` [W] together.

    Nodes are taken as filled with the same load: fewer devices than a node holds carry their share of its host,
    fans and loss; more devices take several nodes. Device draws scale by devices ÷ device_count.
    """
    return node_power(device_w, part_of(node, devices))


def share_bounds_w(device_w: tuple[Array, Array, Array], devices: int, node: Node) -> tuple[Array, Array, Array]:
    """Of ``share_power`` the power [W] at the first of three draws of the devices, the lower bound at the second, and
    the upper bound at the third."""
    part = part_of(node, devices)
    middle, low, high = device_w
    total, _ = _at_plug_w(middle, part)
    least, low_parts = _at_plug_w(low, part)
    most, high_parts = _at_plug_w(high, part)
    return total, np.maximum(low, least - _half_width_w(low_parts, part)), most + _half_width_w(high_parts, part)


def node_figure(device: Figure, devices: int, node: Node) -> Figure:
    """The node's power as a Figure, from the devices' (their sum, W). Unknown stays unknown.

    The interval joins the devices' own with the node model's: low at the devices' low, high at their high.
    """
    if device.value is None:
        return Figure(None, "W", reason=device.reason or "device power is unknown", source=device.source)
    low = device.value if device.low is None else device.low
    high = device.value if device.high is None else device.high
    power = share_power([device.value, max(low, 0.0), high], devices, node)
    return Figure(
        float(power.node_w[0]),
        "W",
        Basis.MODELLED,
        low=float(power.low_w[1]),
        high=float(power.high_w[2]),
        reason=f"host, fans and conversion modelled as {node.label}",
        source=f"node {node.name}",
    )
