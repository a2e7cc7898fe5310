"""Traces of when requests arrived, as open-loop schedules.

A schedule is made whole before the load starts and never bends to the server's speed, which is what keeps latency
"from schedule" free of coordinated omission.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from joulemill.errors import InputError
from joulemill.files import text_of
from joulemill.formats.traces.table import parse_trace


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of an open-loop schedule.

    at_s        when it is due, from the start of the schedule
    input_tok, output_tok   lengths that a trace asks for; None: drawn from the options
    session     conversation that it is a turn of: it is sent when the turn before has ended, with all that was said
    """

    at_s: float
    input_tok: int | None = None
    output_tok: int | None = None
    session: str | None = None


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """Arrivals of a trace file, from 0 s on, ascending.

    CSV with a header or JSONL, under the names of ``formats.traces.names``. A column ``session`` makes lines of one
    name the turns of a conversation, ``input_tokens`` then being what a turn adds. The order of lines does not matter.
    An output of 0 tokens is asked as 1. Raises InputError with the line at fault.
    """
    return _looked_up(path)[0]


def cut_of(path: Path) -> str:
    """That the trace's file ends within a line, which is left out; else empty. Raises as ``read_trace`` does."""
    return _looked_up(path)[1]


def _looked_up(path: Path) -> tuple[tuple[Arrival, ...], str]:
    try:
        stat = path.stat()
        return _read(path, stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError) as fault:
        raise InputError(f"`trace` {path}: cannot be read ({fault}); give a CSV or JSONL file") from fault


@lru_cache(maxsize=2)
def _read(path: Path, size_byte: int, changed_ns: int) -> tuple[tuple[Arrival, ...], str]:
    """The trace, read once for all who ask while the file stays as it is."""
    table = parse_trace(f"`trace` {path}", text_of(path.read_bytes()))
    columns = (table.at_s.tolist(), table.input_tok.tolist(), table.output_tok.tolist(), table.session)
    return tuple(Arrival(*row) for row in zip(*columns, strict=True)), table.cut
