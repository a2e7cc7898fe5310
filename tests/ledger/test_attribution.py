from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.runs import request

from joulemill.ledger.attribution import Rule, Weights, attribute
from joulemill.ledger.flow import flow
from joulemill.ledger.record import RequestOutcome

EDGES = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
JOULES = np.array([100.0, 200.0, 300.0, 50.0])


def two():
    """r0 gets 2 tokens in each of the first two seconds; r1 gets 6 in the second and none else; nobody later."""
    a = request(0, 0.0, 0.5, 1.5, output_tok=4, prompt_tok=10, chunk_mono_s=(0.5, 1.5))
    b = request(1, 1.0, 1.2, 1.9, output_tok=6, prompt_tok=40, chunk_mono_s=(1.2, 1.9))
    return flow([a, b])


def test_output_token_share_by_hand() -> None:
    rows = attribute(Rule.OUTPUT_TOKEN_SHARE, two(), EDGES, JOULES, idle_w=40.0)
    assert rows.ids == ("r0000", "r0001")
    assert rows.energy_j == pytest.approx((100 + 200 * 2 / 8, 200 * 6 / 8))
    assert rows.above_idle_j == pytest.approx((60 + 160 * 2 / 8, 160 * 6 / 8))
    assert rows.unattributed_idle_j == 350.0 and rows.total_j == 650.0 and rows.closure_ratio == 0.0


def test_work_weighted_by_hand() -> None:
    rows = attribute(Rule.WORK_WEIGHTED, two(), EDGES, JOULES, None, Weights(0.5, 2.0, "test"))
    second = 2 * 2 + (0.5 * 40 + 2 * 6)
    assert rows.energy_j == pytest.approx((100 + 200 * 4 / second, 200 * 32 / second))
    assert rows.above_idle_j is None and rows.source == "test"


def test_a_time_without_tokens_is_shared_by_time_in_flight() -> None:
    waiting = flow([request(0, 0.0, 3.5, 3.9), request(1, 2.5, 3.5, 3.9)])
    rows = attribute(Rule.OUTPUT_TOKEN_SHARE, waiting, EDGES, JOULES)
    assert rows.energy_j == pytest.approx((100 + 200 + 300 / 1.5 + 25, 300 * 0.5 / 1.5 + 25))
    assert rows.unattributed_idle_j == 0.0


def test_failed_requests_and_nobody() -> None:
    failed = flow([request(0, 0.0, 0.5, 3.9, outcome=RequestOutcome.TIMEOUT)])
    assert attribute(Rule.OUTPUT_TOKEN_SHARE, failed, EDGES, JOULES).energy_j == (650.0,)
    rows = attribute(Rule.OUTPUT_TOKEN_SHARE, flow([]), EDGES, JOULES)
    assert rows.energy_j == () and rows.unattributed_idle_j == 650.0


def test_unknown_joules_are_not_attributed() -> None:
    with pytest.raises(ValueError, match="unknown"):
        attribute(Rule.OUTPUT_TOKEN_SHARE, two(), EDGES, np.array([1.0, np.nan, 1.0, 1.0]))


@given(
    st.lists(st.tuples(st.floats(-5, 40), st.floats(0.01, 20), st.integers(0, 400), st.integers(0, 9000)), max_size=60),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
    st.sampled_from(list(Rule)),
    st.floats(1e-6, 1e3),
)
def test_every_joule_goes_somewhere_once(specs, joules, rule: Rule, weight: float) -> None:
    made = [
        request(i, t, t + d / 3, t + d, output_tok=tok, prompt_tok=prompt)
        for i, (t, d, tok, prompt) in enumerate(specs)
    ]
    edges = np.linspace(0.0, 37.0, len(joules) + 1)
    rows = attribute(rule, flow(made), edges, np.array(joules), 0.1, Weights(weight, 1.0, "test"))
    total = math.fsum(joules)
    assert abs(math.fsum([*rows.energy_j, rows.unattributed_idle_j]) - total) <= 1e-9 * max(total, 1e-9)
    assert all(e >= -1e-6 * total for e in rows.energy_j)
