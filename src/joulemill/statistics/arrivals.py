"""When requests arrive: renewal processes from a seeded generator, at a rate that may move with time. Pure.

``burstiness`` is the shape of the Gamma distribution of the gaps: 1 is Poisson, below 1 is burstier, infinite is a
constant rate; the gaps' coefficient of variation is 1/√burstiness.

A rate that moves is a profile r(t), linear between knots. The process of unit rate is read in operational time
Λ(t) = ∫ r: an arrival at u of the unit process comes at t = Λ⁻¹(u), solved exactly in each piece. So a Poisson process
stays one, and a constant one keeps Λ between arrivals at 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulemill.arrays import Array
from joulemill.errors import InputError


def arrival_times(
    rng: np.random.Generator, rate_req_s: float, *, burstiness: float = 1.0, duration_s: float
) -> npt.NDArray[np.float64]:
    """Times in [0, ``duration_s``) at a mean rate of ``rate_req_s``, ascending, in s.

    Gaps are Gamma(``burstiness``, 1/(rate·burstiness)), the first gap before the first arrival; with infinite
    burstiness the k-th arrival is at k/rate. Raises InputError for a rate, burstiness or duration that is not positive.
    """
    for name, number in (("`rate_req_s`", rate_req_s), ("burstiness", burstiness), ("`duration_s`", duration_s)):
        if not number > 0 or (math.isinf(number) and name != "burstiness"):
            raise InputError(f"{name} must be a positive number, not {number:g}")
    if math.isinf(burstiness):
        count = math.ceil(rate_req_s * duration_s)
        times = np.arange(count) / rate_req_s
        return times[times < duration_s]
    blocks: list[npt.NDArray[np.float64]] = []
    reached_s = 0.0
    block = int(rate_req_s * duration_s + 4 * math.sqrt(rate_req_s * duration_s / burstiness)) + 16
    while reached_s < duration_s:
        gaps = rng.gamma(burstiness, 1.0 / (rate_req_s * burstiness), size=block)
        blocks.append(reached_s + np.cumsum(gaps))
        reached_s = float(blocks[-1][-1])
    times = np.concatenate(blocks)
    return times[times < duration_s]


@dataclass(frozen=True, slots=True)
class RateProfile:
    """A rate of arrivals over time, linear between knots; two knots at one time are a jump.

    at_s         times of the knots, from 0 on, not descending;  rate_req_s   rates there
    """

    at_s: Array
    rate_req_s: Array

    def __post_init__(self) -> None:
        at, rate = np.asarray(self.at_s, np.float64), np.asarray(self.rate_req_s, np.float64)
        if at.ndim != 1 or at.shape != rate.shape or len(at) < 2:
            raise InputError("a profile of rates needs as many rates as times, two or more")
        if at[0] != 0.0 or np.any(np.diff(at) < 0) or not np.isfinite(at[-1]) or at[-1] <= 0:
            raise InputError("times of a profile of rates must run from 0 on and not descend")
        if not np.all(np.isfinite(rate)) or np.any(rate < 0) or not np.any(rate > 0):
            raise InputError("rates of a profile must be 0 or more, and one above 0")

    @property
    def duration_s(self) -> float:
        """Length of the profile."""
        return float(self.at_s[-1])

    @property
    def mean_req_s(self) -> float:
        """Mean rate over the profile."""
        steps_s, rates = np.diff(self.at_s), self.rate_req_s
        return float(np.sum((rates[:-1] + rates[1:]) / 2.0 * steps_s) / self.at_s[-1])

    def at(self, t_s: Array) -> Array:
        """The rate at ``t_s``; at a jump, the one after it."""
        return np.asarray(np.interp(t_s, self.at_s, self.rate_req_s))


def arrivals_of_profile(rng: np.random.Generator, profile: RateProfile, *, burstiness: float = 1.0) -> Array:
    """Times within ``profile``, ascending, in s: a renewal process of unit rate in operational time."""
    steps_s = np.diff(profile.at_s)
    first, last = profile.rate_req_s[:-1], profile.rate_req_s[1:]
    reached = np.concatenate([[0.0], np.cumsum((first + last) / 2.0 * steps_s)])
    operational = arrival_times(rng, 1.0, burstiness=burstiness, duration_s=float(reached[-1]))
    piece = np.clip(np.searchsorted(reached, operational, side="right") - 1, 0, len(steps_s) - 1)
    beyond = operational - reached[piece]
    slope = np.divide(last - first, steps_s, out=np.zeros_like(steps_s), where=steps_s > 0)[piece]
    root = np.sqrt(np.maximum(first[piece] ** 2 + 2.0 * slope * beyond, 0.0))
    # The stable form of the root of first·τ + slope·τ²/2 = beyond.
    within = np.divide(2.0 * beyond, first[piece] + root, out=np.zeros_like(beyond), where=beyond > 0)
    return np.asarray(profile.at_s[piece] + np.minimum(within, steps_s[piece]))


def diurnal(mean_req_s: float, duration_s: float, *, swing_ratio: float, peak_s: float = 14 * 3600.0) -> RateProfile:
    """A day's course: mean · (1 + swing · cos) with its peak at ``peak_s`` of the day, knots every five minutes."""
    if not 0.0 <= swing_ratio <= 1.0:
        raise InputError(f"the swing of a day is {swing_ratio:g}; it must lie between 0 and 1")
    knots = np.linspace(0.0, duration_s, max(2, math.ceil(duration_s / 300.0) + 1))
    return RateProfile(knots, mean_req_s * (1.0 + swing_ratio * np.cos(2.0 * np.pi * (knots - peak_s) / 86400.0)))


def ramp(from_req_s: float, to_req_s: float, duration_s: float) -> RateProfile:
    """A rate that moves linearly."""
    return RateProfile(np.array([0.0, duration_s]), np.array([from_req_s, to_req_s]))


def stages(rates_req_s: npt.ArrayLike, durations_s: npt.ArrayLike) -> RateProfile:
    """Rates held one after another."""
    rates, lengths = np.asarray(rates_req_s, np.float64), np.asarray(durations_s, np.float64)
    if rates.shape != lengths.shape or rates.ndim != 1 or not len(rates) or np.any(lengths <= 0):
        raise InputError("stages need as many durations as rates, each above 0")
    ends = np.cumsum(lengths)
    at = np.column_stack([np.concatenate([[0.0], ends[:-1]]), ends]).ravel()
    return RateProfile(at, np.repeat(rates, 2))


def spike(base_req_s: float, times_ratio: float, duration_s: float, *, at_s: float, length_s: float) -> RateProfile:
    """A rate that jumps to ``times_ratio`` of itself at ``at_s`` for ``length_s``."""
    end_s = min(at_s + length_s, duration_s)
    if not 0.0 <= at_s < end_s:
        raise InputError(f"a spike at {at_s:g} s for {length_s:g} s lies outside the {duration_s:g} s of the load")
    parts = [(base_req_s, at_s), (base_req_s * times_ratio, end_s - at_s), (base_req_s, duration_s - end_s)]
    kept = [(rate, length) for rate, length in parts if length > 0]
    return stages([rate for rate, _ in kept], [length for _, length in kept])
