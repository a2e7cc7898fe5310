"""Pipeline parallelism conserves the model's work; one stage is what it was; stages beat no sum of their parts."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from joulemill.arrays import Array
from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.errors import InputError
from joulemill.physics.serving.continuous_batching import Demand, steady
from joulemill.physics.serving.counts import counts, decode_load, prompts_load
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.power import floor_w
from joulemill.physics.serving.shard import ShardTable, shard_table
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import MODELS, demand

RATES = rates("vllm-0.19")
#: So much memory that nothing has to wait for it.
ENDLESS_BYTE = 1e15
PER_LAYER = (
    "flop",
    "weight_byte",
    "decode_cache_byte",
    "activation_byte",
    "reduce_byte",
    "exchange_byte",
)


def tables(stages: int, count: int = 2000) -> tuple[ShardTable, ShardTable, np.random.Generator]:
    """The same random deployments with one stage and with ``stages``."""
    random = np.random.default_rng(stages)
    pairs = []
    for name in MODELS:
        entry = find_model(name)
        for device in map(find_device, ("h100", "b200", "a100", "mi300x")):
            for tensor in (1, 2, 4, 8):
                if not entry.architecture.divides_over(tensor):
                    continue
                roomy = replace(device, memory_byte=ENDLESS_BYTE)
                one = Deployment(
                    architecture=entry.architecture,
                    precision=entry.precision,
                    device=roomy,
                    parallelism=Parallelism(tensor),
                )
                pairs.append((shard_of(one), shard_of(one, Parallelism(tensor, pipeline=stages))))
    chosen = [pairs[i] for i in random.integers(len(pairs), size=count)]
    return shard_table([a for a, _ in chosen]), shard_table([b for _, b in chosen]), random


@pytest.mark.parametrize("stages", [2, 3, 8])
def test_the_work_of_all_stages_is_the_work_of_the_model(stages: int) -> None:
    whole, stage, random = tables(stages)
    n = whole.tdp_w.size
    sequences, prompts = np.round(random.uniform(1, 300, n)), np.round(random.uniform(0, 3, n))
    context, tok = random.uniform(10, 30e3, n), random.uniform(1, 8e3, n)
    load = prompts_load(decode_load(sequences, context, np.full(n, 1.2)), prompts, tok, 0.3 * tok)
    of_whole, of_stage = counts(whole, load), counts(stage, load)
    for part in PER_LAYER:
        np.testing.assert_allclose(stages * getattr(of_stage, part), getattr(of_whole, part), rtol=1e-9)


def test_one_stage_is_what_it_was() -> None:
    question = PredictionRequest(
        model="meta-llama/Llama-3.1-70B-Instruct", device="h100", devices=8, tp=4, concurrency=32.0
    )
    assert answer(replace(question, pp=1)).prediction == answer(question).prediction


def at_batch(d: Demand, concurrency: Array) -> Demand:
    return replace(d, concurrency=concurrency)


@pytest.mark.parametrize("stages", [2, 4])
def test_stages_beat_neither_their_sum_nor_a_lone_sequences_time(stages: int) -> None:
    whole, stage, random = tables(stages)
    d = demand(whole, random)
    one = np.ones_like(d.concurrency)
    alone, cut = (steady(t, RATES, at_batch(d, one)) for t in (whole, stage))
    # A lone sequence passes all stages one after another, and activations go from each to the next.
    assert np.all(cut.rate_tok_s <= alone.rate_tok_s * (1 + 1e-9))
    many, split = steady(stage, RATES, at_batch(d, stages * d.concurrency)), steady(whole, RATES, d)
    assert np.all(many.rate_tok_s <= stages * split.rate_tok_s * (1 + 1e-9))
    assert np.all(many.power_w >= floor_w(stage, RATES.power) * (1 - 1e-9))


def test_bubbles_are_filled_one_request_after_another() -> None:
    """Below as many requests as stages each adds the rate of one: rate(B) = B·rate(1)."""
    _, stage, random = tables(8)
    one = np.ones(stage.tdp_w.size)
    # Prompts of one token, so that steps are alike; the host's time per sequence is in both.
    d = replace(demand(stage, random), input_tok=one, computed_tok=one, output_tok=2000.0 * one)
    rates_tok_s = [steady(stage, RATES, at_batch(d, b * one)).rate_tok_s for b in (1.0, 2.0, 4.0, 8.0)]
    for b, rate in zip((2.0, 4.0, 8.0), rates_tok_s[1:], strict=True):
        np.testing.assert_allclose(rate, b * rates_tok_s[0], rtol=0.01)


def test_memory_of_a_stage_by_hand() -> None:
    """Llama 3.1 70B has 80 layers and 70.55 B parameters, of which 128,256 × 8,192 embed and as many are the head."""
    entry, device = find_model("meta-llama/Llama-3.1-70B-Instruct"), find_device("h100")
    half = Deployment(
        architecture=entry.architecture,
        precision=entry.precision,
        device=device,
        parallelism=Parallelism(1, pipeline=2),
    )
    ends = 128_256 * 8_192
    assert shard_of(half).weight_byte == pytest.approx(2 * ((70.554e9 - 2 * ends) / 2 + ends), rel=1e-3)
    third = shard_of(half, Parallelism(1, pipeline=3))
    assert third.weight_byte == pytest.approx(2 * ((70.554e9 - 2 * ends) * 27 / 80 + ends), rel=1e-3)
    assert third.fullest_ratio == pytest.approx(27 / (80 / 3))


def test_more_stages_than_layers_are_refused() -> None:
    with pytest.raises(InputError, match=r"32 layers.*pp=64"):
        answer(PredictionRequest(model="meta-llama/Llama-3.1-8B-Instruct", device="h100", devices=64, tp=1, pp=64))


def test_a_stage_is_no_new_column_that_nobody_divides() -> None:
    """Every column that grows with layers is divided: those that are not are the device's, the cut's or a row's."""
    entry, device = find_model("deepseek-ai/DeepSeek-R1"), find_device("h200")
    whole = Deployment(
        architecture=entry.architecture, precision=entry.precision, device=device, parallelism=Parallelism(8)
    )
    a, b = shard_of(whole), shard_of(whole, Parallelism(8, pipeline=2))
    same = {f.name for f in fields(a) if getattr(a, f.name) == getattr(b, f.name)}
    counted = {n for n in same if n.endswith(("_flop", "_byte")) and getattr(a, n)}
    assert counted <= {"memory_byte", "rated_w"}, counted
