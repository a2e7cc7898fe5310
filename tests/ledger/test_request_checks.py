from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from simulated.runs import request, steady_run

from joulemill.ledger.account import account
from joulemill.ledger.findings import Reason
from joulemill.ledger.flow import MOST_EVENTS, flow
from joulemill.ledger.record import RequestRecord, Scope
from joulemill.ledger.request_checks import sound_requests


def stated(**facts: Any) -> RequestRecord:
    return replace(request(0, 0.0, 0.1, 1.0), **facts)


def test_counts_that_can_be_are_left_alone() -> None:
    some = [stated(), stated(output_tok=None, cached_tok=None), stated(cached_tok=100), stated(asked_output_tok=20)]
    sound = sound_requests(some)
    assert sound.requests == tuple(some) and not sound.findings and sound.uncounted_ratio == 0.0


@pytest.mark.finding("F14")
@pytest.mark.parametrize(
    "output_tok", [10**8, 2**40, 2**53, -1, math.nan, math.inf, 2**1100], ids=lambda n: f"{len(str(n))} digits"
)
def test_output_tokens_are_believed_as_far_as_they_can_be_made(output_tok: Any) -> None:
    sound = sound_requests([stated(), stated(output_tok=output_tok, chunk_mono_s=())])
    assert [r.output_tok for r in sound.requests] == [20, None]
    assert [f.code for f in sound.findings] == [Reason.IMPLAUSIBLE_TOKENS] and sound.uncounted_ratio == 0.5


@pytest.mark.finding("F14")
def test_more_tokens_than_were_asked_for_are_not_believed() -> None:
    asked = {"asked_output_tok": 64, "end_mono_s": 100.0}
    sound = sound_requests([stated(output_tok=66, **asked), stated(output_tok=5000, **asked)])
    assert [r.output_tok for r in sound.requests] == [66, None]
    assert "64 asked" in sound.findings[0].detail


@pytest.mark.finding("F14")
def test_no_number_of_a_server_sizes_an_array() -> None:
    huge = stated(output_tok=2**40, chunk_mono_s=(), first_token_mono_s=1.0, last_token_mono_s=2.0)
    made = flow([huge])
    assert len(made.output_s) == MOST_EVENTS and made.output_weight_tok.sum() == pytest.approx(2.0**40)


@pytest.mark.finding("F14")
def test_a_run_of_lying_usage_has_no_joules_per_token_and_ends() -> None:
    run = steady_run()
    lies = tuple(replace(r, output_tok=2**50, chunk_mono_s=()) for r in run.requests)
    found = account(replace(run, requests=lies, server=()))
    assert found.scopes[Scope.NODE].j_tok.value is None
    assert Reason.IMPLAUSIBLE_TOKENS in {f.code for f in found.findings}


@pytest.mark.finding("F33")
@pytest.mark.parametrize("cached_tok", [101, 10**6, -5, 2**60])
def test_cached_tokens_above_the_prompt_are_unknown(cached_tok: int) -> None:
    sound = sound_requests([stated(cached_tok=cached_tok)])
    assert sound.requests[0].cached_tok is None and sound.requests[0].prompt_tok == 100
    assert [f.code for f in sound.findings] == [Reason.CACHED_ABOVE_PROMPT]
    made = flow([stated(cached_tok=cached_tok)])
    assert 0.0 <= made.computed_tok[0] <= 100.0


def test_prompts_longer_than_any_context_are_not_counted() -> None:
    sound = sound_requests([stated(prompt_tok=2**53, cached_tok=0)])
    assert sound.requests[0].prompt_tok is None and sound.findings[0].code is Reason.IMPLAUSIBLE_TOKENS


def test_a_server_counter_that_leaps_is_no_counter() -> None:
    run = steady_run()
    values = (0.0, 1e300, 1.7e308)
    leaps = [replace(s, values={"output_tok_total": v}) for s, v in zip(run.server, values, strict=True)]
    found = account(replace(run, server=tuple(leaps)))
    assert found.tokens.by_metrics["output_tok"] is None and found.tokens.mismatch_ratio is None
    assert found.scopes[Scope.NODE].j_tok.known and Reason.IMPLAUSIBLE_TOKENS in {f.code for f in found.findings}


def test_a_rate_is_never_negative() -> None:
    run = steady_run()
    few = tuple(replace(r, output_tok=4000 if n == 7 else 1) for n, r in enumerate(run.requests))
    assert account(replace(run, requests=few, server=())).output_rate.low >= 0.0
