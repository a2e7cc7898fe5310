"""Meters of one scope: which of them are parts of it, and which are views of the same things.

Devices are told apart by UUID, else by their host and index, else not at all (``ledger.identity``):

* Meters that share a device's name speak of the same things, and are one view; of each device one channel is chosen.
  Where the names are mere indexes, which every host has, that holds only if as many are expected as there are names.
* Views whose names are sure to be of different boards are parts, and are summed.
* Any other two views may be the same boards under other names. The expected count decides which of them is whole; the
  others are compared with it. Where nobody said how many there are, the sum of boards is refused.

CPU packages, memory, nodes and sites have stable names of their own: there the better view is used and told, and views
are parts where as many are expected as they name together. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulemill.figure import Basis
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.identity import known_apart, listed, local, unnamed_findings
from joulemill.ledger.record import Channel, Quantity, Scope

#: Why channels cannot be used, by id.
Refusals = Mapping[str, tuple[Finding, ...]]

_BASIS_RANK = {Basis.MEASURED: 0, Basis.CALIBRATED: 1, Basis.MODELLED: 2, Basis.DATASHEET: 3, Basis.DECLARED: 4}
_PARTS = (Scope.DEVICE, Scope.CPU, Scope.MEMORY)


@dataclass(frozen=True, slots=True)
class View:
    """One family of meters' view of a scope: the chosen channel of each thing, and what else reads that thing."""

    meters: tuple[str, ...]
    chosen: Mapping[str, Channel]
    rivals: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The view that is summed, those it is compared with, and what was found of them together."""

    best: View
    others: tuple[View, ...] = ()
    findings: tuple[Finding, ...] = ()


def decided(scope: Scope, channels: Sequence[Channel], refusals: Refusals, expected: int | None) -> Decision:
    """Which view of ``scope`` its ``channels`` make is to be summed."""
    views = [_view(family, refusals) for family in _families(channels)]
    if not views:
        return Decision(View((), {}))
    names = {d for v in views for d in v.chosen}
    findings: list[Finding] = []
    if scope is Scope.DEVICE:
        views = _joined(views)
        findings = [*unnamed_findings(scope.value, names, expected), *_indexes(channels, names, expected)]
    elif len(views) > 1 and expected == len(names):
        views = [_merged(views)]
    views.sort(key=lambda v: _view_rank(v, refusals, expected))
    best, others = views[0], tuple(views[1:])
    if others:
        findings.append(_several(scope, best, others, expected))
    return Decision(best, others, tuple(findings))


def _several(scope: Scope, best: View, others: Sequence[View], expected: int | None) -> Finding:
    used, names = "+".join(best.meters), ", ".join("+".join(v.meters) for v in others)
    if expected is not None or scope not in _PARTS:
        return Finding(Reason.OVERLAP, scope.value, f"{used} used, {names} only compared")
    if scope is not Scope.DEVICE:
        hint = "state how many there are if they are different things"
        return Finding(Reason.AMBIGUOUS_DEVICES, scope.value, f"{used} used, {names} only compared; {hint}")
    detail = (
        f"{used} names {listed(best.chosen)}, {names} {listed({d for v in others for d in v.chosen})}: these may be "
        "the same boards or others; state how many there are (--device NAME:N, devices_count)"
    )
    return Finding(Reason.AMBIGUOUS_DEVICES, scope.value, detail, fatal=True)


def _indexes(channels: Sequence[Channel], names: set[str], expected: int | None) -> list[Finding]:
    """Indexes that several meters use are of the same boards only where so many are expected."""
    users: dict[str, set[str]] = {}
    for c in channels:
        if local(c.device):
            users.setdefault(c.device, set()).add(c.meter)
    shared = {d for d, meters in users.items() if len(meters) > 1}
    if not shared or expected == len(names):
        return []
    meters = ", ".join(sorted({m for d in shared for m in users[d]}))
    detail = (
        f"{listed(shared)} are indexes that {meters} use alike, for the same boards or for those of several hosts: "
        "meter by UUID, or state how many there are (--device NAME:N, devices_count)"
    )
    return [Finding(Reason.AMBIGUOUS_DEVICES, Scope.DEVICE.value, detail, fatal=True)]


def _families(channels: Sequence[Channel]) -> list[list[Channel]]:
    """Meters that share a device name speak of the same things; meters that share none are apart."""
    families: list[tuple[set[str], list[Channel]]] = []
    for meter in dict.fromkeys(c.meter for c in channels):
        mine = [c for c in channels if c.meter == meter]
        devices, together = {c.device for c in mine}, list(mine)
        apart = []
        for names, others in families:
            if names & devices:
                devices, together = names | devices, others + together
            else:
                apart.append((names, others))
        families = [*apart, (devices, together)]
    return [members for _, members in families]


def _view(family: Sequence[Channel], refusals: Refusals) -> View:
    chosen: dict[str, Channel] = {}
    findings: list[Finding] = []
    rivals: list[tuple[str, str]] = []
    for device in sorted({c.device for c in family}):
        ranked = sorted((c for c in family if c.device == device), key=lambda c: _channel_rank(c, refusals))
        best = chosen[device] = ranked[0]
        rivals += [(best.id, c.id) for c in ranked[1:] if c.id not in refusals and c.basis is Basis.MEASURED]
        findings += _choice(best, ranked[1:], refusals)
    return View(tuple(dict.fromkeys(c.meter for c in family)), chosen, tuple(rivals), tuple(findings))


def _choice(best: Channel, others: Sequence[Channel], refusals: Refusals) -> list[Finding]:
    findings = []
    alike = [c for c in others if c.quantity is best.quantity]
    if alike:
        detail = f"{len(alike) + 1} channels of {best.device}; counted once, from {best.id}"
        findings.append(Finding(Reason.DUPLICATE_CHANNEL, best.scope.value, detail))
    better = [c for c in others if c.id in refusals and _quality(c) < _quality(best)]
    if better and best.id not in refusals:
        detail = f"{better[0].id} cannot be used, {best.id} replaces it"
        findings.append(Finding(Reason.FELL_BACK, best.scope.value, detail))
    return findings


def _joined(views: Sequence[View]) -> list[View]:
    """``views`` of boards, those that are sure to name different ones joined."""
    groups: list[list[View]] = []
    for view in views:
        group = next((g for g in groups if all(known_apart(view.chosen, v.chosen) for v in g)), None)
        if group is None:
            groups.append([view])
        else:
            group.append(view)
    return [_merged(g) if len(g) > 1 else g[0] for g in groups]


def _merged(views: Sequence[View]) -> View:
    return View(
        tuple(dict.fromkeys(m for v in views for m in v.meters)),
        {d: c for v in views for d, c in v.chosen.items()},
        sum((v.rivals for v in views), ()),
        sum((v.findings for v in views), ()),
    )


def _quality(c: Channel) -> tuple[int, int, float]:
    error = math.inf if c.rel_error is None else c.rel_error
    return (_BASIS_RANK[c.basis], int(c.quantity is not Quantity.ENERGY), error)


def _channel_rank(c: Channel, refusals: Refusals) -> tuple[bool, tuple[int, int, float], str]:
    return (c.id in refusals, _quality(c), c.id)


def _view_rank(
    v: View, refusals: Refusals, expected: int | None
) -> tuple[bool, bool, tuple[int, int, float], int, str]:
    broken = any(c.id in refusals for c in v.chosen.values())
    off = expected is not None and len(v.chosen) != expected
    return (broken, off, max(_quality(c) for c in v.chosen.values()), -len(v.chosen), "+".join(v.meters))
