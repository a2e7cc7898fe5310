"""What Redfish resources say of power, energy and heat, as values. Pure: JSON in, facts out.

Shapes of the DMTF schemas EnvironmentMetrics (1.x), Power (1.x, older BMCs), PowerSupplyMetrics and CoolantConnector.
A sensor excerpt is ``{"Reading": 350, "DataSourceUri": …}``; what is null or missing is no fact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulemill.ledger.record import Quantity
from joulemill.units import JOULE_PER_KWH

_SECONDS = re.compile(r"^PT(\d{1,9}(?:\.\d{1,9})?)S$", re.ASCII)
#: Links of one collection that are followed: more boards, supplies or chassis than any machine has.
MAX_MEMBERS = 256


@dataclass(frozen=True, slots=True)
class RedfishFact:
    """One number: its name, its quantity, its value in SI, how often it is renewed where that is said.

    ``sensor`` is the resource that it is an excerpt of, ``rel_error`` the half width that this one states.
    """

    name: str
    quantity: Quantity
    value: float
    period_s: float | None = None
    sensor: str | None = None
    rel_error: float | None = None


def reading(resource: Mapping[str, Any], name: str, member: str = "Reading") -> float | None:
    """The number in a sensor excerpt, or in a plain property; None where it is null, missing or no finite number."""
    part = resource.get(name)
    value = part.get(member) if isinstance(part, Mapping) else part if member == "Reading" else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value) if abs(value) < 1e300 else math.inf
    return number if math.isfinite(number) else None


def environment_facts(resource: Mapping[str, Any]) -> Iterator[RedfishFact]:
    """EnvironmentMetrics: watts now, joules since a reset, the limit, the temperature.

    Energy comes from ``EnergyJoules``, else ``EnergykWh``; the lifetime reading before the one that a user may reset.
    """
    for fact in _one("power", Quantity.POWER, reading(resource, "PowerWatts")):
        yield replace(fact, sensor=source_uri(resource, "PowerWatts"))
    for fact in _one("energy", Quantity.ENERGY, energy_j(resource)):
        yield replace(fact, sensor=source_uri(resource, "EnergyJoules") or source_uri(resource, "EnergykWh"))
    limit_w = reading(resource, "PowerLimitWatts", "SetPoint")
    yield from _one("power-limit", Quantity.POWER_LIMIT, limit_w)
    yield from _one("temperature", Quantity.TEMPERATURE, reading(resource, "TemperatureCelsius"))


def source_uri(resource: Mapping[str, Any], name: str) -> str | None:
    """The sensor that an excerpt is of."""
    part = resource.get(name)
    address = part.get("DataSourceUri") if isinstance(part, Mapping) else None
    return address if isinstance(address, str) and address.startswith("/") else None


def with_sensor(fact: RedfishFact, sensor: Mapping[str, Any]) -> RedfishFact:
    """``fact`` with its Sensor resource's ``Accuracy`` (% of it) and ``SensingInterval`` (ISO 8601 seconds)."""
    percent = reading(sensor, "Accuracy")
    text = sensor.get("SensingInterval")
    match = _SECONDS.match(text) if isinstance(text, str) else None
    return replace(
        fact,
        rel_error=percent / 100.0 if percent is not None and 0.0 < percent < 100.0 else fact.rel_error,
        period_s=float(match.group(1)) if match is not None else fact.period_s,
    )


def energy_j(resource: Mapping[str, Any]) -> float | None:
    """Joules of a resource with ``EnergyJoules`` or ``EnergykWh``."""
    for name, factor in (("EnergyJoules", 1.0), ("EnergykWh", JOULE_PER_KWH)):
        for member in ("LifetimeReading", "Reading"):
            value = reading(resource, name, member)
            if value is not None:
                return value * factor
    return None


def power_facts(resource: Mapping[str, Any]) -> Iterator[RedfishFact]:
    """Power (older BMCs): ``PowerControl[0]`` is the whole chassis; further members are parts of it and left out."""
    controls = resource.get("PowerControl")
    if not isinstance(controls, list) or not controls or not isinstance(controls[0], Mapping):
        return
    control = controls[0]
    yield from _one("power", Quantity.POWER, reading(control, "PowerConsumedWatts"))
    metrics = control.get("PowerMetrics")
    if isinstance(metrics, Mapping):
        minutes = reading(metrics, "IntervalInMin")
        average_w = reading(metrics, "AverageConsumedWatts")
        yield from _one("power-average", Quantity.POWER, average_w, None if minutes is None else minutes * 60.0)
    limit = control.get("PowerLimit")
    if isinstance(limit, Mapping):
        yield from _one("power-limit", Quantity.POWER_LIMIT, reading(limit, "LimitInWatts"))


def supply_powers(resource: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Input and output watts of one supply: PowerSupplyMetrics, or a member of the older ``PowerSupplies``."""
    into = reading(resource, "InputPowerWatts")
    out = reading(resource, "OutputPowerWatts")
    if into is None:
        into = reading(resource, "PowerInputWatts")
    for name in ("PowerOutputWatts", "LastPowerOutputWatts"):
        out = reading(resource, name) if out is None else out
    return into, out


def supply_facts(supplies: Sequence[tuple[float | None, float | None]]) -> Iterator[RedfishFact]:
    """All supplies together; a sum with a missing part is no sum."""
    into = [i for i, _ in supplies if i is not None]
    out = [o for _, o in supplies if o is not None]
    if supplies and len(into) == len(supplies):
        yield RedfishFact("supply-input", Quantity.POWER, sum(into))
    if supplies and len(out) == len(supplies):
        yield RedfishFact("supply-output", Quantity.POWER, sum(out))


def coolant_facts(resource: Mapping[str, Any]) -> Iterator[RedfishFact]:
    """CoolantConnector: heat that the loop carries away, and its two temperatures."""
    heat_kw = reading(resource, "HeatRemovedkW")
    yield from _one("heat-removed", Quantity.HEAT_REMOVED, None if heat_kw is None else heat_kw * 1e3)
    supply_c, return_c = reading(resource, "SupplyTemperatureCelsius"), reading(resource, "ReturnTemperatureCelsius")
    yield from _one("supply-temperature", Quantity.TEMPERATURE, supply_c)
    yield from _one("return-temperature", Quantity.TEMPERATURE, return_c)


def link(resource: Mapping[str, Any], *names: str) -> str | None:
    """The ``@odata.id`` at the end of a chain of properties."""
    part: Any = resource
    for name in names:
        part = part.get(name) if isinstance(part, Mapping) else None
    address = part.get("@odata.id") if isinstance(part, Mapping) else None
    return address if isinstance(address, str) else None


def members(resource: Mapping[str, Any], name: str = "Members") -> tuple[str, ...]:
    """Links of a collection. Raises ValueError where it has more than any machine."""
    rows = resource.get(name)
    links = [row.get("@odata.id") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    paths = tuple(dict.fromkeys(x for x in links if isinstance(x, str)))
    if len(paths) > MAX_MEMBERS:
        raise ValueError(f"a collection of {len(paths)} members, more than {MAX_MEMBERS}")
    return paths


def present(resource: Mapping[str, Any]) -> bool:
    """Whether the thing is there at all, by its ``Status``."""
    status = resource.get("Status")
    return not isinstance(status, Mapping) or status.get("State") not in ("Absent", "Disabled")


def lacking(environment: Mapping[str, Any] | None, power: Mapping[str, Any] | None, supplies_count: int) -> str:
    """What a chassis without watts and joules has instead, in a sentence for its owner."""
    parts = []
    if environment is not None:
        only = [n for n in environment if isinstance(n, str) and n.startswith(("Power", "Energy", "Temperature"))][:4]
        parts.append(
            "EnvironmentMetrics has no PowerWatts, EnergyJoules or EnergykWh"
            + (f" (only {', '.join(n[:40] for n in only)})" if only else "")
        )
    if power is not None:
        parts.append("Power has no PowerControl with PowerConsumedWatts")
    if supplies_count:
        parts.append(f"its {supplies_count} power supplies tell no InputPowerWatts")
    return "; ".join(parts) or "it has neither EnvironmentMetrics nor Power nor power supplies"


def _one(name: str, quantity: Quantity, value: float | None, period_s: float | None = None) -> Iterator[RedfishFact]:
    if value is not None:
        yield RedfishFact(name, quantity, value, period_s)
