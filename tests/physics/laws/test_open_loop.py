"""Open is open: the time to first token of a steady stream has its queue and no burst, and overload is said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from joulemill.catalog.serving import rates
from joulemill.cli import main
from joulemill.physics.serving.continuous_batching import steady
from joulemill.physics.serving.first_token import slot_wait_s
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import sample

RATES = rates("vllm")
LLAMA = PredictionRequest(
    model="meta-llama/Llama-3.1-8B-Instruct", device="h100", input_tokens=512.0, output_tokens=512.0
)


def erlang_wait_s(used: float, slots: int, stay_s: float) -> float:
    """Mean wait of M/M/c, exactly (Erlang C)."""
    load, term, total = used * slots, 1.0, 0.0
    for k in range(slots):
        total += term
        term *= load / (k + 1)
    waits = term / (1.0 - used)
    return waits / (total + waits) * stay_s / (slots * (1.0 - used))


@pytest.mark.parametrize(("slots", "used"), [(1, 0.3), (1, 0.9), (4, 0.7), (32, 0.9), (256, 0.97)])
def test_waiting_for_a_slot_is_what_erlang_says(slots: int, used: float) -> None:
    exact = erlang_wait_s(used, slots, 10.0)
    assert float(slot_wait_s(np.array(used), slots, 10.0, 1.0)) == pytest.approx(exact, rel=0.15)
    fixed = float(slot_wait_s(np.array(used), slots, 10.0, 0.0))
    assert fixed == pytest.approx(0.5 * float(slot_wait_s(np.array(used), slots, 10.0, 1.0)))


def test_a_stream_has_no_opening_burst_and_waits_no_less_than_a_lone_request() -> None:
    at = sample(6)
    quiet = np.ones_like(at.demand.concurrency)
    closed = steady(at.table, RATES, at.demand)
    stream = steady(at.table, RATES, replace(at.demand, open_loop=quiet))
    lone = steady(at.table, RATES, replace(at.demand, concurrency=quiet, open_loop=quiet))
    # Where prompts are rare and many requests would have opened together, no burst is left, and hardly a queue.
    fits = at.demand.concurrency <= stream.capacity_req
    rare = fits & (at.demand.concurrency >= 64) & (at.demand.computed_tok > 200.0) & (stream.prefill_ratio < 0.2)
    assert rare.sum() > 50
    assert np.mean(stream.ttft_s[rare] < closed.ttft_s[rare]) > 0.95
    assert np.all(np.isfinite(stream.ttft_s)) and np.all(stream.ttft_s > 0.0)
    assert np.mean(stream.ttft_s >= lone.ttft_s * (1 - 1e-6)) > 0.97
    assert np.all(slot_wait_s(at.random.uniform(1.0, 3.0, quiet.size), 8.0, 1.0) == np.inf)


def test_ttft_of_a_stream_rises_with_the_rate_to_no_bound() -> None:
    most = answer(replace(LLAMA, rate_req_s=0.1)).prediction.sustainable_req_s.value or np.nan
    shares = (0.006, 0.06, 0.3, 0.6, 0.9, 0.99)
    found = [answer(replace(LLAMA, rate_req_s=s * most)).prediction for s in shares]
    values = [p.ttft_s.value or np.inf for p in found]
    assert values == sorted(values) and values[0] < 0.1 and values[-1] > 1.0
    closed = answer(replace(LLAMA, concurrency=found[2].batch.concurrency)).prediction.ttft_s.value
    assert closed is not None and values[2] < closed


def test_overload_is_said_with_what_is_sustainable_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--model", LLAMA.model, "--device", "h100", "--json", "--rate"]
    assert main([*words, "500"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ttft_s"]["value"] is None and "overload" in said["ttft_s"]["reason"]
    (missed,) = said["short_by"]
    sustained = said["sustainable_req_s"]["value"]
    assert (missed["limit"], missed["asked"]) == ("rate", 500.0) and missed["available"] == pytest.approx(sustained)
    assert "500 req/s are offered" in missed["text"] and "sustainable" in missed["text"]
    assert main([*words, f"{0.9 * sustained:.3f}"]) == 0
    assert main([*words, f"{1.01 * sustained:.3f}"]) == 1
