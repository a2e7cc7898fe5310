"""The power models of ``power_models.toml``: idle and busy watts of a machine that has no sensor."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from joulemill.errors import InputError
from joulemill.wording import percent


@dataclass(frozen=True, slots=True)
class PowerModel:
    """P = idle_w + (busy_w − idle_w) · share, for the hardware threads that are visible here.

    rel_error  half width at 95 %;  source  where the watts come from, the word "assumed" included
    """

    id: str
    idle_w: float
    busy_w: float
    rel_error: float
    source: str


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("joulemill.catalog").joinpath("data", "power_models.toml").read_text("utf-8"))


def cpu_rows() -> tuple[dict[str, Any], ...]:
    """Every processor row as in the file."""
    return tuple(_table()["cpu"])


def assumed(name: str) -> float:
    """One of the file's assumed numbers."""
    return float(_table()["assumed"][name])


def power_model(cpu_id: str, threads_count: int) -> PowerModel:
    """The model of the processor row ``cpu_id`` for so many hardware threads. Raises InputError: no such row."""
    row = next((r for r in cpu_rows() if r["id"] == cpu_id), None)
    if row is None:
        raise InputError(
            f"no processor {cpu_id!r} in the catalog; there are {', '.join(r['id'] for r in cpu_rows())}; "
            "or state the watts: declared:idle=…W,busy=…W"
        )
    tdp_w = row["tdp_w"] * threads_count / row["threads"]
    source = f"{row['source']}; {threads_count} threads of {row['threads']} a socket"
    return _model(cpu_id, tdp_w, assumed("rel_error_ratio"), source)


def power_model_of(model_name: str, threads_count: int) -> PowerModel:
    """The model for a processor called ``model_name`` in /proc/cpuinfo; a generic one where it is not listed."""
    name = model_name + " "
    row = next((r for r in cpu_rows() if r["match"].lower() in name.lower()), None)
    if row is not None:
        return power_model(row["id"], threads_count)
    tdp_w = assumed("thread_tdp_w") * threads_count
    source = f"generic: {assumed('thread_tdp_w'):g} W TDP a hardware thread (assumed), {threads_count} threads"
    return _model("generic", tdp_w, assumed("generic_rel_error_ratio"), source)


def _model(cpu_id: str, tdp_w: float, rel_error: float, source: str) -> PowerModel:
    node, idle = assumed("node_of_tdp_ratio"), assumed("idle_of_busy_ratio")
    busy_w = tdp_w * node
    text = f"{source}; node draws {node:g} × TDP busy and {percent(idle)} of that idle (assumed)"
    return PowerModel(cpu_id, busy_w * idle, busy_w, rel_error, text)
