"""A server's BMC by Redfish: power and energy of a chassis, its supplies' input and output, heat taken by coolant.

A BMC sees the whole node, conversion loss and fans included, a few times a minute at best: what it gives is for long
windows and cross-checks. Credentials come from the environment; the session is ended on closing.

A baseboard of accelerators shows a chassis for each board: ``chassis=GPU_1+GPU_2,scope=device`` reads those, and
each stands inside the node whose BMC it is; of two that are asked for together and stand inside each other (a module
and its GPU) the outer one holds the inner. Where no chassis has power, or ``scope=device`` is said without ``chassis``,
the processors' own metrics are read, each at its own scope. A sensor that states its accuracy and interval is taken at
its word.

SPEC: ``redfish:https://BMC[,chassis=ID[+ID]][,auth=session|basic|none][,scope=node|rack|device][,ca=FILE][,verify=no]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.findings import Reason
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.network.http import Credentials, HttpSource, unreachable
from joulemill.meters.network.redfish_parts import (
    RedfishFact,
    coolant_facts,
    environment_facts,
    lacking,
    link,
    members,
    power_facts,
    present,
    supply_facts,
    supply_powers,
    with_sensor,
)
from joulemill.meters.network.redfish_session import Resource, Session, forgiving

#: Assumed half width at 95 % of a BMC's or supply's power figure.
REL_ERROR = 0.05
#: BMCs are slow computers: no more often than this.
ASK_EVERY_S = 2.0
SCOPES = ("node", "rack", "device")
CREDENTIALS = "JOULEMILL_REDFISH_USER and JOULEMILL_REDFISH_PASSWORD"
Parse = Callable[[Sequence[Resource]], Iterator[RedfishFact]]


@dataclass(frozen=True, slots=True)
class RedfishPart:
    """What is read together: resources, what they mean, the thing's name, and another name for some facts' thing.

    scope    where this part counts; None: as the user said
    within   chassis that this part stands inside
    """

    paths: tuple[str, ...]
    parse: Parse
    device: str
    others: Mapping[str, str] = field(default_factory=dict)
    scope: Scope | None = None
    within: frozenset[str] = frozenset()

    def device_of(self, fact: str) -> str:
        """The thing that ``fact`` is of."""
        return self.others.get(fact, self.device)

    def id(self, fact: str) -> str:
        """The channel's id."""
        return f"redfish:{self.device_of(fact)}:{fact}"


class RedfishMeter:
    """Reads its parts one after the other; each reading is stamped with the middle of its own exchange."""

    def __init__(self, session: Session, parts: Sequence[RedfishPart], spec: Spec, context: MeterContext) -> None:
        self._session, self._parts, self._context = session, tuple(parts), context
        self._due_s = float("-inf")
        scope = self._scope = Scope(spec.option("scope", "node", SCOPES))
        self._ids: list[list[str]] = []
        channels: list[Channel] = []
        for part in self._parts:
            began_s = context.clock.mono()
            facts = list(self._facts(part))
            half_s = (context.clock.mono() - began_s) / 2
            channels += [_channel(part, self._accurate(f), spec, scope, half_s) for f in facts]
            self._ids.append([part.id(f.name) for f in facts])
        within = {part.device: part.within for part in self._parts}
        self._channels = tuple(_holding(c, channels, within) for c in channels)

    def channels(self) -> tuple[Channel, ...]:
        """What the service had at opening."""
        return self._channels

    def read(self) -> tuple[Reading, ...]:
        """Every part; a fact that is no longer there, or a part that fails, is an error reading."""
        clock = self._context.clock
        if clock.mono() < self._due_s:
            return ()
        self._due_s = clock.mono() + 0.9 * ASK_EVERY_S
        return tuple(r for part, ids in zip(self._parts, self._ids, strict=True) for r in self._of_part(part, ids))

    def close(self) -> None:
        """Log out."""
        self._session.end()

    def _of_part(self, part: RedfishPart, ids: Sequence[str]) -> list[Reading]:
        clock = self._context.clock
        began_s, error = clock.mono(), "the service no longer gives it"
        values: dict[str, float] = {}
        faults: dict[str, Reason | None] = {}
        try:
            facts = list(self._facts(part))
            scope = part.scope or self._scope
            faults = {part.id(f.name): reading_fault(f.quantity, f.value, scope=scope) for f in facts}
            values = {part.id(f.name): f.value for f in facts if faults[part.id(f.name)] is None}
        except (OSError, ValueError) as failure:
            error = str(failure)
        half_s = (clock.mono() - began_s) / 2
        mono, wall = began_s + half_s, clock.wall() - half_s
        reasons = {i: f"{fault.value}: no reading can be that" for i, fault in faults.items() if fault is not None}
        return [Reading(i, mono, wall, values.get(i), None if i in values else reasons.get(i, error)) for i in ids]

    def _accurate(self, fact: RedfishFact) -> RedfishFact:
        """``fact`` with what its sensor resource says of itself; a sensor that cannot be read changes nothing."""
        if fact.sensor is None:
            return fact
        try:
            return with_sensor(fact, self._session.get(fact.sensor))
        except (OSError, ValueError):
            return fact

    def _facts(self, part: RedfishPart) -> Iterator[RedfishFact]:
        return part.parse([self._session.get(p) for p in part.paths])


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The BMC of ``spec``. Raises MachineError where it cannot be reached or gives no power."""
    spec.only("chassis", "auth", "scope", "ca", "verify")
    if not spec.target:
        raise InputError(f"`meter` {spec.text}: say where, as in redfish:https://bmc.example")
    auth = spec.option("auth", "session", ("session", "basic", "none"))
    verify = spec.option("verify", "yes", ("yes", "no")) == "yes"
    source = HttpSource(spec.target, ca=spec.option("ca", ""), verify=verify)
    session = Session(source, Credentials.of(context.environ, "redfish"), auth)
    try:
        session.begin()
        parts = list(find_parts(session.get, spec))
        meter = RedfishMeter(session, parts, spec, context)
        if not any(_energetic(c.quantity) for c in meter.channels()):
            raise MachineError(f"`meter` {spec.text}: the BMC gives no watts and no joules {_lacks(session.get, spec)}")
        session.opened = True
        return meter
    except (OSError, ValueError) as error:
        session.end()
        hint = f"is it a Redfish service? Credentials come from {CREDENTIALS}"
        raise unreachable(f"`meter` {spec.text}", error, hint) from error
    except (InputError, MachineError):
        session.end()
        raise


def find_parts(get: Callable[[str], Resource], spec: Spec) -> Iterator[RedfishPart]:
    """The parts of the chassis that ``spec`` means."""
    root = get("/redfish/v1/")
    get = forgiving(get)
    every = {_name(path): get(path) for path in members(get(_needed(root, "Chassis")))}
    powered = _powered(every)
    asked = spec.several("chassis")
    if not asked and (not powered or spec.options.get("scope") == "device"):
        processors = list(processor_parts(get, root, accelerators=bool(powered)))
        if processors:
            yield from processors
            return
    for name, resource in _chosen(every, powered, asked, spec).items():
        for part in _chassis_parts(get, name, resource):
            yield replace(part, within=containers(name, every))


def _powered(chassis: Mapping[str, Resource]) -> dict[str, Resource]:
    """Those that may have power of their own; where none has, those whose supplies may."""
    powered = {i: c for i, c in chassis.items() if link(c, "EnvironmentMetrics") or link(c, "Power")}
    return powered or {i: c for i, c in chassis.items() if link(c, "PowerSubsystem")}


def _chosen(
    every: Mapping[str, Resource], powered: Mapping[str, Resource], asked: Sequence[str], spec: Spec
) -> dict[str, Resource]:
    outer = {i: c for i, c in powered.items() if not link(c, "Links", "ContainedBy")} or powered
    chosen = {i: powered[i] for i in asked if i in powered} if asked else dict(outer)
    if len(chosen) == (len(asked) or 1):
        return chosen
    there = ", ".join(powered or every) or "none"
    if not powered and not asked:
        raise MachineError(
            f"`meter` {spec.text}: the BMC gives no watts and no joules (neither its chassis, {there[:200]}, nor its "
            "processors have EnvironmentMetrics, Power or PowerSubsystem); meter the node by ipmi:HOST or at its outlet"
        )
    what = "several chassis with power" if chosen and not asked else f"no chassis with power {'+'.join(asked)}"
    raise InputError(f"`meter` {spec.text}: {what.rstrip()}; say chassis= one of {there[:400]}")


def _lacks(get: Callable[[str], Resource], spec: Spec) -> str:
    """What the chosen chassis have in place of power, to tell their owner."""
    reasons = []
    get = forgiving(get)
    with suppress(OSError, ValueError, JoulemillError):
        every = {_name(p): get(p) for p in members(get(_needed(get("/redfish/v1/"), "Chassis")))}
        for name, chassis in _chosen(every, _powered(every), spec.several("chassis"), spec).items():
            environment, power = link(chassis, "EnvironmentMetrics"), link(chassis, "Power")
            supplies = len(_supplies(get, chassis))
            lack = lacking(get(environment) if environment else None, get(power) if power else None, supplies)
            reasons.append(f"chassis {name[:80]}: {lack}")
    why = f"({'; '.join(reasons[:3])})" if reasons else "there"
    return f"{why}; update its firmware, or meter the node by ipmi:HOST or at its outlet (snmp:PDU)"


def processor_parts(get: Callable[[str], Resource], root: Resource, *, accelerators: bool) -> Iterator[RedfishPart]:
    """Every processor of every system that has power or energy of its own: CPUs at their scope, the others as devices.

    accelerators   leave the CPUs out
    """
    systems = link(root, "Systems")
    for system in members(get(systems)) if systems is not None else ():
        processors = link(get(system), "Processors")
        for path in members(get(processors)) if processors is not None else ():
            processor = get(path)
            scope = Scope.CPU if processor.get("ProcessorType") == "CPU" else Scope.DEVICE
            metrics = link(processor, "EnvironmentMetrics")
            if metrics is None or (accelerators and scope is Scope.CPU):
                continue
            if any(_energetic(f.quantity) for f in environment_facts(get(metrics))):
                name = f"{_name(system)}/{_name(path)}"
                yield RedfishPart((metrics,), lambda r: environment_facts(r[0]), name, scope=scope)


def containers(name: str, chassis: Mapping[str, Resource]) -> frozenset[str]:
    """Every chassis that ``name`` stands inside, by its own link upwards or by others' links down to it."""
    up: dict[str, set[str]] = {n: set() for n in chassis}
    for n, resource in chassis.items():
        if (outer := link(resource, "Links", "ContainedBy")) is not None:
            up[n].add(_name(outer))
        links = resource.get("Links")
        for path in members(links, "Contains") if isinstance(links, Mapping) else ():
            up.setdefault(_name(path), set()).add(n)
    names: set[str] = set()
    more = set(up.get(name, ()))
    while more:
        names |= more
        more = {o for n in more for o in up.get(n, ())} - names
    return frozenset(names - {name})


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _chassis_parts(get: Callable[[str], Resource], name: str, chassis: Resource) -> Iterator[RedfishPart]:
    environment, power = link(chassis, "EnvironmentMetrics"), link(chassis, "Power")
    if environment is not None and any(_energetic(f.quantity) for f in environment_facts(get(environment))):
        yield RedfishPart((environment,), lambda r: environment_facts(r[0]), name)
    elif power is not None:
        yield RedfishPart((power,), lambda r: power_facts(r[0]), name)
    after = {"supply-output": f"{name}/supply-output"}  # what is left behind the supplies is another thing
    supplies = _supplies(get, chassis)
    paths = [p for s in supplies if (p := link(s, "Metrics")) is not None]
    if paths and len(paths) == len(supplies):  # one that does not tell is missing in every sum
        yield RedfishPart(tuple(paths), lambda r: supply_facts([supply_powers(x) for x in r]), name, after)
    elif not supplies and power is not None and get(power).get("PowerSupplies"):
        yield RedfishPart((power,), _older_supplies, name, after)
    thermal = link(chassis, "ThermalSubsystem")
    connectors = link(get(thermal), "CoolantConnectors") if thermal is not None else None
    for path in members(get(connectors)) if connectors is not None else ():
        device = f"{name}/coolant-{_name(path)}"
        yield RedfishPart((path,), lambda r: coolant_facts(r[0]), device)


def _supplies(get: Callable[[str], Resource], chassis: Resource) -> list[Resource]:
    """The power supplies that are there."""
    subsystem = link(chassis, "PowerSubsystem")
    collection = link(get(subsystem), "PowerSupplies") if subsystem is not None else None
    every = [get(s) for s in members(get(collection))] if collection is not None else []
    return [s for s in every if present(s)]


def _older_supplies(resources: Sequence[Resource]) -> Iterator[RedfishFact]:
    rows = resources[0].get("PowerSupplies")
    there = [r for r in rows if isinstance(r, Mapping) and present(r)] if isinstance(rows, list) else []
    return supply_facts([supply_powers(r) for r in there])


def _energetic(quantity: Quantity) -> bool:
    return quantity in (Quantity.ENERGY, Quantity.POWER)


def _needed(resource: Resource, name: str) -> str:
    address = link(resource, name)
    if address is None:
        raise ValueError(f"the service has no {name}")
    return address


def _holding(channel: Channel, channels: Sequence[Channel], within: Mapping[str, frozenset[str]]) -> Channel:
    """``channel`` with what it holds: what its chassis's supplies give out, and the power of the chassis inside it."""
    if not _energetic(channel.quantity) or channel.device.endswith("/supply-output"):
        return channel
    behind = [c.id for c in channels if c.device == f"{channel.device}/supply-output"]
    inner = {device for device, outer in within.items() if channel.device in outer}
    inside = [c.id for c in channels if _energetic(c.quantity) and c.device.removesuffix("/supply-output") in inner]
    return replace(channel, includes=(*behind, *inside))


def _channel(part: RedfishPart, fact: RedfishFact, spec: Spec, scope: Scope, half_s: float) -> Channel:
    energetic = _energetic(fact.quantity)
    return Channel(
        id=part.id(fact.name),
        meter=spec.text,
        device=part.device_of(fact.name),
        scope=part.scope or scope,
        quantity=fact.quantity,
        basis=Basis.MEASURED,
        update_period_s=fact.period_s,
        rel_error=(REL_ERROR if fact.rel_error is None else fact.rel_error) if energetic else None,
        clock_skew_s=half_s,
        source=f"Redfish {part.paths[0]}; error {'assumed' if fact.rel_error is None else 'stated by its sensor'}",
    )
