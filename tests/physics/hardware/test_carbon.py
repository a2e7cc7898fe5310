"""The mean of a grid's signal: by hand, and properties of any mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.physics.hardware.carbon import GridPoint, time_weighted


def test_a_window_over_two_hours_by_hand() -> None:
    """10 min at 100 and 20 min at 400: (10·100 + 20·400) / 30 = 300."""
    points = [GridPoint(3600.0, 7200.0, 400.0), GridPoint(0.0, 3600.0, 100.0)]
    mean = time_weighted(points, 3000.0, 4800.0)
    assert mean is not None
    assert mean.carbon_gco2e_j == pytest.approx(300.0) and mean.covered_ratio == 1.0
    assert (mean.low_gco2e_j, mean.high_gco2e_j) == (100.0, 400.0)


def test_a_gap_is_left_out_and_a_large_one_leaves_the_mean_unknown() -> None:
    points = [GridPoint(0.0, 60.0, 100.0)]
    mean = time_weighted(points, 0.0, 100.0)
    assert mean is not None and mean.carbon_gco2e_j == 100.0 and mean.covered_ratio == pytest.approx(0.6)
    assert time_weighted(points, 0.0, 121.0) is None
    assert time_weighted([], 0.0, 1.0) is None and time_weighted(points, 5.0, 5.0) is None


def test_overlapping_points_are_refused() -> None:
    with pytest.raises(InputError, match="overlap"):
        time_weighted([GridPoint(0.0, 60.0, 1.0), GridPoint(59.0, 90.0, 2.0)], 0.0, 90.0)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), st.floats(0.0, 1.0), st.floats(0.1, 10.0))
def test_the_mean_lies_between_the_extremes_and_scales(values: list[float], begin: float, factor: float) -> None:
    points = [GridPoint(float(i), i + 1.0, v) for i, v in enumerate(values)]
    mean = time_weighted(points, begin * 0.5, float(len(values)))
    scaled = time_weighted(
        [GridPoint(p.start_s, p.end_s, p.carbon_gco2e_j * factor) for p in points], begin * 0.5, float(len(values))
    )
    assert mean is not None and scaled is not None
    assert mean.low_gco2e_j - 1e-9 <= mean.carbon_gco2e_j <= mean.high_gco2e_j + 1e-9
    assert scaled.carbon_gco2e_j == pytest.approx(mean.carbon_gco2e_j * factor)
