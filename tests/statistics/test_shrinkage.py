"""Shrunk mean and slope: by hand, against the general mixed-model equations, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from joulemill.statistics.shrinkage import Variances, shrunk

errors = st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=12)
positive = st.floats(1e-3, 10.0)


def test_one_observation_by_hand() -> None:
    """τ² = 0.04, σ² = 0.01: the mean is 4/5 of the observation, its variance 0.04 × 0.01 ÷ 0.05 = 0.008."""
    cell = shrunk([2.0], [0.5], Variances(0.04, 0.01, 0.09))
    assert (cell.mean, cell.mean_variance) == pytest.approx((0.4, 0.008))
    assert cell.slope == 0.0 and cell.slope_variance == pytest.approx(0.09)
    assert cell.at(2.0) == pytest.approx((0.4, 0.018))
    assert cell.at(4.0) == pytest.approx((0.4, 0.008 + 4 * 0.09 + 0.01))


def test_three_observations_by_hand() -> None:
    """x̄ = 1, Sxx = 2, Σ(x−x̄)e = 0.4: slope 0.09 × 0.4 ÷ (0.09 × 2 + 0.01) = 0.036 ÷ 0.19."""
    cell = shrunk([0.0, 1.0, 2.0], [0.1, 0.3, 0.5], Variances(0.04, 0.01, 0.09))
    assert cell.mean == pytest.approx(0.3 * 0.12 / 0.13)
    assert cell.mean_variance == pytest.approx(0.04 * 0.01 / 0.13)
    assert cell.slope == pytest.approx(0.036 / 0.19)
    assert cell.slope_variance == pytest.approx(0.0009 / 0.19)


@given(
    e=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=12),
    v=st.tuples(positive, positive, positive),
    seed=st.integers(0, 99),
)
def test_the_closed_form_solves_the_mixed_model_equations(
    e: list[float], v: tuple[float, float, float], seed: int
) -> None:
    """Henderson: (ZᵀZ/σ² + G⁻¹) u = Zᵀe/σ²; the inverse is the covariance of u."""
    x = np.random.default_rng(seed).normal(size=len(e))
    z = np.column_stack([np.ones(len(e)), x - x.mean()])
    left = z.T @ z / v[1] + np.diag([1 / v[0], 1 / v[2]])
    covariance, cell = np.linalg.inv(left), shrunk(list(x), e, Variances(*v))
    assert (cell.mean, cell.slope) == pytest.approx(tuple(covariance @ z.T @ np.array(e) / v[1]), abs=1e-9)
    assert (cell.mean_variance, cell.slope_variance) == pytest.approx(tuple(np.diag(covariance)), rel=1e-6)


@given(e=errors, v=st.tuples(positive, positive, positive))
def test_a_mean_lies_between_none_and_the_cells_own(e: list[float], v: tuple[float, float, float]) -> None:
    cell, own = shrunk([0.0] * len(e), e, Variances(*v)), float(np.mean(e))
    assert abs(cell.mean) <= abs(own) + 1e-12 and cell.mean * own >= 0.0
    assert 0.0 < cell.mean_variance <= min(v[0], v[1] / len(e)) + 1e-12


@given(e=errors, v=st.tuples(positive, positive, positive), x=st.floats(-3.0, 3.0))
def test_more_rows_narrow_the_interval_and_reach_the_cells_mean(
    e: list[float], v: tuple[float, float, float], x: float
) -> None:
    once, often = (shrunk([0.0] * len(many), many, Variances(*v)) for many in (e, e * 10))
    assert often.at(x)[1] <= once.at(x)[1]
    own = float(np.mean(e))
    endless = shrunk([0.0] * (len(e) * 20_000), e * 20_000, Variances(*v))
    assert endless.mean == pytest.approx(own, abs=abs(own) * v[1] / v[0] / (len(e) * 20_000) + 1e-9)
    assert endless.at(0.0)[1] == pytest.approx(v[1], rel=1e-3)


@given(
    e=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=8),
    v=st.tuples(positive, positive, positive),
    unit=st.floats(0.1, 10.0),
)
def test_a_change_of_units_changes_nothing_else(e: list[float], v: tuple[float, float, float], unit: float) -> None:
    """Errors in another unit, and variances in its square: the same shares."""
    x = [float(i) for i in range(len(e))]
    assume(any(e))
    plain, other = shrunk(x, e, Variances(*v)), shrunk(x, [i * unit for i in e], Variances(*(i * unit**2 for i in v)))
    assert other.at(1.5) == pytest.approx((plain.at(1.5)[0] * unit, plain.at(1.5)[1] * unit**2), rel=1e-6, abs=1e-9)


@given(shift=st.floats(-5.0, 5.0), e=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=8))
def test_where_x_is_zero_does_not_matter(shift: float, e: list[float]) -> None:
    x, v = [float(i) for i in range(len(e))], Variances(0.04, 0.01, 0.09)
    assert shrunk([i + shift for i in x], e, v).at(2.0 + shift) == pytest.approx(shrunk(x, e, v).at(2.0), abs=1e-9)


def test_two_rows_or_one_batch_tell_no_slope() -> None:
    v = Variances(0.04, 0.01, 0.09)
    assert shrunk([0.0, 1.0], [0.1, 0.9], v).slope == 0.0
    same = shrunk([1.0, 1.0, 1.0], [0.1, 0.5, 0.9], v)
    assert same.slope == 0.0 and same.slope_variance == pytest.approx(0.09)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="one observation"):
        shrunk([], [], Variances(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="each with its x"):
        shrunk([1.0], [1.0, 2.0], Variances(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="must not be negative"):
        Variances(1.0, 0.0, 1.0)
