"""Channels → scopes: which channels make up the joules of devices, CPUs, memory, node, rack, site.

A joule is counted once. Rules, in order:

1. Several channels of one thing (same scope and device: a counter and a gauge, one board reported once per slice,
   two meters naming it alike) are one: usable before refused, better basis, counter before power, smaller error. Those
   that are not used are compared with the one that is: what parts by more than both intervals widens it or refuses it.
2. Which meters of one scope are parts of it and which are views of the same things is decided by what tells their
   devices apart and by how many are expected (``ledger.views``), never guessed; fewer or more than expected refuse.
3. What is already inside another channel (``Channel.includes``: psys ⊇ package ⊇ cores) is never added to it.
4. A node meter is the node. Without one the node is the sum of its metered parts, and what it lacks is listed.

A part that should be there and cannot be read refuses the sum; one that was never metered is listed as missing. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from joulemill.figure import Basis, weakest
from joulemill.ledger.energy import EnergyResult
from joulemill.ledger.findings import Finding, Reason, distinct, refused
from joulemill.ledger.identity import count_findings
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.ledger.views import Refusals, decided

Results = Mapping[str, EnergyResult]
#: One physical thing in one scope.
Thing = tuple[Scope, str]

PARTS = (Scope.DEVICE, Scope.CPU, Scope.MEMORY)
PART_NAME = {Scope.DEVICE: "devices", Scope.CPU: "cpu packages", Scope.MEMORY: "dram"}
NEVER_IN_PARTS = "fans and conversion"
#: Two sensors of one thing that part by more than this, beyond both intervals, refuse it: nobody knows which is right.
#: Within it the interval reaches to the other. Assumed; a unit that is off is a factor of ten and more.
RIVALS_APART_RATIO = 0.25
#: What two sensors of one thing may part by without a word: InferenceX's tolerance of a counter against its power.
RIVALS_ALIKE_RATIO = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What makes up a scope.

    channels      ids whose joules are summed; empty where nothing meters the scope
    parts         names of what is covered; ``missing`` of what is not (partial coverage must be told)
    alternatives  other complete views of the same scope, each a tuple of channel ids, to compare with
    rivals        pairs of ids: a channel that is summed, and another of the same thing, to compare it with
    findings      fatal: the scope's figure is refused
    """

    scope: Scope
    channels: tuple[str, ...]
    basis: Basis | None
    parts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    rivals: tuple[tuple[str, str], ...] = ()
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


def compose(
    channels: Iterable[Channel],
    refusals: Refusals,
    expected: Mapping[Scope, int] | None = None,
) -> dict[Scope, Composition]:
    """How each scope is made up of ``channels``.

    refusals   for channels that cannot be used in the window: why (their fatal findings), by id
    expected   number of things that a scope should have (8 devices); a scope it does not name is not checked
    """
    metering = [c for c in channels if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    wanted = expected or {}
    inside = _inside(metering)
    compositions = {s: _scope(s, metering, refusals, wanted.get(s), inside) for s in Scope}
    if not compositions[Scope.NODE].channels or refused(compositions[Scope.NODE].findings):
        compositions[Scope.NODE] = _node_of_parts(compositions, metering, inside, wanted)
    return compositions


def _inside(channels: list[Channel]) -> dict[Thing, frozenset[Thing]]:
    """For each thing, the things whose energy is inside it, at any depth."""
    thing = {c.id: (c.scope, c.device) for c in channels}
    direct: dict[Thing, set[Thing]] = {t: set() for t in thing.values()}
    for c in channels:
        direct[thing[c.id]] |= {thing[i] for i in c.includes if i in thing and thing[i] != thing[c.id]}
    deep: dict[Thing, frozenset[Thing]] = {}
    for start in direct:
        counted: set[Thing] = set()
        todo = list(direct[start])
        while todo:
            t = todo.pop()
            if t not in counted:
                counted.add(t)
                todo += direct[t]
        deep[start] = frozenset(counted - {start})
    return deep


def _scope(
    scope: Scope,
    metering: list[Channel],
    refusals: Refusals,
    expected: int | None,
    inside: Mapping[Thing, frozenset[Thing]],
) -> Composition:
    views = decided(scope, [c for c in metering if c.scope is scope], refusals, expected)
    if not views.best.chosen:
        return Composition(scope=scope, channels=(), basis=None, findings=_absent(scope, expected))
    chosen, overlap = _outermost(views.best.chosen, inside, refusals)
    devices = [c.device for c in chosen.values()]
    findings = [*views.best.findings, *overlap, *count_findings(scope.value, devices, expected), *views.findings]
    findings += [f for c in chosen.values() for f in refusals.get(c.id, ())]
    others = [_outermost(v.chosen, inside, refusals)[0] for v in views.others]
    alternatives = tuple(tuple(sorted(o)) for o in others if len(o) == len(chosen))
    return Composition(
        scope=scope,
        channels=tuple(sorted(chosen)),
        basis=weakest(*(c.basis for c in chosen.values())),
        parts=(PART_NAME.get(scope, f"{scope.value} meter"),),
        alternatives=alternatives,
        rivals=tuple((one, other) for one, other in views.best.rivals if one in chosen),
        findings=distinct(findings),
    )


def _absent(scope: Scope, expected: int | None) -> tuple[Finding, ...]:
    if not expected:
        return ()
    return (Finding(Reason.MISSING_DEVICE, scope.value, f"none of {expected} expected is metered", fatal=True),)


def _outermost(
    chosen: Mapping[str, Channel], inside: Mapping[Thing, frozenset[Thing]], refusals: Refusals
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


def _node_of_parts(
    compositions: Mapping[Scope, Composition],
    metering: list[Channel],
    inside: Mapping[Thing, frozenset[Thing]],
    expected: Mapping[Scope, int],
) -> Composition:
    """The node as the sum of its metered parts. Falls back to it, telling so, where the node meter is refused."""
    meter = compositions[Scope.NODE]
    if expected.get(Scope.NODE, 1) > 1:
        return meter
    by_id = {c.id: c for c in metering}
    held = {t for s in PARTS for i in compositions[s].channels for t in inside[(by_id[i].scope, by_id[i].device)]}
    ids = [i for s in PARTS for i in compositions[s].channels if (by_id[i].scope, by_id[i].device) not in held]
    if not ids:
        return meter
    findings = [f for s in PARTS if compositions[s].channels for f in compositions[s].findings]
    if meter.channels:
        detail = f"the node meter {', '.join(meter.channels)} cannot be used ({meter.findings[-1].text}); parts summed"
        findings.append(Finding(Reason.FELL_BACK, Scope.NODE.value, detail))
    held_scopes = {scope for scope, _ in held}
    covered = [s for s in PARTS if compositions[s].channels]
    missing = [PART_NAME[s] for s in PARTS if s not in covered and s not in held_scopes and expected.get(s) != 0]
    missing.append(NEVER_IN_PARTS)
    basis = weakest(*(by_id[i].basis for i in ids))
    names = tuple(PART_NAME[s] for s in covered)
    rivals = tuple(pair for s in covered for pair in compositions[s].rivals if pair[0] in ids)
    node = Composition(
        scope=Scope.NODE,
        channels=tuple(sorted(ids)),
        basis=basis,
        parts=names,
        missing=tuple(missing),
        rivals=rivals,
        findings=distinct(findings),
    )
    partial = Finding(Reason.PARTIAL, Scope.NODE.value, node.coverage)
    return replace(node, findings=distinct([*findings, partial]))


def scope_energy(composition: Composition, results: Results, window: tuple[float, float]) -> EnergyResult:
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
    kinds = {p.kind for p in parts}
    result = EnergyResult(
        subject=name,
        start_s=window[0],
        end_s=window[1],
        energy_j=None,
        low_j=None,
        high_j=None,
        basis=None,
        kind=kinds.pop() if len(kinds) == 1 else "mixed",
        reading_count=min((p.reading_count for p in parts), default=0),
    )
    joules = [p.energy_j for p in parts if p.energy_j is not None]
    if refused(findings) or len(joules) < len(parts):
        return replace(result, findings=distinct(findings))
    energy = math.fsum(joules)
    by_meter: dict[str, float] = {}
    for p in parts:
        meter = p.subject.split(":", 1)[0]
        by_meter[meter] = by_meter.get(meter, 0.0) + (p.half_width_j or 0.0)
    half = math.hypot(*by_meter.values())
    disagreements, apart_j = _disagreements(composition, results, energy, half)
    rivals, rivals_j = _rivals(composition, results)
    findings += disagreements + rivals
    half = max(half, apart_j, rivals_j)
    if refused([*disagreements, *rivals]) or not math.isfinite(energy + half):
        return replace(result, findings=distinct(findings))
    return replace(
        result,
        energy_j=energy,
        low_j=max(energy - half, 0.0),
        high_j=energy + half,
        basis=composition.basis,
        findings=distinct(findings),
    )


def _rivals(composition: Composition, results: Results) -> tuple[list[Finding], float]:
    """What other sensors of the summed things say against them, and how far the interval must reach for it [J]."""
    findings: list[Finding] = []
    farthest: dict[str, float] = {}
    for one, other in composition.rivals:
        a, b = results.get(one), results.get(other)
        if a is None or b is None or a.energy_j is None or b.energy_j is None:
            continue
        apart_j, most_j = abs(a.energy_j - b.energy_j), max(a.energy_j, b.energy_j)
        alike_j = RIVALS_ALIKE_RATIO * most_j + a.stale_j + b.stale_j
        if apart_j <= (a.half_width_j or 0.0) + (b.half_width_j or 0.0) + alike_j:
            continue
        detail = f"{one} says {a.energy_j:.6g} J, {other} {b.energy_j:.6g} J of the same thing, beyond both intervals"
        fatal = apart_j > RIVALS_APART_RATIO * most_j
        findings.append(Finding(Reason.DISAGREEMENT, composition.scope.value, detail, fatal))
        farthest[one] = max(farthest.get(one, 0.0), apart_j)
    return findings, math.fsum(farthest.values())


def _disagreements(
    composition: Composition, results: Results, energy_j: float, half_j: float
) -> tuple[list[Finding], float]:
    """What other meters of the scope say against it, and how far the farthest measured one is [J]."""
    findings, farthest = [], 0.0
    for ids in composition.alternatives:
        parts = [results[i] for i in ids]
        joules = [p.energy_j for p in parts if p.energy_j is not None]
        if len(joules) < len(parts) or not parts:
            continue
        other, width = math.fsum(joules), sum(p.half_width_j or 0.0 for p in parts)
        disagreement = f"{'+'.join(ids)} says {other:.6g} J, {'+'.join(composition.channels)} {energy_j:.6g} J"
        if abs(other - energy_j) > half_j + width + math.fsum(p.stale_j for p in parts):
            ratio = f"{100 * (other / energy_j - 1):+.1f} %" if energy_j else "against none"
            detail = f"{disagreement} ({ratio}), beyond both intervals"
            measured = all(p.basis is Basis.MEASURED for p in parts)
            boards = measured and composition.scope is Scope.DEVICE
            fatal = boards and abs(other - energy_j) > RIVALS_APART_RATIO * max(other, energy_j)
            findings.append(Finding(Reason.DISAGREEMENT, composition.scope.value, detail, fatal))
            if measured:
                farthest = max(farthest, abs(other - energy_j))
    return findings, farthest
