"""Design spaces by hand: grids, draws, fronts, main effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.simulation.design_space import DrawnRange, drawn_points, grid_points, main_effects, pareto_front


def test_a_grid_has_every_combination_the_last_axis_fastest() -> None:
    points = grid_points({"c": 9}, {"a": [1, 2], "b": ["x", "y"]})
    assert points == [{"c": 9, "a": a, "b": b} for a in (1, 2) for b in ("x", "y")]
    assert grid_points({"c": 9}, {}) == [{"c": 9}]


def test_draws_fill_their_range_evenly() -> None:
    drawn = drawn_points([{"m": 1}], {"x": DrawnRange(1.0, 1000.0, logarithmic=True)}, 300, np.random.default_rng(1))
    classes = np.floor(np.log10([p["x"] for p in drawn]))
    assert np.bincount(classes.astype(int)).tolist() == [100, 100, 100]  # one in each of 300 equal parts


def test_a_front_holds_what_nothing_beats() -> None:
    costs = np.array([[1.0, 5.0], [2.0, 3.0], [3.0, 3.0], [4.0, 1.0], [np.nan, 0.0], [2.0, 3.0]])
    assert pareto_front(costs) == [0, 1, 3]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40))
def test_no_row_of_a_front_is_beaten_and_every_other_is(rows: list[tuple[int, int, int]]) -> None:
    costs = np.array(rows, dtype=float)
    front = pareto_front(costs)
    for i, row in enumerate(costs):
        beaten = [k for k in front if k != i and np.all(costs[k] <= row) and np.any(costs[k] < row)]
        equal = [k for k in front if np.array_equal(costs[k], row)]
        assert not beaten if i in front else beaten or equal


def test_main_effects_of_a_product_are_those_of_its_factors() -> None:
    # ln y = ln 4·a + ln 2·b on a full grid of ±½: variances ln²4/4 and ln²2/4, so shares 4/5 and 1/5; c does nothing.
    points = grid_points({}, {"a": [0, 1], "b": [0, 1], "c": [0, 1]})
    results = np.array([4.0 ** p["a"] * 2.0 ** p["b"] for p in points])
    effects = main_effects(points, ["a", "b", "c"], results)
    assert effects == {"a": pytest.approx(0.8), "b": pytest.approx(0.2), "c": pytest.approx(0.0, abs=1e-12)}


def test_a_drawn_number_is_put_in_classes_and_nothing_varying_has_no_effect() -> None:
    rng = np.random.default_rng(3)
    points = drawn_points([{}], {"x": DrawnRange(0.0, 1.0), "z": DrawnRange(0.0, 1.0)}, 2000, rng)
    results = np.array([math.exp(p["x"]) for p in points])
    effects = main_effects(points, ["x", "z"], results)
    assert effects["x"] == pytest.approx(0.99, abs=0.005)  # within a tenth x varies by 1/100 of the variance
    assert effects["z"] is not None and effects["z"] < 0.02
    assert main_effects(points, ["x"], np.ones(2000)) == {"x": None}


def test_too_many_points_are_refused() -> None:
    with pytest.raises(InputError, match="points"):
        grid_points({}, {"a": list(range(2000)), "b": list(range(2000))})
