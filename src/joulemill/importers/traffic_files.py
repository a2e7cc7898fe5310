"""Files of traffic → ``Traffic``: traces, and the requests that other load generators recorded.

A trace is CSV or JSON Lines (``formats.traces``). What is neither is read as the result file of a load generator
(GuideLLM, AIPerf, inference-perf, vLLM …): its requests are asked again, when they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemill.errors import InputError
from joulemill.files import read_bytes, text_of
from joulemill.formats.documents import parse_document
from joulemill.formats.traces.table import TraceTable, parse_trace
from joulemill.importers.opening import TOOLS, import_files
from joulemill.importers.recording import Choice
from joulemill.simulation.demand import turns_traffic
from joulemill.simulation.traffic import NS_IN_S, Traffic


@dataclass(frozen=True, slots=True)
class TrafficFile:
    """Traffic that a file holds; ``notes`` say how what the file leaves open was decided."""

    traffic: Traffic
    notes: tuple[str, ...]


def read_traffic(path: Path | str, *, time_unit: str = "") -> TrafficFile:
    """Traffic of the file ``path``. Raises InputError naming the line at fault, or what it is not."""
    path = Path(path)
    data = read_bytes(path)
    if _is_result(path, data):
        return _recorded(path)
    try:
        text = text_of(data)
    except ValueError as fault:
        raise InputError(f"{path}: is {fault}; give a CSV or JSON Lines file") from fault
    table = parse_trace(str(path), text, time_unit=time_unit)
    return TrafficFile(traffic_of_table(table), (*table.notes, *_notes(table)))


def traffic_of_table(table: TraceTable) -> Traffic:
    """The table as traffic; turns of a session send all that was said before them."""
    at_ns = np.rint(table.at_s * NS_IN_S).astype(np.int64)
    names: dict[str, int] = {}
    session = np.array([-1 if s is None else names.setdefault(s, len(names)) for s in table.session], dtype=np.int64)
    if names:
        return turns_traffic(at_ns, session, table.input_tok, table.output_tok, table.wait_s)
    if not table.hashes:
        return Traffic(arrival_ns=at_ns, input_tok=table.input_tok, output_tok=table.output_tok)
    hashes = list(_kept(table))
    counts = np.array([len(h) for h in hashes], dtype=np.int64)
    return Traffic(
        arrival_ns=at_ns,
        input_tok=table.input_tok,
        output_tok=table.output_tok,
        block_tok=table.block_tok,
        block_hash=np.array([i for h in hashes for i in h], dtype=np.int64),
        block_offset=np.concatenate([[0], np.cumsum(counts)]),
    )


def _kept(table: TraceTable) -> Iterator[tuple[int, ...]]:
    """Each request's blocks, no more than its prompt has."""
    for ids, prompt in zip(table.hashes, table.input_tok.tolist(), strict=True):
        yield ids[: -(-prompt // table.block_tok)]


def _notes(table: TraceTable) -> Iterator[str]:
    if any(table.session):
        yield "a turn of a session adds its input tokens to all that was said before in it"
        if table.hashes:
            yield "hashes of blocks are left out, as sessions say what their turns share"


def _is_result(path: Path, data: bytes) -> bool:
    """Whether a load generator wrote the file."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return False
    if data.lstrip()[:1] == b"{" and b"\n{" in data and b"request_start_ns" not in data[:4096]:
        return False  # JSON Lines; only AIPerf's export of requests is such a file and no trace
    return any(t.recognizes(parse_document(path.name, data)) for t in TOOLS)


def _recorded(path: Path) -> TrafficFile:
    record = import_files([path], Choice())
    rows = [
        (r.dispatched_mono_s, r.prompt_tok, r.output_tok)
        for r in record.requests
        if r.dispatched_mono_s is not None and r.prompt_tok and r.output_tok
    ]
    if not rows:
        raise InputError(f"{path}: holds no single requests with their times and tokens; give the export that does")
    rows.sort()
    at_s = np.array([row[0] for row in rows])
    traffic = Traffic(
        arrival_ns=np.rint((at_s - at_s[0]) * NS_IN_S).astype(np.int64),
        input_tok=np.array([row[1] for row in rows], dtype=np.int64),
        output_tok=np.array([row[2] for row in rows], dtype=np.int64),
    )
    left = len(record.requests) - len(rows)
    notes = [f"requests of a recorded run, asked again when they were sent: {len(rows)}"]
    notes += [f"{left} requests that failed, or whose tokens are not known, are left out"] if left else []
    return TrafficFile(traffic, tuple(notes))
