"""What a step spends at least, written from the law's text."""

from __future__ import annotations

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.continuous_batching import Steady
from joulemill.physics.serving.power import PowerRates
from joulemill.physics.serving.shard import ShardTable
from joulemill.physics.serving.step import StepTimes


def arithmetic_j(t: ShardTable, p: PowerRates, step: StepTimes) -> Array:
    """Joules of the operations of a step at the highest clock, class by class."""
    newest = np.where(t.is_newest > 0.0, p.newest_flop_ratio, 1.0)
    each = newest * t.rated_w / t.peak_0_flop_s * np.asarray(p.flop_ratio)[:, None]
    rows = np.arange(t.tdp_w.size)
    narrow, expert = (each[kind.astype(int), rows] for kind in (t.matrix_class, t.expert_class))
    return each[0] * step.executed_0_flop + narrow * step.executed_1_flop + expert * step.executed_expert_flop


def moved_j(p: PowerRates, step: StepTimes) -> Array:
    return p.energy_j_byte * step.executed_byte + p.link_j_byte * step.executed_link_byte


def floor_w(t: ShardTable, p: PowerRates) -> Array:
    newest = np.where(t.is_newest > 0.0, p.newest_wait_ratio, 1.0)
    return np.maximum(p.wait_ratio * newest * t.rated_w, t.resting_w)


def kernels_w(t: ShardTable, p: PowerRates) -> Array:
    return p.busy_ratio * np.where(t.is_newest > 0.0, p.newest_busy_ratio, 1.0) * t.rated_w


def least_j(t: ShardTable, p: PowerRates, found: Steady) -> Array:
    """Floor over the step, its bytes, and its operations at the clock it runs at: v² = f^1.5, flat below 55 %."""
    f, often = found.clock_ratio, found.prefill_ratio
    operations = (1.0 - often) * arithmetic_j(t, p, found.decode) + often * arithmetic_j(t, p, found.mixed)
    bytes_j = (1.0 - often) * moved_j(p, found.decode) + often * moved_j(p, found.mixed)
    # A board streams its memory at full speed within 87 % of its rated power: bytes cost no more.
    busy_s = (1.0 - often) * found.decode.busy_s + often * found.mixed.busy_s
    room_j = (0.87 * t.rated_w - floor_w(t, p) - kernels_w(t, p)) * busy_s
    bytes_j = np.minimum(bytes_j, np.maximum(room_j, 0.0))
    return floor_w(t, p) * found.step_s + bytes_j + operations * np.maximum(f, 0.55) ** 1.5
