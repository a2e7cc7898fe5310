"""Two pools, prompts here and answers there: limits in which they are what one pool is, and what they must conserve."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import joulemill as jm
from joulemill.catalog.serving import rates
from joulemill.errors import InputError
from joulemill.physics.serving.batch import MemoryShort
from joulemill.physics.serving.continuous_batching import Demand, Steady, steady
from joulemill.physics.serving.disaggregation import pools_of, steady_pools
from joulemill.physics.serving.shard import ShardTable
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import Sample, sample

RATES = rates("vllm-0.19")
QUESTION = PredictionRequest(
    model="meta-llama/Llama-3.1-70B-Instruct", device="h100", devices=4, concurrency=64.0, engine="vllm-0.19"
)


@pytest.fixture(scope="module")
def drawn() -> Sample:
    """Deployments whose requests all have their keys in memory, so that no queue for it hides the pools."""
    s = sample(31, 2000)
    return replace(s, table=s.table.replaced("memory_byte", 1e13 * np.ones(s.table.tdp_w.size)))


def pooled(s: Sample, servers: int, d: Demand | None = None) -> Steady:
    return steady_pools(s.table, s.table, RATES, d or s.demand, (1, servers))


def devices(t: ShardTable) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(t.tensor_count * t.data_count)


def test_without_prompts_to_speak_of_it_is_decoding_alone(drawn: Sample) -> None:
    """Prompts of one token, answers of thousands: one pool and two have the same steps."""
    n = drawn.table.tdp_w.size
    d = replace(drawn.demand, input_tok=np.ones(n), computed_tok=np.ones(n), output_tok=16000.0 * np.ones(n))
    one, two = steady(drawn.table, RATES, d), pooled(drawn, 8, d)
    np.testing.assert_allclose(two.tpot_s, one.tpot_s, rtol=0.03)
    np.testing.assert_allclose(two.rate_tok_s, one.rate_tok_s, rtol=0.03)
    # What the decoding devices draw is what one pool draws, but for the prompts: the idle pool's power is known.
    idle_w = 8.0 * drawn.table.resting_w
    decode_w = two.power_w * 9.0 - idle_w
    assert np.all(decode_w >= one.power_w * 0.97)
    assert np.all(decode_w <= one.power_w * 1.03 + 0.05 * 8.0 * drawn.table.tdp_w)


def test_more_devices_for_prompts_never_slow(drawn: Sample) -> None:
    states = [pooled(drawn, servers) for servers in (1, 2, 4, 16, 256)]
    for few, many in pairwise(states):
        assert np.all(many.rate_tok_s >= few.rate_tok_s * (1 - 0.02))
    assert np.all(states[-1].ttft_s <= states[0].ttft_s * (1 + 1e-6))


def test_prompts_are_the_bottleneck_where_they_must_be(drawn: Sample) -> None:
    """Never more requests than the prefill pool ends: servers over the time of a prompt."""
    for servers in (1, 4):
        two = pooled(drawn, servers)
        sizes = (servers * np.ones_like(two.rate_tok_s), drawn.demand.concurrency)
        pools = pools_of(drawn.table, drawn.table, RATES, drawn.demand, sizes)
        most_req_s = servers * pools.many_count / pools.many_s
        ended_req_s = two.rate_tok_s / drawn.demand.output_tok
        assert np.all(ended_req_s <= most_req_s * (1 + 1e-9))
        assert (two.prefill_ratio > 0.99).sum() > 100  # and in many rows it is what binds


def test_joules_of_both_pools_are_theirs(drawn: Sample) -> None:
    """Power between what all devices idle at and their limits; J/token is power over rate; Little's law holds."""
    t, d = drawn.table, drawn.demand
    two = pooled(drawn, 3)
    assert np.all(two.power_w >= t.resting_w * (1 - 1e-9))
    assert np.all(two.power_w <= np.maximum(d.limit_w, t.resting_w) * (1 + 0.05))
    np.testing.assert_allclose(two.energy_j_tok, two.power_w * 4 * devices(t) / two.rate_tok_s, rtol=1e-9)
    stay_s = two.ttft_s + (d.output_tok - 1.0) * two.tpot_s
    assert np.all(two.rate_tok_s * stay_s <= d.concurrency * d.output_tok * (1 + 1e-9))


def test_the_answer_counts_every_device_and_says_how_busy_the_pool_is() -> None:
    plain, two = answer(QUESTION), answer(replace(QUESTION, prefill_devices=8, prefill_tp=4))
    assert two.deployment.device_count == 12 and two.deployment.decode_device_count == 4
    assert two.deployment.prefill is not None and two.deployment.prefill.replicas == 2
    p = two.prediction
    assert (p.rate_tok_s.value or 0.0) > (plain.prediction.rate_tok_s.value or 0.0)
    assert 0.0 < p.prefill_busy_ratio < 1.0
    assert (p.device_power_w.value or 0.0) > 12 * (two.deployment.device.resting_w or 0.0)
    assert p.phi.value is not None and p.phi.value <= 1.0
    assert any("pools of their own" in note for note in two.every_note)


def test_tables_take_pools_too() -> None:
    rows = {"model": QUESTION.model, "device": "h100", "devices": 4, "concurrency": [32.0, 128.0], "prefill_devices": 4}
    many = jm.predict_many(rows)
    for i, concurrency in enumerate((32.0, 128.0)):
        one = jm.predict(QUESTION.model, "h100", devices=4, concurrency=concurrency, prefill_devices=4)
        for name, figure in (("rate_tok_s", one.rate_tok_s), ("node_j_tok", one.energy.node), ("ttft_s", one.ttft_s)):
            assert many[name][i] == pytest.approx(figure.value, rel=1e-9)
            assert many[f"{name}_high"][i] == pytest.approx(figure.high, rel=1e-9)


def test_pools_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="pp"):
        answer(replace(QUESTION, prefill_devices=4, pp=2, tp=2))
    with pytest.raises(InputError, match="prefill_devices"):
        replace(QUESTION, prefill_tp=4)
    with pytest.raises(InputError, match="prefill pool"):
        answer(replace(QUESTION, prefill_devices=3, prefill_tp=2))
    with pytest.raises(MemoryShort, match="prefill pool"):
        answer(replace(QUESTION, prefill_devices=1))
