"""Requests of one output token have no time per output token: it is unknown, and no target of it binds."""

from __future__ import annotations

import numpy as np
import pytest

import joulemill as jm
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest

ASKED = {"model": "Qwen/Qwen3-8B", "device": "h100", "input_tokens": 1000}


def asked(output_tokens: float, **more: object) -> PredictionRequest:
    return PredictionRequest(**ASKED, output_tokens=output_tokens, **more)  # type: ignore[arg-type]


def test_its_time_is_unknown_with_the_reason() -> None:
    figure = answer(asked(1, concurrency=16.0)).prediction.tpot_s
    assert (figure.value, figure.basis) == (None, None)
    assert "one output token" in (figure.reason or "")
    assert answer(asked(2, concurrency=16.0)).prediction.tpot_s.value is not None


def test_no_target_of_it_binds() -> None:
    free, held = answer(asked(1)), answer(asked(1, slo_tpot_s=1e-6))
    assert held.meets and held.prediction.batch.concurrency == free.prediction.batch.concurrency
    latency = next(c for c in held.prediction.ceilings if c.name == "latency")
    assert latency.rate_tok_s.value is None
    assert not answer(asked(2, slo_tpot_s=1e-6)).meets


def test_rows_have_none_where_their_answers_are_so_short() -> None:
    found = jm.predict_many({"concurrency": [8.0, 8.0], "output_tokens": [1.0, 2.0]}, **ASKED)
    for name in ("tpot_s", "tpot_s_low", "tpot_s_high"):
        assert np.isnan(found[name][0]) and found[name][1] > 0.0


@pytest.mark.parametrize("name", ["fp8-weights", "disaggregation", "early-exit"])
def test_levers_state_no_change_of_it(name: str) -> None:
    found = jm.levers({**ASKED, "output_tokens": 1, "concurrency": 16.0})
    effect = next(e for e in found.effects if e.lever.name == name)
    assert effect.after is not None and effect.after.tpot_s is None and effect.tpot_change is None
