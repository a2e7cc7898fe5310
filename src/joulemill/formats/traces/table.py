"""A trace as columns in SI units, in the order of time: what every reader of traces ends in."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.formats.traces import names
from joulemill.formats.traces.clock import LONGEST_S, Place, read_clock, time_column

Whole = NDArray[np.int64]
#: More tokens than any context holds (assumed).
MOST_TOK = 10_000_000
MAX_SESSION_CHARS = 200
_LONGEST = f"{LONGEST_S / 86400:.0f} days"
#: Blocks that a list of hashes may be of, where the file does not say [tok].
BLOCK_TOKS = (512, 16, 32, 64, 128, 256, 1024, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTable:
    """Requests in the order of their time, from 0 s on.

    at_s         arrival; of a later turn that only says its wait: that of the turn before
    input_tok    prompt as the file says it: of a turn of a session, what the turn adds
    session      name of the conversation, or None;  wait_s   from the end of the turn before; 0 where not stated
    hashes       ids of the prompt's blocks of ``block_tok`` tokens, the same id meaning the same prefix; empty: none
    notes        how what the file leaves open was decided
    cut          that the file ends within a line, which is left out; empty where it does not
    """

    at_s: Array
    input_tok: Whole
    output_tok: Whole
    session: tuple[str | None, ...]
    wait_s: Array
    hashes: tuple[tuple[int, ...], ...]
    block_tok: int
    notes: tuple[str, ...] = ()
    cut: str = ""


@dataclass(frozen=True, slots=True)
class _WrittenColumns:
    """Columns as they are written, with the line of each row; ``name``: the file's, for messages.

    ``cut_line``: the last line, where the file ends within it; 0 where it does not.
    """

    name: str
    lines: Sequence[int]
    columns: Mapping[str, Sequence[object]]
    cut_line: int = 0

    def place(self, index: int) -> str:
        return f"{self.name}, line {self.lines[index]}"


def parse_trace(name: str, text: str, *, time_unit: str = "") -> TraceTable:
    """The trace in ``text``, CSV with a header or JSON Lines; ``name`` begins every message.

    A file that was being written may end within a line: one that no newline ends and that is no whole row is left out.

    Raises InputError naming the line at fault, and where nothing tells the unit of the times.
    """
    raw = _jsonl(name, text) if text.lstrip().startswith("{") else _csv(name, text)
    if not raw.lines:
        raise InputError(f"{name}: holds no request; each line needs a time, input and output tokens")
    table = table_of(raw.name, raw.lines, raw.columns, time_unit=time_unit)
    if not raw.cut_line:
        return table
    cut = f"{name}, line {raw.cut_line}: the file ends within this line, which is left out"
    return replace(table, notes=(cut, *table.notes), cut=cut)


def table_of(
    name: str, lines: Sequence[int], columns: Mapping[str, Sequence[object]], *, time_unit: str = ""
) -> TraceTable:
    """A table from ``columns`` as another program wrote them. Raises InputError as ``parse_trace`` does."""
    raw = _WrittenColumns(name, lines, columns)
    timed = time_column(list(columns))
    if timed is None:
        raise InputError(f"{raw.place(0)}: has no time; name the column time_s (or use the Azure or Mooncake names)")
    clock = read_clock(columns[timed], timed, list(columns), raw.place, time_unit)
    asked_tok = [_tokens(raw, wanted) for wanted in (names.INPUT, names.OUTPUT)]
    input_tok, output_tok = (np.maximum(tok, 1) for tok in asked_tok)
    sessions, waits = _sessions(raw), _waits(raw)
    at_s = _followed(clock.at_s, sessions, raw.place)
    hashes, block_tok, notes = _hashes(raw, input_tok)
    order = np.argsort(at_s, kind="stable")
    if at_s[order[-1]] - at_s[order[0]] > LONGEST_S:
        last = raw.place(int(order[-1]))
        raise InputError(f"{last}: comes more than {_LONGEST} after the first; check the unit of {timed}")
    return TraceTable(
        at_s=at_s[order] - at_s[order[0]],
        input_tok=input_tok[order],
        output_tok=output_tok[order],
        session=tuple(sessions[i] for i in order),
        wait_s=waits[order],
        hashes=tuple(hashes[i] for i in order) if hashes else (),
        block_tok=block_tok,
        notes=(clock.note, *notes, *_raised(*asked_tok)),
    )


def _jsonl(name: str, text: str) -> _WrittenColumns:
    rows: list[Mapping[str, object]] = []
    lines: list[int] = []
    cut_line, written_lines = 0, text.split("\n")  # U+2028 in a text ends no line
    for number, line in enumerate(written_lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as fault:
            if number == len(written_lines) and line.lstrip().startswith("{") and isinstance(fault, ValueError):
                cut_line = number
                break
            raise InputError(f"{name}, line {number}: is not JSON ({str(fault)[:120]})") from None
        if not isinstance(row, dict):
            raise InputError(f"{name}, line {number}: is not a JSON object")
        rows.append(row)
        lines.append(number)
    keys = dict.fromkeys(k for row in rows for k in row)
    return _WrittenColumns(name, lines, {k: [row.get(k) for row in rows] for k in keys}, cut_line)


def _csv(name: str, text: str) -> _WrittenColumns:
    first = text.split("\n", 1)[0]
    delimiter = next((d for d in ",;\t" if d in first), ",")
    cut_line, written_lines = 0, text.splitlines()
    reader = csv.reader(written_lines, delimiter=delimiter, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = [h.strip() for h in next(reader, [])]
        for row in reader:
            if not row:
                continue
            if reader.line_num == len(written_lines) and not text.endswith("\n") and _is_cut(row, header):
                cut_line = reader.line_num
                break
            if len(row) != len(header):
                raise InputError(f"{name}, line {reader.line_num}: has not as many fields as the header")
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as fault:
        raise InputError(f"{name}, line {reader.line_num}: is no CSV ({fault})") from None
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    return _WrittenColumns(name, lines, columns, cut_line)


def _is_cut(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a row that no newline ends lacks fields, or its last one where that must be a number of tokens."""
    last = names.plain_name(header[-1]) if header else ""
    return len(row) < len(header) or (not row[-1] and last in (*names.INPUT, *names.OUTPUT))


def _tokens(raw: _WrittenColumns, wanted: Sequence[str]) -> Whole:
    """A column of token counts, 0 or more."""
    column = names.column_of(raw.columns, wanted)
    if column is None:
        shown = "input_tokens" if wanted is names.INPUT else "output_tokens"
        raise InputError(f"{raw.place(0)}: has no {shown}")
    values = raw.columns[column]
    try:
        numbers = np.array([float(v) for v in values])  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([_number(v) for v in values])
    wrong = ~((numbers >= 0) & (numbers <= MOST_TOK) & (numbers == np.rint(numbers)))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{raw.place(index)}: {column} is {str(values[index])[:60]!r}; it must be a whole number of tokens, "
            f"0 to {MOST_TOK:,}"
        )
    return numbers.astype(np.int64)


def _raised(input_tok: Whole, output_tok: Whole) -> Iterator[str]:
    """Counts of 0 that are taken as 1: an engine computes a prompt of one token at least, and its first answer."""
    for tok, what in ((input_tok, "prompt"), (output_tok, "output")):
        if none := int(np.count_nonzero(tok == 0)):
            yield f"{none:,} of {len(tok):,} requests have 0 {what} tokens, which are simulated as 1"


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _sessions(raw: _WrittenColumns) -> list[str | None]:
    column = names.column_of(raw.columns, names.SESSION)
    if column is None:
        return [None] * len(raw.lines)
    sessions: list[str | None] = []
    for index, value in enumerate(raw.columns[column]):
        if value is not None and not isinstance(value, str | int):
            raise InputError(f"{raw.place(index)}: {column} is {str(value)[:60]!r}; it must be a name or a number")
        sessions.append(None if value in (None, "") else str(value)[:MAX_SESSION_CHARS])
    return sessions


def _waits(raw: _WrittenColumns) -> Array:
    column = names.column_of(raw.columns, names.WAIT)
    if column is None:
        return np.zeros(len(raw.lines))
    factor = names.WAIT[names.plain_name(column)]
    waits = np.array([0.0 if v in (None, "") else _number(v) for v in raw.columns[column]]) * factor
    wrong = np.flatnonzero(~((waits >= 0) & (waits <= LONGEST_S)))
    if len(wrong):
        stated = raw.columns[column][wrong[0]]
        place = raw.place(int(wrong[0]))
        raise InputError(f"{place}: {column} is {str(stated)[:60]!r}, not a wait from 0 s to {_LONGEST}")
    return waits


def _followed(at_s: Array, sessions: Sequence[str | None], place: Place) -> Array:
    """Times where every one is known: a turn without one comes after the turn before, whose time it takes."""
    at_s = at_s.copy()
    last: dict[str, float] = {}
    for index, session in enumerate(sessions):
        if math.isnan(at_s[index]):
            if session is None or session not in last:
                raise InputError(f"{place(index)}: has no time, and is no later turn of a session")
            at_s[index] = last[session]
        if session is not None:
            last[session] = float(at_s[index])
    return at_s


def _hashes(raw: _WrittenColumns, input_tok: Whole) -> tuple[list[tuple[int, ...]], int, tuple[str, ...]]:
    """Ids of blocks by row, tokens of a block, and how these are known."""
    column = names.column_of(raw.columns, names.HASHES)
    if column is None:
        return [], 0, ()
    ids: dict[object, int] = {}
    read = partial(_ids, ids=ids, column=column)
    hashes = [read(value, place=raw.place(index)) for index, value in enumerate(raw.columns[column])]
    if not any(hashes):
        return [], 0, ()
    counts = np.array([len(h) for h in hashes])
    stated = names.column_of(raw.columns, names.BLOCK)
    if stated is not None:
        written = _number(raw.columns[stated][0])
        block_tok = int(written) if 1 <= written <= MOST_TOK else 0
        if block_tok:
            return hashes, block_tok, (f"{column}: blocks of {block_tok} tokens, as {stated} says",)
    block_tok = next((b for b in BLOCK_TOKS if _fits(counts, input_tok, b)), 0)
    if not block_tok:
        raise InputError(
            f"{raw.place(0)}: nothing tells how many tokens a block of {column} has; add a column block_size"
        )
    return hashes, block_tok, (f"{column}: blocks of {block_tok} tokens, by their number",)


def _fits(counts: Whole, input_tok: Whole, block_tok: int) -> bool:
    """Whether almost all prompts have the blocks that they would, whole ones alone or a last part too."""
    some = counts > 0
    whole, ceiling = input_tok[some] // block_tok, -(-input_tok[some] // block_tok)
    return bool(np.mean((counts[some] == whole) | (counts[some] == ceiling)) >= 0.95)


def _ids(value: object, *, ids: dict[object, int], column: str, place: str) -> tuple[int, ...]:
    """The ids of one prompt's blocks as small numbers, the same for the same id."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = value.strip("[] ").replace(",", " ").split()
    if not isinstance(value, list) or not all(isinstance(v, int | str) for v in value):
        raise InputError(f"{place}: {column} is no list of ids")
    return tuple(ids.setdefault(v, len(ids)) for v in value)
