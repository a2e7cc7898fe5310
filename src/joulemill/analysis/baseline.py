"""The baseline: reports of one or several runs, kept in one project file that later runs are shown against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemill.analysis.report import Report
from joulemill.analysis.serialization import from_json, report_document
from joulemill.errors import InputError, MachineError

KIND = "joulemill-baseline"
SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Baseline:
    """A named baseline; several reports are repeats of one configuration."""

    name: str
    reports: tuple[Report, ...]


def read_baseline(path: Path) -> Baseline | None:
    """The baseline in ``path``; None where the file holds something else. Raises InputError where it is broken."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no baseline is there; make one with `joulemill baseline set RUN`") from None
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError(f"{path}: cannot be read ({fault})") from fault
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        return None
    version = str(raw.get("schema_version"))
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InputError(f"{path}: baseline version {version} is not readable here; this is version {SCHEMA_VERSION}")
    documents = raw.get("reports")
    if not isinstance(documents, list) or not documents:
        raise InputError(f"{path}: the baseline holds no report; create it again with `joulemill baseline set RUN`")
    return Baseline(str(raw.get("name") or path.stem), tuple(from_json(json.dumps(d)) for d in documents))


def need_baseline(path: Path) -> Baseline:
    """The baseline in ``path``. Raises InputError where there is none."""
    baseline = read_baseline(path)
    if baseline is None:
        raise InputError(f"{path}: is no baseline; make one with `joulemill baseline set RUN --file {path}`")
    return baseline


def write_baseline(path: Path, name: str, reports: Sequence[Report]) -> None:
    """Keep ``reports`` as the baseline, replacing the former one in a single step. Raises MachineError."""
    document = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "reports": [report_document(r) for r in reports],
    }
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as fault:
        raise MachineError(f"{path}: cannot be written ({fault.strerror}); choose another --file") from fault
