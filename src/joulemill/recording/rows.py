"""Rows of a run folder, checked: every field has its kind and every number is one that a run can hold.

A run folder may have been cut, edited or copied in part. What is read here is handed to code that trusts it, so a row
that is not as it was written is an InputError that names the field. Fields that this version does not know are passed
over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from joulemill.errors import InputError
from joulemill.ledger.manifest import MAX_NUMBER, Manifest
from joulemill.ledger.record import RequestRecord

#: No time of a run is further from its clock's zero [s]: thirty thousand years. Assumed.
MAX_TIME_S = 1e12
#: No request has more tokens. Assumed.
MAX_REQUEST_TOK = 4_000_000
#: Nothing that we write nests deeper. Assumed.
MAX_DEPTH = 40

T = TypeVar("T")
#: A file larger than this is no run's: a day of readings at 10 Hz of 100 channels takes a tenth of it. Assumed.
MAX_BYTE = 1 << 33
_ADAPTERS: dict[type[Any], Any] = {}
_NAMES: dict[type[Any], tuple[str, ...]] = {}


def rows_of(file: Path, kind: type[T]) -> tuple[T, ...]:
    """The rows of a JSONL file. Raises InputError that names the line; a torn last line is left out."""
    rows: list[T] = []
    for number, line, last in lines_of(file):
        try:
            rows.append(row_of(kind, line))
        except ValueError as fault:
            if last:
                break
            raise damaged(file, number, fault) from None
    return tuple(rows)


def lines_of(file: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Lines of a JSONL file: number, content, and whether it is the last one without its end (it may be torn)."""
    try:
        if file.stat().st_size > MAX_BYTE:
            raise InputError(f"{file}: is larger than {MAX_BYTE >> 30} GiB; no run is")
        data = file.read_bytes()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise InputError(f"{file}: cannot be read ({fault.strerror})") from fault
    *whole, last = data.split(b"\n")
    for number, line in enumerate([*whole, last], 1):
        if line.strip():
            yield number, line, number == len(whole) + 1


def damaged(file: Path, number: int, fault: Exception) -> InputError:
    """The error for line ``number`` of ``file``."""
    why = "is nested too deeply" if isinstance(fault, RecursionError) else str(fault)
    return InputError(f"{file}, line {number}: {why}; remove the line to read the rest")


def row_of(kind: type[T], line: bytes) -> T:
    """The row that ``line`` (JSON) holds. Raises ValueError that says which field is wrong."""
    from pydantic import ValidationError

    try:
        row = _adapter(kind).validate_json(line, strict=True)
    except ValidationError as fault:
        raise ValueError(_first(fault)) from None
    _check_numbers(row)
    return row  # type: ignore[no-any-return]


def _adapter(kind: type[Any]) -> Any:
    if kind not in _ADAPTERS:
        from pydantic import TypeAdapter

        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _first(fault: Any) -> str:
    """The first error in our words: fields that are missing first, all of them."""
    errors = fault.errors(include_url=False, include_input=False)
    missing = sorted(str(e["loc"][-1]) for e in errors if e["type"] == "missing" and e["loc"])
    if missing:
        return f"lacks {', '.join(missing)}"
    where = ".".join(str(p) for p in errors[0]["loc"])
    return f"{where}: {errors[0]['msg']}" if where else str(errors[0]["msg"])


def _check_numbers(row: Any) -> None:
    for name in _names(type(row)):
        _check_number(name, getattr(row, name))
    if isinstance(row, RequestRecord) and max(row.output_tok or 0, row.prompt_tok or 0) > MAX_REQUEST_TOK:
        raise ValueError(f"a request of over {MAX_REQUEST_TOK} tokens; is the file damaged?")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, (int, float)):  # first: a run's rows are nearly all numbers
        most = MAX_TIME_S if name.endswith(("mono_s", "wall_s")) else MAX_NUMBER
        if not abs(value) <= most:
            raise ValueError(f"{name}: {str(value)[:24]} is no number of a run")
        if name.endswith("_tok") and value < 0:
            raise ValueError(f"{name}: {value} tokens")
    elif isinstance(value, (tuple, list)):
        for item in value:
            _check_number(name, item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_number(str(key), item)


def _names(kind: type[Any]) -> tuple[str, ...]:
    if kind not in _NAMES:
        _NAMES[kind] = tuple(f.name for f in fields(kind))
    return _NAMES[kind]


def checked_manifest(document: Mapping[str, Any], where: str) -> Manifest:
    """The manifest of ``run.json``. Raises InputError where it is not whole: kinds of members, numbers, depth."""
    from joulemill.recording.manifest_schema import manifest_in

    _check_plain(document, where, 0)
    return manifest_in(document, where)


def _check_plain(value: Any, where: str, depth: int) -> None:
    """Numbers are finite and of a sensible size, and nothing nests without end."""
    if depth > MAX_DEPTH:
        raise InputError(f"{where}: is nested too deeply; is the file damaged?")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _sensible(value):
        raise InputError(f"{where}: holds {str(value)[:24]}, which is no number of a run; is the file damaged?")
    if isinstance(value, dict):
        for item in value.values():
            _check_plain(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, where, depth + 1)


def _sensible(value: float) -> bool:
    try:
        return math.isfinite(value) and abs(value) <= MAX_NUMBER
    except OverflowError:
        return False


def refuse_copies(requests: Sequence[RequestRecord], where: str) -> None:
    """Raise InputError where a request stands twice, with the same id and times: its tokens would count twice."""
    marks = [(r.id, r.scheduled_mono_s, r.dispatched_mono_s, r.end_mono_s) for r in requests]
    copies = len(marks) - len(set(marks))
    if copies:
        copied = f"{copies} of {len(marks)} requests appear in it twice, with the same id and times"
        raise InputError(f"{where}: {copied}; remove the copies")
