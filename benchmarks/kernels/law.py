"""Time and energy of one kernel on one device, from the work it does.

What lives here: the law that turns work (FLOPs, bytes, how finely they can be cut) into busy seconds, joules and
watts. It knows neither models nor devices: peaks and fitted coefficients are passed in, arrays broadcast.

    compute time  t_c = F · (1 + Σ_i a_i/x_i) / (η_c · peak)     x_i: rows, tiles, depth …; a_i: half-speed sizes
    memory time   t_m = B · (1 − h·(1 − ρ)) · (1 + Σ_j b_j/y_j) / (η_m · bandwidth)    h: share served by the cache
    busy time     t_b = (t_c^p + t_m^p)^(1/p) + B_s / (η_s · bandwidth)    B_s: passes that overlap with nothing
    kernel time   t   = t_launch + t_b
    energy        E   = P_static·t + P_active·t_b + e_F·F + e_B·(B·(1 − h·(1 − r)) + B_s)
    power         P   = min(E/t, limit)

``1 + a/x`` is the reciprocal of the saturation x/(x + a): a kernel with x = a runs at half of its best speed. The
terms add, so that a kernel with more work never takes less time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KernelWork:
    """What a kernel does; every field broadcasts with the others.

    flop             floating-point operations that the mathematics needs (padding is the law's business) [flop]
    byte             bytes that cross the device memory's pins at least once [byte]
    pass_byte        bytes of element-wise passes between the matrix products, which overlap with nothing [byte]
    compute_measures sizes x_i that compute speed saturates with (rows, tiles, depth …) [count]
    memory_measures  sizes y_j that memory speed saturates with [count]
    """

    flop: Array
    byte: Array
    compute_measures: tuple[Array, ...] = ()
    memory_measures: tuple[Array, ...] = ()
    pass_byte: Array | float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRate:
    """Fitted speed of one family of kernels with one dtype on one device generation.

    compute_ratio, memory_ratio  η_c, η_m: share of the datasheet peak reached by large kernels [-]
    launch_s         floor of one kernel inside a CUDA graph (dispatch, ramp up, drain) [s]
    compute_grain_count, memory_grain_count  half-speed sizes a_i, b_j, in the order of the work's measures
    sharpness_ratio  p of the soft maximum; 1 adds, ∞ takes the larger [-]
    cache_ratio      ρ: time of a cached byte over that of a byte from device memory [-]
    pass_ratio       η_s: share of the bandwidth that element-wise passes reach [-]
    spread_ratio     standard deviation of ln(measured/predicted) on shapes left out [-]
    """

    compute_ratio: float
    memory_ratio: float
    launch_s: float
    compute_grain_count: tuple[float, ...] = ()
    memory_grain_count: tuple[float, ...] = ()
    sharpness_ratio: float = 4.0
    cache_ratio: float = 1.0
    pass_ratio: float = 0.7
    spread_ratio: float = 0.2


@dataclass(frozen=True, slots=True)
class KernelEnergy:
    """Fitted energy of one family of kernels with one dtype on one device generation.

    static_w        board power with its context awake and nothing to do [W]
    active_w        power beyond static of processors that hold a kernel, whatever it computes [W]
    energy_j_flop   energy of one floating-point operation beyond those [J/flop]
    energy_j_byte   energy of one byte from device memory beyond those [J/byte]
    cache_ratio     r: energy of a cached byte over that of a byte from device memory [-]
    spread_ratio    standard deviation of ln(measured/predicted) power on shapes left out [-]
    """

    static_w: float
    active_w: float
    energy_j_flop: float
    energy_j_byte: float
    cache_ratio: float = 0.3
    spread_ratio: float = 0.2


def _grain(sizes: tuple[Array, ...], grains: tuple[float, ...]) -> Array | float:
    """1 + Σ a_i/x_i."""
    total: Array | float = 1.0
    for size, grain in zip(sizes, grains, strict=True):
        total = total + grain / size
    return total


def soft_max_s(a_s: Array, b_s: Array, sharpness_ratio: float) -> Array:
    """(a^p + b^p)^(1/p): the larger of two times where they differ, above both where they meet.

    p of 1, 2 and 4 need no transcendental function.
    """
    if sharpness_ratio == 1.0:
        return a_s + b_s
    if sharpness_ratio == 2.0:
        return np.asarray(np.sqrt(a_s * a_s + b_s * b_s))
    if sharpness_ratio == 4.0:
        a2, b2 = a_s * a_s, b_s * b_s
        return np.asarray(np.sqrt(np.sqrt(a2 * a2 + b2 * b2)))
    big = np.maximum(np.maximum(a_s, b_s), 1e-30)
    ratio = np.minimum(a_s, b_s) / big
    return np.asarray(big * (1.0 + ratio**sharpness_ratio) ** (1.0 / sharpness_ratio))


def compute_s(work: KernelWork, rate: KernelRate, peak_flop_s: Array | float) -> Array:
    """Time [s] that the arithmetic alone would take; ``peak_flop_s`` is the dense datasheet peak of its dtype."""
    time_s = work.flop / (rate.compute_ratio * np.asarray(peak_flop_s, dtype=np.float64))
    return np.asarray(time_s * _grain(work.compute_measures, rate.compute_grain_count))


def memory_s(
    work: KernelWork, rate: KernelRate, bandwidth_byte_s: Array | float, cached_ratio: Array | float = 0.0
) -> Array:
    """Time [s] that moving the bytes alone would take; ``cached_ratio`` is the share that the cache serves."""
    slow = 1.0 - np.asarray(cached_ratio, dtype=np.float64) * (1.0 - rate.cache_ratio)
    time_s = work.byte * slow / (rate.memory_ratio * np.asarray(bandwidth_byte_s, dtype=np.float64))
    return np.asarray(time_s * _grain(work.memory_measures, rate.memory_grain_count))


def busy_s(
    work: KernelWork,
    rate: KernelRate,
    peak_flop_s: Array | float,
    bandwidth_byte_s: Array | float,
    cached_ratio: Array | float = 0.0,
) -> Array:
    """Time [s] that the kernel keeps the device busy, without its launch floor (``rate.launch_s``)."""
    overlapped = soft_max_s(
        compute_s(work, rate, peak_flop_s),
        memory_s(work, rate, bandwidth_byte_s, cached_ratio),
        rate.sharpness_ratio,
    )
    return np.asarray(overlapped + work.pass_byte / (rate.pass_ratio * np.asarray(bandwidth_byte_s)))


def dynamic_j(
    work: KernelWork, energy: KernelEnergy, busy_s: Array | float, cached_ratio: Array | float = 0.0
) -> Array:
    """Energy [J] beyond static power: P_active·t_b + e_F·F + e_B·B."""
    moved = work.byte * (1.0 - np.asarray(cached_ratio, dtype=np.float64) * (1.0 - energy.cache_ratio))
    spent = energy.active_w * np.asarray(busy_s) + energy.energy_j_flop * work.flop
    return np.asarray(spent + energy.energy_j_byte * (moved + work.pass_byte))


def power_w(work_j: Array | float, time_s: Array | float, static_w: float, limit_w: Array | float = np.inf) -> Array:
    """Mean board power [W] while ``work_j`` beyond static is spent in ``time_s``, at most ``limit_w``."""
    return np.asarray(np.minimum(static_w + np.asarray(work_j) / np.asarray(time_s), limit_w))


def cached_share_ratio(loop_byte: Array, cache_byte: Array | float, steepness: float = 2.0) -> Array:
    """Share of ``loop_byte`` that a cache of ``cache_byte`` still holds when the same kernel runs again [-].

    1/(1 + (loop/cache)^q): kernel loops of benchmarks reuse their operands; a served model does not
    (its weights far exceed the cache), so pass 0 instead there.
    """
    return np.asarray(1.0 / (1.0 + (loop_byte / np.asarray(cache_byte)) ** steepness))


def rescaled(energy: KernelEnergy, power_ratio: float, peak_ratio: float, spread_ratio: float) -> KernelEnergy:
    """Energy on another device, from data sheets: a first guess with a wider interval.

    power_ratio  its power limit over the measured board's; static and active power follow it
    peak_ratio   its peak FLOP/s of this dtype over the measured board's; energy a FLOP follows power over peak
    spread_ratio further standard deviation of ln(power) that the guess adds [-]

    Energy a byte stays: HBM generations differ by less than the fit's error (assumed).
    """
    return KernelEnergy(
        energy.static_w * power_ratio,
        energy.active_w * power_ratio,
        energy.energy_j_flop * power_ratio / peak_ratio,
        energy.energy_j_byte,
        energy.cache_ratio,
        float(np.hypot(energy.spread_ratio, spread_ratio)),
    )
