"""Board power of a device that steps and waits: joules from counts, capped by the power limit. Pure, vectorised.

    E = s_w·TDP·t + s_b·TDP·t_busy + (TDP/π₁₆)·Σ φ_c·F_c + ε·B + ε_l·B_link

Coefficients are shares of what the data sheet says the board was built for (TDP over peak, TDP over bandwidth), so
that they carry over to a device that was never measured. Above the limit the clock falls: the arithmetic part of the
step grows by ((E/t − static)/(limit − static))^(1/2.5), and the board draws its limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.shard import ShardTable
from joulemill.physics.serving.step import StepTimes


@dataclass(frozen=True, slots=True)
class PowerRates:
    """Fitted power coefficients; all shares, see the header. Tuples run over ``shard.CLASSES``.

    wait_ratio   board awake and waiting, share of TDP;  busy_ratio  more of it while kernels run
    flop_ratio   energy of a flop, share of TDP ÷ 16-bit peak;  byte_ratio  of a byte, share of TDP ÷ bandwidth
    link_j_byte  a byte to another device
    ceiling_ratio  what a board holds under load, share of its limit
    """

    wait_ratio: float
    busy_ratio: float
    flop_ratio: tuple[float, ...]
    energy_j_byte: float
    link_j_byte: float
    ceiling_ratio: float


def step_j(t: ShardTable, p: PowerRates, step: StepTimes, step_s: Array) -> Array:
    """Energy [J] of one device over a step of ``step_s`` seconds, before any power limit."""
    flop_j = t.tdp_w / t.peak_0_flop_s
    byte_j = p.energy_j_byte
    share = np.asarray(p.flop_ratio)
    narrow, expert = share[t.matrix_class_count.astype(np.intp)], share[t.expert_class_count.astype(np.intp)]
    arithmetic = flop_j * (
        share[0] * step.executed_0_flop + narrow * step.executed_1_flop + expert * step.executed_expert_flop
    )
    static = t.tdp_w * (p.wait_ratio * step_s + p.busy_ratio * step.busy_s)
    return np.asarray(static + arithmetic + byte_j * step.executed_byte + p.link_j_byte * step.executed_link_byte)


def limited(
    t: ShardTable, p: PowerRates, energy_j: Array, step_s: Array, compute_s: Array, limit_w: Array
) -> tuple[Array, Array]:
    """Energy [J] and time [s] of a step under ``limit_w``: slower where the demand is above it, equal elsewhere.

    NaN where the limit is no more than the board draws waiting, or where it is given and the TDP is not known.
    """
    cap = limit_w * p.ceiling_ratio
    static_w = p.wait_ratio * t.tdp_w
    slow = capped_slowdown_ratio(energy_j / step_s, cap, static_w)
    slow = np.where(np.isinf(slow) | (np.isnan(static_w) & np.isfinite(cap)), np.nan, slow)
    time_s = step_s + np.minimum(compute_s, step_s) * (slow - 1.0)
    held = np.where(slow > 1.0, np.minimum(cap * time_s, energy_j), energy_j)
    return np.asarray(held), np.asarray(time_s)


def capped_slowdown_ratio(
    demand_w: Array | float, limit_w: Array | float, static_w: Array | float, exponent: float = 2.5
) -> Array:
    """Factor ≥ 1 by which compute time grows when the demand ``demand_w`` must fit under ``limit_w``.

    Dynamic power goes as f·V² ~ f^exponent near the top of the clock range (assumed 2.5; 3 where voltage is
    proportional to clock, 1 where it is at its floor), so f = ((limit − static)/(demand − static))^(1/exponent).
    Memory time does not depend on the core clock. ``inf`` where the limit is not above static power.
    """
    room = np.asarray(limit_w, dtype=np.float64) - static_w
    wanted = np.maximum(np.asarray(demand_w, dtype=np.float64) - static_w, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(room > 0.0, wanted / np.maximum(room, 1e-30), np.where(wanted > 0, np.inf, 0.0))
    return np.asarray(np.maximum(ratio, 1.0) ** (1.0 / exponent))
