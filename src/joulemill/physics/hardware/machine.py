"""Ceilings of a machine as figures, from what a micro-benchmark measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemill.figure import Basis, Figure


def ceiling_figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """The three figures of a result of ``measure_ceilings``, by name."""
    names = ("compute_flop_s", "compute_int8_flop_s", "memory_bandwidth_byte_s")
    return {name: _as_figure(result[name]) for name in names}


def _as_figure(part: Mapping[str, Any]) -> Figure:
    return Figure(
        part["value"],
        part["unit"],
        Basis(part["basis"]),
        low=part["low"],
        high=part["high"],
        reason=part.get("reason"),
        source=f"{part['source']}, {part['when']}",
    )
