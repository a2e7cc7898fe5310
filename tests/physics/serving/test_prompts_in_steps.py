"""Prompts in steps: the busiest of data-parallel ranks against drawn ones, the median step, the process in front."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.physics.serving.continuous_batching import (
    Demand,
    _median_share,
    busiest_prompts_count,
    host_s,
    steady,
)
from joulemill.physics.serving.counts import counts, decode_load
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import ShardTable, shard, shard_table
from joulemill.physics.serving.step import times


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


def demand(**given: float) -> Demand:
    """1,024 + 1,024 tokens, 64 in flight, a budget of 8,192 a step."""
    usual = {f.name: np.ones(1) for f in fields(Demand) if f.default is MISSING}
    said = {
        "concurrency": 64.0,
        "input_tok": 1024.0,
        "computed_tok": 1024.0,
        "output_tok": 1024.0,
        "max_batched_tok": 8192.0,
    }
    said |= {"memory_use_ratio": 0.9, "limit_w": 1e4, "running": 0.0, "spread_ratio": 0.1} | given
    return Demand(**(usual | {name: np.array([float(value)]) for name, value in said.items()}))


@pytest.mark.parametrize("drafts", [0.0, 3.0])
@pytest.mark.parametrize("batch", [1.0, 64.0, 512.0, 4096.0])
def test_decoding_sequences_and_prompts_share_a_steps_budget(batch: float, drafts: float) -> None:
    """vLLM's ``max_num_batched_tokens`` holds both; a step never computes more."""
    asked = demand(concurrency=batch, max_batched_tok=2048.0, draft_count=drafts)
    found = steady(table(1), rates("vllm-0.19"), asked)
    prompt_tok = found.step_req * asked.accepted_tok / found.prefill_ratio
    in_step_tok = prompt_tok + found.step_req * (1.0 + drafts)
    assert float(in_step_tok[0]) <= 2048.0 * (1.0 + 1e-9)


def test_a_budget_within_what_graphs_capture_keeps_every_step_in_them() -> None:
    """Steps of 512 sequences and their prompts hold 2,048 tokens, not 2,560."""
    small, wide = (demand(concurrency=512.0, max_batched_tok=2048.0, captured_tok=tok) for tok in (2048.0, 2560.0))
    found, sure = (steady(table(1), rates("vllm-0.19"), d) for d in (small, wide))
    assert float(found.ttft_s[0]) == pytest.approx(float(sure.ttft_s[0]))


@pytest.mark.parametrize("ranks", [1, 8])
def test_prompts_that_are_held_come_together(ranks: int) -> None:
    """A step with prompts comes once in the time until one arrives, 1/λ, and as many steps as it is held; with ranks,
    until each may have one, (ranks − 1)/λ at most."""
    held_steps, slots = 40.0, 64.0 * ranks
    asked = demand(concurrency=slots, hold_count=held_steps)
    found = steady(table(ranks), rates("trtllm"), asked)
    come = float(found.step_req[0]) * ranks / 1024.0
    wait = held_steps if ranks == 1 else min(held_steps, (ranks - 1.0) / come)
    assert float(found.prefill_ratio[0]) <= come / (1.0 + 0.3 * come * wait)
    free = steady(table(ranks), rates("trtllm"), demand(concurrency=slots))
    assert float(found.prefill_ratio[0]) < float(free.prefill_ratio[0])
    assert float(found.ttft_s[0]) > float(free.ttft_s[0])


def test_the_host_issues_kernels_as_fast_on_every_device() -> None:
    """What kernels start sooner by on the newest devices is theirs; the host's part of a step is not."""
    model, r, one = find_model("meta-llama/Llama-3.1-8B-Instruct"), rates("vllm-0.19").step, np.ones(1)
    found = {}
    for name in ("h200", "b200"):
        share = shard(model.architecture, model.precision, find_device(name), Parallelism(1, 1, 1))
        found[name] = times(counts(shard_table([share]), decode_load(one, one, one)), r)
    assert found["h200"].issued_s == found["b200"].issued_s == found["h200"].launch_s
    assert found["b200"].launch_s == pytest.approx(r.kernel_newest_ratio * found["h200"].launch_s)


@pytest.mark.parametrize(("width", "reached"), [(2048, 0.432), (1024, 0.40), (512, 0.36), (256, 0.29)])
def test_narrow_experts_reach_less_as_kernels_do(width: int, reached: float) -> None:
    """Of what experts 14,336 wide reach, 0.529. Medians of aiconfigurator's table (095f58a5): fused experts in 16 bits
    on H200, from 512 rows an expert. An element of a row takes 6·width FLOP and passes memory in 2 bytes three times,
    whose time is counted apart."""
    r = rates("vllm-0.11").step
    share = r.expert_compute_ratio[0] / (1.0 + r.expert_width_count / np.array([width, 14336.0]))
    rows_s = 2.0 * 3.0 / (r.memory_ratio * 4.8e12)
    taken_s = (rows_s + 6.0 * np.array([width, 14336.0]) / (share * 989e12)) / np.array([width, 14336.0])
    assert taken_s[1] / taken_s[0] == pytest.approx(reached / 0.529, rel=0.2)
