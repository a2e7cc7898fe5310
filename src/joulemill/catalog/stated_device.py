"""The hardware that a run states: a name of the catalog, or a device of the user's own with its facts beside it.

A run folder must stay readable where the user's TOML file is not, so its manifest keeps what the file said:
``{"name", "kind", "count"}``, ``"count_assumed"`` where nobody said how many, and ``"facts"`` (the file's own table)
for a device that is not in the catalog.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.catalog.devices import catalog_device, device_of_facts, fact_unit, find_device
from joulemill.catalog.nodes import node_of
from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node


def stated_device(text: str, count: int | None = None) -> dict[str, Any]:
    """``NAME[:COUNT]`` as a manifest's table; NAME may be the path of a TOML file, whose facts go into it.

    count   stated apart (``--devices``); None: not stated
    Raises InputError for a device that nobody knows, facts that cannot be, counts below 1 or stated twice differently.
    """
    head, _, tail = text.rpartition(":")
    name, within = (head, int(tail)) if head and tail.isascii() and tail.isdigit() else (text, None)
    if within is not None and count is not None and within != count:
        raise InputError(f"`device` {text}: states {within} devices, `devices` {count}; give one of them")
    number = within if within is not None else 1 if count is None else count
    if number < 1:
        raise InputError(f"`device` {text}: the number of devices must be at least 1, not {number}")
    device = find_device(name)
    table: dict[str, Any] = {"name": device.name, "kind": device.kind, "count": number}
    if within is None and count is None:
        table["count_assumed"] = True
    return {**table, "facts": _table(Path(name))} if name.endswith(".toml") else table


def _table(path: Path) -> dict[str, Any]:
    """The file's facts as JSON types; ``find_device`` has read it before, so it is sound."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {"name": path.stem, **{str(k): v if isinstance(v, (int, float)) else str(v) for k, v in table.items()}}


def device_in(table: Mapping[str, Any]) -> Device:
    """The device that a manifest's table states. Raises InputError for one that is not known (any more)."""
    facts = table.get("facts")
    if isinstance(facts, Mapping):
        return device_of_facts({k: _as_kept(str(k), v) for k, v in facts.items()}, "device of the run")
    return catalog_device(str(table.get("name")))


def _as_kept(parameter: str, value: Any) -> Any:
    """A fact as a run keeps it: a bare number is SI there, as it was allowed to be until units were asked for."""
    unit = fact_unit(parameter)
    return f"{value} {unit}" if unit and isinstance(value, (int, float)) and not isinstance(value, bool) else value


def node_in(table: Mapping[str, Any]) -> Node:
    """The usual node around it. Raises InputError where none is known, as for any device of the user's own."""
    if table.get("facts") is not None:
        raise InputError("the catalog has no node for a device of your own")
    return node_of(str(table.get("name")))


def count_in(table: Mapping[str, Any]) -> int:
    """How many devices a manifest's table states, at least 1."""
    count = table.get("count")
    return count if isinstance(count, int) and count > 0 else 1


def expected_counts(device: Mapping[str, Any] | None) -> dict[str, int]:
    """How many things each scope should have, from the hardware that the user stated: fewer metered refuse the sum.

    A CPU is metered by package and is no device of its own.
    """
    if device is None or device.get("kind", "cpu") == "cpu":
        return {}
    return {"device": int(device["count"])}
