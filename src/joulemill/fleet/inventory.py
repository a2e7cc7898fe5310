"""What runs today, of a file or of a monitor's history: replicas by the plan's deployments."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemill.arrays import Array
from joulemill.catalog.devices import catalog_device
from joulemill.catalog.models import find_named_model
from joulemill.errors import InputError
from joulemill.files import read_bytes, text_of
from joulemill.fleet.columns import DeploymentOption
from joulemill.fleet.tables import PlanTables

COLUMNS = ("pool", "model", "deployment", "count")


@dataclass(frozen=True, kw_only=True)
class ListedReplicas:
    """A line of an inventory file: names as the plan prints them. ``where``: file and line, for messages."""

    where: str
    pool: str
    model: str
    deployment: str
    count: float


@dataclass(frozen=True, kw_only=True)
class SeenReplica:
    """A server that a monitor saw: one replica. None: the history does not tell.

    deployment   its label of that name: which of the plan's deployments it is
    """

    name: str
    site: str
    model: str
    device: str | None
    devices: int | None
    deployment: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What runs today, and what is to be read with it."""

    listed: Sequence[ListedReplicas] = ()
    seen: Sequence[SeenReplica] = ()
    notes: Sequence[str] = ()


def listed_inventory(path: Path) -> Inventory:
    """The lines of an inventory file. InputError for what it lacks, naming file and line."""
    try:
        text = text_of(read_bytes(path))
    except ValueError as fault:
        raise InputError(f"{path}: is {fault}") from None
    rows = csv.DictReader(io.StringIO(text))
    if rows.fieldnames is None or not set(COLUMNS) <= set(rows.fieldnames):
        raise InputError(f"{path}: needs the columns {', '.join(COLUMNS)}")
    return Inventory(listed=[_listed(row, f"{path}, line {rows.line_num}") for row in rows])


def _listed(row: dict[str, str], where: str) -> ListedReplicas:
    text = row["count"] or ""
    try:
        count = float(text)
    except ValueError:
        raise InputError(f"{where}: count is {text!r}; it must be a number") from None
    if not 0.0 <= count < np.inf:
        raise InputError(f"{where}: count is {text!r}; it must be 0 or more")
    names = {name: row[name] or "" for name in COLUMNS[:3]}
    return ListedReplicas(where=where, count=count, **names)


def running_count(
    inventory: Inventory, options: Sequence[DeploymentOption], tables: PlanTables
) -> tuple[Array, Sequence[str]]:
    """[deployments] replicas that run today, and notes. InputError for a listed one that is none of the plan's.

    A server that a monitor saw and that fits no deployment of the plan is left out, and said so.
    """
    running, notes = np.zeros(len(options)), list(inventory.notes)
    index = {(o.pool, o.model, o.label): i for i, o in enumerate(options)}
    for line in inventory.listed:
        running[_of_line(line, index)] += line.count
    fitting: dict[str, int] = {}
    for server in inventory.seen:
        fits = _fitting(server, options, tables)
        if not fits:
            notes.append(f"inventory: {_server_text(server)} is in no pool and deployment of the plan, and is left out")
            continue
        running[fits[0]] += 1.0
        if len(fits) > 1:
            label = f"{options[fits[0]].pool} {options[fits[0]].label}"
            fitting[label] = fitting.get(label, 0) + 1
    notes += [
        f"inventory: of {count} servers the history tells neither format nor cap; they are taken as {label}, unless "
        "their label `deployment` says otherwise"
        for label, count in fitting.items()
    ]
    return running, notes


def _of_line(line: ListedReplicas, index: dict[tuple[str, str, str], int]) -> int:
    key = (line.pool, line.model, line.deployment)
    if key not in index:
        near = [label for pool, model, label in index if (pool, model) == key[:2]]
        raise InputError(
            f"{line.where}: no deployment {' / '.join(key)} is in the plan; there are {', '.join(near) or 'none'}"
        )
    return index[key]


def _fitting(server: SeenReplica, options: Sequence[DeploymentOption], tables: PlanTables) -> list[int]:
    """Deployments that a server may be, the likeliest first: its label, else its model, boards and their number."""
    sites = {s.name for s in tables.site}
    site = server.site if server.site in sites or len(sites) > 1 else next(iter(sites))
    pools = {p.name for p in tables.pool if p.site == site}
    model = _model(server.model)
    fits = [
        i
        for i, o in enumerate(options)
        if o.pool in pools
        and _model(o.model) == model
        and server.devices in (None, o.devices)
        and (server.device is None or _device(server.device) == o.device)
    ]
    named = [i for i in fits if options[i].label == server.deployment]
    return named or fits


def _model(name: str) -> str:
    """The catalog's name; a name that it does not have as it is. No file is opened: the name is a server's."""
    try:
        return find_named_model(name).name
    except InputError:
        return name


def _device(name: str) -> str:
    try:
        return catalog_device(name).name
    except InputError:
        return name


def _server_text(server: SeenReplica) -> str:
    boards = f"{server.devices or 'unknown'} × {server.device or 'unknown board'}"
    return f"{server.name} ({server.model} at {server.site}, {boards})"
