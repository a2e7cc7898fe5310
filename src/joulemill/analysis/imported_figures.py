"""Figures that an imported file states, from the record's manifest. Their basis stays ``declared``. Pure."""

from __future__ import annotations

from joulemill.analysis.report import ImportedFigure
from joulemill.figure import Basis, Figure
from joulemill.ledger.manifest import StatedEntry
from joulemill.ledger.record import RunRecord


def stated(record: RunRecord) -> tuple[ImportedFigure, ...]:
    """The stated figures of ``record``, in the order of the file; an entry without a value is passed over."""
    return tuple(_stated(e, e.value) for e in record.manifest.stated or () if e.value is not None)


def _stated(entry: StatedEntry, value: float) -> ImportedFigure:
    figure = Figure(value, entry.unit or "1", Basis.DECLARED, reason=entry.reason, source=entry.source)
    return ImportedFigure(str(entry.name), figure)


def value_of(stated_figures: tuple[ImportedFigure, ...], *names: str) -> Figure | None:
    """The first figure stated under one of ``names``; None where there is none."""
    return next((s.figure for n in names for s in stated_figures if s.name == n), None)
