"""The gate's answers on runs of known truth."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.decisions.gate.change import Change, change, noise
from joulemill.decisions.gate.gate import Outcome, Terms, _below_p, _lower_p, gate
from joulemill.decisions.gate.run_length import LengthPlan, plan_length
from joulemill.decisions.gate.sample import Share
from joulemill.figure import Basis, Figure
from tests.support.gate_runs import sample, unmetered

TERMS = Terms(0.05)


def judge(base, new, terms: Terms = TERMS):
    return gate([base], [new], terms)


def test_unchanged_passes_and_a_clear_rise_fails() -> None:
    assert judge(sample(seed=1), sample(seed=2)).outcome is Outcome.PASS
    found = judge(sample(0.5, seed=1), sample(0.55, seed=2))
    assert found.outcome is Outcome.FAIL
    assert found.checks[0].change.value == pytest.approx(0.10, abs=0.02)
    assert "beyond the allowed +5 %" in found.reasons[0]


def test_a_rise_within_the_noise_of_the_threshold_is_undecided() -> None:
    assert judge(sample(0.5, noise=0.1, seed=1), sample(0.53, noise=0.1, seed=2)).outcome is Outcome.UNDECIDED


def test_a_fall_passes() -> None:
    assert judge(sample(0.5, seed=1), sample(0.4, seed=2)).outcome is Outcome.PASS


@pytest.mark.parametrize(("base", "new"), [(unmetered(), sample()), (sample(), unmetered())])
def test_a_missing_figure_is_never_a_pass(base, new) -> None:
    found = judge(base, new)
    assert found.outcome is Outcome.UNDECIDED
    assert "bare: joules are unknown (nothing metered the node)" in found.reasons[0]


def test_zero_joules_are_no_gift() -> None:
    nothing = sample(name="zero", figure=Figure(0.0, "J/tok", Basis.MEASURED), energy_j=(0.0,) * 60)
    assert judge(sample(), nothing).outcome is Outcome.UNDECIDED


def test_too_few_sub_windows_do_not_tell() -> None:
    found = judge(sample(windows=60), sample(windows=5))
    assert found.outcome is Outcome.UNDECIDED
    assert "too few sub-windows" in found.reasons[0]


def test_missing_quality_is_undecided_unless_told() -> None:
    new = sample(seed=2, accuracy=None, accuracy_reason="no quality set was asked")
    found = judge(sample(seed=1), new)
    assert found.outcome is Outcome.UNDECIDED and "--without-quality" in found.reasons[0]
    told = judge(sample(seed=1), new, Terms(0.05, without_quality=True))
    assert told.outcome is Outcome.PASS and any("worse answers" in n for n in told.notes)


def test_fewer_joules_for_worse_answers_fail() -> None:
    found = judge(sample(seed=1), sample(0.3, seed=2, accuracy=Share(18, 36, of="small")))
    assert found.outcome is Outcome.FAIL and "accuracy 50.0 %" in found.reasons[0]
    assert judge(sample(seed=1), sample(seed=2, accuracy=Share(29, 36, of="small"))).outcome is Outcome.PASS


def test_a_stated_quality_is_the_bar() -> None:
    assert judge(sample(seed=1), sample(seed=2), Terms(0.05, min_quality_ratio=0.99)).outcome is Outcome.FAIL
    assert judge(sample(seed=1), sample(seed=2), Terms(0.05, min_quality_ratio=0.8)).outcome is Outcome.PASS


def test_other_questions_are_no_comparison() -> None:
    found = judge(sample(seed=1), sample(seed=2, accuracy=Share(30, 36, of="mine")))
    assert found.outcome is Outcome.UNDECIDED and "different sets" in found.reasons[0]


def test_missed_latency_targets_fail() -> None:
    slo = {"targets_s": (0.2, None)}
    base = sample(seed=1, attained=Share(198, 200, 4.0), **slo)
    assert judge(base, sample(seed=2, attained=Share(120, 200, 4.0), **slo)).outcome is Outcome.FAIL
    assert judge(base, sample(seed=2, attained=Share(196, 200, 4.0), **slo)).outcome is Outcome.PASS
    assert judge(base, sample(seed=2, attained=None, **slo)).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    "facts",
    [
        {"conditions": {"model": "other", "hardware": "1 x h100", "load": "concurrency 8"}},
        {"conditions": {"model": "m", "hardware": None, "load": "concurrency 8"}},
        {"targets_s": (0.2, None), "attained": Share(9, 10)},
        {"meters": frozenset({"declared"})},
    ],
)
def test_runs_that_are_not_comparable_are_undecided_unless_forced(facts) -> None:
    base, new = sample(seed=1), sample(seed=2, **facts)
    found = judge(base, new)
    assert found.outcome is Outcome.UNDECIDED and not found.comparable
    assert found.reasons[0].startswith("not comparable: ")
    forced = judge(base, new, Terms(0.05, force=True))
    assert any(n.startswith("NOT COMPARABLE, forced") for n in forced.notes)


def test_a_broken_run_is_undecided_even_when_forced() -> None:
    new = sample(seed=2, faults=("the run was interrupted (SIGTERM)",))
    assert judge(sample(seed=1), new, Terms(0.05, force=True)).outcome is Outcome.UNDECIDED


def test_a_run_against_itself_shows_nothing() -> None:
    found = judge(sample(seed=1, run_id="a"), sample(seed=1, run_id="a"), Terms(0.05, force=True))
    assert found.outcome is Outcome.UNDECIDED and "more than once" in found.reasons[0]
    assert judge(sample(seed=1, run_id="a"), sample(seed=2, run_id="b")).outcome is Outcome.PASS


def test_mean_lengths_may_part_a_little() -> None:
    lengths = [{"mean output": v} for v in (60.0, 62.0, 90.0)]
    base, near, far = (sample(seed=i, conditions=c) for i, c in enumerate(lengths))
    assert judge(base, near).comparable
    assert not judge(base, far).comparable


def test_meter_error_cancels_for_one_sensor_only() -> None:
    base, other = sample(seed=1), sample(seed=2, sensors=frozenset({"nvml GPU-1"}))
    same, apart = change([base], [sample(seed=2)]), change([base], [other], same_sensor=False)
    assert isinstance(same, Change) and isinstance(apart, Change)
    assert same.meter_stderr_ratio == 0.0
    assert apart.meter_stderr_ratio == pytest.approx(math.sqrt(2) * 0.02 / 1.96, rel=0.02)
    assert any("own errors" in n for n in judge(base, other).notes)


def test_repeats_are_judged_by_their_spread_as_a_t_test() -> None:
    """Without noise inside the runs, the change of repeated runs is Student's two-sample test of the logarithms."""
    from scipy import stats  # long to import, and used here only

    base, new = (0.50, 0.52, 0.49), (0.55, 0.56, 0.54)
    sides = [[sample(v, noise=1e-9, seed=i) for i, v in enumerate(side)] for side in (base, new)]
    found = change(*sides)
    oracle = stats.ttest_ind(np.log(new), np.log(base), alternative="greater")
    assert found.exceeds_p_ratio() == pytest.approx(oracle.pvalue, rel=1e-3)
    assert found.freedom_count == 4


def test_single_runs_say_that_run_to_run_is_unseen_and_take_it_stated() -> None:
    base, new = sample(0.5, seed=1), sample(0.55, seed=2)
    assert any("one run per side" in n for n in judge(base, new).notes)
    noisy = judge(base, new, Terms(0.05, run_spread_ratio=0.05))
    assert noisy.outcome is Outcome.UNDECIDED


def test_a_real_rise_that_is_allowed_is_told() -> None:
    found = judge(sample(0.5, noise=0.002, seed=1), sample(0.51, noise=0.002, seed=2))
    assert found.outcome is Outcome.PASS
    assert any("real, though allowed" in n for n in found.notes)


@settings(max_examples=30)
@given(st.floats(1e-3, 1e3))
def test_scaling_all_joules_changes_nothing(k: float) -> None:
    def scaled(s):
        f = s.figure
        figure = replace(f, value=k * f.value, low=k * f.low, high=k * f.high)
        return replace(s, figure=figure, energy_j=tuple(k * j for j in s.energy_j))

    base, new = sample(0.5, seed=1), sample(0.53, seed=2)
    a, b = change([base], [new]), change([scaled(base)], [scaled(new)])
    assert (a.log_ratio, a.stderr_ratio) == pytest.approx((b.log_ratio, b.stderr_ratio), rel=1e-9, abs=1e-12)


def test_no_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="each side"):
        gate([], [sample()], TERMS)


def test_shares_are_tested_as_textbooks_do() -> None:
    """Pooled two-proportion test (Fleiss) and the score test that Wilson's interval inverts."""
    n, m, x, y = 200, 150, 180, 120
    pooled = (x + y) / (n + m)
    z = (y / m - x / n) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    assert _lower_p(Share(x, n), Share(y, m)) == pytest.approx(NormalDist().cdf(z))
    assert _below_p(Share(80, 100), 0.9) == pytest.approx(NormalDist().cdf(-0.1 / math.sqrt(0.09 / 100)))
    # Forty requests in flight together are worth one.
    assert _lower_p(Share(x, n, 40.0), Share(y, m, 40.0)) > 0.2


def test_bare_figures_bring_their_interval_as_noise() -> None:
    bare = sample(
        energy_j=(), amount_count=(), figure=Figure(0.5, "J/tok", Basis.MEASURED, low=0.49, high=0.51, level=0.95)
    )
    assert noise(bare).stderr_ratio == pytest.approx(0.02 / 1.96, rel=1e-3)
    assert noise(unmetered()) is None


def test_the_plan_follows_the_noise() -> None:
    quiet, loud = (plan_length([sample(noise=x, seed=3)], 0.05) for x in (0.02, 0.04))
    assert isinstance(quiet, LengthPlan) and isinstance(loud, LengthPlan)
    assert loud.window_s / quiet.window_s == pytest.approx(4.0, rel=0.35)
    tight = plan_length([sample(noise=0.02, seed=3)], 0.01)
    assert tight.window_s > 10 * quiet.window_s
    assert quiet.enough and "enough" in quiet.text and not tight.enough


def test_the_plan_for_repeats_counts_runs() -> None:
    found = plan_length([sample(v, noise=0.001, seed=i) for i, v in enumerate((0.5, 0.51, 0.495, 0.505))], 0.05)
    assert isinstance(found, LengthPlan) and found.runs_count is not None and found.runs_count >= 2
    assert found.spread_ratio == pytest.approx(np.std(np.log((0.5, 0.51, 0.495, 0.505)), ddof=1), rel=0.02)


def test_no_plan_without_noise() -> None:
    assert "too few" in plan_length([sample(windows=4)], 0.05)
