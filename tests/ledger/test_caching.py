"""Prompt tokens from a cache: what the load's design explains, what it does not, and whose count it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated.readings import EPOCH_S
from simulated.runs import request, steady_run

from joulemill.ledger.account import account
from joulemill.ledger.caching import cached_prompts, counted_between, prefix_tok
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import ServerSample
from tests.support.manifests import manifest_of, members_of

MANIFEST = {"prompt_line": {"overhead_tok": 20.0, "tok_word": 1.3}, "options": {"shared_prefix_tok": 0}}
ALLOWED_TOK = prefix_tok(manifest_of(MANIFEST))
ALLOWED_TOK = ALLOWED_TOK


def requests(cached_tok: int | None, prompt_tok: int = 100, count: int = 10):
    return [request(n, float(n), n + 0.1, n + 0.9, prompt_tok=prompt_tok, cached_tok=cached_tok) for n in range(count)]


def test_the_template_and_a_shared_prefix_are_explained() -> None:
    assert cached_prompts(requests(20), {}, ALLOWED_TOK).unexplained_tok == 0
    shared = manifest_of({**MANIFEST, "options": {"shared_prefix_tok": 60}})
    assert cached_prompts(requests(80), {}, prefix_tok(shared)).finding() is None
    assert cached_prompts(requests(80), {}, ALLOWED_TOK).unexplained_tok == 10 * (80 - 28)


def test_what_nothing_explains_is_a_finding_with_its_count() -> None:
    met = cached_prompts(requests(96), {}, ALLOWED_TOK)
    assert (met.cached_tok, met.prompt_tok, met.source) == (960, 1000, "usage")
    finding = met.finding()
    assert finding.code is Reason.CACHED_PROMPTS and not finding.fatal
    assert "960 of 1000 prompt tokens" in finding.detail and "680 more" in finding.detail


def test_counters_stand_in_for_a_usage_that_is_silent() -> None:
    """The figures of vLLM's second run of one command: 7,424 of 16,143 tokens, and nothing in usage."""
    silent = requests(None, prompt_tok=384, count=42)
    met = cached_prompts(silent, {"prompt_cached_tok": 7424.0, "prompt_tok": 16143.0}, ALLOWED_TOK)
    assert met.source == "counters" and met.unexplained_tok == 7424 - 42 * 28
    assert met.finding() is not None
    assert cached_prompts(silent, {}, ALLOWED_TOK) is None


def test_earlier_turns_of_a_conversation_are_explained() -> None:
    turns = [replace(r, history_tok=70) for r in requests(90)]
    assert cached_prompts(turns, {}, ALLOWED_TOK).unexplained_tok == 0


def test_a_run_that_did_not_size_its_prompts_says_nothing() -> None:
    assert prefix_tok(manifest_of({})) is None and cached_prompts(requests(96), {}, None) is None


def test_a_counter_is_read_at_the_edges_of_the_window() -> None:
    samples = [ServerSample(t, EPOCH_S + t, {"x": v}) for t, v in ((0.0, 100.0), (10.0, 200.0), (20.0, 500.0))]
    assert counted_between(samples, "x", (5.0, 15.0)) == pytest.approx(350 - 150)
    assert counted_between(samples, "x", (5.0, 25.0)) is None
    restarted = [*samples, ServerSample(30.0, EPOCH_S + 30, {"x": 3.0})]
    assert counted_between(restarted, "x", (5.0, 25.0)) is None


def test_the_account_of_a_run_tells_it_and_counts_what_was_computed() -> None:
    run = steady_run()
    silent = tuple(replace(r, cached_tok=None) for r in run.requests)
    start = min(r.dispatched_mono_s for r in silent) - 1.0
    end = max(r.end_mono_s for r in silent) + 1.0
    served = sum(r.prompt_tok for r in silent)
    samples = tuple(
        ServerSample(
            t, EPOCH_S + t, {"prompt_tok_total": share * served, "prompt_cached_tok_total": share * served / 2}
        )
        for t, share in ((start, 0.0), (end, 1.0))
    )
    found = account(
        replace(run, requests=silent, server=samples, manifest=manifest_of({**members_of(run), **MANIFEST}))
    )
    assert found.tokens.caching.source == "counters"
    assert Reason.CACHED_PROMPTS in {f.code for f in found.findings}
    assert found.tokens.cached_tok == pytest.approx(found.tokens.prompt_tok / 2, rel=0.15)
    assert found.tokens.computed_tok == pytest.approx(found.tokens.prompt_tok - found.tokens.cached_tok)
