"""The Prometheus text format (0.0.4, and what OpenMetrics adds to it), as samples. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LINE = re.compile(
    r"^([a-zA-Z_:][a-zA-Z0-9_:]*)"  # name
    r'(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?'  # labels; a value may hold a bracket
    r"\s+(\S+)(?:\s+(-?[\d.eE+]+))?(?:\s+#.*)?$"  # value, timestamp, exemplar
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a metric's name, its labels, its value, and the time that the exporter put to it (None: now)."""

    name: str
    labels: Mapping[str, str]
    value: float
    t_wall_s: float | None = None


def parse_exposition(text: str) -> list[Sample]:
    """Every sample of an exporter's page. Raises ValueError, with the line, for text that is not of the format.

    A timestamp above 1e11 is milliseconds (Prometheus), below it seconds (OpenMetrics).
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            found.append(_sample(stripped, number))
    return found


def _sample(line: str, number: int) -> Sample:
    match = _LINE.match(line)
    if match is None:
        raise ValueError(f"line {number} is not of the Prometheus text format: {line[:80]!r}")
    name, labels, value, moment = match.groups()
    try:
        t = None if moment is None else float(moment) * (1e-3 if abs(float(moment)) > 1e11 else 1.0)
        return Sample(name, parse_labels(labels or ""), float(value), t)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def parse_labels(text: str) -> dict[str, str]:
    """``a="x",b="y"`` as a mapping. Raises ValueError."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text) and text[at:].strip():
        match = _LABEL.match(text, at)
        if match is None:
            raise ValueError(f"labels {text[at:][:60]!r} cannot be read")
        found[match.group(1)] = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(0)), match.group(2))
        at = match.end()
    return found
