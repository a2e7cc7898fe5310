"""Changes against a t-test of scipy's, cascades by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.decisions.levers.measured import ScoredAnswer, answer_change, cascades, change_of, figure_of, pooled
from joulemill.figure import Basis, Figure, unknown


def figures(values: list[float], half_ratio: float | None = None) -> list[Figure]:
    if half_ratio is None:
        return [Figure(v, "tok/s", Basis.MEASURED) for v in values]
    h = math.exp(half_ratio)
    return [Figure(v, "tok/s", Basis.MEASURED, low=v / h, high=v * h, level=0.95) for v in values]


def test_repeats_give_the_interval_of_a_t_test_of_logarithms() -> None:
    from scipy.stats import ttest_ind  # long to import, and used here only

    base, new = [100.0, 104.0, 99.0], [120.0, 131.0, 125.0]
    found = change_of(figures(base), figures(new))
    oracle = ttest_ind(np.log(new), np.log(base)).confidence_interval(0.95)
    assert found.value == pytest.approx(math.exp(np.log(new).mean() - np.log(base).mean()) - 1)
    assert (found.low, found.high) == pytest.approx((math.expm1(oracle.low), math.expm1(oracle.high)))


def test_runs_that_agree_by_chance_are_no_surer_than_each_of_them() -> None:
    found = change_of(figures([100.0, 100.0], 0.1), figures([120.0, 120.0], 0.1))
    # two of 0.1 / sqrt(2) in quadrature
    assert math.log1p(found.high) - math.log1p(found.value) == pytest.approx(0.1)


def test_one_run_a_side_has_the_runs_own_interval_or_none() -> None:
    found = change_of(figures([100.0], 0.03), figures([200.0], 0.04))
    assert (found.value, math.log1p(found.high)) == (pytest.approx(1.0), pytest.approx(math.log(2.0) + 0.05))
    bare = change_of(figures([100.0]), figures([200.0]))
    assert bare.low is None and bare.reason is not None and "repeat" in bare.reason


def test_unknown_stays_unknown_and_models_stay_models() -> None:
    assert change_of([unknown("tok/s", "no meter")], figures([1.0])).reason == "no meter"
    assert change_of(figures([1.0]), []).value is None
    modelled = [Figure(2.0, "J/tok", Basis.MODELLED)]
    assert change_of(modelled, figures([1.0])).basis is Basis.MODELLED
    assert figure_of("no windows", None, None, (1, 1)).reason == "no windows"


FIRST = [ScoredAnswer("a", 10, 1.0, True), ScoredAnswer("b", 10, 0.0, True), ScoredAnswer("c", 10, 0.0, False)]
SECOND = [ScoredAnswer("a", 20, 0.0, True), ScoredAnswer("b", 20, 1.0, True), ScoredAnswer("c", 20, 1.0, True)]


def test_cascades_by_hand() -> None:
    ended, best = cascades(FIRST, SECOND, 0.5, 2.0)
    # only c goes on: 3 × 5 J + 40 J, a and c right
    assert (ended.passed_ratio, ended.energy_j) == (pytest.approx(1 / 3), pytest.approx(55 / 3))
    assert (ended.accuracy_ratio, ended.correct_answer_j) == (pytest.approx(2 / 3), pytest.approx(27.5))
    # b and c go on: 15 J + 80 J, all right
    assert (best.accuracy_ratio, best.correct_answer_j) == (1.0, pytest.approx(95 / 3))
    assert cascades(FIRST, [], 0.5, 2.0) == ()


answers = st.lists(
    st.tuples(st.integers(1, 50), st.sampled_from([0.0, 1.0, None]), st.booleans()), min_size=1, max_size=9
)


@given(answers, answers, st.floats(0.01, 10.0), st.floats(0.01, 10.0), st.floats(0.1, 10.0))
def test_the_judge_that_knows_cannot_be_beaten_and_joules_scale(one, two, first_j, second_j, factor) -> None:
    n = min(len(one), len(two))
    first, second = ([ScoredAnswer(str(i), *side[i]) for i in range(n)] for side in (one, two))
    ended, best = cascades(first, second, first_j, second_j)
    alone = [sum(a.score_ratio or 0.0 for a in side) / n for side in (first, second)]
    assert best.accuracy_ratio >= max(*alone, ended.accuracy_ratio) - 1e-12
    scaled = cascades(first, second, factor * first_j, factor * second_j)
    assert [c.energy_j for c in scaled] == pytest.approx([factor * c.energy_j for c in (ended, best)])
    assert all(0.0 <= c.passed_ratio <= 1.0 and c.question_count == n for c in (ended, best))


def asked(right: int, of: int) -> list[ScoredAnswer]:
    return [ScoredAnswer(str(n), 10, float(n < right), True) for n in range(of)]


SAME = Figure(0.0, "1", Basis.MEASURED, low=0.0, high=0.0, level=0.95)


def test_joules_a_right_answer_by_hand_and_questions_are_drawn_together() -> None:
    draws = np.random.default_rng(1)
    better = Figure(-0.2, "1", Basis.MEASURED, low=-0.25, high=-0.15, level=0.95)
    found = answer_change(asked(20, 40), asked(25, 40), better, draws)
    assert 1 + found.value == pytest.approx(0.8 * 20 / 25)
    assert found.low < found.value < found.high and found.basis is Basis.MEASURED
    # The same answers to the same questions: nothing differs, however few they are.
    alike = answer_change(asked(3, 9), asked(3, 9), SAME, draws)
    assert (alike.value, alike.low, alike.high) == (0.0, 0.0, 0.0)
    # Only the joules differ: the interval is theirs.
    cheaper = answer_change(asked(3, 9), asked(3, 9), better, draws)
    assert (cheaper.value, cheaper.low, cheaper.high) == pytest.approx((-0.2, -0.25, -0.15))


def test_answers_that_cannot_be_compared_are_unknown() -> None:
    draws = np.random.default_rng(1)
    assert answer_change(asked(3, 9), asked(0, 9), SAME, draws).reason == "no answer was right on one side"
    assert answer_change(asked(3, 9), [], SAME, draws).reason == "no question was asked of both"
    assert answer_change(asked(3, 9), asked(3, 9), unknown("1", "no meter"), draws).reason == "no meter"


def test_the_spread_of_all_points_tells_more_than_that_of_two() -> None:
    points = [[100.0, 110.0], [200.0, 210.0], [50.0, 51.0], [70.0, 78.0]]
    spread = pooled([figures(p) for p in points])
    logs = np.log(points)
    assert spread.freedom_count == 4
    assert spread.log_ratio == pytest.approx(math.sqrt(logs.var(axis=1, ddof=1).mean()))
    alone, all_together = (change_of(figures(points[0]), figures(points[3]), s) for s in (None, spread))
    assert alone.value == all_together.value and all_together.high - all_together.low < alone.high - alone.low
    assert pooled([figures([1.0]), figures([2.0])]) is None
