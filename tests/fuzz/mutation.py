"""Mutations of a seed: of its bytes, of its lines, and of its structure where it is JSON. Repeatable."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

#: Values that parsers stumble over: wrong kinds, blanks of vendors, limits, control characters, numbers that overflow.
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    0.5,
    -0.5,
    2**31,
    2**53,
    2**62,
    2**64,
    -(2**63),
    10**30,
    10**400,
    1e-320,
    1e19,
    1e300,
    9223372036854775792,
    140737488355328,
    32767,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    "x",
    "0",
    "-1",
    "N/A",
    "nan",
    "inf",
    "1e400",
    "9" * 400,
    "\x00",
    "\x1b]0;x\x07",
    "\ud800",
    "\u202e",
    "a" * 3000,
    [],
    [[]],
    {},
    [None],
    [1, 2],
    {"": None},
    {"a": 1},
    "http://x/",
    "../../etc",
    "%s%n",
    "٣",
)
TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b"\r",
    b"\n",
    b"\r\n",
    b"\xe2\x80\xa8",
    b"\x1b[2J",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b"#",
    b" ",
    b"\t",
    b"1e400",
    b"NaN",
    b"-",
    b"9" * 400,
    b"\xed\xa0\x80",
    b"[" * 2000,
    b"{" * 2000,
)
_LARGEST = 200_000


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """One mutation, or a few, of ``seed``."""
    data = seed
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(KINDS)(data, chance)[:_LARGEST]  # else copies of copies would be this process's memory
    return data


def _bits(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return bytes([chance.randrange(256)])
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _remove(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.randrange(1, 40) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _number(data: bytes, chance: random.Random) -> bytes:
    """A run of digits becomes another number."""
    places = [i for i, b in enumerate(data) if 48 <= b <= 57]
    if not places:
        return _insert(data, chance)
    at = chance.choice(places)
    end = at
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    other = chance.choice((b"0", b"-1", b"1e400", b"NaN", b"1e300", b"9223372036854775792", b"", b"9" * 400, b"0.5"))
    return data[:at] + other + data[end:]


def _lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at = chance.randrange(len(lines))
    kind = chance.randrange(4)
    if kind == 0:
        return b"".join([*lines[:at], *lines[at + 1 :]])
    if kind == 1:
        return b"".join([*lines[: at + 1], *lines[at:]])
    if kind == 2:
        chance.shuffle(lines)
        return b"".join(lines)
    return b"".join([*lines[:at], lines[at] * chance.choice((10, 100)), *lines[at + 1 :]])


def _structure(data: bytes, chance: random.Random) -> bytes:
    """A value anywhere in a JSON document, or in one of its lines, becomes another, moves or goes."""
    for piece in (data, *chance.sample(data.splitlines() or [b""], 1)):
        try:
            document = json.loads(piece)
        except (ValueError, RecursionError):
            continue
        changed = _encoded(_changed(document, chance))
        return changed if piece is data else data.replace(piece, changed, 1)
    return _number(data, chance)


def _encoded(document: Any) -> bytes:
    try:
        return json.dumps(document).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b"{}"


def _changed(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        kind = chance.random()
        if kind < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.2:
            return {**value, chance.choice([*value, "x", "", "__class__"]): chance.choice(ODD)}
        return {**value, key: _changed(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.1:
            return value[:at] + value[at + 1 :]
        if kind < 0.2:
            return value + [value[at]] * chance.choice((1, 50))
        return [*value[:at], _changed(value[at], chance), *value[at + 1 :]]
    return chance.choice(ODD)


KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _bits,
    _cut,
    _remove,
    _insert,
    _number,
    _lines,
    _structure,
    _structure,
    _structure,
)
