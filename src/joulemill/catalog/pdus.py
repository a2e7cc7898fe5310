"""The power distribution units of ``pdus.toml``: which SNMP objects hold power and energy, and in which unit."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from joulemill.errors import InputError


@dataclass(frozen=True, slots=True)
class PduObject:
    """One object: ``quantity`` a ``Quantity`` value, ``factor`` raw → SI, ``digits`` the object with decimal digits."""

    name: str
    quantity: str
    part: str
    oid: str
    factor: float
    digits: str


@dataclass(frozen=True, slots=True)
class Pdu:
    """One maker's objects; ``parts`` are what can be metered: unit, outlet, inlet."""

    name: str
    source: str
    rel_error: float
    objects: tuple[PduObject, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Kinds of thing that it meters."""
        return tuple(dict.fromkeys(o.part for o in self.objects))


@cache
def pdus() -> tuple[Pdu, ...]:
    """Every PDU of the catalog."""
    text = resources.files("joulemill.catalog").joinpath("data", "pdus.toml").read_text("utf-8")
    return tuple(_pdu(row) for row in tomllib.loads(text)["pdu"])


def pdu_named(name: str) -> Pdu:
    """The PDU ``name``. Raises InputError that names those there are."""
    match = next((p for p in pdus() if p.name == name), None)
    if match is None:
        raise InputError(f"no PDU {name!r}; say pdu= one of {', '.join(p.name for p in pdus())}")
    return match


def _pdu(row: dict[str, Any]) -> Pdu:
    objects = tuple(
        PduObject(o["name"], o["quantity"], o["part"], o["oid"], float(o["factor"]), o.get("digits", ""))
        for o in row["object"]
    )
    return Pdu(row["name"], row["source"], float(row["rel_error"]), objects)
