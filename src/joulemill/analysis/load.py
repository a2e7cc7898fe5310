"""A report from where it lies: a run folder, analyzed anew, or a report document as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from joulemill.analysis.measurement import Measurement, measurement_of
from joulemill.analysis.report import Report
from joulemill.analysis.run import report_of
from joulemill.analysis.serialization import from_json
from joulemill.errors import InputError
from joulemill.files import text_of
from joulemill.ledger.record import RunRecord
from joulemill.recording.writer import read_run


def load_report(path: Path, altered: Callable[[RunRecord], RunRecord] | None = None) -> Report:
    """The report of the run folder or JSON document at ``path``; InputError where it is neither.

    altered   of what a record is analyzed instead (at another site); a document holds no record that could be
    """
    return load_run(path, altered)[0]


def load_run(path: Path, altered: Callable[[RunRecord], RunRecord] | None = None) -> tuple[Report, Measurement | None]:
    """As ``load_report``, with the run, measured, where ``path`` is a run folder."""
    if path.is_dir():
        record = read_run(path)
        run = measurement_of(altered(record) if altered else record)
        return report_of(run), run
    if altered is not None:
        raise InputError(f"{path}: is not a run folder; only a run can be analyzed again, with `site` or `quality`")
    try:
        text = text_of(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such run; give a run folder that `joulemill bench` wrote") from None
    except (OSError, ValueError) as fault:
        raise InputError(f"{path}: cannot be read ({fault}); give a run folder or a report as JSON") from fault
    if not text.strip():
        raise InputError(f"{path}: is empty; give a run folder or the JSON that `joulemill report RUN --json` prints")
    try:
        return from_json(text), None
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from None
