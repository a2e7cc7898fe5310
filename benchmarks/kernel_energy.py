"""Energy of kernels from their watts: static, active, per FLOP and per byte, all non-negative.

The board's reading averages over a second or so and the benchmark starts each loop cold, so a reading is mixed with
what the board did before: most often with waiting, and then it is too low. The fit therefore aims at the upper part
of neighbouring rows (the 70 % quantile), counts rows at the power limit as "at least this much", and leaves out rows
that the host's launches paced. What a byte costs is one number a board, taken from bf16 matrix products, whose sweep
is the densest; rows of other kernels that read less than half of what their bytes alone would cost are lagged, and
left out. Where a kernel's own rows say little, its coefficients lean on those of the matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import nnls

from joulemill.physics.kernels import KernelEnergy, cached_share_ratio, rescaled
from kernel_rows import BOARDS, Rows

QUANTILE = 0.7
FOLDS = 4
SAMPLE = 8000
#: Shares of a byte's energy that might be spent when the cache serves it; the best fit to matrix products is taken.
CACHE_RATIOS = (0.1, 0.3, 0.6, 1.0)
#: Weight of the matrix products' coefficients beside a kernel's own rows.
LEAN = 0.03
#: Scale of a matrix column: coefficients in W, pJ/flop, pJ/byte.
PICO = np.array([1.0, 1e-12, 1e-12])


@dataclass(frozen=True)
class EnergyFit:
    """Fitted energy of a kernel; relative standard errors; median absolute relative errors out of sample."""

    energy: KernelEnergy
    stderr: dict[str, float]
    clean: float
    all: float
    long: float
    clean_error: np.ndarray
    uncapped: float
    uncapped_error: np.ndarray


def neighbourhood_w(rows: Rows, width: int = 7) -> np.ndarray:
    """70 % quantile of the power of the rows around each one, along its group's order."""
    index = np.lexsort((rows.order, rows.group))
    group, power = rows.group[index], rows.power_w[index]
    out, half = np.empty(len(power)), width // 2
    edges = np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(group)]])
    for a, b in pairwise(edges):
        padded = np.concatenate([np.full(half, np.nan), power[a:b], np.full(half, np.nan)])
        out[a:b] = np.nanquantile(np.lib.stride_tricks.sliding_window_view(padded, width), QUANTILE, axis=1)
    back = np.empty(len(power))
    back[index] = out
    return back


def static_w(fits: list[Any], device: str) -> float:
    """Power of an awake board that computes next to nothing: the 1 % quantile of all its rows."""
    return float(np.quantile(np.concatenate([f.rows.power_w for f in fits if f.rows.key[2] == device]), 0.01))


def terms(fit: Any, cache_ratio: float) -> np.ndarray:
    """Columns: busy share, Tflop/s, TB/s from memory (cached bytes at their share) of each row."""
    rows, t = fit.rows, fit.rows.latency_s
    cached = cached_share_ratio(rows.work.byte, rows.board["cache"])
    byte = (rows.work.byte + rows.base_byte) * (1 - cached * (1 - cache_ratio)) + rows.work.pass_byte
    busy = np.clip(1.0 - fit.rate.launch_s / t, 0.05, 1.0)
    return np.stack([busy, (rows.work.flop + rows.base_flop) / t, byte / t], axis=1) * PICO


def fold_of(rows: Rows) -> np.ndarray:
    """Fold in which a row's group is left out; the same as for the times."""
    return rows.group.astype(np.int64) * 2654435761 % 97 % FOLDS


def usable(rows: Rows) -> np.ndarray:
    """Rows that the device, not the host's launches, paced."""
    return (rows.latency_s > 1.3 * rows.floor_s) & (rows.power_w > 0)


def upper_nnls(
    columns: np.ndarray, power: np.ndarray, known: np.ndarray, limit: float, lean: np.ndarray | None = None
) -> np.ndarray:
    """Non-negative x for which ``known + columns @ x`` is the upper quantile of ``power``, errors being relative.

    Rows at the limit bound from below only. ``lean``: values that x is drawn to where rows say little.
    """
    weight, capped = np.ones(len(power)), power > 0.96 * limit
    count = columns.shape[1]
    pull = 0.3 * np.sqrt(LEAN * max(len(power), 1))
    extra = np.empty((0, count)) if lean is None else np.diag(pull / lean)
    x = np.zeros(count)
    for _ in range(25):
        left = np.concatenate([columns * (weight / power)[:, None], extra])
        right = np.concatenate([np.maximum(power - known, 0.0) / power * weight, np.full(len(extra), pull)])
        x, _norm = nnls(left, right)
        gap = (known + columns @ x) / power - 1
        weight = np.sqrt(np.where(gap > 0, 1 - QUANTILE, QUANTILE) / np.maximum(np.abs(gap), 0.02))
        weight[capped & (gap > 0)] = 1e-6
    return x


@dataclass(frozen=True)
class Board:
    """What the matrix products say of a board: coefficients (W, pJ/flop, pJ/byte), and the share of a cached byte."""

    static_w: float
    limit: float
    x: np.ndarray
    cache_ratio: float


def board_of(fits: list[Any], device: str, leave: int = -1) -> Board:
    """Static power, the cost of a byte and of a bf16 FLOP, from the densest sweep of bf16 products."""
    static, limit = static_w(fits, device), BOARDS[device]["limit"]
    f = max((f for f in fits if f.rows.key[:3] == ("gemm", "bf16", device)), key=lambda f: len(f.rows.power_w))
    clean = (np.abs(f.rows.power_w / neighbourhood_w(f.rows) - 1) < 0.12) & (fold_of(f.rows) != leave)
    best = (np.inf, np.zeros(3), 1.0)
    for ratio in CACHE_RATIOS:
        columns, power = terms(f, ratio)[clean], f.rows.power_w[clean]
        x = upper_nnls(columns, power, np.full(len(power), static), limit)
        error = float(np.mean(np.abs(np.minimum(static + columns @ x, limit) / power - 1)))
        if error < best[0]:
            best = (error, x, ratio)
    return Board(static, limit, best[1], best[2])


def fit_energy(fits: list[Any]) -> dict[tuple[str, ...], EnergyFit]:
    """Energy of every fitted kernel whose rows have usable watts."""
    out: dict[tuple[str, ...], EnergyFit] = {}
    for device in BOARDS:
        board = board_of(fits, device)
        boards = [board_of(fits, device, leave) for leave in range(FOLDS)]
        for f in fits:
            if f.rows.key[2] == device and usable(f.rows).sum() >= 60:
                out[f.rows.key] = _fit_one(f, board, boards)
    return out


def _fit_one(f: Any, board: Board, boards: list[Board]) -> EnergyFit:
    rows, columns = f.rows, terms(f, board.cache_ratio)
    fold = fold_of(rows)
    moving = board.static_w + columns[:, 2] * board.x[2]
    lagged = rows.power_w < board.static_w + 0.5 * (moving - board.static_w)
    chosen = usable(rows) & ~lagged
    if chosen.sum() > SAMPLE:
        index = np.random.default_rng(1).choice(np.flatnonzero(chosen), SAMPLE, replace=False)
        chosen = np.zeros(len(chosen), dtype=bool)
        chosen[index] = True
    lean, predicted, trials = np.maximum(board.x[:2], 0.05), np.empty(len(rows.power_w)), []
    for out, other in enumerate(boards):
        seen, here = terms(f, other.cache_ratio), fold == out
        x = _own(seen, rows.power_w, chosen & ~here, other, np.maximum(other.x[:2], 0.05))
        trials.append(x)
        predicted[here] = np.minimum(other.static_w + seen[here] @ x, other.limit)
    x = _own(columns, rows.power_w, chosen, board, lean)
    return _scored(f, predicted, x, np.std(trials, axis=0) * np.sqrt(FOLDS - 1), board, lagged)


def _own(columns: np.ndarray, power: np.ndarray, keep: np.ndarray, board: Board, lean: np.ndarray) -> np.ndarray:
    """A kernel's own (active, flop), and the board's byte."""
    c = columns[keep]
    own = upper_nnls(c[:, :2], power[keep], board.static_w + c[:, 2] * board.x[2], board.limit, lean)
    return np.append(own, board.x[2])


def _scored(
    f: Any, predicted: np.ndarray, x: np.ndarray, spread: np.ndarray, board: Board, lagged: np.ndarray
) -> EnergyFit:
    around, seen = neighbourhood_w(f.rows), usable(f.rows)
    clean = seen & ~lagged & (np.abs(f.rows.power_w / around - 1) < 0.12)
    error = np.abs(predicted / f.rows.power_w - 1)
    scatter = float(np.clip(1.4826 * np.median(np.abs(np.log(predicted / f.rows.power_w))[clean]), 0.02, 1.0))
    free = clean & (f.rows.power_w < 0.96 * board.limit)
    long = clean & (f.rows.latency_s > 50e-6)
    names = ("active_w", "energy_j_flop", "energy_j_byte")
    nan = float("nan")
    energy = KernelEnergy(board.static_w, *map(float, x / np.array([1, 1e12, 1e12])), board.cache_ratio, scatter)
    stderr = dict(zip(names, map(float, spread * PICO), strict=True))
    return EnergyFit(
        energy,
        stderr,
        clean=float(np.median(error[clean])),
        all=float(np.median(error[seen])),
        long=float(np.median(error[long])) if long.any() else nan,
        clean_error=error[clean],
        uncapped=float(np.median(error[free])) if free.any() else nan,
        uncapped_error=error[free],
    )


def transferred_w(fit: Any, energy: KernelEnergy, source: Rows) -> np.ndarray:
    """Watts of a board's rows from another board's energy, rescaled by their data sheets."""
    limit = fit.rows.board["limit"]
    own = rescaled(energy, limit / source.board["limit"], fit.rows.peak_flop_s / source.peak_flop_s, 0.0)
    x = np.array([own.active_w, own.energy_j_flop * 1e12, own.energy_j_byte * 1e12])
    return np.minimum(own.static_w + terms(fit, own.cache_ratio) @ x, limit)
