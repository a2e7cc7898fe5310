from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.runs import closed_loop, request

from joulemill.ledger.flow import flow
from joulemill.ledger.record import RequestOutcome


def test_a_request_across_an_edge_counts_with_its_share() -> None:
    r = request(0, 0.0, 1.0, 4.0, output_tok=8)  # four chunks at 1, 2, 3, 4 s, two tokens each
    f = flow([r])
    assert f.output_per_window_tok(np.array([0.0, 2.0, 3.5, 9.0])).tolist() == [2.0, 4.0, 2.0]
    assert f.prompt_per_window_tok(np.array([0.0, 2.0, 3.5, 9.0])).tolist() == [100.0, 0.0, 0.0]


def test_cache_hits_are_served_and_not_computed() -> None:
    f = flow([request(0, 0.0, 1.0, 2.0, cached_tok=30), request(1, 0.0, 1.0, 2.0, cached_tok=None)])
    assert f.served_tok.tolist() == [100.0, 100.0] and f.computed_tok.tolist() == [70.0, 100.0]


def test_without_chunks_tokens_are_spread_from_first_to_last() -> None:
    f = flow([request(0, 0.0, 1.0, 4.0, output_tok=4, chunk_mono_s=())])
    assert f.output_s.tolist() == [1.0, 2.0, 3.0, 4.0] and f.output_weight_tok.tolist() == [1.0] * 4
    at_once = flow([request(0, 0.0, 1.0, 1.0, output_tok=4, chunk_mono_s=(), first_token_mono_s=None)])
    assert at_once.output_weight_tok.sum() == 4


def test_what_failed_delivers_nothing_and_its_chunks_are_told() -> None:
    f = flow([request(0, 0.0, 1.0, 4.0, outcome=RequestOutcome.CUT_SHORT)])
    assert f.output_weight_tok.sum() == 0 and len(f.prompt_s) == 0 and len(f.uncounted_s) == 10
    assert f.active(0.5, 0.6) == 1 and f.active(5.0, 6.0) == 0


def test_no_requests() -> None:
    f = flow([])
    assert f.output_per_window_tok(np.array([0.0, 1.0])).tolist() == [0.0] and f.ids == ()


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 9), st.integers(1, 500), st.integers(1, 60)), min_size=1),
    st.lists(st.floats(0.1, 70), min_size=1, max_size=20, unique=True),
)
def test_tokens_are_conserved_however_time_is_cut(specs, cuts) -> None:
    requests = []
    for i, (t, d, tok, chunks) in enumerate(specs):
        at = tuple(float(x) for x in np.linspace(t, t + d, chunks))
        requests.append(request(i, t, t, t + d, output_tok=tok, chunk_mono_s=at))
    edges = np.array(sorted([-1.0, *cuts, 100.0]))
    total = sum(tok for _, _, tok, _ in specs)
    assert flow(requests).output_per_window_tok(edges).sum() == pytest.approx(total, rel=1e-12)


def test_a_steady_loop_flows_steadily() -> None:
    per = flow(closed_loop(4, 20, 0.0)).output_per_window_tok(np.arange(2.0, 18.0, 1.0))
    assert per.mean() == pytest.approx(80.0, rel=0.03)
