"""The dialects of ``exporters/*.toml``: what Prometheus exporters call power and energy, and in which unit.

A dialect is data: names, labels that name the device, the factor to SI, and what a value must not be taken for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from joulemill.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterMetric:
    """One quantity of one kind of device.

    name      ours, the end of a channel's id;  names  theirs, the preferred spelling first
    quantity  a ``Quantity`` value;  factor  theirs → SI;  scope  a ``Scope`` value
    devices   templates over labels; the first whose labels are all there names the device
    where     label → regular expression that must match all of it (an absent label counts as empty)
    inside    names of metrics of the same device whose energy this one holds already
    negative_unknown, zero_unknown   whether such a value means that there is none
    """

    name: str
    names: tuple[str, ...]
    quantity: str
    factor: float
    scope: str
    devices: tuple[str, ...]
    rel_error: float | None
    resolution: float | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    inside: tuple[str, ...] = ()
    negative_unknown: bool = False
    zero_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterDialect:
    """One exporter.

    unique    whether a device's name is unique in the world where a UUID, serial number or host is part of it
    boards    labels by whose values users choose boards (``gpus=0+1``)
    any_case  whether names and labels may be in any case
    collect_interval_s   how often the exporter itself looks by default, where that is slower than people scrape
    """

    name: str
    source: str
    metrics: tuple[ExporterMetric, ...]
    unique: bool = False
    boards: tuple[str, ...] = ()
    any_case: bool = False
    collect_interval_s: float | None = None


@cache
def exporter_dialects() -> tuple[ExporterDialect, ...]:
    """Every dialect, by name."""
    folder = resources.files("joulemill.catalog").joinpath("data", "exporters")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return tuple(_dialect(tomllib.loads(f.read_text("utf-8"))) for f in files)


def exporter_dialect(name: str) -> ExporterDialect:
    """The dialect ``name``. Raises InputError that names those there are."""
    match = next((d for d in exporter_dialects() if d.name == name), None)
    if match is None:
        raise InputError(f"no exporter dialect {name!r}; there are {', '.join(d.name for d in exporter_dialects())}")
    return match


def _dialect(table: dict[str, Any]) -> ExporterDialect:
    return ExporterDialect(
        name=table["name"],
        source=table["source"],
        metrics=tuple(_metric(m, table) for m in table["metric"]),
        unique=table.get("unique", False),
        boards=tuple(table.get("boards", ())),
        any_case=table.get("any_case", False),
        collect_interval_s=table.get("collect_interval_s"),
    )


def _metric(row: dict[str, Any], table: dict[str, Any]) -> ExporterMetric:
    energetic = row["quantity"] in ("energy_j", "power_w")
    return ExporterMetric(
        name=row["name"],
        names=tuple(row["names"]),
        quantity=row["quantity"],
        factor=float(row.get("factor", 1.0)),
        scope=row.get("scope", table["scope"]),
        devices=tuple(row.get("devices", table.get("devices", ()))),
        rel_error=row.get("rel_error", table.get("rel_error")) if energetic else None,
        resolution=row.get("resolution"),
        where=dict(row.get("where", {})),
        inside=tuple(row.get("inside", ())),
        negative_unknown=row.get("negative") == "unknown",
        zero_unknown=row.get("zero") == "unknown",
    )
