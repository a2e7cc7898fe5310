"""From a target's boards to its share of the node that holds them, where no meter sees the whole node.

Several targets may share one node. Their shares are made so that they add up to the node once, whatever each draws:

    node    N(ΣD) of all boards of the node that are watched, D₁ + D₂ + …       ``physics.node.share_power``
    fixed   N(0), what the node takes with boards that draw nothing             split by boards
    load    N(ΣD) − ΣD − N(0), what host, fans and conversion add with load     split by the boards' draw
    share   Dᵢ + fixed · nᵢ/Σn + load · Dᵢ/ΣD
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from joulemill.catalog.devices import find_device
from joulemill.catalog.nodes import node_of
from joulemill.errors import InputError
from joulemill.ledger.record import Scope
from joulemill.ledger.unmetered import NodeModel, NodeRange, PackageNodeModel
from joulemill.meters.meter import parse_spec
from joulemill.physics.hardware.node import Node, share_power

#: What others on the node draw in a window: (W, boards) of each that is known.
Others = Callable[[float, float], Sequence[tuple[float, int]]]


class NodeBoards(Protocol):
    """A target's meters, as those that share its node see them."""

    def boards(self, start_s: float, end_s: float) -> tuple[float, int] | None:
        """Mean power of its boards [W] and their number; None where they are not known."""
        ...


@dataclass(frozen=True, slots=True)
class NodeShare:
    """A target's part of a node in one window: its ``boards_count`` of the boards, beside ``others`` (W, boards)."""

    node: Node
    boards_count: int
    others: Sequence[tuple[float, int]] = ()

    @property
    def label(self) -> str:
        """The node's name, for people."""
        return self.node.label

    def whole(self, parts_w: Mapping[Scope, float]) -> NodeRange | None:
        """The target's share of the node, never less than what its metered parts draw."""
        own_w = parts_w.get(Scope.DEVICE)
        if own_w is None:
            return None
        boards_w = own_w + math.fsum(w for w, _ in self.others)
        boards = self.boards_count + sum(n for _, n in self.others)
        full, bare = share_power(boards_w, boards, self.node), share_power(0.0, boards, self.node)
        by_count = self.boards_count / boards
        by_draw = own_w / boards_w if boards_w > 0 else by_count
        fixed_w = float(bare.node_w)
        share_w = own_w + fixed_w * by_count + (float(full.node_w) - boards_w - fixed_w) * by_draw
        half_ratio = (float(full.high_w) - float(full.low_w)) / 2.0 / float(full.node_w)
        least_w = math.fsum(parts_w.values())
        low_w, high_w = max(share_w * (1 - half_ratio), least_w), max(share_w * (1 + half_ratio), least_w)
        return NodeRange(min(max(share_w, low_w), high_w), low_w, high_w)


@dataclass(frozen=True, slots=True)
class Chassis:
    """What holds a target's boards, or ``reason`` why that is not known. ``others``: who else is on it.

    ``board_w``: the power limit of one of them by its data sheet.
    ``holder`` stands in where there are no boards (a machine of which CPUs alone are metered).
    """

    node: Node | None
    reason: str = ""
    others: Others | None = None
    holder: NodeModel | None = None
    board_w: float | None = None

    def share(self, boards_count: int, start_s: float, end_s: float) -> NodeModel | None:
        """The target's part of it in a window."""
        if self.node is None:
            return self.holder
        return NodeShare(self.node, boards_count, () if self.others is None else self.others(start_s, end_s))


#: Where exporters show their page by themselves; another path is a gateway's.
USUAL_PATHS = ("", "/", "/metrics")
NOT_STATED = "state this target's device and devices_count, and the node that holds its boards is modelled"


def chassis_of(device: str | None) -> Chassis:
    """The usual node for ``device``; one that is not cataloged says so."""
    if device is None:
        return Chassis(None, NOT_STATED)
    try:
        hardware = find_device(device)
    except InputError as fault:
        return Chassis(None, str(fault))
    if hardware.kind == "cpu":
        return Chassis(None, holder=PackageNodeModel())
    try:
        return Chassis(node_of(device), board_w=hardware.tdp_w)
    except InputError as fault:
        return Chassis(None, str(fault), board_w=hardware.tdp_w)


class Nodes:
    """Who is on which node: targets of one key share it."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, NodeBoards]] = {}

    def join(self, key: str, target: str, boards: NodeBoards) -> None:
        """``target``, metered by ``boards``, is on the node ``key`` from now on."""
        self.leave(target)
        self._members.setdefault(key, {})[target] = boards

    def leave(self, target: str) -> None:
        """``target`` is on no node."""
        for members in self._members.values():
            members.pop(target, None)

    def others(self, key: str, target: str) -> Others:
        """What everyone else on the node draws."""

        def drawn(start_s: float, end_s: float) -> Sequence[tuple[float, int]]:
            others = [b for name, b in self._members.get(key, {}).items() if name != target]
            return [drew for b in others if (drew := b.boards(start_s, end_s)) is not None]

        return drawn


def node_name(stated: str | None, meters: Sequence[str]) -> str | None:
    """The node of ``node_key`` as people call it; None where nothing tells it."""
    key = node_key(stated, meters, "")
    return None if not key or key.startswith("target ") else key.removeprefix("node ")


def node_key(stated: str | None, meters: Sequence[str], target: str) -> str:
    """What tells nodes apart: the stated name, else the address of the exporter, else the target is alone on it.

    A path of its own tells exporters of one address apart: a gateway shows many nodes.

    >>> node_key(None, ["prometheus:http://n1:9400/metrics,where=gpu:0"], "a")
    'n1:9400'
    >>> node_key(None, ["prometheus:https://gateway/n1/metrics"], "a")
    'gateway/n1/metrics'
    """
    if stated:
        return f"node {stated}"
    for text in meters:
        try:
            spec = parse_spec(text)
        except InputError:
            continue
        if spec.name == "prometheus" and spec.option("via", "") != "api":
            page = urlsplit(spec.target)
            return f"{page.netloc}{'' if page.path in USUAL_PATHS else page.path}" or target
        if spec.name in ("nvml", "amd", "auto"):
            return "this machine"
    return f"target {target}"
