"""Order statistics against what is known of them: coverage by simulation, signs, too few requests."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.analysis.latency_comparison import quantile_interval, real_ratio


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_intervals_hold_the_true_percentile_95_times_in_100(q: float) -> None:
    """Exponential latencies: percentile q is −ln(1−q)."""
    rng, truth, held, runs = np.random.default_rng(7), -np.log(1 - q), 0, 400
    for _ in range(runs):
        found = quantile_interval(rng.exponential(size=300).tolist(), q)
        assert found is not None
        held += found[0] <= truth <= found[2]
    assert 0.92 <= held / runs <= 0.99


def test_too_few_requests_claim_nothing() -> None:
    assert quantile_interval([1.0] * 5, 0.5) is None
    assert quantile_interval(list(np.linspace(1, 2, 50)), 0.99) is None


def test_a_queue_widens_the_interval() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    loose, queued = (quantile_interval(v.tolist(), 0.5) for v in (values, np.sort(values)))
    assert loose is not None
    assert queued is None or queued[2] - queued[0] > loose[2] - loose[0]


def test_a_real_difference_is_told_from_none() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.lognormal(sigma=0.2, size=(2, 400))
    same, slower = real_ratio(a, b, 0.5), real_ratio(a, b * 1.2, 0.5)
    assert same is not None and slower is not None
    assert slower[0] == pytest.approx(0.2, abs=0.06) and slower[1] > 0.99
    assert real_ratio(a, a, 0.5) == (0.0, 0.5)
