from __future__ import annotations

import numpy as np
import pytest
from simulated.runs import request

from joulemill.ledger.latency import Targets, latency, met_targets, tpot_s, ttft_s
from joulemill.ledger.record import RequestOutcome


def test_definitions_by_hand() -> None:
    r = request(0, 10.0, 10.3, 12.2, output_tok=20, scheduled_mono_s=9.5, chunk_mono_s=(10.3, 10.5, 12.2))
    assert ttft_s(r) == pytest.approx(0.3) and ttft_s(r, from_schedule=True) == pytest.approx(0.8)
    assert tpot_s(r) == pytest.approx(1.9 / 19)
    found = latency([r], Targets())
    assert found.itl.n == 2 and found.itl.mean_s == pytest.approx(0.95)
    assert found.e2e.p50_s == pytest.approx(2.2)
    assert tpot_s(request(0, 0.0, 1.0, 1.0, output_tok=1)) is None


def test_percentiles_of_a_known_ramp() -> None:
    found = latency([request(i, 0.0, i / 100, 5.0) for i in range(101)], Targets()).ttft
    assert (found.p50_s, found.p90_s, found.p99_s, found.mean_s) == pytest.approx((0.5, 0.9, 0.99, 0.5))


def test_failed_requests_are_counted_and_meet_nothing() -> None:
    requests = [
        request(0, 0.0, 0.1, 1.0),
        request(1, 0.0, 0.3, 1.0, retries=2),
        request(2, 0.0, 0.1, 1.0, outcome=RequestOutcome.HTTP_ERROR),
        request(3, 0.0, 0.1, 1.0, dispatched_mono_s=None, outcome=RequestOutcome.CANCELLED),
    ]
    found = latency(requests, Targets(ttft_s=0.2))
    assert (found.sent, found.failed, found.retries) == (3, 1, 2)
    assert found.met == {"r0000"} and found.attained_ratio == pytest.approx(1 / 3)
    assert found.by_outcome == {"cancelled": 1, "http_error": 1, "ok": 2}
    assert found.ttft.n == 2


def test_targets_are_judged_from_the_schedule() -> None:
    queued = request(0, 10.0, 10.1, 11.0, scheduled_mono_s=8.0)
    assert not met_targets(queued, Targets(ttft_s=1.0)) and met_targets(queued, Targets(ttft_s=2.2))
    assert not met_targets(queued, Targets(tpot_s=0.01))
    assert met_targets(request(1, 0.0, 0.1, 0.1, output_tok=1), Targets(tpot_s=0.01))
    assert latency([queued], Targets()).attained_ratio is None


def test_nothing_is_none() -> None:
    found = latency([], Targets(ttft_s=1.0))
    assert found.ttft.p50_s is None and found.ttft.n == 0 and found.attained_ratio is None


def test_looser_targets_never_lose_requests() -> None:
    rng = np.random.default_rng(2)
    requests = [request(i, 0.0, float(t), 4.0) for i, t in enumerate(rng.uniform(0, 2, 50))]
    met = [len(latency(requests, Targets(ttft_s=s)).met) for s in np.linspace(0, 2, 9)]
    assert met == sorted(met) and met[-1] == 50
