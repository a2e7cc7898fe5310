"""When requests arrive, and traces of when they did: open-loop schedules from a seeded generator.

A schedule is made whole before the load starts and never bends to the server's speed, which is what keeps latency
"from schedule" free of coordinated omission. ``burstiness`` is the shape of the Gamma distribution of the gaps: 1 is
Poisson, below 1 is burstier, infinite is a constant rate; the gaps' coefficient of variation is 1/√burstiness.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulemill.bench.lengths import MOST_TOK
from joulemill.errors import InputError


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


def arrival_times(
    rng: np.random.Generator, rate_req_s: float, *, burstiness: float = 1.0, duration_s: float
) -> npt.NDArray[np.float64]:
    """Times in [0, ``duration_s``) at a mean rate of ``rate_req_s``, ascending, in s.

    Gaps are Gamma(``burstiness``, 1/(rate·burstiness)), the first gap before the first arrival; with infinite
    burstiness the k-th arrival is at k/rate. Raises InputError for a rate, burstiness or duration that is not positive.
    """
    for name, number in (("`rate_req_s`", rate_req_s), ("burstiness", burstiness), ("`duration_s`", duration_s)):
        if not number > 0 or (math.isinf(number) and name != "burstiness"):
            raise InputError(f"{name} must be a positive number, not {number:g}")
    if math.isinf(burstiness):
        count = math.ceil(rate_req_s * duration_s)
        times = np.arange(count) / rate_req_s
        return times[times < duration_s]
    blocks: list[npt.NDArray[np.float64]] = []
    reached_s = 0.0
    block = int(rate_req_s * duration_s + 4 * math.sqrt(rate_req_s * duration_s / burstiness)) + 16
    while reached_s < duration_s:
        gaps = rng.gamma(burstiness, 1.0 / (rate_req_s * burstiness), size=block)
        blocks.append(reached_s + np.cumsum(gaps))
        reached_s = float(blocks[-1][-1])
    times = np.concatenate(blocks)
    return times[times < duration_s]


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """Arrivals of a trace file, from 0 s on, ascending.

    CSV with a header or JSONL. Known names: ``time_s|time|t`` [s] with ``input_tokens``, ``output_tokens``; the
    Azure LLM traces' ``TIMESTAMP,ContextTokens,GeneratedTokens``; Mooncake's ``timestamp`` [ms], ``input_length``,
    ``output_length``. A column ``session`` makes lines of one name the turns of a conversation, ``input_tokens`` then
    being what a turn adds. The order of lines does not matter. An output of 0 tokens is asked as 1.
    Raises InputError with the line at fault.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_size, stat.st_mtime_ns)
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"`trace` {path}: cannot be read ({fault}); give a CSV or JSONL file") from fault


@lru_cache(maxsize=2)
def _read(path: Path, size_byte: int, changed_ns: int) -> tuple[Arrival, ...]:
    """The trace, read once for all who ask while the file stays as it is."""
    text = path.read_text(encoding="utf-8-sig")
    rows = _jsonl(text, path) if text.lstrip().startswith("{") else _csv(text, path)
    arrivals = sorted((_arrival(row, f"`trace` {path}, line {number}") for number, row in rows), key=lambda a: a.at_s)
    if not arrivals:
        raise InputError(f"`trace` {path}: holds no request; each line needs a time, input and output tokens")
    start_s = arrivals[0].at_s
    return tuple(replace(a, at_s=a.at_s - start_s) for a in arrivals)


def _jsonl(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):  # U+2028 in a text ends no line
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as fault:
            raise InputError(f"`trace` {path}, line {number}: is not JSON ({fault})") from None
        if not isinstance(row, dict):
            raise InputError(f"`trace` {path}, line {number}: is not a JSON object")
        yield number, row


def _csv(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    for row in _rows(reader, path):
        if None in row or None in row.values():
            raise InputError(f"`trace` {path}, line {reader.line_num}: has not as many fields as the header")
        yield reader.line_num, row


MAX_SESSION_CHARS = 200


def _rows(reader: csv.DictReader[str], path: Path) -> Iterator[dict[str, object]]:
    try:
        for row in reader:
            yield dict(row)
    except csv.Error as fault:
        raise InputError(f"`trace` {path}, line {reader.line_num}: is no CSV ({fault})") from None


_INPUT = ("input_tokens", "input_tok", "ContextTokens", "input_length")
_OUTPUT = ("output_tokens", "output_tok", "GeneratedTokens", "output_length")
_TIME: dict[str, Callable[[object], float]] = {
    "time_s": lambda x: float(str(x)),
    "time": lambda x: float(str(x)),
    "t": lambda x: float(str(x)),
    "TIMESTAMP": lambda x: datetime.fromisoformat(str(x)).timestamp(),
    "timestamp": lambda x: float(str(x)) / 1000.0,
}


def _arrival(row: Mapping[str, object], where: str) -> Arrival:
    time_name = next((n for n in _TIME if n in row), None)
    if time_name is None:
        raise InputError(f"{where}: has no time; name the column time_s (or use the Azure or Mooncake names)")
    try:
        at_s = _TIME[time_name](row[time_name])
    except (ValueError, OverflowError):
        raise InputError(f"{where}: {time_name} is {row[time_name]!r}, not a time") from None
    if not math.isfinite(at_s):
        raise InputError(f"{where}: {time_name} must be a finite time, not {row[time_name]!r}")
    session = row.get("session") if row.get("session") not in (None, "") else None
    if session is not None and not isinstance(session, str | int):
        raise InputError(f"{where}: session is {session!r}; it must be a name or a number")
    name = None if session is None else str(session)[:MAX_SESSION_CHARS]
    return Arrival(at_s, _tokens(row, _INPUT, where), _tokens(row, _OUTPUT, where), name)


def _tokens(row: Mapping[str, object], names: tuple[str, ...], where: str) -> int:
    name = next((n for n in names if n in row), None)
    if name is None:
        raise InputError(f"{where}: has no {names[0]}")
    try:
        number = float(str(row[name]))
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_TOK or number != int(number):
        raise InputError(f"{where}: {name} is {row[name]!r}; it must be a whole number of tokens, 1 to {MOST_TOK:,}")
    return max(1, int(number))
