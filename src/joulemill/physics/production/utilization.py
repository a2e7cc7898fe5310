"""Utilization: joules per token of a plant that is not always busy. Pure, vectorised.

A plant of full-load rate R [tok/s] and power P_full [W] that idles at P_idle [W], busy a share U of the time:

    P(U) = P_idle + (P_full − P_idle) · U          e(U) = P(U) / (U·R) = e_full + P_idle · (1 − U) / (U·R)

Real servers at part load run smaller batches and cost more than this line: e(U) is a lower bound at given U unless
the load comes in bursts at full batch. Over a day, Σ joules ÷ Σ tokens; ratios are never averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from joulemill.arrays import Array
from joulemill.errors import InputError


@dataclass(frozen=True)
class PartLoad:
    """What a deployment does at full load and at idle; scope of the powers as the caller states (node or site)."""

    full_tok_s: float
    full_w: float
    idle_w: float

    def __post_init__(self) -> None:
        if not (self.full_tok_s > 0 and self.full_w > 0 and 0 <= self.idle_w <= self.full_w):
            raise InputError("a plant needs a positive rate, a positive power, and idle power between 0 and full power")

    @property
    def full_j_tok(self) -> float:
        """J/tok at full load."""
        return self.full_w / self.full_tok_s


@dataclass(frozen=True)
class Period:
    """A period with changing load. ``idle_j`` is idle power over the time not busy; it is part of ``energy_j``."""

    duration_s: float
    output_tok: float
    energy_j: float
    idle_j: float
    utilization_ratio: float

    @property
    def energy_j_tok(self) -> float | None:
        """Σ J ÷ Σ tok; None without tokens."""
        return self.energy_j / self.output_tok if self.output_tok > 0 else None


def mean_power_w(plant: PartLoad, utilization: ArrayLike) -> Array:
    """P(U) [W]; U between 0 and 1, any shape."""
    u = _checked(utilization)
    return np.asarray(plant.idle_w + (plant.full_w - plant.idle_w) * u)


def energy_j_tok(plant: PartLoad, utilization: ArrayLike) -> Array:
    """e(U) [J/tok], idle energy included; inf at U = 0 where the plant idles above 0 W."""
    u = _checked(utilization)
    with np.errstate(divide="ignore", invalid="ignore"):
        idle = np.where(u > 0, plant.idle_w * (1 - u) / (u * plant.full_tok_s), np.inf if plant.idle_w else 0.0)
    return np.asarray(plant.full_j_tok + idle)


def period_of(plant: PartLoad, utilization: ArrayLike, step_s: float) -> Period:
    """A period made of equal steps of ``step_s`` [s] at the given utilizations, e.g. 24 hours of a day."""
    u = _checked(utilization).ravel()
    if not u.size or not step_s > 0:
        raise InputError("a period needs at least one step of positive length")
    return Period(
        duration_s=step_s * u.size,
        output_tok=float(plant.full_tok_s * u.sum() * step_s),
        energy_j=float(mean_power_w(plant, u).sum() * step_s),
        idle_j=float(plant.idle_w * (1 - u).sum() * step_s),
        utilization_ratio=float(u.mean()),
    )


def _checked(utilization: ArrayLike) -> Array:
    u = np.asarray(utilization, float)
    if np.any(~((u >= 0) & (u <= 1))):
        raise InputError("utilization must lie between 0 and 1")
    return u
