from __future__ import annotations

import pytest
from simulated.readings import EPOCH_S
from simulated.runs import closed_loop, request

from joulemill.ledger.findings import Reason
from joulemill.ledger.flow import flow
from joulemill.ledger.record import RequestOutcome, ServerSample
from joulemill.ledger.tokens import count_tokens, increase_tok

WINDOW = (0.0, 100.0)


def sample(t_s: float, **values: float) -> ServerSample:
    return ServerSample(t_s, EPOCH_S + t_s, values)


def counted(requests, samples=(), window=WINDOW):
    return count_tokens(flow([r for r in requests if r.phase == "load"]), window, requests, samples)


def test_usage_and_counters_agree_over_the_load() -> None:
    requests = closed_loop(2, 10, 10.0)
    samples = [sample(9.0, output_tok_total=50), sample(15.0, output_tok_total=111), sample(31.0, output_tok_total=450)]
    found = counted(requests, samples)
    assert found.output_tok == pytest.approx(400) and found.prompt_tok == 2000
    assert found.by_metrics["output_tok"] == 400 and found.mismatch_ratio == 0.0 and not found.findings
    assert found.by_metrics["prompt_tok"] is None


def test_a_mismatch_is_told_with_what_may_explain_it() -> None:
    requests = closed_loop(2, 10, 10.0)
    samples = [sample(9.0, output_tok_total=0), sample(31.0, output_tok_total=800)]
    found = counted(requests, samples)
    assert found.mismatch_ratio == pytest.approx(1.0)
    assert found.findings[0].code is Reason.TOKENS_DISAGREE and "another client" in found.findings[0].detail
    failed = [*requests[:-1], request(19, 19.0, 19.1, 20.0, outcome=RequestOutcome.CUT_SHORT, output_tok=None)]
    assert "failed" in counted(failed, samples).findings[0].detail


def test_a_restart_of_the_server_is_survived() -> None:
    series = [sample(t, output_tok_total=v) for t, v in ((0, 100), (1, 160), (2, 10), (3, 50))]
    assert increase_tok(series, "output_tok_total") == (110.0, 1)
    assert increase_tok(series, "prompt_tok_total") == (None, 0)
    assert increase_tok(series[:1], "output_tok_total") == (None, 0)


def test_samples_that_do_not_bracket_the_load_compare_nothing() -> None:
    requests = closed_loop(2, 10, 10.0)
    inside = [sample(12.0, output_tok_total=0), sample(15.0, output_tok_total=800)]
    for samples in ([], inside):
        found = counted(requests, samples)
        assert found.mismatch_ratio is None and found.by_usage["output_tok"] is None


def test_other_phases_in_the_span_are_counted_with_it_and_straddling_ones_forbid_it() -> None:
    requests = closed_loop(2, 10, 10.0)
    samples = [sample(5.0, output_tok_total=0), sample(31.0, output_tok_total=420)]
    warm = request(90, 6.0, 6.1, 7.0, phase="warmup")
    assert counted([*requests, warm], samples).mismatch_ratio == 0.0
    assert counted([*requests, request(91, 4.0, 4.5, 7.0, phase="warmup")], samples).mismatch_ratio is None


def test_cached_and_computed_only_where_the_server_says() -> None:
    said = counted([request(0, 0.0, 1.0, 2.0, cached_tok=30, reasoning_tok=5), request(1, 0.0, 1.0, 2.0, cached_tok=0)])
    assert (said.cached_tok, said.computed_tok, said.prompt_tok, said.reasoning_tok) == (30.0, 170.0, 200.0, 5)
    silent = counted([request(0, 0.0, 1.0, 2.0, cached_tok=30), request(1, 0.0, 1.0, 2.0, cached_tok=None)])
    assert silent.cached_tok is None and silent.computed_tok is None and silent.reasoning_tok is None


def test_tokens_that_nobody_counted_are_told() -> None:
    found = counted([request(0, 0.0, 1.0, 2.0), request(1, 0.0, 1.0, 2.0, outcome=RequestOutcome.CANCELLED)])
    assert found.uncounted_chunk_count == 10
    assert [f.code for f in found.findings] == [Reason.UNCOUNTED_TOKENS]


def test_the_window_takes_its_share() -> None:
    assert counted([request(0, 0.0, 1.0, 4.0, output_tok=8)], window=(1.5, 3.5)).output_tok == 4.0
