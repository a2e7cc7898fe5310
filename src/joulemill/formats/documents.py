"""Reads a result file, whatever it is: one JSON document, JSON Lines or CSV, told by content; YAML by its name."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

from joulemill.errors import InputError
from joulemill.files import text_of
from joulemill.formats.untrusted import Part
from joulemill.formats.yaml_text import load_yaml

#: Larger files are refused: they are read whole, and take several times their size in memory.
#: More lines than any run has requests. Assumed.
MAX_LINES = 20_000_000


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content: ``form`` is "json" (``root`` the document), "jsonl" or "csv" (``root`` a list of objects).

    ``notes`` say what of it is left out.
    """

    name: str
    form: str
    root: Part
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def head(self) -> Part:
        """What tells the tool: the document, or the first object of a list of lines."""
        if self.form == "json":
            return self.root
        return next(iter(self.root.each()), Part(None, self.root.where))


def parse_document(name: str, data: bytes) -> Document:
    """The content of a file called ``name``. Raises InputError where it is neither JSON, JSON Lines nor CSV."""
    digest = hashlib.sha256(data).hexdigest()
    try:
        text = text_of(data)
    except ValueError as fault:
        raise InputError(f"{name}: is {fault}") from None
    begin = text.lstrip()[:1]
    if not begin:
        raise InputError(f"{name}: is empty")
    where = f"{name}: "
    if begin not in "{[" and name.lower().endswith((".yaml", ".yml")):
        return Document(name, "json", Part(load_yaml(name, text), where), digest)
    if begin not in "{[":
        return Document(name, "csv", Part(_csv_rows(name, text), where), digest)
    value, why = _loads(text)
    if why is None:
        return Document(name, "json", Part(value, where), digest)
    lines, notes = _lines(name, text, why)
    return Document(name, "jsonl", Part(lines, f"{name}: line "), digest, notes)


def _loads(text: str) -> tuple[Any, str | None]:
    """The value of JSON ``text``, or why it is none. NaN and infinities are null: unknown."""
    try:
        return json.loads(text, parse_constant=lambda _: None), None
    except RecursionError:
        return None, "is nested too deeply"
    except ValueError as fault:
        return None, f"is not JSON ({str(fault)[:120]})"


def _lines(name: str, text: str, whole_fault: str) -> tuple[list[Any], tuple[str, ...]]:
    """The objects of JSON Lines; a last line that was cut off, by a writer that was stopped, is left out and said."""
    rows: list[Any] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value, fault = _loads(line)
        if fault is not None or not isinstance(value, dict):
            if not rows:
                raise InputError(f"{name}: {whole_fault}; it may have been cut off")
            if fault is not None and number == len(lines):
                return rows, (f"{name}: line {number} was cut off and is left out",)
            raise InputError(f"{name}, line {number}: {fault or 'is not an object'}; remove it to read the rest")
        rows.append(value)
        if len(rows) > MAX_LINES:
            raise InputError(f"{name}: more than {MAX_LINES} lines; import a shorter run")
    return rows, ()


def _csv_rows(name: str, text: str) -> list[Any]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = [{str(k): v for k, v in row.items() if isinstance(v, str)} for row in reader]
    except csv.Error as fault:
        raise InputError(f"{name}: is neither JSON nor CSV ({fault})") from None
    if not rows:
        raise InputError(f"{name}: is neither JSON nor a CSV with a header and rows")
    return rows
