"""Channels → scopes: which channels make up the joules of devices, CPUs, memory, node, rack, site.

A joule is counted once. Rules, in order:

1. Several channels of one thing (same scope and device: a counter and a gauge, one board reported once per slice,
   two meters naming it alike) are one: usable before refused, better basis, counter before power, smaller error.
2. Meters of one scope that name different things are two views of the same scope, not two parts, unless the expected
   count says that all of them are needed. The better view is used, and the disagreement told.
3. What is already inside another channel (``Channel.includes``: psys ⊇ package ⊇ cores) is never added to it.
4. A node meter is the node. Without one the node is the sum of its metered parts, and what it lacks is listed.

A part that should be there and cannot be read refuses the sum; one that was never metered is listed as missing. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from joulemill.figure import Basis, weakest
from joulemill.ledger.energy import EnergyResult
from joulemill.ledger.reasons import Finding, Reason, distinct, refused
from joulemill.ledger.record import Channel, Quantity, Scope

#: One physical thing in one scope.
Thing = tuple[Scope, str]

PARTS = (Scope.DEVICE, Scope.CPU, Scope.MEMORY)
PART_NAME = {Scope.DEVICE: "devices", Scope.CPU: "cpu packages", Scope.MEMORY: "dram"}
NEVER_IN_PARTS = "fans and conversion"
_BASIS_RANK = {Basis.MEASURED: 0, Basis.CALIBRATED: 1, Basis.MODELLED: 2, Basis.DATASHEET: 3, Basis.DECLARED: 4}


@dataclass(frozen=True, slots=True)
class Composition:
    """What makes up a scope.

    channels      ids whose joules are summed; empty where nothing meters the scope
    parts         names of what is covered; ``missing`` of what is not (partial coverage must be told)
    alternatives  other complete views of the same scope, each a tuple of channel ids, to compare with
    findings      fatal: the scope's figure is refused
    """

    scope: Scope
    channels: tuple[str, ...]
    basis: Basis | None
    parts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing of the scope is missing."""
        return bool(self.channels) and not self.missing and not refused(self.findings)

    @property
    def coverage(self) -> str:
        """One line: what is inside and what is not."""
        if not self.channels:
            return f"{self.scope.value}: not metered"
        inside = f"{' + '.join(self.parts)} {self.basis.value if self.basis else ''}".rstrip()
        lacking = f"; {', '.join(self.missing)} missing" if self.missing else ""
        return f"{self.scope.value}: {inside}{lacking}"


@dataclass(frozen=True, slots=True)
class _View:
    """One family of meters' view of a scope: the chosen channel of each thing."""

    meters: tuple[str, ...]
    chosen: Mapping[str, Channel]
    findings: tuple[Finding, ...] = field(default=())


def compose(
    channels: Iterable[Channel],
    refusals: Mapping[str, tuple[Finding, ...]],
    expected: Mapping[Scope, int] | None = None,
) -> dict[Scope, Composition]:
    """How each scope is made up of ``channels``.

    refusals   for channels that cannot be used in the window: why (their fatal findings), by id
    expected   number of things that a scope should have (8 devices); a scope it does not name is not checked
    """
    metering = [c for c in channels if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    wanted = expected or {}
    inside = _inside(metering)
    found = {s: _scope(s, metering, refusals, wanted.get(s), inside) for s in Scope}
    if not found[Scope.NODE].channels or refused(found[Scope.NODE].findings):
        found[Scope.NODE] = _node_of_parts(found, metering, inside, wanted)
    return found


def _inside(channels: list[Channel]) -> dict[Thing, frozenset[Thing]]:
    """For each thing, the things whose energy is inside it, at any depth."""
    thing = {c.id: (c.scope, c.device) for c in channels}
    direct: dict[Thing, set[Thing]] = {t: set() for t in thing.values()}
    for c in channels:
        direct[thing[c.id]] |= {thing[i] for i in c.includes if i in thing and thing[i] != thing[c.id]}
    deep: dict[Thing, frozenset[Thing]] = {}
    for start in direct:
        seen: set[Thing] = set()
        todo = list(direct[start])
        while todo:
            t = todo.pop()
            if t not in seen:
                seen.add(t)
                todo += direct[t]
        deep[start] = frozenset(seen - {start})
    return deep


def _scope(
    scope: Scope,
    metering: list[Channel],
    refusals: Mapping[str, tuple[Finding, ...]],
    expected: int | None,
    inside: Mapping[Thing, frozenset[Thing]],
) -> Composition:
    views = [_view(family, refusals) for family in _families([c for c in metering if c.scope is scope])]
    if not views:
        return Composition(scope, (), None, findings=_absent(scope, expected))
    union = {d for v in views for d in v.chosen}
    if len(views) > 1 and expected == len(union):
        views = [_merged(views)]
    views.sort(key=lambda v: _view_rank(v, refusals, expected))
    best, others = views[0], views[1:]
    chosen, overlap = _outermost(best.chosen, inside, refusals)
    findings = [*best.findings, *overlap, *_count(scope, len(chosen), expected)]
    findings += [f for c in chosen.values() for f in refusals.get(c.id, ())]
    if others:
        names = ", ".join("+".join(v.meters) for v in others)
        ambiguous = expected is None and scope in PARTS
        hint = "; state how many there are if they are different things" if ambiguous else ""
        code = Reason.AMBIGUOUS_DEVICES if ambiguous else Reason.OVERLAP
        findings.append(Finding(code, scope.value, f"{'+'.join(best.meters)} used, {names} only compared{hint}"))
    ids = tuple(sorted(c.id for c in chosen.values()))
    alternatives = tuple(
        tuple(sorted(c.id for c in _outermost(v.chosen, inside, refusals)[0].values())) for v in others
    )  # fmt: skip
    basis = weakest(*(c.basis for c in chosen.values()))
    part = PART_NAME.get(scope, f"{scope.value} meter")
    return Composition(scope, ids, basis, (part,), (), alternatives, distinct(findings))


def _absent(scope: Scope, expected: int | None) -> tuple[Finding, ...]:
    if not expected:
        return ()
    return (Finding(Reason.MISSING_DEVICE, scope.value, f"none of {expected} expected is metered", fatal=True),)


def _families(channels: list[Channel]) -> list[list[Channel]]:
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


def _view(family: list[Channel], refusals: Mapping[str, tuple[Finding, ...]]) -> _View:
    chosen: dict[str, Channel] = {}
    findings: list[Finding] = []
    for device in sorted({c.device for c in family}):
        rivals = sorted((c for c in family if c.device == device), key=lambda c: _channel_rank(c, refusals))
        best = chosen[device] = rivals[0]
        alike = [c for c in rivals[1:] if c.quantity is best.quantity]
        if alike:
            detail = f"{len(alike) + 1} channels of {device}; counted once, from {best.id}"
            findings.append(Finding(Reason.DUPLICATE_CHANNEL, best.scope.value, detail))
        better = [c for c in rivals[1:] if c.id in refusals and _quality(c) < _quality(best)]
        if better and best.id not in refusals:
            detail = f"{better[0].id} cannot be used, {best.id} stands in"
            findings.append(Finding(Reason.FELL_BACK, best.scope.value, detail))
    return _View(tuple(dict.fromkeys(c.meter for c in family)), chosen, tuple(findings))


def _quality(c: Channel) -> tuple[int, int, float]:
    error = math.inf if c.rel_error is None else c.rel_error
    return (_BASIS_RANK[c.basis], int(c.quantity is not Quantity.ENERGY), error)


def _channel_rank(c: Channel, refusals: Mapping[str, tuple[Finding, ...]]) -> tuple[bool, tuple[int, int, float], str]:
    return (c.id in refusals, _quality(c), c.id)


def _view_rank(
    v: _View, refusals: Mapping[str, tuple[Finding, ...]], expected: int | None
) -> tuple[bool, bool, tuple[int, int, float], int, str]:
    broken = any(c.id in refusals for c in v.chosen.values())
    short = expected is not None and len(v.chosen) < expected
    return (broken, short, max(_quality(c) for c in v.chosen.values()), -len(v.chosen), "+".join(v.meters))


def _merged(views: list[_View]) -> _View:
    meters = tuple(dict.fromkeys(m for v in views for m in v.meters))
    return _View(meters, {d: c for v in views for d, c in v.chosen.items()}, sum((v.findings for v in views), ()))


def _outermost(
    chosen: Mapping[str, Channel], inside: Mapping[Thing, frozenset[Thing]], refusals: Mapping[str, tuple[Finding, ...]]
) -> tuple[dict[str, Channel], list[Finding]]:
    """``chosen`` without what is inside another one; without the whole, where only its parts can be used."""
    things: dict[Thing, Channel] = {(c.scope, c.device): c for c in chosen.values()}
    findings: list[Finding] = []
    dropped: set[Thing] = set()
    for thing, channel in things.items():
        parts = inside.get(thing, frozenset()) & things.keys()
        if not parts:
            continue
        if channel.id in refusals and not any(things[p].id in refusals for p in parts):
            dropped.add(thing)
            detail = f"{channel.id} cannot be used; its parts are summed, which may be less"
            findings.append(Finding(Reason.FELL_BACK, channel.scope.value, detail))
            continue
        dropped |= parts
        detail = f"{channel.id} already holds {', '.join(sorted(things[p].id for p in parts))}"
        findings.append(Finding(Reason.OVERLAP, channel.scope.value, detail))
    return {c.id: c for t, c in things.items() if t not in dropped}, findings


def _count(scope: Scope, have: int, expected: int | None) -> list[Finding]:
    if expected is None or have == expected:
        return []
    if have < expected:
        return [Finding(Reason.MISSING_DEVICE, scope.value, f"{have} of {expected} expected are metered", fatal=True)]
    return [Finding(Reason.UNEXPECTED_DEVICE, scope.value, f"{have} metered where {expected} were expected")]


def _node_of_parts(
    found: Mapping[Scope, Composition],
    metering: list[Channel],
    inside: Mapping[Thing, frozenset[Thing]],
    expected: Mapping[Scope, int],
) -> Composition:
    """The node as the sum of its metered parts. Falls back to it, telling so, where the node meter is refused."""
    meter = found[Scope.NODE]
    if expected.get(Scope.NODE, 1) > 1:
        return meter
    by_id = {c.id: c for c in metering}
    held = {t for s in PARTS for i in found[s].channels for t in inside[(by_id[i].scope, by_id[i].device)]}
    ids = [i for s in PARTS for i in found[s].channels if (by_id[i].scope, by_id[i].device) not in held]
    if not ids:
        return meter
    findings = [f for s in PARTS if found[s].channels for f in found[s].findings]
    if meter.channels:
        detail = f"the node meter {', '.join(meter.channels)} cannot be used ({meter.findings[-1].text}); parts summed"
        findings.append(Finding(Reason.FELL_BACK, Scope.NODE.value, detail))
    held_scopes = {scope for scope, _ in held}
    covered = [s for s in PARTS if found[s].channels]
    missing = [PART_NAME[s] for s in PARTS if s not in covered and s not in held_scopes and expected.get(s) != 0]
    missing.append(NEVER_IN_PARTS)
    basis = weakest(*(by_id[i].basis for i in ids))
    names = tuple(PART_NAME[s] for s in covered)
    node = Composition(Scope.NODE, tuple(sorted(ids)), basis, names, tuple(missing), findings=distinct(findings))
    told = Finding(Reason.PARTIAL, Scope.NODE.value, node.coverage)
    return replace(node, findings=distinct([*findings, told]))


def scope_energy(
    composition: Composition, results: Mapping[str, EnergyResult], window: tuple[float, float]
) -> EnergyResult:
    """Joules of a composed scope over ``window``, from the ``results`` of its channels over the same window.

    Half widths of one meter's channels (ids up to the first colon) add, since their errors may be common; those of
    different meters add in quadrature. Refused where the composition or any part is.
    Alternatives that disagree beyond both intervals are told, and where they are measured the interval reaches to them.
    """
    name = composition.scope.value
    parts = [results[i] for i in composition.channels]
    findings = [*composition.findings, *(f for p in parts for f in p.findings)]
    if not parts:
        detail = "nothing meters it; see `joulemill doctor`"
        findings.append(Finding(Reason.NO_METER, name, detail, fatal=True))
    reads = min((p.reading_count for p in parts), default=0)
    kinds = {p.kind for p in parts}
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    joules = [p.energy_j for p in parts if p.energy_j is not None]
    if refused(findings) or len(joules) < len(parts):
        return EnergyResult(name, *window, None, None, None, None, kind, reads, distinct(findings))
    energy = math.fsum(joules)
    by_meter: dict[str, float] = {}
    for p in parts:
        meter = p.subject.split(":", 1)[0]
        by_meter[meter] = by_meter.get(meter, 0.0) + (p.half_width_j or 0.0)
    half = math.hypot(*by_meter.values())
    disagreements, apart_j = _disagreements(composition, results, energy, half)
    findings += disagreements
    half = max(half, apart_j)
    low, high = max(energy - half, 0.0), energy + half
    return EnergyResult(name, *window, energy, low, high, composition.basis, kind, reads, distinct(findings))


def _disagreements(
    composition: Composition, results: Mapping[str, EnergyResult], energy_j: float, half_j: float
) -> tuple[list[Finding], float]:
    """What other meters of the scope say against it, and how far the farthest measured one is [J]."""
    found, farthest = [], 0.0
    for ids in composition.alternatives:
        parts = [results[i] for i in ids]
        joules = [p.energy_j for p in parts if p.energy_j is not None]
        if len(joules) < len(parts) or not parts:
            continue
        other, width = math.fsum(joules), sum(p.half_width_j or 0.0 for p in parts)
        told = f"{'+'.join(ids)} says {other:.6g} J, {'+'.join(composition.channels)} {energy_j:.6g} J"
        if abs(other - energy_j) > half_j + width:
            ratio = f"{100 * (other / energy_j - 1):+.1f} %" if energy_j else "against none"
            detail = f"{told} ({ratio}), beyond both intervals"
            found.append(Finding(Reason.DISAGREEMENT, composition.scope.value, detail))
            if all(p.basis is Basis.MEASURED for p in parts):
                farthest = max(farthest, abs(other - energy_j))
    return found, farthest
