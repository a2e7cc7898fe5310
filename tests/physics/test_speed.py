"""The array call is what makes searches possible: a deployment in it costs far less than one asked for alone."""

from __future__ import annotations

import time

import numpy as np

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.physics.production.prediction import predict, predict_many
from joulemill.physics.serving.continuous_batching import Demand
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.shard import shard, shard_table
from joulemill.physics.serving.workload import Workload

ROWS = 4000
#: Measured: about 2,000 (the single call also finds ceilings, prices and the batch); a hundred
#: still tells an array call from a loop, on any machine.
AT_LEAST = 100


def best_s(act: object, laps: int = 5) -> float:
    taken = []
    for _ in range(laps):
        start = time.perf_counter()
        act()  # type: ignore[operator]
        taken.append(time.perf_counter() - start)
    return min(taken)


def test_the_array_call_is_a_hundred_times_faster_a_deployment_than_the_single_call() -> None:
    model, device, parallelism = find_model("Qwen/Qwen3-32B"), find_device("h100"), Parallelism(2)
    used = rates("vllm")
    deployment = Deployment(
        architecture=model.architecture, precision=model.precision, device=device, parallelism=parallelism
    )
    workload = Workload(input_tok=512.0, output_tok=512.0, concurrency=32.0)
    table = shard_table([shard(model.architecture, model.precision, device, parallelism)])
    one, index = np.ones(ROWS), np.zeros(ROWS, dtype=np.intp)
    demand = Demand(
        concurrency=np.linspace(1, 256, ROWS),
        input_tok=one * 512,
        computed_tok=one * 512,
        output_tok=one * 512,
        spread_ratio=one * 0,
        max_batched_tok=one * 8192,
        memory_use_ratio=one * 0.9,
        limit_w=one * (device.tdp_w or 0.0),
        running=one * 0,
        domain_evenness_ratio=one,
    )
    single_s = best_s(lambda: predict(deployment, workload, used, lambda q: 0.2))
    many_s = best_s(lambda: predict_many(table.rows(index), demand, used, lambda q: 0.2)) / ROWS
    assert single_s / many_s > AT_LEAST
