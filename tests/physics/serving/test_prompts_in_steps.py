"""Prompts in steps: the busiest of data-parallel ranks against drawn ones, the median step, the process in front."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.physics.serving.continuous_batching import Demand, _median_share, busiest_prompts_count, host_s
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import ShardTable, shard, shard_table


def table(ranks: int) -> ShardTable:
    model = find_model("Qwen/Qwen3-30B-A3B")
    return shard_table([shard(model.architecture, model.precision, find_device("b200"), Parallelism(1, ranks, ranks))])


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("scatter", [0.5, 1.0, 1.8])
@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0])
def test_the_busiest_rank_has_what_drawn_prompts_of_uneven_length_say(ranks: int, scatter: float, mean: float) -> None:
    """Compound Poisson counts with lognormal lengths of mean 1, in steps that have a prompt at all."""
    draw = np.random.default_rng(0)
    sigma = np.sqrt(np.log1p(scatter * scatter))
    counts = draw.poisson(mean, (4000, ranks))
    counts = counts[counts.sum(axis=1) > 0]
    lengths = [draw.lognormal(-0.5 * sigma * sigma, sigma, n).sum() for n in counts.ravel()]
    drawn = np.reshape(lengths, counts.shape).max(axis=1).mean()
    said = busiest_prompts_count(table(ranks), np.array([mean]), scatter)
    assert float(said[0]) == pytest.approx(drawn, rel=0.35)


def test_uneven_prompts_make_the_others_wait_longer_and_a_lone_rank_waits_for_none() -> None:
    mean = np.array([0.7])
    even, uneven = (busiest_prompts_count(table(8), mean, s) for s in (0.0, 1.5))
    assert uneven > even
    assert float(busiest_prompts_count(table(1), mean + 1.0, 1.5)[0]) == pytest.approx(1.7)


@pytest.mark.parametrize("mean", [0.2, 0.6, 1.0, 4.0, 9.0])
def test_the_median_step_has_the_median_of_a_poisson_count(mean: float) -> None:
    often = -np.expm1(-mean)
    counts = np.random.default_rng(0).poisson(mean, 20_001)
    in_median = float(_median_share(np.array([often]))[0]) * mean / often
    assert in_median == pytest.approx(float(np.median(counts)), abs=0.7)


def test_the_process_in_front_works_beside_the_steps_until_it_is_the_slower_one() -> None:
    """Two stages in a row: the slower one sets the pace, and the other costs nothing."""
    t, host = table(1), rates("vllm-0.11").host
    demand = Demand(**{f.name: np.ones(1) for f in fields(Demand) if f.default is MISSING})
    running, device_s = np.array([64.0]), np.array([0.01])
    fronts = [replace(host, front_s=front_s) for front_s in (1e-12, 1e-4, 1e-3)]
    free, slight, heavy = (float(host_s(t, front, demand, running, device_s)[0]) for front in fronts)
    assert free == pytest.approx(slight)
    assert heavy + 0.01 == pytest.approx(64.0 * 1e-3)
