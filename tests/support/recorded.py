"""Run folders on disk with a known J/token, noise in their meter, and answered questions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from simulated.readings import channel
from simulated.runs import steady_run

from joulemill.ledger.record import QualityAnswer, Reading, RunRecord, Scope
from joulemill.recording.writer import write_run
from tests.support.manifests import manifest_of, members_of


def recorded(
    path: Path,
    *,
    seed: int = 1,
    factor: float = 1.0,
    noise: float = 0.05,
    right: int = 30,
    model: str = "a model",
    metered: bool = True,
    scope: Scope = Scope.NODE,
    **manifest: Any,
) -> Path:
    """A steady run of 3.75 × ``factor`` J/tok whose power between readings varies by ``noise``."""
    run = steady_run(factor=factor, channels=(channel("meter:a:energy", scope=scope, update_period_s=0.01),))
    told = {
        "model": {"name": model},
        "device": {"name": "h100", "count": 1},
        "created_wall_s": 1.7e9 + seed,
        **manifest,
    }
    answers = tuple(
        QualityAnswer(
            request_id=f"quality:{i}",
            task="small",
            question_id=str(i),
            scorer="exact",
            expected="a",
            answer="a",
            score=float(i < right),
        )
        for i in range(36)
    )
    readings = noisy(run, noise, seed) if metered else ()
    channels = run.channels if metered else ()
    run = dataclasses.replace(
        run, channels=channels, readings=readings, quality=answers, manifest=manifest_of({**members_of(run), **told})
    )
    write_run(path, run)
    return path


def noisy(run: RunRecord, noise: float, seed: int) -> tuple[Reading, ...]:
    values = np.array([r.value for r in run.readings])
    steps = np.diff(values) * (1 + noise * np.random.default_rng(seed).standard_normal(len(values) - 1))
    counter = values[0] + np.concatenate(([0.0], np.cumsum(steps)))
    return tuple(dataclasses.replace(r, value=float(v)) for r, v in zip(run.readings, counter, strict=True))
