"""What a power limit does to a step: only slows, and leaves dynamic power within what is above static."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.physics.serving.power import capped_slowdown_ratio


@given(st.floats(100, 2000), st.floats(150, 1000), st.floats(0, 140))
def test_a_cap_only_slows_and_dynamic_power_then_fits(demand: float, limit: float, static: float) -> None:
    slow = float(capped_slowdown_ratio(demand, limit, static))
    assert slow >= 1.0
    if demand > limit:
        assert static + (demand - static) * slow**-2.5 == pytest.approx(limit)
    else:
        assert slow == pytest.approx(1.0)


def test_a_cap_below_static_power_cannot_be_met() -> None:
    assert capped_slowdown_ratio(300.0, 90.0, 100.0) == np.inf
