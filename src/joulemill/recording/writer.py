"""The run folder: everything a run saw, raw, as it came.

    run.json         the manifest: what was asked, of what, on what; rewritten whole until the load starts
    channels.jsonl   readings.jsonl  requests.jsonl  server.jsonl  machine.jsonl  quality.jsonl
    events.jsonl     phases, notes, the status at the end

JSON Lines rather than Parquet, because it is append-only, survives a crash line by line (only the last line can be
torn), is readable by any tool, and needs no library. Numbers are written as Python's shortest exact form, so a run
that is read again is bit for bit the run that was seen. Fields that this version does not know are passed over; a
newer ``schema_version`` is refused.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from joulemill.errors import InputError, MachineError
from joulemill.ledger.manifest import Manifest, document
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
from joulemill.recording.private import open_private, private_folder, write_private
from joulemill.recording.reader import ROWS, SCHEMA_VERSION, read_run

__all__ = ["FILES", "SCHEMA_VERSION", "RunWriter", "free_folder", "read_run", "write_run"]

#: At most this long between a line and its being handed to the operating system.
FLUSH_S = 1.0
#: The end mark's place in the queue: it is written into events.jsonl with the counts of rows.
STATUS = "status"
FILES = ("channels", "readings", "requests", "server", "machine", "quality", "events")
_FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(f.name for f in fields(kind))
    for kind in (Channel, Reading, RequestRecord, ServerSample, MachineSample, QualityAnswer)
}
_FILE_OF: dict[type, str] = {
    Channel: "channels",
    Reading: "readings",
    RequestRecord: "requests",
    ServerSample: "server",
    MachineSample: "machine",
    QualityAnswer: "quality",
}
Row = Channel | Reading | RequestRecord | ServerSample | MachineSample | QualityAnswer | Mapping[str, Any]


def encoded(row: Row) -> str:
    """One line of JSON, without its end. Raises ValueError for a number that JSON cannot hold (NaN, infinity)."""
    held = dict(row) if isinstance(row, Mapping) else {n: getattr(row, n) for n in _FIELDS[type(row)]}
    return _json_text(held)


def _json_text(value: object, indent: int | None = None) -> str:
    """JSON that UTF-8 can hold: a text with half a surrogate pair, as a server may send, is written as its escape."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=dict, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, ensure_ascii=True, default=dict, indent=indent)
    return text


class RunWriter:
    """Writes a run folder while the run goes on. Safe to call from several threads.

    Rows are queued and turned into text by a thread of its own in small batches, so that the event loop, whose
    time stamps are the measurement, never waits for a disk. A full disk raises MachineError at the next call (and in
    ``close``); what was written stays readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Folders that this run makes: the only ones that it may take away again.
        self._made = [p for p in (path, path.parent) if not p.exists()]
        self._rows: queue.SimpleQueue[tuple[str, Row] | None] = queue.SimpleQueue()
        self._counts: dict[str, int] = dict.fromkeys(ROWS, 0)
        self._fault: OSError | None = None
        self._closed = False
        try:
            private_folder(path)
            if any((path / f"{name}.jsonl").exists() for name in FILES) or (path / "run.json").exists():
                raise InputError(f"`out` {path}: holds a run already; name a new folder, as runs are never overwritten")
            self._files: dict[str, IO[str]] = {name: open_private(path / f"{name}.jsonl", "a") for name in FILES}
        except OSError as fault:
            raise self._explained(fault) from fault
        self._thread = threading.Thread(target=self._drain, name="joulemill-folder", daemon=True)
        self._thread.start()

    def manifest(self, manifest: Manifest) -> None:
        """Write ``run.json`` whole, replacing the former one in a single step."""
        text = _json_text({**document(manifest), "schema_version": SCHEMA_VERSION}, indent=1)
        beside = self.path / "run.json.new"
        try:
            write_private(beside, text + "\n")
            beside.replace(self.path / "run.json")
        except OSError as fault:
            raise self._explained(fault) from fault

    def channels(self, channels: Sequence[Channel]) -> None:
        """Keep what the meters read."""
        for channel in channels:
            self._put("channels", channel)

    def readings(self, readings: Sequence[Reading]) -> None:
        """Keep readings; the sampler's sink."""
        for reading in readings:
            self._put("readings", reading)

    def request(self, record: RequestRecord) -> None:
        """Keep one request that has ended."""
        self._put("requests", record)

    def server(self, sample: ServerSample) -> None:
        """Keep one scrape of the server's own metrics."""
        self._put("server", sample)

    def machine(self, sample: MachineSample) -> None:
        """Keep one look at how busy the machine was."""
        self._put("machine", sample)

    def quality(self, answer: QualityAnswer) -> None:
        """Keep one scored answer."""
        self._put("quality", answer)

    def phase_start(self, phase: Phase) -> None:
        """A phase begins."""
        self.event("phase_start", name=phase.name, t_mono_s=phase.start_mono_s, t_wall_s=phase.start_wall_s)

    def phase_end(self, name: str, t_mono_s: float) -> None:
        """The phase ``name`` that was begun last ends."""
        self.event("phase_end", name=name, t_mono_s=t_mono_s)

    def status(self, status: str, reason: str | None) -> None:
        """How the run ended, with how many rows each file holds. Without it a run counts as interrupted."""
        self._rows.put((STATUS, {"kind": "status", "status": status, "reason": reason}))

    def event(self, kind: str, **content: Any) -> None:
        """Anything else that happened; ``kind`` says what."""
        self._put("events", {"kind": kind, **content})

    def close(self) -> None:
        """Write out what is queued. Raises MachineError where the disk refused; calling it twice is harmless."""
        if not self._closed:
            self._closed = True
            self._rows.put(None)
            self._thread.join()
            for file in self._files.values():
                try:
                    file.close()
                except OSError as fault:
                    self._fault = self._fault or fault
        self._raise_fault()

    def discard(self) -> None:
        """Take away what was written, after ``close``: the run never began. A folder of the user's own stays."""
        with suppress(OSError):
            for name in ("run.json", "run.json.new", *(f"{n}.jsonl" for n in FILES)):
                (self.path / name).unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()

    def _put(self, name: str, row: Row) -> None:
        self._raise_fault()
        self._rows.put((name, row))

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._explained(self._fault) from self._fault

    def _drain(self) -> None:
        flushed_s = time.monotonic()
        while True:
            try:
                item = self._rows.get(timeout=FLUSH_S)
            except queue.Empty:
                item = ("", {})
            if item is None:
                return
            self._keep(*item)
            if time.monotonic() - flushed_s >= FLUSH_S:
                self._flush()
                flushed_s = time.monotonic()

    def _keep(self, name: str, row: Row) -> None:
        if not name or self._fault is not None:
            return
        if name == STATUS:  # by now every row before it is written, and counted
            name, row = "events", {**row, "rows": dict(self._counts)}  # type: ignore[dict-item]
        try:
            self._files[name].write(encoded(row) + "\n")
            self._counts[name] = self._counts.get(name, 0) + 1
        except OSError as fault:
            self._fault = fault
        except (ValueError, TypeError, RecursionError) as fault:  # NaN: keep that it was there, and all else
            self._files["events"].write(json.dumps({"kind": "unwritable", "file": name, "error": str(fault)}) + "\n")

    def _flush(self) -> None:
        for file in self._files.values():
            try:
                file.flush()
            except OSError as fault:
                self._fault = self._fault or fault

    def _explained(self, fault: OSError) -> MachineError:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            return MachineError(
                f"the disk under {self.path} is full; what was measured until now is kept there: "
                "make room or point `out` at another disk"
            )
        return MachineError(f"cannot write {self.path}: {fault.strerror or fault}; point `out` where you may write")


def write_run(path: Path, record: RunRecord) -> None:
    """Write a whole run at once (imported, recorded or simulated ones). ``read_run`` gives the same value back."""
    writer = RunWriter(path)
    writer.manifest(record.manifest)
    writer.channels(record.channels)
    writer.readings(record.readings)
    for request in record.requests:
        writer.request(request)
    for scrape in record.server:
        writer.server(scrape)
    for look in record.machine:
        writer.machine(look)
    for answer in record.quality:
        writer.quality(answer)
    for phase in record.phases:
        writer.phase_start(phase)
        if phase.end_mono_s is not None:
            writer.phase_end(phase.name, phase.end_mono_s)
    for event in record.events:
        writer.event(**event)
    writer.status(record.status, record.status_reason)
    writer.close()


def free_folder(parent: Path, wall_s: float) -> Path:
    """A folder name under ``parent`` for a run that starts now: UTC time, and a number where that is taken."""
    stem = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall_s))
    names = [stem, *(f"{stem}-{n}" for n in range(2, 1000))]
    return next((parent / n for n in names if not os.path.lexists(parent / n)), parent / f"{stem}-{os.getpid()}")
