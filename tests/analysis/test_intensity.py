"""What one output token of a measured run cost: the load that a run shows, drafts of the server among it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated.runs import steady_run

from joulemill.analysis.intensity import Drafts, measured_drafts, model_of
from joulemill.analysis.measurement import measurement_of
from joulemill.ledger.record import RunRecord, ServerSample
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest
from tests.support.manifests import manifest_of, members_of
from tests.support.server_counters import DRAFTING, counters


def of_a_run(model: str, *samples: ServerSample) -> RunRecord:
    record = steady_run()
    known = {"device": {"name": "h200", "count": 8}, "model": {"name": model}}
    return replace(record, manifest=manifest_of({**members_of(record), **known}), server=samples)


@pytest.mark.parametrize("word", ["bf16", "fp8", "mxfp4", "nvfp4", "int4", "int8", "awq", "w8a8"])
@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "Kimi-K2-Thinking", "DeepSeek-V4-Pro"])
def test_a_word_for_the_precision_means_the_same_of_a_run_and_of_a_prediction(model: str, word: str) -> None:
    run = of_a_run(model)
    _, served, _ = model_of(replace(run.manifest, precision=word))
    assert served == resolved(PredictionRequest(model=model, device="h200", precision=word))[0].precision


@pytest.mark.parametrize(("stated", "weights"), [("q4-k-m", "q4_k_m"), ("bf16 experts=mxfp4", "bf16")])
def test_what_a_prediction_has_no_word_for_is_read_as_a_release_or_a_spec(stated: str, weights: str) -> None:
    _, served, _ = model_of(replace(of_a_run("openai/gpt-oss-20b").manifest, precision=stated))
    assert served.dense.name == weights


def test_drafts_by_hand() -> None:
    """100 tokens a second, of which 45 were drafted: 55 steps of sequences, which drafted 110 tokens, two each."""
    page = counters(spec_draft_tok_total=110.0, spec_accepted_tok_total=45.0, output_tok_total=100.0)
    drafts = measured_drafts(page, (10.25, 90.5))
    assert drafts is not None
    assert drafts.draft_count == pytest.approx(2.0)
    assert drafts.accepted_tok == pytest.approx(100 / 55)


@pytest.mark.parametrize(
    "rates",
    [
        {"output_tok_total": 100.0},
        {"spec_draft_tok_total": 0.0, "spec_accepted_tok_total": 0.0, "output_tok_total": 100.0},
        {"spec_draft_tok_total": 110.0, "output_tok_total": 100.0},
        {"spec_draft_tok_total": 110.0, "spec_accepted_tok_total": 45.0},
        {"spec_draft_tok_total": 10.0, "spec_accepted_tok_total": 45.0, "output_tok_total": 100.0},
        {"spec_draft_tok_total": 110.0, "spec_accepted_tok_total": 100.0, "output_tok_total": 100.0},
    ],
    ids=["none said", "none drafted", "accepted unknown", "output unknown", "more accepted than drafted", "no steps"],
)
def test_what_counters_do_not_say_is_no_draft(rates: dict[str, float]) -> None:
    assert measured_drafts(counters(**rates), (10.0, 90.0)) is None
    assert measured_drafts((), (10.0, 90.0)) is None


def test_a_run_of_a_server_that_drafts_says_what_is_counted() -> None:
    """Steps that yield several tokens each read the weights for all of them: fewer bytes a token, more FLOP."""
    runs = {
        (model, drafting): measurement_of(of_a_run(model, *(DRAFTING if drafting else ()))).intensity
        for model in ("deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-8B")
        for drafting in (True, False)
    }
    for model, by in (("deepseek-ai/DeepSeek-V3", "own layers"), ("Qwen/Qwen3-8B", "not known")):
        drafting, plain = runs[model, True], runs[model, False]
        assert drafting.load is not None and drafting.load.drafts == Drafts(pytest.approx(1.0), pytest.approx(1.75))
        assert (drafting.work_flop_tok.value or 0) > (plain.work_flop_tok.value or 0)
        assert (drafting.lone_byte_tok.value or 0) < (plain.lone_byte_tok.value or 0)
        assert by in (drafting.work_flop_tok.source or "") and "drafted" not in (plain.work_flop_tok.source or "")
