"""From the metered parts of a node to the node: what no meter saw is modelled, or the node is unknown.

Boards alone are no node: host, fans and conversion add a share that depends on load (1.6 to 2.3 times the boards by
published models of facilities). So the sum of parts never passes for the node's joules. Where it is known what holds
the parts, ``physics.node`` gives the power at the plug and its range, at the window's mean power; where it is not, the
node's figures are unknown and say what was metered and what would tell the rest. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from joulemill.figure import Basis, weakest
from joulemill.ledger.energy import EnergyResult
from joulemill.ledger.findings import Finding, Reason, distinct, refused
from joulemill.ledger.record import Scope
from joulemill.ledger.scopes import Composition
from joulemill.physics.hardware.node import Node, share_power
from joulemill.wording import percent

#: Share of a node's power that CPU packages and memory draw on a machine without accelerators: least, most.
#: Assumed: an idle server's fans, disks and conversion weigh most, a busy laptop's least.
PACKAGE_SHARES = (0.45, 0.9)


@dataclass(frozen=True, slots=True)
class NodeRange:
    """Power of a whole node [W] with its range, meant as 95 %."""

    node_w: float
    low_w: float
    high_w: float


class NodeModel(Protocol):
    """What holds the metered parts of a node."""

    @property
    def label(self) -> str:
        """Its name, for people."""
        ...

    def whole(self, parts_w: Mapping[Scope, float]) -> NodeRange | None:
        """The node whose metered parts draw ``parts_w`` [W] by scope; None where those do not tell."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceNodeModel:
    """A server of the catalog that holds ``count`` devices."""

    node: Node
    count: int

    @property
    def label(self) -> str:
        """The catalog's label."""
        return self.node.label

    def whole(self, parts_w: Mapping[Scope, float]) -> NodeRange | None:
        """By the devices' power alone; never less than what the metered parts draw together."""
        if Scope.DEVICE not in parts_w:
            return None
        power, least = share_power(parts_w[Scope.DEVICE], self.count, self.node), math.fsum(parts_w.values())
        low, high = max(float(power.low_w), least), max(float(power.high_w), least)
        return NodeRange(min(max(float(power.node_w), low), high), low, high)


@dataclass(frozen=True, slots=True)
class PackageNodeModel:
    """A machine in which nothing but CPUs computes: packages and memory are an assumed share of it."""

    label: str = f"a machine of which they draw {percent(PACKAGE_SHARES[0])} to {percent(PACKAGE_SHARES[1])} (assumed)"

    def whole(self, parts_w: Mapping[Scope, float]) -> NodeRange | None:
        """What the packages draw over their share, and the middle between the least and the most."""
        if Scope.CPU not in parts_w or Scope.DEVICE in parts_w:
            return None
        metered = math.fsum(parts_w.values())
        low, high = metered / PACKAGE_SHARES[1], metered / PACKAGE_SHARES[0]
        return NodeRange(0.5 * (low + high), low, high)


def incomplete(composition: Composition) -> bool:
    """Whether a node is only the sum of some of its parts."""
    return composition.scope is Scope.NODE and bool(composition.channels) and bool(composition.missing)


def completed(
    total: EnergyResult, parts_j: Mapping[Scope, float], coverage: str, holder: NodeModel | None
) -> EnergyResult:
    """``total``, the joules of a node's metered parts, as those of the node; refused where the rest is not known.

    parts_j    joules of ``total`` by scope
    coverage   what is metered and what is missing, in words
    """
    if total.energy_j is None or refused(total.findings):
        return total
    kept = tuple(f for f in total.findings if f.code is not Reason.PARTIAL)
    parts_w = {s: j / total.duration_s for s, j in parts_j.items()}
    whole = None if holder is None else holder.whole(parts_w)
    if whole is None or holder is None:
        reason = (
            f"{coverage}; the parts took {total.energy_j:.4g} J. The node is more: meter it (IPMI, Redfish, a PDU), or "
            "state which devices these are, and the rest is modelled"
        )
        finding = Finding(Reason.PARTIAL, total.subject, reason, fatal=True)
        nothing = replace(total, energy_j=None, low_j=None, high_j=None, basis=None)
        return replace(nothing, findings=distinct([*kept, finding]))
    energy = whole.node_w * total.duration_s
    metered = (total.half_width_j or 0.0) * energy / total.energy_j if total.energy_j else 0.0
    # The rest's range is not symmetric; the interval reaches as far up as down, so it holds both.
    rest = max(whole.high_w - whole.node_w, whole.node_w - whole.low_w) * total.duration_s
    half = math.hypot(metered, rest)
    low = max(energy - half, (total.low_j or 0.0))
    reason = f"{coverage}; {total.energy_j:.4g} J are metered, the rest is modelled as {holder.label}"
    return replace(
        total,
        energy_j=energy,
        low_j=low,
        high_j=energy + half,
        basis=weakest(total.basis, Basis.MODELLED),
        findings=distinct([*kept, Finding(Reason.PARTIAL, total.subject, reason)]),
    )
