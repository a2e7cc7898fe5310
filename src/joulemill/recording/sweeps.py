"""The folder of several runs that belong together: ``sweep.json``, read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from joulemill.errors import InputError

SCHEMA_VERSION = 1
FILE = "sweep.json"
#: What ``kind`` of ``sweep.json`` says of a lever experiment, and the lever in it that asks two models.
KIND = "levers"
CASCADE = "cascade"
#: Levers that an experiment measures, by name, as people read them.
LEVER_LABELS = {
    "kv-q8": "KV cache in 8 bits (q8_0)",
    "slots-x2": "twice the slots and requests in flight",
    "threads-half": "half of the threads",
    "prefix-cache": "shared beginnings of prompts are cached",
    "thinking-budget": "answers of half the length",
    "speculation": "a draft model proposes tokens",
    "small-weights": "a smaller quantization of the same weights",
    "second-model": "another model, and what cascades of the two could reach",
    CASCADE: "questions whose answer does not end by itself are escalated to the second model",
}

#: What the series keeps of each of its runs.
_OF_RUN = {"folder", "point", "status"}


def read_sweep(folder: Path) -> dict[str, Any]:
    """``sweep.json`` of ``folder``. Raises InputError where there is none or it is not one."""
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError(
            f"{folder}: no series of runs is there ({fault}); name the folder of a sweep, probe or levers measure"
        ) from fault
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{folder / FILE}: is not a sweep of this version of Joulemill")
    runs = document.get("runs")
    if not isinstance(runs, list) or not all(isinstance(r, dict) and r.keys() >= _OF_RUN for r in runs):
        raise InputError(f"{folder / FILE}: its list of runs is damaged; each has {', '.join(sorted(_OF_RUN))}")
    return document


def runs_of(document: dict[str, Any], point: int) -> Sequence[str]:
    """Folders of the runs of one point that were completed."""
    return [str(r["folder"]) for r in document["runs"] if r["point"] == point and r["status"] == "complete"]


def planned_runs(folder: Path) -> int:
    """How many runs the series in ``folder`` has when it is whole. Raises InputError as ``read_sweep``."""
    document = read_sweep(folder)
    order = document.get("order")
    return len(order) if isinstance(order, list) else len(document["runs"])
