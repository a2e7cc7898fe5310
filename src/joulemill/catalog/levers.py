"""Published evidence about levers (``levers.toml``), and how far predicted ratios of measured pairs were off."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

QUALITIES = ("same", "small", "unknown", "changes", "none")
#: Levers whose evidence stands under another name.
_SHARED = {"batch-x4": "batch-x2", "max-batch": "batch-x2", "tp-down": "tp-up"}


@dataclass(frozen=True)
class LeverEvidence:
    """What is published about a lever: effect, conditions, source; effect on quality; what it takes to do it."""

    effect: str
    conditions: str
    source: str
    quality: str
    quality_text: str
    cost_text: str


@dataclass(frozen=True)
class PairedError:
    """80 % quantile of |ln predicted − ln measured| over ``n`` pairs of runs that differ in one kind of lever."""

    half_width_ratio: float
    n: int


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("joulemill.catalog") / "data" / "levers.toml").read_text(encoding="utf-8"))


@cache
def evidence() -> dict[str, LeverEvidence]:
    """All evidence by lever; ``device`` stands for every ``device-…``."""
    return {name: LeverEvidence(**row) for name, row in _table()["lever"].items()}


def evidence_of(lever: str) -> LeverEvidence:
    """Evidence of one lever."""
    return evidence()["device" if lever.startswith("device-") else _SHARED.get(lever, lever)]


@cache
def paired_errors() -> dict[str, PairedError]:
    """By kind of lever."""
    rows = {k: v for k, v in _table()["paired"].items() if isinstance(v, dict)}
    return {k: PairedError(v["half_width"], v["n"]) for k, v in rows.items()}


QUALITY = {
    "same": "same outputs",
    "small": "small loss",
    "unknown": "unknown",
    "changes": "another model",
    "none": "not touched",
}
