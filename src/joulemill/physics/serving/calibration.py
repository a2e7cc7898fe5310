"""Fit of a machine's few free coefficients to its own runs. Pure.

Catalog coefficients are the prior: each may move as far as its standard error and the spread between
machines let it.
Least squares on logarithms; standard errors from the curvature. With few runs the prior holds what they cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from joulemill.arrays import Array
from joulemill.errors import InputError

#: What differs from machine to machine and runs at different batches tell apart, with how far it may move (ln).
FREE: dict[str, float] = {
    "memory": 1.0, "attention_memory": 0.7, "wide_compute": 1.5, "unpacked_compute": 1.0, "step": 1.5, "sequence": 1.0,
    "ingest": 1.5, "wait_power": 0.7, "byte_energy": 1.0, "flop_energy": 1.0,
}  # fmt: skip
#: Error of one run that is expected of the model and the measurement together (ln).
NOISE_RATIO = 0.08


@dataclass(frozen=True)
class Fit:
    """Fitted coefficients, standard errors of the free ones' logarithms, and residuals ln(predicted ÷ measured)."""

    coefficients: Mapping[str, float]
    stderr: Mapping[str, float]
    residuals: Mapping[str, Array]


def fit_machine(
    prior: Mapping[str, float],
    measured: Mapping[str, Array],
    predicted: Callable[[Mapping[str, float]], Mapping[str, Array]],
    free: Sequence[str] = tuple(FREE),
) -> Fit:
    """Fit ``free`` coefficients so that ``predicted`` meets ``measured`` (quantity → one value per run, NaN unknown).

    InputError where nothing was measured.
    """
    names = [n for n in free if n in prior]
    start = np.log([prior[n] for n in names])
    spread = np.array([FREE.get(n, 0.5) for n in names])
    known = {q: np.isfinite(v) & (v > 0) for q, v in measured.items()}
    if not any(k.any() for k in known.values()):
        raise InputError("the runs hold no measured rate, latency or power to fit to")

    def errors(x: Array) -> dict[str, Array]:
        predictions = predicted({**prior, **dict(zip(names, np.exp(x), strict=True))})
        return {q: np.log(predictions[q][k] / measured[q][k]) for q, k in known.items()}

    def residuals(x: Array) -> Array:
        return np.concatenate([*(e / NOISE_RATIO for e in errors(x).values()), (x - start) / spread])

    fit = least_squares(residuals, start, x_scale=spread, max_nfev=100)
    error = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
    values = {**prior, **{n: float(np.exp(v)) for n, v in zip(names, fit.x, strict=True)}}
    return Fit(values, {n: float(e) for n, e in zip(names, error, strict=True)}, errors(fit.x))
