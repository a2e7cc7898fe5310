"""The diagnosis of a run for people: each candidate with its evidence, and what would overturn it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from joulemill.analysis.diagnosis import evidence_line
from joulemill.decisions.diagnosis import Diagnosis
from joulemill.jsonable import plain
from joulemill.wording import percent, title

if TYPE_CHECKING:
    from rich.console import Console

#: A candidate below this probability is only named.
LEAST_RATIO = 0.005


def document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as one JSON document."""
    return dict(plain(diagnosis))


def show(diagnosis: Diagnosis, console: Console) -> None:
    """The candidates; those without evidence in one line."""
    console.print(diagnosis.explanation, markup=False)
    if diagnosis.would_decide:
        console.print(f"What would decide: {diagnosis.would_decide}", markup=False)
    for candidate in (c for c in diagnosis.candidates if c.probability_ratio >= LEAST_RATIO):
        use = "ceiling unknown" if candidate.use.value is None else f"{percent(candidate.use.value)} of its ceiling"
        console.print(f"\n{title(candidate.name)}: {percent(candidate.probability_ratio)}, {use}", style="bold")
        console.print(f"  evidence: {evidence_line(candidate) or 'none'}", markup=False)
        console.print(f"  would be overturned by: {candidate.overturned_by}", markup=False)
    rest = ", ".join(title(c.name) for c in diagnosis.candidates if c.probability_ratio < LEAST_RATIO)
    if rest:
        console.print(f"\nNo evidence for: {rest}", markup=False)
