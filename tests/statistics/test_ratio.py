from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated.noise import ar1, coverage

from joulemill.statistics.ratio import (
    PHI_MOST,
    _caught_ratio,
    _circular_sums,
    autocorrelation_ratio,
    block_length,
    ratio_interval,
    wilson,
)

RNG = np.random.default_rng(11)


def test_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    x, y = np.array([1.0, 9.0] * 8), np.array([1.0, 3.0] * 8)
    assert ratio_interval(x, y).value == 2.5  # the mean of ratios would be 2


def test_independent_windows_give_students_interval() -> None:
    """With constant tokens J/tok is a mean, and the textbook's t-interval is the oracle."""
    n, hits = 400, []
    x = 100 + RNG.standard_normal(n)
    found = ratio_interval(x, np.full(n, 10.0))
    textbook = 1.966 * x.std(ddof=1) / math.sqrt(n) / 10
    hits.append((found.high - found.low) / 2 / textbook)
    assert hits[0] == pytest.approx(1.0, abs=0.25)


def test_constant_windows_leave_only_the_sensor() -> None:
    found = ratio_interval(np.full(20, 300.0), np.full(20, 80.0), sensor_half=600.0)
    assert found.value == 3.75
    assert found.high - found.value == pytest.approx(600.0 / 1600.0)
    assert found.sensor_ratio == pytest.approx(0.1)


def test_the_sensors_error_does_not_shrink_with_n() -> None:
    halves = []
    for n in (20, 2000):
        x = 300 * (1 + 0.05 * RNG.standard_normal(n))
        halves.append(ratio_interval(x, np.full(n, 80.0), sensor_half=0.05 * x.sum()))
    assert [h.sensor_ratio for h in halves] == pytest.approx([0.05, 0.05])
    assert halves[1].stat_ratio < halves[0].stat_ratio


def test_too_few_windows_claim_no_interval() -> None:
    found = ratio_interval(np.ones(5), np.ones(5))
    assert found.value == 1.0 and found.low is None and found.high is None
    assert ratio_interval(np.ones(9), np.zeros(9)) is None


def test_the_same_data_give_the_same_bytes() -> None:
    x, y = RNG.uniform(90, 110, 60), RNG.uniform(70, 90, 60)
    assert ratio_interval(x, y) == ratio_interval(x.copy(), y.copy())


@settings(max_examples=25)
@given(st.floats(1e-3, 1e3))
def test_scaling_joules_scales_everything(k: float) -> None:
    x, y = np.sin(np.arange(40)) + 5, np.cos(np.arange(40)) + 9
    a, b = ratio_interval(x, y, 3.0), ratio_interval(k * x, y, 3.0 * k)
    assert (b.value, b.low, b.high) == pytest.approx((k * a.value, k * a.low, k * a.high), rel=1e-9)


def test_circular_sums_wrap() -> None:
    assert _circular_sums(np.array([1.0, 2.0, 3.0, 4.0]), 3).tolist() == [6.0, 9.0, 8.0, 7.0]


def test_the_block_rule() -> None:
    assert block_length(0.0, 100) == 1
    assert block_length(0.5, 64) == math.ceil((1 / 0.75) ** (2 / 3) * 4)
    assert block_length(0.9, 12) == 3
    lengths = [block_length(p, 120) for p in (0.0, 0.2, 0.4, 0.6, 0.8)]
    assert lengths == sorted(lengths)


def test_autocorrelation_is_found_and_bounded() -> None:
    x = ar1(np.random.default_rng(5), 0.6, 300, 100)
    assert np.mean([autocorrelation_ratio(r) for r in x]) == pytest.approx(0.6, abs=0.03)
    assert autocorrelation_ratio(np.zeros(20)) == 0.0
    assert autocorrelation_ratio(np.array([1.0, -1.0] * 10)) == 0.0
    assert autocorrelation_ratio(np.arange(50.0)) == PHI_MOST


@pytest.mark.parametrize(("phi", "n", "block"), [(0.0, 12, 1), (0.5, 24, 4), (0.7, 60, 8)])
def test_what_blocks_miss_is_what_simulation_says(phi: float, n: int, block: int) -> None:
    """E[circular block bootstrap variance] ÷ true variance of the mean, by brute force over 20 000 series."""
    x = ar1(np.random.default_rng(2), phi, 20_000, n)
    means = np.stack([np.take(x, range(i, i + block), axis=1, mode="wrap").mean(axis=1) for i in range(n)])
    boot = ((means - x.mean(axis=1)) ** 2).mean(axis=0) * block / n
    assert boot.mean() / x.mean(axis=1).var() == pytest.approx(_caught_ratio(phi, n, block), rel=0.04)


@pytest.mark.parametrize(("phi", "n"), [(0.0, 24), (0.5, 60)])
def test_coverage_of_the_nominal_95_percent(phi: float, n: int) -> None:
    """A smoke test; ``benchmarks/interval_coverage.py`` is the proof."""
    assert 0.91 <= coverage(phi, n, 400).covered <= 0.99


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.490, 0.943), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (50, 100, 0.404, 0.596)],
)
def test_wilson_against_published_values(correct: int, n: int, low: float, high: float) -> None:
    """Values of R's ``prop.test(correct = FALSE)`` and of Newcombe (1998)."""
    assert wilson(correct, n) == pytest.approx((low, high), abs=6e-4)


def test_wilson_is_the_interval_of_scipy() -> None:
    """Which takes whole counts only, and long to import."""
    from scipy.stats import binomtest

    for n in (1, 7, 40, 1000):
        for correct in {0, 1, n // 3, n - 1, n}:
            theirs = binomtest(correct, n).proportion_ci(0.95, method="wilson")
            assert wilson(correct, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_of_nothing_and_of_nonsense() -> None:
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="proportion"):
        wilson(11, 10)
