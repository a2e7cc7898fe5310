"""A report from where it lies: a run folder, analysed anew, or a report document as JSON."""

from __future__ import annotations

from pathlib import Path

from joulemill.bench.folder import read_run
from joulemill.errors import InputError
from joulemill.reports.analyse import analyse
from joulemill.reports.document import Report
from joulemill.reports.serialise import from_json


def load_report(path: Path) -> Report:
    """The report of the run folder or JSON document at ``path``; InputError where it is neither."""
    if path.is_dir():
        return analyse(read_run(path))
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such run; give a run folder that `joulemill bench` wrote") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path}: cannot be read ({fault}); give a run folder or a report as JSON") from fault
