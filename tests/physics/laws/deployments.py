"""Thousands of random deployments as one table: models × devices × cuts × precisions, under random loads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from joulemill.arrays import Array
from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.physics.hardware.device import Device
from joulemill.physics.model.precision import uniform
from joulemill.physics.serving.continuous_batching import Demand
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import Shard, ShardTable, shard, shard_table

MODELS = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.1-70B-Instruct",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen3-235B-A22B",
    "openai/gpt-oss-120b",
    "deepseek-ai/DeepSeek-R1",
    "google/gemma-3-27b-it",
)
DEVICES = ("h100", "h200", "b200", "b300", "gb200", "gh200", "a100", "l40s", "mi300x", "rtx-4090")
TENSOR_COUNTS = (1, 2, 4, 8)
COUNT = 4000


@dataclass(frozen=True)
class Sample:
    """Rows of a table with the device of each, and a load; ``random`` draws more."""

    table: ShardTable
    device: tuple[Device, ...]
    demand: Demand
    random: np.random.Generator


@cache
def shards() -> tuple[tuple[Device, Shard], ...]:
    """Every model in every cut on every device, as released and in 8 bits."""
    made = []
    for name in MODELS:
        model = find_model(name)
        for device in map(find_device, DEVICES):
            for tensor in TENSOR_COUNTS:
                if model.architecture.divides_over(tensor):
                    for precision in (model.precision, uniform("fp8")):
                        made.append((device, shard(model.architecture, precision, device, Parallelism(tensor))))
    return tuple(made)


def sample(seed: int, count: int = COUNT) -> Sample:
    """``count`` random deployments that fit their memory."""
    random = np.random.default_rng(seed)
    fitting = [x for x in shards() if x[1].weight_byte < 0.85 * x[1].memory_byte]
    chosen = [fitting[i] for i in random.integers(len(fitting), size=count)]
    table = shard_table([s for _, s in chosen])
    return Sample(table, tuple(d for d, _ in chosen), demand(table, random), random)


def demand(table: ShardTable, random: np.random.Generator) -> Demand:
    """Random lengths and requests in flight, from lone decode to full steps of prompts."""
    n = table.tdp_w.size

    def spread(low: float, high: float) -> Array:
        return np.exp(random.uniform(np.log(low), np.log(high), n))

    tok = np.round(spread(1, 32e3))
    one = np.ones(n)
    return Demand(
        concurrency=np.round(spread(1, 512)),
        input_tok=tok,
        computed_tok=tok * random.uniform(0.05, 1.0, n),
        output_tok=np.round(spread(1, 8e3)),
        spread_ratio=random.uniform(0.0, 1.0, n),
        max_batched_tok=one * 8192.0,
        memory_use_ratio=one * 0.9,
        limit_w=table.tdp_w,
        running=one * 0.0,
        domain_evenness_ratio=one,
    )
