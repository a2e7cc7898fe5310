"""Accuracy that another tool found for the model of a run, given after the run was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError

if TYPE_CHECKING:
    from joulemill.ledger.record import RunRecord


def stated_quality(given: str) -> dict[str, Any]:
    """What ``lm-eval:FILE`` states. Raises InputError for anything else: a run that is over answers nothing."""
    from joulemill.importers.lm_eval import PREFIX, load_lm_eval

    if not given.startswith(PREFIX):
        raise InputError(f"--quality {given}: the run is over; give {PREFIX}FILE, results of lm-evaluation-harness")
    return load_lm_eval(Path(given.removeprefix(PREFIX)))


def with_quality(record: RunRecord, given: str) -> RunRecord:
    """``record`` with that accuracy. Raises InputError where the run has answers of its own: measured beats stated."""
    stated = stated_quality(given)
    if record.quality:
        raise InputError(f"--quality {given}: the run was asked questions itself; its own accuracy stands")
    options = {**(record.manifest.get("options") or {}), "quality": given, "quality_stated": stated}
    return replace(record, manifest={**record.manifest, "options": options})
