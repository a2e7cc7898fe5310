"""Documents of our own making that came back damaged: refused with their place, whichever reader looks at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.baseline import need_baseline
from joulemill.analysis.serialization import from_json
from joulemill.catalog.question_sets import load_questions
from joulemill.errors import InputError
from joulemill.prediction.calibration_file import load_calibration
from joulemill.recording.sweeps import FILE, SCHEMA_VERSION, read_sweep

#: Python reads no whole number of more than 4,300 digits, and says so by a ValueError that is no JSONDecodeError.
DAMAGED = {
    "number of 5,000 digits": '{"schema_version": ' + "9" * 5000 + "}",
    "nested 200,000 deep": "[" * 200_000,
    "cut": '{"schema_version": "1.0", "runs": [{"fol',
    "no object": "[1, 2]",
    "null": "null",
    "empty": "",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "report": lambda path: from_json(path.read_text()),
    "baseline": need_baseline,
    "calibration": load_calibration,
    "questions": lambda path: load_questions(str(path)),
    "sweep": lambda path: read_sweep(path.parent),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_document_is_refused(reader: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / (FILE if reader == "sweep" else "questions.jsonl")
    path.write_text(DAMAGED[damage])
    with pytest.raises(InputError):
        READERS[reader](path)


@pytest.mark.parametrize("runs", ["null", "{}", "[1]", '[{"folder": "a"}]'])
def test_a_series_whose_runs_are_damaged_is_refused(runs: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f'{{"schema_version": {SCHEMA_VERSION}, "runs": {runs}}}')
    with pytest.raises(InputError, match="its list of runs is damaged"):
        read_sweep(tmp_path)
