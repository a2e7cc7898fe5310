"""Arrivals at a rate that moves, against the integral of the rate and the law of Poisson counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.statistics.arrivals import RateProfile, arrivals_of_profile, diurnal, ramp, spike, stages


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_constant_process_on_a_ramp_comes_at_the_roots_of_its_integral() -> None:
    # r(t) = t/2 over 8 s: Λ(t) = t²/4, so arrival k is at 2·sqrt(k), and 16 of them come.
    times = arrivals_of_profile(rng(), ramp(0.0, 4.0, 8.0), burstiness=math.inf)
    assert times == pytest.approx(2.0 * np.sqrt(np.arange(16)))


def test_a_falling_ramp_is_the_rising_one_in_reverse() -> None:
    # r(t) = 4 − t/2: Λ(t) = 4t − t²/4, so t = 8 − 2·sqrt(16 − k).
    times = arrivals_of_profile(rng(), ramp(4.0, 0.0, 8.0), burstiness=math.inf)
    assert times == pytest.approx(8.0 - 2.0 * np.sqrt(16.0 - np.arange(16)))


def test_stages_hold_their_rates_and_rest_where_they_are_zero() -> None:
    times = arrivals_of_profile(rng(), stages([2.0, 0.0, 4.0], [3.0, 5.0, 2.0]), burstiness=math.inf)
    assert times == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 8, 8.25, 8.5, 8.75, 9, 9.25, 9.5, 9.75])


def test_poisson_counts_follow_the_rate_of_their_hour() -> None:
    day = diurnal(2.0, 86400.0, swing_ratio=0.6)
    counts = np.histogram(arrivals_of_profile(rng(3), day), bins=24, range=(0, 86400.0))[0]
    hours = np.arange(24) + 0.5
    # Mean of 1 + 0.6·cos over an hour, by its closed form.
    width = 2 * np.pi / 24
    expected = 7200.0 * (1 + 0.6 * np.cos((hours - 14.0) * width) * np.sin(width / 2) / (width / 2))
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    assert counts.argmax() in (13, 14)
    assert day.mean_req_s == pytest.approx(2.0, rel=1e-6)


def test_a_spike_multiplies_the_rate_for_its_time() -> None:
    profile = spike(10.0, 5.0, 100.0, at_s=40.0, length_s=10.0)
    counts = np.histogram(arrivals_of_profile(rng(), profile, burstiness=math.inf), bins=10, range=(0, 100))[0]
    assert counts.tolist() == [100, 100, 100, 100, 500, 100, 100, 100, 100, 100]


@settings(max_examples=25)
@given(
    lengths=st.lists(st.floats(0.1, 50.0), min_size=1, max_size=6),
    rates=st.lists(st.floats(0.0, 30.0), min_size=6, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_arrivals_ascend_within_the_profile_and_come_as_many_as_its_integral(
    lengths: list[float], rates: list[float], seed: int
) -> None:
    rates = [*rates[: len(lengths) - 1], rates[-1] + 1.0]
    profile = stages(rates, lengths)
    times = arrivals_of_profile(rng(seed), profile, burstiness=math.inf)
    assert np.all(np.diff(times) >= 0)
    assert times[-1] <= profile.duration_s * (1 + 1e-12)
    assert abs(len(times) - sum(r * s for r, s in zip(rates, lengths, strict=True))) <= 1.0 + 1e-6


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateProfile(np.array([1.0, 2.0]), np.ones(2)),
        lambda: RateProfile(np.array([0.0, 2.0]), np.array([1.0, -1.0])),
        lambda: RateProfile(np.array([0.0, 2.0]), np.zeros(2)),
        lambda: stages([1.0], [0.0]),
        lambda: diurnal(1.0, 10.0, swing_ratio=1.5),
        lambda: spike(1.0, 2.0, 10.0, at_s=11.0, length_s=1.0),
    ],
)
def test_what_cannot_be_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError):
        make()
