"""The production function: against plain minima, finite differences, and the source's own test of binding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.production.token_production import (
    TwoCeiling,
    binding_resource,
    elasticities,
    phi_figure,
    shadow_prices,
    shared_rate,
    theta,
    token_rate,
    utilization_figure,
)

POSITIVE = st.floats(1e-2, 1e2)
CAPACITY = npst.arrays(float, 4, elements=POSITIVE, unique=True)
INTENSITY = npst.arrays(float, (2, 4), elements=POSITIVE, unique=True)


def test_by_hand() -> None:
    """Capacities 100, 60, unknown; intensities 2, 1, 5: ceilings 50, 60, none. Φ = 0.8, U = 0.5 → 20 tok/s."""
    capacity, intensity = [100.0, 60.0, np.inf], [2.0, 1.0, 5.0]
    assert float(token_rate(capacity, intensity, 0.8, 0.5)) == pytest.approx(20.0)
    assert int(binding_resource(capacity, intensity)) == 0
    assert float(token_rate([1.0, 0.0], [0.0, 0.0])) == np.inf, "what needs nothing is not limited"


@given(capacity=CAPACITY, intensity=INTENSITY, r=st.integers(0, 3), k=st.floats(1.0, 10.0))
def test_rate_is_monotone_in_each_capacity(capacity: np.ndarray, intensity: np.ndarray, r: int, k: float) -> None:
    more = capacity.copy()
    more[r] *= k
    assert np.all(token_rate(more, intensity) >= token_rate(capacity, intensity))
    assert shared_rate(more, intensity) >= shared_rate(capacity, intensity) * (1 - 1e-12)


@given(capacity=CAPACITY, intensity=INTENSITY, k=POSITIVE)
def test_dimensions(capacity: np.ndarray, intensity: np.ndarray, k: float) -> None:
    """A resource in another unit (capacity and intensity by k) changes no rate; all capacities by k scale it."""
    unit = np.array([k, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(token_rate(capacity * unit, intensity * unit), token_rate(capacity, intensity))
    np.testing.assert_allclose(shared_rate(capacity * k, intensity), k * shared_rate(capacity, intensity))


@given(capacity=CAPACITY, intensity=INTENSITY)
def test_elasticities_are_the_finite_differences(capacity: np.ndarray, intensity: np.ndarray) -> None:
    seconds = np.sort(intensity / capacity, axis=-1)
    if np.any(seconds[:, -1] < seconds[:, -2] * 1.001):
        return  # at a kink there is no derivative
    elasticity = elasticities(capacity, intensity)
    assert elasticity.sum() == pytest.approx(1)
    base, step = float(shared_rate(capacity, intensity)), 1e-5
    price = shadow_prices(elasticity, base, capacity)
    for r in range(4):
        up, down = capacity.copy(), capacity.copy()
        up[r] *= 1 + step
        down[r] *= 1 - step
        slope = (np.log(shared_rate(up, intensity)) - np.log(shared_rate(down, intensity))) / (2 * step)
        assert elasticity[r] == pytest.approx(float(slope), abs=1e-4)
        difference = float(shared_rate(up, intensity) - shared_rate(down, intensity)) / (2 * step * capacity[r])
        assert price[r] == pytest.approx(difference, rel=1e-3, abs=1e-9)


def test_one_activity_has_elasticity_one_for_the_binding_resource() -> None:
    np.testing.assert_array_equal(elasticities([100.0, 60.0], [[2.0, 1.0]]), [1.0, 0.0])


def test_prefill_and_decode_share_the_time() -> None:
    """Prefill bound by compute takes 3 ms a token, decode bound by memory 1 ms: 250 tok/s, elasticities 3/4 and 1/4."""
    capacity, intensity = [1.0, 1.0], [[3e-3, 1e-3], [0.5e-3, 1e-3]]
    assert float(shared_rate(capacity, intensity)) == pytest.approx(250.0)
    np.testing.assert_allclose(elasticities(capacity, intensity), [0.75, 0.25])


def test_leading_axes_are_deployments() -> None:
    capacity = np.array([[100.0, 60.0], [100.0, 10.0]])
    np.testing.assert_allclose(token_rate(capacity, [2.0, 1.0], [1.0, 0.5]), [50.0, 5.0])
    prices = shadow_prices([[1.0, 0.0], [0.0, 1.0]], [50.0, 5.0], capacity)
    np.testing.assert_allclose(prices, [[0.5, 0.0], [0.0, 0.5]])


@given(k=POSITIVE, c=POSITIVE, p=POSITIVE, e=POSITIVE, share=st.floats(0.1, 1.0))
def test_two_staves_and_the_sources_test_of_binding(k: float, c: float, p: float, e: float, share: float) -> None:
    view = TwoCeiling(
        compute_flop_s=k,
        work_flop_tok=c,
        facility_w=p,
        energy_j_tok=e,
        theta_ratio=share,
        phi_ratio=0.7,
        utilization_ratio=0.5,
    )
    assert view.rate_tok_s == pytest.approx(float(token_rate([k, share * p], [c, e], 0.7, 0.5)))
    if view.compute_tok_s != pytest.approx(view.power_tok_s, rel=1e-9):
        assert view.binding == ("power" if view.power_tok_s < view.compute_tok_s else "compute")
    ten = TwoCeiling(compute_flop_s=k, work_flop_tok=c, facility_w=p, energy_j_tok=10 * e, theta_ratio=share)
    assert ten.power_tok_s == pytest.approx(view.power_tok_s / 10)


def test_theta_is_dimensionless_and_unknown_without_pue() -> None:
    assert theta(1.25) == 0.8 and theta(1.25, 0.5) == 0.4 and theta(None) is None
    with pytest.raises(InputError, match="PUE of at least 1"):
        theta(0.9)


@pytest.mark.parametrize("change", [{"facility_w": 0.0}, {"theta_ratio": 1.2}, {"work_flop_tok": float("nan")}])
def test_impossible_staves_are_refused(change: dict[str, float]) -> None:
    good = {"compute_flop_s": 1.0, "work_flop_tok": 1.0, "facility_w": 1.0, "energy_j_tok": 1.0, "theta_ratio": 1.0}
    with pytest.raises(InputError):
        TwoCeiling(**(good | change))


def test_negative_or_missing_numbers_are_refused() -> None:
    for bad in (-1.0, float("nan")):
        with pytest.raises(InputError, match="0 or more"):
            token_rate([bad], [1.0])


def test_phi_and_u_by_hand() -> None:
    full = Figure(800.0, "tok/s", Basis.MEASURED, low=760.0, high=840.0)
    phi = phi_figure(full, Figure(1000.0, "tok/s", Basis.MODELLED))
    assert (phi.value, phi.basis) == (pytest.approx(0.8), Basis.MODELLED) and phi.low == pytest.approx(0.76)
    assert "too low" in str(phi_figure(full, Figure(500.0, "tok/s", Basis.MODELLED)).reason)
    assert utilization_figure(Figure(200.0, "tok/s", Basis.MEASURED), full).value == pytest.approx(0.25)
    assert utilization_figure(unknown("tok/s", "idle"), full).value is None
