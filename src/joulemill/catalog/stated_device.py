"""The hardware that a run states: a name of the catalog, or a device of the user's own with its facts beside it.

A run folder must stay readable where the user's TOML file is not, so its manifest keeps what the file said, as the
facts of a device that is not in the catalog.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.catalog.devices import catalog_device, device_of_facts, fact_unit, find_device, name_and_count
from joulemill.catalog.nodes import node_of
from joulemill.errors import InputError
from joulemill.formats.toml_text import load_toml
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node

if TYPE_CHECKING:  # a prediction has no manifest, and its many parts take a tenth of the time of one
    from joulemill.ledger.manifest import StatedDevice


def stated_device(text: str, count: int | None = None) -> StatedDevice:
    """``NAME[:COUNT]`` as a manifest has it; NAME may be the path of a TOML file, whose facts go into it.

    count   stated apart (``--devices``); None: not stated
    Raises InputError for a device that nobody knows, facts that cannot be, counts below 1 or stated twice differently.
    """
    from joulemill.ledger.manifest import StatedDevice

    name, stated = named_count(text, count)
    number = 1 if stated is None else stated
    device = find_device(name)
    return StatedDevice(
        name=device.name,
        kind=device.kind,
        count=number,
        count_assumed=True if stated is None else None,
        facts=_table(Path(name)) if name.endswith(".toml") else None,
    )


def named_count(text: str, count: int | None = None) -> tuple[str, int | None]:
    """``NAME[:COUNT]`` and a count that is stated apart as name and count; None where neither states one.

    Raises InputError for counts below 1 or stated twice differently.
    """
    name, within = name_and_count(text)
    if within is not None and count is not None and within != count:
        raise InputError(f"`device` {text}: states {within} devices, `devices` {count}; give one of them")
    number = count if within is None else within
    if number is not None and number < 1:
        raise InputError(f"`device` {text}: the number of devices must be at least 1, not {number}")
    return name, number


def _table(path: Path) -> dict[str, Any]:
    """The file's facts as JSON types; ``find_device`` has read it before, so it is sound."""
    table = load_toml(path.read_bytes())
    return {"name": path.stem, **{str(k): v if isinstance(v, (int, float)) else str(v) for k, v in table.items()}}


def device_in(stated: StatedDevice) -> Device:
    """The device that a manifest states. Raises InputError for one that is not known (any more)."""
    if stated.facts is not None:
        return device_of_facts({k: _as_kept(k, v) for k, v in stated.facts.items()}, "device of the run")
    return catalog_device(stated.name)


def _as_kept(parameter: str, value: Any) -> Any:
    """A fact as a run keeps it: a bare number is SI there, as it was allowed to be until units were asked for."""
    unit = fact_unit(parameter)
    return f"{value} {unit}" if unit and isinstance(value, (int, float)) and not isinstance(value, bool) else value


def node_in(stated: StatedDevice) -> Node:
    """The usual node around it. Raises InputError where none is known, as for any device of the user's own."""
    if stated.facts is not None:
        raise InputError("the catalog has no node for a device of your own")
    return node_of(stated.name)


def count_in(stated: StatedDevice) -> int:
    """How many devices a manifest states, at least 1."""
    return stated.count or 1


def expected_counts(device: StatedDevice | None) -> dict[str, int]:
    """How many things each scope should have, from the hardware that the user stated: fewer metered refuse the sum.

    A CPU is metered by package and is no device of its own.
    """
    return {} if device is None or device.kind in (None, "cpu") else {"device": count_in(device)}
