"""Deployments a second of the array call, energy and intervals included, on one core.

    python benchmarks/predict_speed.py

Each row is a deployment of its own: one of 18 shards, its own batch, lengths and power limit. Prints the rate, and the
ratio to a plain numpy pass over arrays of the same size, which does not depend on how fast the machine is.
"""

from __future__ import annotations

import time

import numpy as np

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.physics.production.prediction import predict_many
from joulemill.physics.serving.continuous_batching import Demand
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import shard, shard_table
from joulemill.prediction.spread import Kind, half_width_ratio

MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B", "openai/gpt-oss-120b")
DEVICES = ("h100", "h200", "b200")


def measure(rows: int = 20_000, laps: int = 5) -> tuple[float, float]:
    """Deployments a second (best lap), and time over that of one numpy cube root of as many numbers."""
    shards = [
        shard(m.architecture, m.precision, find_device(d), Parallelism(tp))
        for m in map(find_model, MODELS) for d in DEVICES for tp in (2, 8)
    ]  # fmt: skip
    draw = np.random.default_rng(0)
    table = shard_table(shards)
    index = draw.integers(0, len(shards), rows)
    used = rates("vllm")

    def lap() -> float:
        start = time.perf_counter()
        picked = table.rows(index)
        one = np.ones(rows)
        tok = draw.uniform(100, 4000, rows)
        demand = Demand(
            draw.uniform(1, 512, rows), tok, tok, draw.uniform(50, 2000, rows), one * 0.5, one * 8192.0, one * 0.9,
            picked.tdp_w * 0.9, one * 0.0, one, one * 0.0,
        )  # fmt: skip
        predict_many(picked, demand, used, lambda q: half_width_ratio(q, Kind("vllm-0.11", "h100-sxm")))
        return time.perf_counter() - start

    best = min(lap() for _ in range(laps))
    numbers = draw.uniform(1, 2, rows)
    plain = min(_timed(numbers) for _ in range(laps))
    return rows / best, best / plain


def _timed(numbers: np.ndarray) -> float:
    start = time.perf_counter()
    np.cbrt(numbers)
    return time.perf_counter() - start


if __name__ == "__main__":
    rate, ratio = measure()
    print(f"{rate:,.0f} deployments/s, energy and intervals included; {ratio:.0f} × one numpy cube root")
