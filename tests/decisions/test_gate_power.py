"""A fast version of ``benchmarks/gate_power.py``, which is the proof."""

from __future__ import annotations

import numpy as np
import pytest
from simulated.gates import ALLOWED, Row, judged, planned, repeated

from joulemill.decisions.gate.gate import Outcome

SYSTEM = (0.08, 0.3)


def test_identical_systems_and_such_at_the_limit_rarely_fail() -> None:
    rng = np.random.default_rng(5)
    assert judged(rng, 150, 60.0, SYSTEM, 0.0)[Outcome.FAIL] <= 3
    # 5 % of 150 are 7.5; 16 or more would come once in three hundred times.
    assert judged(rng, 150, 60.0, SYSTEM, ALLOWED)[Outcome.FAIL] <= 15


def test_the_plan_is_long_enough() -> None:
    rng = np.random.default_rng(6)
    risen, length_s = planned(rng, 60, SYSTEM, 0.10)
    assert risen[Outcome.FAIL] >= 50 and risen[Outcome.PASS] == 0
    assert 80 < length_s < 400
    assert planned(rng, 60, SYSTEM, 0.0)[0][Outcome.PASS] >= 50


def test_repeats_that_differ_from_run_to_run_rarely_fail() -> None:
    assert repeated(np.random.default_rng(7), 60, 3, 0.04, ALLOWED)[Outcome.FAIL] <= 8


@pytest.mark.parametrize(("share", "sound"), [(0.05, True), (0.08, False), (0.0, True)])
def test_a_row_is_judged_with_the_noise_of_the_simulation(share: float, sound: bool) -> None:
    assert Row(case="A", system="", share=share, least=0.0, most=0.05, runs=1000).sound is sound
