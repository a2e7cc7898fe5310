"""What a step of a replica costs in time and device energy, tabulated so that a loop over steps only looks up. Pure.

A decode step of b sequences with C tokens behind them in all lasts, and takes,

    t = a + g·C        E = a' + g'·C        a, g by b and by the knot of C/b at or below

in whole ticks of 2⁻¹⁶ ns, so that k steps sum to the same tick as one closed form (C grows by b a step):

    T(k) = k·a + g·(k·C + b·k(k − 1)/2)

Where a step yields more than a token, tokens behind are counted in grains, so that C still grows by a whole number.
A step with prompts is interpolated between knots of (rows, b, C/b, tokens before a prompt's): every term of the physics
is a product of at most one power of each but the arithmetic of the rows, whose knots lie close. The energy of such a
step beyond that of the decode step in it is the prompts'.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError

#: Ticks in a nanosecond; an hour's stretch of steps is far below 2⁶³ of them.
TICKS = 65536
#: Time [s] and energy of all devices of the replica [J] of steps with ``decode_req`` sequences at ``context_tok`` each.
PlainStep = Callable[[Array, Array], tuple[Array, Array]]
#: The same with ``rows_tok`` rows in all (those that decode, and prompt tokens), the latter ``past_tok`` deep.
MixedStep = Callable[[Array, Array, Array, Array], tuple[Array, Array]]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepCost:
    """Tables of one replica under one setting; rows of the first four are sequences, 0 on, columns are context knots.

    grain_count      C is counted in so many parts of a token
    time_ticks, time_ticks_grain     a and g above, the latter a grain
    energy_j, energy_grain_j         a' and g'
    context_grains   knots of the mean context of a sequence
    mixed_knots      of rows, sequences, context and past tokens, in whose product ``mixed_s``, ``mixed_j`` run
    """

    grain_count: int
    time_ticks: list[list[int]]
    time_ticks_grain: list[list[int]]
    energy_j: list[list[float]]
    energy_grain_j: list[list[float]]
    context_grains: list[int]
    mixed_knots: tuple[list[float], list[float], list[float], list[float]]
    mixed_s: list[float]
    mixed_j: list[float]

    @property
    def most_req(self) -> int:
        """Most sequences that the tables hold."""
        return len(self.time_ticks) - 1

    def segment(self, decode_req: int, grains: int) -> int:
        """Column of ``decode_req`` sequences with ``grains`` behind them in all."""
        return bisect_right(self.context_grains, grains // decode_req, 1, len(self.context_grains) - 1) - 1

    def decode(self, decode_req: int, grains: int) -> tuple[int, float]:
        """Ticks and joules of one decode step."""
        if decode_req == 0:
            return 0, 0.0
        at = self.segment(decode_req, grains)
        ticks = self.time_ticks[decode_req][at] + self.time_ticks_grain[decode_req][at] * grains
        return ticks, self.energy_j[decode_req][at] + self.energy_grain_j[decode_req][at] * grains

    def mixed(self, decode_req: int, grains: int, prefill_tok: int, past_tok: float) -> tuple[int, float]:
        """Ticks and joules of a step that also computes ``prefill_tok`` of prompts, ``past_tok`` deep on average."""
        rows, sequences, contexts, pasts = self.mixed_knots
        mean_tok = grains / (decode_req * self.grain_count) if decode_req else 0.0
        i, u = _place(rows, decode_req + prefill_tok)
        j, v = _place(sequences, decode_req)
        k, w = _place(contexts, mean_tok)
        m, x = _place(pasts, past_tok)
        n_past = len(pasts)
        n_context = n_past * len(contexts)
        n_sequence = n_context * len(sequences)
        at = i * n_sequence + j * n_context + k * n_past + m
        corners = (at, at + n_past, at + n_context, at + n_context + n_past)
        time_s, energy_j = 0.0, 0.0
        for corner, share in zip(corners, ((1 - v) * (1 - w), (1 - v) * w, v * (1 - w), v * w), strict=True):
            if share:
                time_s += share * _plane(self.mixed_s, corner, n_sequence, u, x)
                energy_j += share * _plane(self.mixed_j, corner, n_sequence, u, x)
        return max(int(time_s * 1e9 * TICKS), 1), energy_j


def _place(knots: Sequence[float], value: float) -> tuple[int, float]:
    """Knot at or below ``value``, and how far it lies towards the next one; beyond the last, more than 1."""
    if value <= knots[0]:
        return 0, 0.0
    i = bisect_right(knots, value, 1, len(knots) - 1) - 1
    return i, (value - knots[i]) / (knots[i + 1] - knots[i])


def _plane(values: list[float], at: int, stride: int, u: float, x: float) -> float:
    near = values[at] + x * (values[at + 1] - values[at])
    far = values[at + stride] + x * (values[at + stride + 1] - values[at + stride])
    return near + u * (far - near)


@dataclass(frozen=True, kw_only=True)
class Knots:
    """Where costs are tabulated: up to so many sequences, rows, and tokens behind one; ``bend_tok`` are contexts at
    which costs bend (a sliding window)."""

    most_req: int
    most_rows_tok: float
    most_context_tok: float
    grain_count: int = 1
    bend_tok: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.most_req < 1 or not self.most_rows_tok >= 1.0 or not self.most_context_tok >= 1.0:
            raise InputError(f"a step has at least one sequence, row and token: {self}")

    @property
    def contexts(self) -> Array:
        """Contexts of a decode step."""
        return self._with_bends(doubling(64.0, self.most_context_tok, 2.0**0.5))

    @property
    def mixed(self) -> tuple[Array, Array, Array, Array]:
        """Knots of rows, sequences, contexts and past tokens of a step with prompts."""
        rows = doubling(1.0, self.most_rows_tok + self.most_req, 1.25)
        sequences = doubling(1.0, float(self.most_req), 2.0**0.5)
        contexts = self._with_bends(doubling(1024.0, self.most_context_tok, 2.0**0.5))
        return rows, sequences, contexts, self._with_bends(doubling(1024.0, self.most_context_tok, 4.0))

    def _with_bends(self, knots: Array) -> Array:
        bends = [b for b in self.bend_tok if 0.0 < b < self.most_context_tok]
        return np.unique(np.rint(np.concatenate([knots, bends])))


def doubling(first: float, last: float, factor: float) -> Array:
    """0, ``first`` and on by ``factor`` until ``last`` is reached."""
    steps = max(0, int(np.ceil(np.log(max(last / first, 1.0)) / np.log(factor) - 1e-9)))
    return np.concatenate([[0.0], first * factor ** np.arange(steps + 1)])


def tabulated(plain: PlainStep, mixed: MixedStep, knots: Knots) -> StepCost:
    """Tables of ``plain`` and ``mixed`` at ``knots``. InputError where a cost is not positive and finite."""
    sequences = np.arange(knots.most_req + 1, dtype=np.float64)[:, None]
    contexts = knots.contexts
    busy = np.maximum(sequences, 1.0)
    time_s, energy_j = (np.broadcast_to(x, (sequences.size, contexts.size)) for x in plain(busy, contexts[None, :]))
    grid = [np.asarray(k, dtype=np.float64) for k in knots.mixed]
    mesh = [axis.ravel() for axis in np.meshgrid(*grid, indexing="ij")]
    mixed_s, mixed_j = (np.broadcast_to(x, mesh[0].shape) for x in mixed(*mesh))
    for costs in (time_s, energy_j, mixed_s, mixed_j):
        if not np.isfinite(costs).all():
            raise InputError("a step's time or energy is not known; give the device's TDP, or a higher power cap")
    grains = contexts * knots.grain_count
    slope_s, slope_j = (np.maximum(np.diff(x, axis=1), 0.0) / np.diff(grains) / busy for x in (time_s, energy_j))
    level_s, level_j = (x[:, :-1] - s * busy * grains[:-1] for x, s in ((time_s, slope_s), (energy_j, slope_j)))
    return StepCost(
        grain_count=knots.grain_count,
        time_ticks=_ticks(level_s),
        time_ticks_grain=_ticks(slope_s),
        energy_j=level_j.tolist(),
        energy_grain_j=slope_j.tolist(),
        context_grains=grains.astype(np.int64).tolist(),
        mixed_knots=(grid[0].tolist(), grid[1].tolist(), grid[2].tolist(), grid[3].tolist()),
        mixed_s=mixed_s.tolist(),
        mixed_j=mixed_j.tolist(),
    )


def _ticks(time_s: Array) -> list[list[int]]:
    ticks: list[list[int]] = np.rint(time_s * (1e9 * TICKS)).astype(np.int64).tolist()
    return ticks
