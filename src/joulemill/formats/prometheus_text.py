"""The Prometheus text format (0.0.4, and what OpenMetrics adds to it), as samples. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*+")
_LINE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*+)\s*+"  # name
    r'(?:\{((?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+)\}\s*+)?'  # labels; a value may hold a bracket
    r"([^\s#{]\S*+)(?:\s++(-?[\d.eE+]++))?\s*+(?:#.*)?$"  # value, timestamp, exemplar
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*+)\s*=\s*"((?:[^"\\]++|\\.)*+)"\s*(?:,|$)')
_BLANK = re.compile(r"\s*$")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}
#: Bounds of a page (assumed): a name with its labels, labels of a sample, samples that are wanted.
MAX_LINE = 65_536
MAX_LABELS = 128
MAX_SAMPLES = 200_000


@dataclass(frozen=True, slots=True)
class TextSample:
    """One line: a metric's name, its labels, its value, and the time that the exporter put to it (None: now)."""

    name: str
    labels: Mapping[str, str]
    value: float
    t_wall_s: float | None = None


def parse_exposition(text: str, wanted: Callable[[str], bool] | None = None) -> list[TextSample]:
    """Every sample of an exporter's page. Raises ValueError, with the line, for text that is not of the format.

    A timestamp above 1e11 is milliseconds (Prometheus), below it seconds (OpenMetrics).

    wanted   by its name, whether a sample is; the others' labels and values are not looked at, and a value of one that
             is no number is NaN: it is unknown, and the others of the page are none the worse
    """
    samples: list[TextSample] = []
    for number, line in enumerate(text.split("\n"), 1):  # a label may hold whatever else ends a line for Unicode
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        name = _NAME.match(stripped)
        if wanted is not None and name is not None and not wanted(name.group()):
            continue
        try:
            samples.append(parse_line(stripped, strict=wanted is None))
        except ValueError as fault:
            raise ValueError(f"line {number}: {fault}") from None
        if len(samples) > MAX_SAMPLES:
            raise ValueError(f"line {number}: more than {MAX_SAMPLES:,} samples")
    return samples


def parse_line(line: str, *, strict: bool = True) -> TextSample:
    """The sample of one line. Raises ValueError for what is none.

    strict   refuse a value that is no number; else it is NaN
    """
    match = _LINE.match(line) if len(line) <= MAX_LINE else None
    if match is None:
        raise ValueError(f"not of the Prometheus text format: {line[:80]!r}")
    name, labels, value, moment = match.groups()
    t = None if moment is None else _number(moment) * (1e-3 if abs(_number(moment)) > 1e11 else 1.0)
    return TextSample(name, parse_labels(labels or ""), _number(value, strict=strict), t)


def _number(text: str, *, strict: bool = True) -> float:
    try:
        if text.isascii() and "_" not in text:  # which Python would take
            return float(text)
    except ValueError:
        pass
    if strict:
        raise ValueError(f"{text[:60]!r} is no number")
    return math.nan


def parse_labels(text: str) -> dict[str, str]:
    """``a="x",b="y"`` as a mapping. Raises ValueError, also for a label that stands twice."""
    labels: dict[str, str] = {}
    at = 0
    while _BLANK.match(text, at) is None:
        match = _LABEL.match(text, at)
        if match is None or match[1] in labels or len(labels) >= MAX_LABELS:
            raise ValueError(f"labels {text[at : at + 60]!r} cannot be read")
        value = match[2]
        labels[match[1]] = _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[0]), value) if "\\" in value else value
        at = match.end()
    return labels
