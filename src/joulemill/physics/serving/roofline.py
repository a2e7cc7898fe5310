"""Memory and arithmetic beside each other: the time of work that both share. Pure, vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array


def soft_s(a_s: Array, b_s: Array) -> Array:
    """(a³ + b³)^⅓: the larger of two times where they differ, 26 % above both where they are equal."""
    return np.asarray(np.cbrt(a_s * a_s * a_s + b_s * b_s * b_s))


def exposed_s(compute_s: Array, whole_s: Array) -> Array:
    """d whole / d ln(slowdown of arithmetic) of a soft maximum: c³/s², 0 where there is nothing to do."""
    ratio = compute_s / np.maximum(whole_s, 1e-30)
    return np.asarray(compute_s * ratio * ratio)


def by_class(values: tuple[float, ...], kind: Array) -> Array:
    """Of each row the value of its class of arithmetic."""
    if isinstance(values[0], np.ndarray):  # a column of rates to compute with at once
        return np.choose(kind.astype(np.intp), values)
    return np.asarray(values)[kind.astype(np.intp)]


@dataclass(frozen=True, slots=True)
class RooflinePart:
    """Work that memory and arithmetic share: their times [s] were each alone, and what comes on top of both."""

    memory_s: Array
    compute_s: Array
    more_s: Array | float = 0.0

    @property
    def both_s(self) -> Array:
        """Memory and arithmetic beside each other."""
        return soft_s(self.memory_s, self.compute_s)
