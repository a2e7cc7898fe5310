"""Energy of kernels from their watts: static, active, per FLOP and per byte, all non-negative.

The board's reading averages over a second or so, and a benchmark's loop that ends sooner is mixed with what the board
did before: the same kernel reads 160 W and 600 W. How many readings stand behind a row's mean shows in its decimals
(``rows.loop_readings``), so the fit takes rows whose loop lasted long enough to settle, and no others. What a
byte costs is one number a board: the one under which attention, products and experts are told best together. Where a
kernel's own rows say little, its coefficients lean on those of its family on the same board.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.kernels.law import KernelEnergy, cached_share_ratio, rescaled
from benchmarks.kernels.rows import BOARDS, FOLDS, Rows, fold_of
from scipy.optimize import nnls

#: Readings after which a mean counts as settled: 0.8 s of the board's one-second average.
SETTLED = 8
SAMPLE = 8000
#: Rows of each kernel that speak for the cost of a byte, and for a family.
SHARED_SAMPLE = 1500
#: Kernels that tell what a byte costs: from all compute to all memory.
TELL_BYTES = (("gemm", "bf16"), ("decode_attention", "bf16"), ("decode_attention", "fp8"), ("moe", "bf16"))
#: Costs of a byte from memory that are tried [pJ], and shares of it that a cached byte costs.
BYTE_PJ = np.arange(0.0, 121.0, 4.0)
CACHE_RATIOS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 1.0)
#: Fewest settled rows that are fitted, and that are scored.
ENOUGH, SCORED = 30, 10
#: Weight of the family's coefficients beside a kernel's own rows.
LEAN = 0.03
#: Scale of a matrix column: coefficients in W, pJ/flop, pJ/byte.
PICO = np.array([1.0, 1e-12, 1e-12])


@dataclass(frozen=True)
class EnergyFit:
    """Fitted energy of a kernel; relative standard errors; errors out of sample.

    settled_error   |predicted/measured − 1| of settled rows over 50 µs, those at the limit among them
    uncapped_error  the same without rows at the limit
    all             median over every row that the device paced, lagged readings included
    """

    energy: KernelEnergy
    stderr: dict[str, float]
    settled_error: np.ndarray
    uncapped_error: np.ndarray
    all: float

    @property
    def settled(self) -> float | None:
        """Median of the settled rows; None where too few settled."""
        return _median(self.settled_error)

    @property
    def uncapped(self) -> float | None:
        """Median of the settled rows under the limit; None where too few."""
        return _median(self.uncapped_error)


def _median(error: np.ndarray) -> float | None:
    return float(np.median(error)) if len(error) >= SCORED else None


@dataclass(frozen=True)
class Board:
    """A board: static watts, limit, what a byte from memory costs (pJ), and a cached byte's share of that."""

    static_w: float
    limit: float
    byte_pj: float
    cache_ratio: float

    def watts(self, columns: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Power of rows with the coefficients ``x``, at most the limit."""
        return np.minimum(self.static_w + columns @ x, self.limit)


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


def usable(rows: Rows) -> np.ndarray:
    """Rows that the device, not the host's launches, paced."""
    return (rows.latency_s > 1.3 * rows.floor_s) & (rows.power_w > 0)


def settled(rows: Rows) -> np.ndarray:
    """Rows whose loop lasted long enough for the board's mean to have come to rest."""
    return usable(rows) & (rows.read_count >= SETTLED)


def sampled(keep: np.ndarray, most: int) -> np.ndarray:
    """``keep``, thinned to ``most`` rows by a seeded generator."""
    if keep.sum() <= most:
        return keep
    out = np.zeros(len(keep), dtype=bool)
    out[np.random.default_rng(1).choice(np.flatnonzero(keep), most, replace=False)] = True
    return out


def middle_nnls(
    columns: np.ndarray, power: np.ndarray, known: np.ndarray, limit: float, lean: np.ndarray | None = None
) -> np.ndarray:
    """Non-negative x for which ``known + columns @ x`` is the median of ``power``, errors being relative.

    Rows at the limit bound from below only. ``lean``: values that x is drawn to where rows say little.
    """
    weight, capped = np.ones(len(power)), power > 0.96 * limit
    pull = 0.3 * np.sqrt(LEAN * max(len(power), 1))
    extra = np.empty((0, columns.shape[1])) if lean is None else np.diag(pull / lean)
    x = np.zeros(columns.shape[1])
    for _ in range(25):
        left = np.concatenate([columns * (weight / power)[:, None], extra])
        right = np.concatenate([np.maximum(power - known, 0.0) / power * weight, np.full(len(extra), pull)])
        x, _norm = nnls(left, right)
        gap = (known + columns @ x) / power - 1
        weight = np.sqrt(0.5 / np.maximum(np.abs(gap), 0.02))
        weight[capped & (gap > 0)] = 1e-6
    return x


def own(columns: np.ndarray, power: np.ndarray, board: Board, lean: np.ndarray | None = None) -> np.ndarray:
    """A kernel's own (active W, pJ/flop), and the board's pJ/byte."""
    known = board.static_w + columns[:, 2] * board.byte_pj
    return np.append(middle_nnls(columns[:, :2], power, known, board.limit, lean), board.byte_pj)


def shared_rows(fits: list[Any], cache_ratio: float, leave: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(terms, watts) of each kernel's settled rows outside the fold ``leave``."""
    parts = []
    for f in fits:
        keep = sampled(settled(f.rows) & (fold_of(f.rows) != leave), SHARED_SAMPLE)
        if keep.sum() >= ENOUGH:
            parts.append((terms(f, cache_ratio)[keep], f.rows.power_w[keep]))
    return parts


def board_of(fits: list[Any], device: str, leave: int = -1) -> Board:
    """Static power, and the cost of a byte under which the kernels of ``TELL_BYTES`` are told best together."""
    static, limit = static_w(fits, device), BOARDS[device]["limit"]
    tell = [f for f in fits if f.rows.key[2:4] == (device, "vllm") and f.rows.key[:2] in TELL_BYTES]
    trials = []
    for ratio in CACHE_RATIOS:
        parts = shared_rows(tell, ratio, leave)
        for byte_pj in BYTE_PJ:
            board = Board(static, limit, float(byte_pj), ratio)
            errors = [np.mean(np.abs(board.watts(c, own(c, p, board)) / p - 1)) for c, p in parts]
            trials.append((float(np.mean(errors)), len(trials), board))
    return min(trials)[2]


def family_of(fits: list[Any], key: tuple[str, ...], board: Board, leave: int) -> np.ndarray | None:
    """(active W, pJ/flop) of the settled rows of a kernel's family, dtype and board; None where there are none."""
    for depth in (3, 1):  # the same dtype; else every dtype
        same = [f for f in fits if f.rows.key[:depth] == key[:depth] and f.rows.key[2] == key[2]]
        parts = shared_rows(same, board.cache_ratio, leave)
        if parts:
            return own(np.concatenate([c for c, _ in parts]), np.concatenate([p for _, p in parts]), board)[:2]
    return None


def fit_energy(fits: list[Any]) -> dict[tuple[str, ...], EnergyFit]:
    """Energy of every fitted kernel whose family has settled rows on its board."""
    out: dict[tuple[str, ...], EnergyFit] = {}
    for device in BOARDS:
        boards = [board_of(fits, device, leave) for leave in (-1, *range(FOLDS))]
        for f in fits:
            if f.rows.key[2] == device and usable(f.rows).sum() >= 2 * ENOUGH:
                found = _fit_one(fits, f, boards)
                if found is not None:
                    out[f.rows.key] = found
    return out


def _fit_one(fits: list[Any], f: Any, boards: list[Board]) -> EnergyFit | None:
    rows, fold = f.rows, fold_of(f.rows)
    predicted, found = np.empty(len(rows.power_w)), []
    for leave, board in zip((-1, *range(FOLDS)), boards, strict=True):
        seen, here = terms(f, board.cache_ratio), fold == leave
        lean = family_of(fits, rows.key, board, leave)
        keep = sampled(settled(rows) & ~here, SAMPLE)
        if lean is None and keep.sum() < ENOUGH:
            return None
        few = lean is not None and keep.sum() < ENOUGH
        lean = None if lean is None else np.maximum(lean, 0.02)
        x = np.append(lean, board.byte_pj) if few else own(seen[keep], rows.power_w[keep], board, lean)
        found.append(x)
        predicted[here] = board.watts(seen[here], x)
    return _scored(f, predicted, found[0], np.std(found[1:], axis=0) * np.sqrt(FOLDS - 1), boards[0])


def _scored(f: Any, predicted: np.ndarray, x: np.ndarray, spread: np.ndarray, board: Board) -> EnergyFit:
    error = np.abs(predicted / f.rows.power_w - 1)
    rest = settled(f.rows) & (f.rows.latency_s > 50e-6)
    free = rest & (f.rows.power_w < 0.96 * board.limit)
    scored = rest if rest.sum() >= SCORED else usable(f.rows)
    scatter = 1.4826 * float(np.median(np.abs(np.log(predicted / f.rows.power_w))[scored]))
    names = ("active_w", "energy_j_flop", "energy_j_byte")
    scale = np.array([1, 1e12, 1e12])
    energy = KernelEnergy(board.static_w, *map(float, x / scale), board.cache_ratio, float(np.clip(scatter, 0.02, 1.0)))
    stderr = dict(zip(names, map(float, spread / scale), strict=True))
    return EnergyFit(energy, stderr, error[rest], error[free], float(np.median(error[usable(f.rows)])))


def transferred_w(fit: Any, energy: KernelEnergy, source: Rows) -> np.ndarray:
    """Watts of a board's rows from another board's energy, rescaled by their data sheets."""
    limit = fit.rows.board["limit"]
    own_energy = rescaled(energy, limit / source.board["limit"], fit.rows.peak_flop_s / source.peak_flop_s, 0.0)
    x = np.array([own_energy.active_w, own_energy.energy_j_flop * 1e12, own_energy.energy_j_byte * 1e12])
    return np.minimum(own_energy.static_w + terms(fit, own_energy.cache_ratio) @ x, limit)
