"""``joulemill.audit``: what a report lacks, Joulemill's own or another tool's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulemill.analysis.completeness import Completeness, grade
from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.api.results import Result
from joulemill.api.runs import Run, open_run
from joulemill.errors import InputError
from joulemill.files import read_bytes
from joulemill.formats.documents import parse_document
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.reports.text.audit import document, verdict


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """Every point that a report should state, its grade, and how to fill what is missing."""

    grades: Completeness

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.grades.complete

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill audit --json``."""
        return document(self.grades)

    def _line(self) -> str:
        return verdict(self.grades)

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((point.name, f"{point.status.value}: {point.found}") for point in self.grades.points)


def audit(*of: Run | str | Path, part: int | None = None) -> Audit:
    """Grade a run, a report document, or the result files of another tool.

    part   which benchmark of a file that holds several, from 1
    Raises InputError where it is neither.
    """
    if not of:
        raise InputError("name what to audit: a run, a report, or files of a tool")
    first = of[0]
    if isinstance(first, Run):
        return Audit(grade(first.report))
    return Audit(grade(_report([Path(str(path)) for path in of], part)))


def _report(paths: list[Path], part: int | None) -> Report:
    first = paths[0]
    if len(paths) == 1 and (
        not first.is_file()
        or parse_document(first.name, read_bytes(first)).head.has("schema_version", "run_id", "energy")
    ):
        if part is not None:
            raise InputError(f"`part` {part} is for a tool's file of several benchmarks; {first} is one run")
        return open_run(first).report
    return analyze(import_files(paths, Choice(part)))
