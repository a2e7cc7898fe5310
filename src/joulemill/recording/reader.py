"""Reads a run folder back into a RunRecord.

A torn last line (the run was killed) is passed over; a missing file counts as empty; anything else that is not as it
should be is an InputError that names the file and the line. The end mark holds how many rows each file has: a folder
with fewer was cut or copied in part, and is not a complete run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.ledger.manifest import Manifest
from joulemill.ledger.record import (
    Channel,
    MachineSample,
    Phase,
    QualityAnswer,
    Reading,
    RequestRecord,
    RunRecord,
    ServerSample,
)
from joulemill.recording.rows import MAX_TIME_S, checked_manifest, damaged, lines_of, refuse_copies, rows_of

SCHEMA_VERSION = 1
STATUSES = ("complete", "interrupted", "failed")
#: Files of rows, by the record's field of the same name.
ROWS = ("channels", "readings", "requests", "server", "machine", "quality")
NO_END = "the run has no end mark: it was killed or is still running"


def read_run(path: Path) -> RunRecord:
    """The record of the run in folder ``path``. Raises InputError where there is none or it is not whole."""
    manifest = _manifest(path)
    events = list(_objects(path / "events.jsonl"))
    marks = [e for _, e in events if e.get("kind") == "status"]
    mark = marks[-1] if marks else {"status": "interrupted", "reason": NO_END}
    record = RunRecord(
        manifest=manifest,
        channels=rows_of(path / "channels.jsonl", Channel),
        readings=rows_of(path / "readings.jsonl", Reading),
        requests=rows_of(path / "requests.jsonl", RequestRecord),
        server=rows_of(path / "server.jsonl", ServerSample),
        machine=rows_of(path / "machine.jsonl", MachineSample),
        phases=_phases(path / "events.jsonl", events),
        quality=rows_of(path / "quality.jsonl", QualityAnswer),
        events=tuple(e for _, e in events if e.get("kind") not in ("status", "phase_start", "phase_end")),
        status=mark["status"] if mark.get("status") in STATUSES else "interrupted",
        status_reason=None if mark.get("reason") is None else str(mark["reason"])[:2000],
    )
    refuse_copies(record.requests, str(path / "requests.jsonl"))
    return _whole(path, record, mark)


def _whole(path: Path, record: RunRecord, mark: Mapping[str, Any]) -> RunRecord:
    """``record``; not complete, with the reason, where the folder holds fewer rows than the run wrote."""
    lost = [*_short(record, mark.get("rows")), *(f"the last line of {n}.jsonl is torn" for n in ROWS if _torn(path, n))]
    if record.status != "complete" or not lost:
        return record
    reason = f"{'; '.join(lost)}: the folder was cut or copied in part, and its figures are not those of the run"
    return replace(record, status="interrupted", status_reason=reason)


def _short(record: RunRecord, counts: Any) -> list[str]:
    """What lacks, file by file; nothing where the run wrote no counts (before version 0.2)."""
    if not isinstance(counts, dict):
        return []
    have = {name: len(getattr(record, name)) for name in ROWS}
    return [
        f"{name}.jsonl holds {have[name]} of {count} rows"
        for name, count in counts.items()
        if name in have and count != have[name]
    ]


def _torn(path: Path, name: str) -> bool:
    """Whether the file's last line has no end: every line is written with one."""
    file = path / f"{name}.jsonl"
    try:
        with file.open("rb") as content:
            size = content.seek(0, 2)
            if not size:
                return False
            content.seek(size - 1)
            return content.read(1) != b"\n"
    except OSError:
        return False


def _manifest(path: Path) -> Manifest:
    file = path / "run.json"
    if not file.is_file():
        raise InputError(f"{path}: no run is there (no run.json); give the folder that 'joulemill bench' wrote")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise InputError(f"{file}: is nested too deeply; is the file damaged?") from None
    except (OSError, ValueError) as fault:
        raise InputError(f"{file}: cannot be read ({fault})") from fault
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{file}: has no schema_version; is this a run of Joulemill?")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{file}: schema_version {version} is newer than {SCHEMA_VERSION}; update Joulemill to read it"
        )
    return checked_manifest(document, str(file))


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSONL file with their line numbers. A last line without its end that does not parse was torn."""
    for number, line, last in lines_of(file):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError) as fault:
            if last:
                return
            raise damaged(file, number, fault) from None
        yield number, row


def _phases(file: Path, events: list[tuple[int, dict[str, Any]]]) -> tuple[Phase, ...]:
    phases: list[Phase] = []
    for number, event in events:
        kind = event.get("kind")
        try:
            if kind == "phase_start":
                phases.append(Phase(str(event["name"]), _time(event, "t_mono_s"), _time(event, "t_wall_s")))
            elif kind == "phase_end":
                _close_phase(phases, str(event["name"]), _time(event, "t_mono_s"))
        except KeyError as fault:
            raise InputError(f"{file}, line {number}: {kind} lacks {fault}") from None
        except ValueError as fault:
            raise InputError(f"{file}, line {number}: {kind}: {fault}") from None
    return tuple(phases)


def _time(event: Mapping[str, Any], name: str) -> float:
    """A time of an event. Raises KeyError where it is missing, ValueError where it is no time."""
    value = event[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_TIME_S:
        raise ValueError(f"{name} is {str(value)[:24]!r}, no time")
    return float(value)


def _close_phase(phases: list[Phase], name: str, end_mono_s: float) -> None:
    for index in range(len(phases) - 1, -1, -1):
        phase = phases[index]
        if phase.name == name and phase.end_mono_s is None:
            phases[index] = Phase(phase.name, phase.start_mono_s, phase.start_wall_s, end_mono_s)
            return
