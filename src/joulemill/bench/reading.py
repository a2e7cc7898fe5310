"""Reads a run folder back into a RunRecord.

A torn last line (the run was killed) is passed over; a missing file counts as empty; anything else that is not as it
should be is an InputError that names the file and the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.record import (
    Channel,
    MachineSample,
    Outcome,
    Phase,
    QualityAnswer,
    Quantity,
    Reading,
    RequestRecord,
    RunRecord,
    Scope,
    ServerSample,
)

SCHEMA_VERSION = 1
T = TypeVar("T")
_TUPLES = {"chunk_mono_s", "includes"}
_ENUMS = {"outcome": Outcome, "scope": Scope, "quantity": Quantity, "basis": Basis}
NO_END = "the run has no end mark: it was killed or is still going on"


def read_run(path: Path) -> RunRecord:
    """The record of the run in folder ``path``. Raises InputError where there is none or it is not whole."""
    manifest = _manifest(path)
    events = list(_lines(path / "events.jsonl"))
    status = [e for _, e in events if e.get("kind") == "status"]
    return RunRecord(
        manifest=manifest,
        channels=_rows(path, "channels", Channel),
        readings=_rows(path, "readings", Reading),
        requests=_rows(path, "requests", RequestRecord),
        server=_rows(path, "server", ServerSample),
        machine=_rows(path, "machine", MachineSample),
        phases=_phases(path / "events.jsonl", events),
        quality=_rows(path, "quality", QualityAnswer),
        events=tuple(e for _, e in events if e.get("kind") not in ("status", "phase_start", "phase_end")),
        status=str(status[-1].get("status")) if status else "interrupted",
        status_reason=status[-1].get("reason") if status else NO_END,
    )


def _manifest(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    if not file.is_file():
        raise InputError(f"{path}: no run is there (no run.json); give the folder that 'joulemill bench' wrote")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise InputError(f"{file}: cannot be read ({fault})") from fault
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{file}: has no schema_version; is this a run of Joulemill?")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{file}: schema_version {version} is newer than {SCHEMA_VERSION}; update Joulemill to read it"
        )
    return dict(document)


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSONL file with their line numbers. A last line without its end that does not parse was torn."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise InputError(f"{file}: cannot be read ({fault.strerror})") from fault
    *whole, last = data.split(b"\n")
    for number, line in enumerate([*whole, last], 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as fault:
            if number == len(whole) + 1:
                return
            raise InputError(f"{file}, line {number}: {fault}; remove the line to read the rest") from None
        yield number, row


def _rows(path: Path, name: str, kind: type[T]) -> tuple[T, ...]:
    file = path / f"{name}.jsonl"
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}  # type: ignore[arg-type]
    found: list[T] = []
    for number, row in _lines(file):
        missing = needed - row.keys()
        if missing:
            raise InputError(f"{file}, line {number}: lacks {', '.join(sorted(missing))}")
        try:
            found.append(kind(**{k: _value(k, v) for k, v in row.items() if k in known}))
        except ValueError as fault:
            raise InputError(f"{file}, line {number}: {fault}") from None
    return tuple(found)


def _value(name: str, raw: Any) -> Any:
    if name in _ENUMS:
        return _ENUMS[name](raw)
    return tuple(raw) if name in _TUPLES else raw


def _phases(file: Path, events: list[tuple[int, dict[str, Any]]]) -> tuple[Phase, ...]:
    phases: list[Phase] = []
    for number, event in events:
        kind = event.get("kind")
        try:
            if kind == "phase_start":
                phases.append(Phase(event["name"], event["t_mono_s"], event["t_wall_s"]))
            elif kind == "phase_end":
                _close_phase(phases, event["name"], event["t_mono_s"])
        except KeyError as fault:
            raise InputError(f"{file}, line {number}: {kind} lacks {fault}") from None
    return tuple(phases)


def _close_phase(phases: list[Phase], name: str, end_mono_s: float) -> None:
    for index in range(len(phases) - 1, -1, -1):
        phase = phases[index]
        if phase.name == name and phase.end_mono_s is None:
            phases[index] = Phase(phase.name, phase.start_mono_s, phase.start_wall_s, end_mono_s)
            return
