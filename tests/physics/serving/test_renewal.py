"""Answers that start together: against a simulation draw by draw, and closed forms of renewal theory."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.physics.serving.renewal import RefilledSlots, refilled_slots

MEAN_TOK, P50_TOK, P90_TOK = 350.0, 288.0, 736.0


def simulated(ended: float, slots: int = 4000) -> tuple[float, float]:
    """Tokens until so many answers a slot have ended, and the mean age until then, in mean lengths; step by step."""
    random = np.random.default_rng(3)
    sigma = np.log(P90_TOK / P50_TOK) / 1.2816

    def lengths(count: int) -> np.ndarray:
        drawn = P50_TOK * np.exp(sigma * random.standard_normal(400_000))
        low, high = 0.0, float(drawn.max())
        while high - low > 0.5:  # the limit on tokens that makes the mean the stated one
            middle = 0.5 * (low + high)
            low, high = (middle, high) if np.minimum(drawn, middle).mean() < MEAN_TOK else (low, middle)
        return np.maximum(np.rint(np.minimum(drawn[:count], high)), 1.0)

    left, age, done, ages, step = lengths(slots), np.zeros(slots), 0, 0.0, 0
    more = iter(lengths(slots * int(ended + 3)))
    while done < ended * slots:
        step += 1
        age += 1.0
        over = age >= left
        done += int(over.sum())
        left[over] = [next(more) for _ in range(int(over.sum()))]
        age[over] = 0.0
        ages += float(age.mean())
    return step / MEAN_TOK, ages / step / MEAN_TOK


@pytest.mark.parametrize("ended", [0.5, 1.0, 3.0])
def test_time_and_age_are_those_of_a_simulation(ended: float) -> None:
    loop = refilled_slots(MEAN_TOK, P50_TOK, P90_TOK)
    time, age = simulated(ended)
    assert loop.time_ratio(ended) == pytest.approx(time, rel=0.03)
    assert loop.mean_age_ratio(0.0, loop.time_ratio(ended)) == pytest.approx(age, rel=0.04)


def steady_age(loop: RefilledSlots) -> float:
    return loop.mean_age_ratio(0.0, 500.0)


def test_long_after_the_start_a_loop_is_steady() -> None:
    """Age → E[L²]/2E[L]; an answer ends every mean length, and (1 − s²)/2 of one is behind."""
    loop = refilled_slots(MEAN_TOK, P50_TOK, P90_TOK)
    squared = 2.0 * loop.steady_age_ratio
    assert steady_age(loop) == pytest.approx(loop.steady_age_ratio, rel=0.02)
    assert loop.time_ratio(200.0) - loop.time_ratio(100.0) == pytest.approx(100.0, rel=1e-6)
    assert loop.time_ratio(100.0) == pytest.approx(100.0 + 1.0 - 0.5 * squared, abs=0.03)


def test_the_mean_is_the_stated_one_whether_answers_are_cut_or_not() -> None:
    for mean in (300.0, 350.0, 500.0):
        loop = refilled_slots(mean, P50_TOK, P90_TOK)
        assert (loop.longer_ratio.sum() - 0.5) / 100 == pytest.approx(1.0, abs=0.02)
    assert refilled_slots(400.0, 0.0, 0.0).steady_age_ratio == pytest.approx(0.5 * (1.0 + 0.35), rel=0.03)
