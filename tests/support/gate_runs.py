"""Runs for decisions: sub-windows of known J/token, noise and autocorrelation."""

from __future__ import annotations

from typing import Any

import numpy as np
from simulated.noise import ar1

from joulemill.decisions.gate.sample import Sample, Share
from joulemill.figure import Basis, Figure, unknown
from joulemill.statistics.ratio import ratio_interval

CONDITIONS: dict[str, str | float | None] = {"model": "m", "hardware": "1 x h100", "load": "concurrency 8"}


def sample(
    j_tok: float = 0.5, *, noise: float = 0.02, phi: float = 0.3, windows: int = 60, seed: int = 0, **facts: Any
) -> Sample:
    """Sub-windows of 900 tok and ``j_tok`` with relative AR(1) noise; 36 questions of which 30 are right."""
    rng = np.random.default_rng(seed)
    joules = 900 * j_tok * (1 + noise * ar1(rng, phi, 1, windows)[0])
    tokens = np.full(windows, 900.0)
    found = ratio_interval(joules, tokens, 0.02 * float(joules.sum()))
    figure = Figure(found.value, "J/tok", Basis.MEASURED, low=found.low, high=found.high, level=0.95)
    given: dict[str, Any] = {
        "name": f"run{seed}",
        "figure": figure,
        "energy_j": tuple(joules),
        "amount_count": tuple(tokens),
        "window_s": float(windows),
        "accuracy": Share(30, 36, of="small"),
        "conditions": CONDITIONS,
        "meters": frozenset({"nvml"}),
        "sensors": frozenset({"nvml GPU-0"}),
    }
    return Sample(**{**given, **facts})


def unmetered(name: str = "bare") -> Sample:
    return sample(name=name, figure=unknown("J/tok", "nothing metered the node"), energy_j=(), amount_count=())
