"""Idle energy over a day: by hand, and Σ J ÷ Σ tok against the formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.physics.production.utilization import PartLoad, energy_j_tok, mean_power_w, period_of

PLANT = PartLoad(full_tok_s=10e3, full_w=6e3, idle_w=2e3)


def test_by_hand() -> None:
    """0.6 J/tok at full load; at U = 0.25: 2000 + 4000/4 = 3000 W over 2500 tok/s = 1.2 J/tok."""
    assert float(mean_power_w(PLANT, 0.25)) == 3000.0
    np.testing.assert_allclose(energy_j_tok(PLANT, [1.0, 0.25]), [0.6, 1.2])
    assert float(energy_j_tok(PLANT, 0.0)) == np.inf


@given(u=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=24), k=st.floats(0.1, 10))
def test_a_day_sums_joules_and_tokens(u: list[float], k: float) -> None:
    day = period_of(PLANT, u, 3600.0)
    assert day.duration_s == 3600.0 * len(u)
    busy = day.energy_j - day.idle_j
    assert busy == pytest.approx(PLANT.full_j_tok * day.output_tok, rel=1e-9, abs=1e-6)
    if day.utilization_ratio > 1e-6:
        assert day.energy_j_tok == pytest.approx(float(energy_j_tok(PLANT, day.utilization_ratio)), rel=1e-6)
    scaled = period_of(PartLoad(10e3, 6e3 * k, 2e3 * k), u, 3600.0)
    assert scaled.energy_j == pytest.approx(k * day.energy_j)


@given(a=st.floats(0.01, 1.0), b=st.floats(0.01, 1.0))
def test_busier_is_cheaper_a_token(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert energy_j_tok(PLANT, low) >= energy_j_tok(PLANT, high) >= PLANT.full_j_tok


def test_what_delivers_no_token_has_no_joules_per_token() -> None:
    assert period_of(PLANT, [0.0], 1.0).energy_j_tok is None


def test_bad_input() -> None:
    for call in (
        lambda: mean_power_w(PLANT, 1.1),
        lambda: period_of(PLANT, [], 1.0),
        lambda: period_of(PLANT, [0.5], 0.0),
        lambda: PartLoad(1.0, 1.0, 2.0),
    ):
        with pytest.raises(InputError):
            call()
