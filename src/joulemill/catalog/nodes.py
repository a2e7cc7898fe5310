"""The catalog of nodes: ``nodes.csv`` (one fact a row) and ``node_names.csv`` → ``Node``."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from joulemill.catalog.devices import resolve_device_name
from joulemill.errors import InputError
from joulemill.physics.hardware.node import Node
from joulemill.suggestions import meant

#: parameter of the CSV → field of Node; all values are SI, so nothing is converted.
PARAMETERS: dict[str, str] = {
    "host_idle": "host_idle_w",
    "host_share": "host_share_ratio",
    "fan_max": "fan_max_w",
    "fan_floor": "fan_floor_ratio",
    "fan_full": "fan_full_ratio",
    "full_load": "full_load_w",
    "supply": "supply_w",
    "loss_fixed": "loss_fixed_ratio",
    "loss_linear": "loss_linear_ratio",
    "loss_square": "loss_square_ratio",
    "host_spread": "host_spread_ratio",
    "fan_spread": "fan_spread_ratio",
    "loss_spread": "loss_spread_ratio",
    "link_bandwidth": "link_bandwidth_byte_s",
    "link_domain": "link_domain_count",
    "scale_out_bandwidth": "scale_out_bandwidth_byte_s",
}


@cache
def node_facts() -> tuple[dict[str, str], ...]:
    """All rows of ``nodes.csv``: node, parameter, value, unit, basis, source, note."""
    with (files("joulemill.catalog") / "data" / "nodes.csv").open(encoding="utf-8") as lines:
        return tuple(csv.DictReader(lines))


@cache
def _names() -> dict[str, dict[str, str]]:
    with (files("joulemill.catalog") / "data" / "node_names.csv").open(encoding="utf-8") as lines:
        return {row["node"]: row for row in csv.DictReader(lines)}


def node_names() -> tuple[str, ...]:
    """Names of all nodes, in the catalog's order."""
    return tuple(_names())


@cache
def find_node(name: str) -> Node:
    """The node called ``name``. Raises InputError with the nearest names."""
    row = _names().get(name)
    if row is None:
        hint = meant(name, _names(), most=3)
        raise InputError(f"node {name!r} is not in the catalog; {hint}")
    values = {PARAMETERS[f["parameter"]]: float(f["value"]) for f in node_facts() if f["node"] == name}
    return Node(name=name, label=row["label"], device_count=int(row["device_count"]), cooling=row["cooling"], **values)


def nodes_that_hold(device_name: str) -> tuple[str, ...]:
    """Names of the nodes that a device of the catalog comes in, the usual one first."""
    canonical = resolve_device_name(device_name)
    return tuple(name for name, row in _names().items() if canonical in row["devices"].split(";"))


def node_of(device_name: str) -> Node:
    """The usual node for a device (any spelling that ``find_device`` knows).

    A device of the user's own has no cataloged node: InputError says to name one.
    """
    canonical = resolve_device_name(device_name)
    for name, row in _names().items():
        if canonical in row["devices"].split(";"):
            return find_node(name)
    raise InputError(f"the catalog has no node for {canonical}; name one of {', '.join(_names())}")
