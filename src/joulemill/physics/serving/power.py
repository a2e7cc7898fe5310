"""Board power of a device that steps and waits: joules from counts, and what a core clock moves. Pure, vectorized.

    E(f) = P₀·t(f) + P_b·t_b(f)·f·v²(f) + e_F·v²(f)·Σ φ_c·F_c + ε·B + ε_l·B_link          f: clock over the highest

P₀ = s_w·W is the floor, P_b = s_b·W what processors that hold kernels draw beyond it, e_F = W/π₁₆. W are the watts of
the board that the silicon and its memory were measured on, and π₁₆ its 16-bit peak: a board that may draw more than the
one it was made of has no higher floor. The floor is never below what the board idles at with a model loaded.

The clock moves arithmetic: its time goes as 1/f, its energy as the voltage squared, v² = max(f, 0.55)^1.5 (assumed:
dynamic power goes as f^2.5 near the top; below 55 % of the highest clock the voltage no longer falls). It does not move
the floor, the bytes, nor the bandwidth of the memory, down to the clock at which the core can no longer ask for it all
(40 %, assumed). A power limit is the highest clock whose mean power fits under it (``limited``). Where even the lowest
clock draws more, everything waits: time grows, and no joule of floor, bytes and arithmetic is saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.deployment import LEAST_CLOCK
from joulemill.physics.serving.roofline import by_class
from joulemill.physics.serving.shard import ShardTable
from joulemill.physics.serving.step import StepTimes

#: Clock over the highest below which voltage stays, and below which memory bandwidth falls with it (assumed).
LEAST_VOLTAGE_CLOCK, MEMORY_CLOCK = 0.55, 0.4
#: Most of its rated power that a board draws while it streams its memory (assumed): kernels that only stream draw 0.79
#: of it on H200 (docs/kernels.md); runs of 32B to 405B at batch 8 draw 0.85 to 0.86 on B200, on average.
STREAM_RATIO = 0.87
#: The clock at which a limit is met is found so nearly, in at most so many steps; eight do at a hundred million draws.
CLOCK_TOLERANCE, MOST_SECANTS = 1e-12, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRates:
    """Fitted power coefficients; all shares, see the header. Tuples run over ``shard.CLASSES``.

    wait_ratio   board awake and waiting, share of rated power;  busy_ratio  more of it while kernels run
    flop_ratio   energy of a flop, share of rated power ÷ 16-bit peak;  energy_j_byte  of a byte
    link_j_byte  a byte to another device
    ceiling_ratio  what a board holds under load, share of its limit
    newest_*     the same share on devices with 4-bit units over that on older ones
    clock_ratio  locked core clock that these rates and the peaks beside them hold at, over the highest
    """

    wait_ratio: float
    busy_ratio: float
    flop_ratio: tuple[float, ...]
    energy_j_byte: float
    link_j_byte: float
    ceiling_ratio: float
    newest_wait_ratio: float
    newest_busy_ratio: float
    newest_flop_ratio: float
    clock_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a step of ``time_s`` spends on one device, apart by what the clock moves; steps add up.

    moved_j       bytes through memory and to other devices
    arithmetic_j  operations
    busy_s        time that kernels hold the processors;  compute_s  of it arithmetic, were it alone
    exposed_s     Σ c³/s² of arithmetic c within parts of time s: how the step grows with 1/f at the highest clock
    """

    time_s: Array
    moved_j: Array
    arithmetic_j: Array
    busy_s: Array
    compute_s: Array
    exposed_s: Array

    def plus(self, other: StepWork, count: Array | float = 1.0) -> StepWork:
        """This work and ``count`` times the other."""
        return StepWork(*(getattr(self, f.name) + count * getattr(other, f.name) for f in fields(self)))

    def scaled(self, factor: Array | float) -> StepWork:
        """``factor`` times this work."""
        return StepWork(*(factor * getattr(self, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class PowerLimitedStep:
    """A step under a power limit: joules and seconds, and the clock over the highest that it settles at."""

    energy_j: Array
    time_s: Array
    clock_ratio: Array


def step_work(t: ShardTable, p: PowerRates, step: StepTimes, step_s: Array) -> StepWork:
    """What one device spends in a step that lasts ``step_s``, before any power limit."""
    flop_j = _newest(t, p.newest_flop_ratio) * t.rated_w / t.peak_0_flop_s
    share = p.flop_ratio
    narrow, expert = by_class(share, t.matrix_class), by_class(share, t.expert_class)
    arithmetic = flop_j * (
        share[0] * step.executed_0_flop + narrow * step.executed_1_flop + expert * step.executed_expert_flop
    )
    moved = p.energy_j_byte * step.executed_byte + p.link_j_byte * step.executed_link_byte
    return StepWork(step_s, moved, arithmetic, step.busy_s, step.compute_s, step.exposed_s)


def floor_w(t: ShardTable, p: PowerRates) -> Array:
    """Power [W] of a board between kernels: a share of its rated power, and no less than it idles at when loaded."""
    return np.maximum(p.wait_ratio * _newest(t, p.newest_wait_ratio) * t.rated_w, t.resting_w)


def busy_w(t: ShardTable, p: PowerRates) -> Array:
    """Power [W] that a board draws beyond its floor while kernels hold its processors."""
    return np.asarray(p.busy_ratio * _newest(t, p.newest_busy_ratio) * t.rated_w)


def _newest(t: ShardTable, ratio: float) -> Array:
    return np.where(t.is_newest > 0.0, ratio, 1.0)


def voltage_squared_ratio(clock_ratio: Array | float) -> Array:
    """v²: energy of an operation at a clock over that at the highest."""
    above = np.maximum(clock_ratio, LEAST_VOLTAGE_CLOCK)
    return np.asarray(above * np.sqrt(above))


def limited(t: ShardTable, p: PowerRates, work: StepWork, limit_w: Array) -> PowerLimitedStep:
    """The step at the highest clock whose mean power is at most ``limit_w``; as it is where it fits.

    NaN where the limit is no more than the floor, or where it is given and the TDP is not known.
    """
    least_w, kernels_w = floor_w(t, p), busy_w(t, p)
    held_j = least_w * work.time_s + kernels_w * work.busy_s
    highest_w = kernels_w / (p.clock_ratio * voltage_squared_ratio(p.clock_ratio))
    work = replace(work, moved_j=_streamed_j(t, work, least_w + highest_w))
    energy_j, time_s = held_j + work.arithmetic_j + work.moved_j, np.asarray(work.time_s, dtype=np.float64)
    cap_w = np.asarray(limit_w * p.ceiling_ratio, dtype=np.float64)
    unknown = (cap_w <= least_w) | (np.isnan(least_w) & np.isfinite(cap_w))
    clock = np.full(time_s.shape, p.clock_ratio)
    over = np.nonzero((energy_j > cap_w * time_s) & ~unknown)
    if over[0].size:

        def of_those(values: Array) -> Array:
            return np.broadcast_to(values, time_s.shape)[over]

        part = StepWork(*(of_those(getattr(work, f.name)) for f in fields(work)))
        watts = (of_those(least_w), of_those(kernels_w), of_those(cap_w))
        time_s = time_s.copy()
        energy_j[over], time_s[over], clock[over] = _held(part, p.clock_ratio, watts)
    if unknown.any():
        energy_j, time_s = np.where(unknown, np.nan, energy_j), np.where(unknown, np.nan, time_s)
    return PowerLimitedStep(energy_j, time_s, clock)


def _streamed_j(t: ShardTable, work: StepWork, beside_w: Array) -> Array:
    """Joules of bytes that, ``beside_w`` of floor and of kernels at the highest clock, draw no more than their share of
    the rated power while kernels run (STREAM_RATIO): the fitted joules of a byte say more where a step does little
    else, and boards stream at full speed within their limit."""
    return np.minimum(work.moved_j, np.maximum(STREAM_RATIO * t.rated_w - beside_w, 0.0) * work.busy_s)


def _held(work: StepWork, lock: float, watts: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Energy, time and clock of steps that draw more than their limit; ``watts``: floor, busy, limit.

    The root of energy − limit · time, which is above 0 at the clock ``lock``.
    """
    least_w, busy_w, cap_w = watts
    spent, least = _spent(work, lock, least_w, busy_w), min(LEAST_CLOCK, lock)

    def excess_j(clock: Array) -> Array:
        energy_j, time_s = spent(clock)
        return energy_j - cap_w * time_s

    bracket = _smooth_part(excess_j, np.full_like(work.time_s, lock), least)
    never = bracket.below_j > 0.0
    clock = _root(excess_j, bracket)
    clock = np.where(never, least, clock)
    energy_j, time_s = spent(clock)
    beyond_j = energy_j - least_w * time_s
    # Too much even at the lowest clock: everything waits until the limit is met.
    time_s = np.maximum(time_s, beyond_j / (cap_w - least_w))
    return least_w * time_s + beyond_j, time_s, clock


@dataclass(frozen=True, slots=True)
class _Bracket:
    """Two clocks that a root lies between, and the excess [J] at each: at most 0 below, above 0 above."""

    low_ratio: Array
    below_j: Array
    high_ratio: Array
    above_j: Array


def _smooth_part(excess_j: Callable[[Array], Array], lock: Array, least: float) -> _Bracket:
    """The stretch of clocks with the root in it and no kink: voltage and memory have one each."""
    low = high = lock
    below = above = excess_j(lock)
    for stop in (LEAST_VOLTAGE_CLOCK, MEMORY_CLOCK, least):
        further = (below > 0.0) & (low > stop)
        if further.any():
            high, above = np.where(further, low, high), np.where(further, below, above)
            low = np.where(further, stop, low)
            below = np.where(further, excess_j(low), below)
    return _Bracket(low, below, high, above)


def _root(excess_j: Callable[[Array], Array], bracket: _Bracket) -> Array:
    """The clock where a smooth excess is 0: the secant of a bracket, whose lasting end is weighed less (Anderson and
    Björck, 1973)."""
    low, below, high, above = bracket.low_ratio, bracket.below_j, bracket.high_ratio, bracket.above_j
    clock, fitted = high, np.zeros(low.shape, dtype=bool)
    for step in range(MOST_SECANTS):
        before, clock = clock, np.clip(low - below * (high - low) / np.maximum(above - below, 1e-300), low, high)
        if np.max(np.abs(clock - before), initial=0.0) < CLOCK_TOLERANCE:
            break
        here = excess_j(clock)
        fits = here <= 0.0
        if step:
            less = 1.0 - here / np.where(fits, np.minimum(below, -1e-300), np.maximum(above, 1e-300))
            less = np.where(fits == fitted, np.where(less > 0.0, less, 0.5), 1.0)
            below, above = np.where(fits, here, below * less), np.where(fits, above * less, here)
        else:
            below, above = np.where(fits, here, below), np.where(fits, above, here)
        low, high, fitted = np.where(fits, clock, low), np.where(fits, high, clock), fits
    return clock


def _spent(work: StepWork, lock: float, least_w: Array, busy_w: Array) -> Callable[[Array], tuple[Array, Array]]:
    """Energy and time by clock of work that is known at the clock ``lock``.

    Arithmetic beside memory is one soft maximum (M³ + (C/f)³)^⅓, with M such that it grows with 1/f as all parts do.
    """
    compute_s = np.maximum(work.compute_s, 0.0)
    exposed_s = np.clip(work.exposed_s, 0.0, compute_s)
    both_s = compute_s * np.sqrt(compute_s / np.maximum(exposed_s, 1e-3 * compute_s + 1e-30))
    cubed = compute_s * compute_s * compute_s
    beside = np.maximum(both_s * both_s * both_s - cubed, 0.0)
    starving_s = np.maximum(work.busy_s - exposed_s, 0.0)
    fed = max(MEMORY_CLOCK / lock, 1.0)
    at_lock = voltage_squared_ratio(lock)

    def spent(clock: Array) -> tuple[Array, Array]:
        slow = lock / clock
        longer_s = np.cbrt(beside + cubed * (slow * slow * slow)) - both_s
        longer_s = longer_s + (np.maximum(MEMORY_CLOCK / clock, 1.0) / fed - 1.0) * starving_s
        voltage = voltage_squared_ratio(clock) / at_lock
        time_s = work.time_s + longer_s
        held_j = least_w * time_s + busy_w * (work.busy_s + longer_s) / slow * voltage
        return held_j + work.arithmetic_j * voltage + work.moved_j, time_s

    return spent
