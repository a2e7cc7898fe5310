"""Figures that an imported file states, from the record's manifest. Their basis stays ``declared``. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from joulemill.analysis.report import Stated
from joulemill.figure import Basis, Figure
from joulemill.ledger.record import RunRecord


def stated(record: RunRecord) -> tuple[Stated, ...]:
    """The stated figures of ``record``, in the order of the file; an entry that is no figure is passed over."""
    entries = record.manifest.get("stated") or ()
    return tuple(s for s in map(_stated, entries) if s is not None)


def _stated(entry: Any) -> Stated | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("value"), (int, float)):
        return None
    if not math.isfinite(entry["value"]):
        return None
    figure = Figure(
        entry["value"],
        str(entry.get("unit") or "1"),
        Basis.DECLARED,
        reason=entry.get("reason"),
        source=entry.get("source"),
    )
    return Stated(str(entry.get("name")), figure)


def value_of(stated_figures: tuple[Stated, ...], *names: str) -> Figure | None:
    """The first figure stated under one of ``names``; None where there is none."""
    return next((s.figure for n in names for s in stated_figures if s.name == n), None)
