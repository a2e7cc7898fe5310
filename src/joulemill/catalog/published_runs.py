"""Runs that others measured and published, as facts (``published_runs.csv``): to look at beside predictions."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

_TEXTS = ("model", "device", "precision", "task", "source", "license", "note")


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """One published run. None is not published.

    model, device, precision   names of the catalog;  ``devices``: how many
    concurrency                mean requests in flight
    input_tok, output_tok      mean lengths of a request;  ``task``: what was asked
    rate_tok_s                 output tokens per second
    device_j_tok, node_j_tok   energy per output token: of the boards, of the whole server at its plug
    tpot_s                     time between output tokens (median)
    source, license            where it was published, and the license of that publication
    """

    model: str
    device: str
    devices: float
    precision: str
    task: str
    concurrency: float | None
    input_tok: float | None
    output_tok: float | None
    rate_tok_s: float | None
    device_j_tok: float | None
    node_j_tok: float | None
    tpot_s: float | None
    source: str
    license: str
    note: str


@cache
def published_runs() -> tuple[PublishedRun, ...]:
    """All of them, in the order of the file."""
    with (files("joulemill.catalog") / "data" / "published_runs.csv").open(encoding="utf-8") as lines:
        return tuple(PublishedRun(**dict(_values(row))) for row in csv.DictReader(lines))


def _values(row: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for field in fields(PublishedRun):
        text = row[field.name]
        yield field.name, text if field.name in _TEXTS else float(text) if text else None
