"""An engine's switches: each that takes something away costs time, and what nobody measured widens the interval."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import joulemill as jm
from joulemill.catalog.serving import rates
from joulemill.errors import InputError
from joulemill.physics.serving.continuous_batching import steady
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import sample

RATES = rates("vllm-0.19")
QUESTION = PredictionRequest(
    model="Qwen/Qwen3-32B", device="h100", devices=4, tp=2, concurrency=32.0, engine="vllm-0.11"
)


def test_prompts_of_their_own_and_uncaptured_graphs_are_no_faster() -> None:
    drawn = sample(23, 2000)
    d = drawn.demand
    whole = replace(d, max_batched_tok=np.maximum(d.max_batched_tok, d.computed_tok))
    plain = steady(drawn.table, RATES, whole)
    for switched in (replace(whole, chunked_prefill=0.0), replace(whole, eager=1.0)):
        slower = steady(drawn.table, RATES, switched)
        assert np.all(slower.rate_tok_s <= plain.rate_tok_s * (1 + 1e-9))
    # Both at once read the weights as often as the one and launch as often as the other.
    both = steady(drawn.table, RATES, replace(whole, chunked_prefill=0.0, eager=1.0)).rate_tok_s
    assert np.all(both <= steady(drawn.table, RATES, replace(whole, eager=1.0)).rate_tok_s * (1 + 1e-9))


@pytest.mark.parametrize(
    "switches",
    [
        {"pp": 2},
        {"chunked_prefill": False},
        {"enforce_eager": True},
        {"speculative_tokens": 2, "draft_model": "ngram", "acceptance_rate": 0.5},
        {"engine": "vllm"},
    ],
)
def test_what_no_run_was_measured_with_is_less_sure_and_said(switches: dict[str, Any]) -> None:
    plain, switched = answer(QUESTION), answer(replace(QUESTION, **switches))
    for name in ("rate_tok_s", "device_j_tok", "node_j_tok"):
        before, after = getattr(plain.prediction, name), getattr(switched.prediction, name)
        assert after.high / after.low > before.high / before.low
    said = set(switched.every_note) - set(plain.every_note)
    assert any("the interval is wider" in note for note in said)


def test_a_release_that_was_not_fitted_is_refused() -> None:
    with pytest.raises(InputError, match=r"vllm-0\.1"):
        answer(replace(QUESTION, engine="vllm-0.8"))


def test_tables_take_the_same_switches() -> None:
    rows = {
        "model": "meta-llama/Llama-3.1-70B-Instruct",
        "device": "h100",
        "devices": 8,
        "concurrency": [16.0] * 5,
        "pp": [1, 2, 1, 1, 1],
        "speculative_tokens": [0, 0, 3, 0, 0],
        "draft_model": [None, None, "ngram", None, None],
        "acceptance_rate": [None, None, 0.5, None, None],
        "enforce_eager": [False, False, False, True, False],
        "chunked_prefill": [True, True, True, True, False],
    }
    many = jm.predict_many(rows)
    for i in range(5):
        one = {k: v if not isinstance(v, list) else v[i] for k, v in rows.items()}
        single = jm.predict(**one).answer.prediction  # type: ignore[arg-type]
        for name in ("rate_tok_s", "device_j_tok", "node_power_w", "ttft_s", "tpot_s"):
            figure = getattr(single, name)
            for end, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
                assert many[f"{name}{end}"][i] == pytest.approx(value, rel=1e-9)
        assert many["bottleneck"][i] == single.binding.name
