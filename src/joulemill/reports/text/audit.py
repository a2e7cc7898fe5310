"""How complete a report is, for people and for machines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from joulemill.analysis.completeness import Completeness
from joulemill.reports.text.page import add_row, plain_table, prose

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {"stated": "✓", "open": "○", "not applicable": "–", "partial": "◐", "missing": "✗"}


def document(grades: Completeness) -> dict[str, Any]:
    """The grades as one document."""
    good, every = grades.counts
    points = [
        {"name": p.name, "group": p.group, "status": p.status.value, "found": p.found, "fill": p.fill}
        for p in grades.points
    ]
    return {"complete": grades.complete, "points_in_order": good, "points": every, "grades": points}


def verdict(grades: Completeness) -> str:
    """The result in a line."""
    good, every = grades.counts
    return f"{'complete' if grades.complete else 'incomplete'}: {good} of {every} points are in order"


def show(grades: Completeness, console: Console) -> None:
    """Every point with its status, then how to fill what is missing."""
    from rich.markup import escape

    table = plain_table("", "point", "status", "found", fold=3)
    for point in grades.points:
        add_row(table, _MARKS[point.status], point.name, point.status.value, point.found)
    console.print(table)
    for point in grades.points:
        if point.fill:
            console.print(f"[bold]{point.name}[/]: {escape(point.fill)}")
    prose(console, verdict(grades))
