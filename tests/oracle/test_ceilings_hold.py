"""Ceilings that no deployment passes: Φ ≤ 1 over drawn deployments, and decode of one sequence bound by memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from joulemill.catalog.devices import device_names, find_device
from joulemill.catalog.models import find_model, model_names
from joulemill.catalog.serving import engines, rates
from joulemill.errors import InputError
from joulemill.figure import unknown
from joulemill.physics.production.predicted_ceilings import ceilings_of, least_other
from joulemill.physics.production.prediction import predict
from joulemill.physics.serving.batch import most_that_fit_req, swept
from joulemill.physics.serving.continuous_batching import Rates
from joulemill.physics.serving.deployment import Deployment, Parallelism, parallelism_for
from joulemill.physics.serving.shard import Shard, shard
from joulemill.physics.serving.workload import Workload

#: Deployments, and loads of each.
DRAWN, LOADS, SEED = 667, 3, 20261130
PRECISIONS = ("native", "native", "bf16", "fp8", "int4")
MIXTURES = [n for n in model_names() if find_model(n).architecture.is_moe]


def drawn(rng: np.random.Generator) -> tuple[Deployment, Shard]:
    """A deployment; of every second one the weights leave less than a tenth of what the engine may use."""
    entry = find_model(str(rng.choice(model_names())))
    wanted = str(rng.choice(PRECISIONS))
    entry = entry if wanted == "native" else entry.with_precision(wanted)
    device = find_device(str(rng.choice(device_names())))
    data = int(rng.choice([1, 1, 1, 2, 8]))
    parallelism = parallelism_for(entry.architecture, int(rng.choice([1, 2, 4, 8])) * data, {"dp": data})
    use = float(rng.uniform(0.7, 1.0))
    deployment = Deployment(
        architecture=entry.architecture,
        precision=entry.precision,
        device=device,
        parallelism=parallelism,
        memory_use_ratio=use,
    )
    share = shard(entry.architecture, entry.precision, device, parallelism)
    if rng.random() < 0.5:
        tight = replace(device, memory_byte=share.weight_byte / use / float(rng.uniform(0.9, 0.9999)))
        deployment, share = replace(deployment, device=tight), replace(share, memory_byte=tight.memory_byte)
    return deployment, share


def loads(rng: np.random.Generator, deployment: Deployment, share: Shard, used: Rates) -> list[Workload]:
    """As many requests as fit, or fewer."""
    tok, out = (float(round(2 ** rng.uniform(a, b))) for a, b in ((0, 15), (0, 12)))
    load = Workload(
        input_tok=tok,
        output_tok=out,
        output_spread_ratio=float(rng.choice([0.0, 0.6])),
        cached_ratio=float(rng.choice([0.0, 0.0, 0.7])),
    )
    most = most_that_fit_req(deployment, load, share, used)
    fewer = np.minimum(most, np.round(2 ** rng.uniform(0, 10, LOADS)))
    return [replace(load, batch_req=float(b)) for b in np.where(rng.random(LOADS) < 0.3, most, fewer)]


def row(state: Any, i: int, count: int) -> Any:
    """The ``i``-th of the ``count`` loads that a state in arrays is of."""
    parts = {f.name: getattr(state, f.name) for f in fields(state)}
    cut = {k: v[i : i + 1] for k, v in parts.items() if isinstance(v, np.ndarray) and v.shape == (count,)}
    return replace(state, **cut, **{k: row(v, i, count) for k, v in parts.items() if is_dataclass(v)})


def phis(count: int, seed: int) -> Iterator[tuple[float, Deployment, Workload]]:
    rng, made = np.random.default_rng(seed), 0
    while made < count:
        used = rates(str(rng.choice(engines())))
        try:
            deployment, share = drawn(rng)
            every = loads(rng, deployment, share, used)
        except InputError:
            continue
        made += 1
        states = swept(deployment, every[0], share, used, np.array([w.batch_req for w in every]))
        figures = dict.fromkeys(("full_node_j_tok", "full_tok_s"), unknown("1", "not asked"))
        for i, load in enumerate(every):
            state = row(states, i, len(every))
            least = least_other(ceilings_of(deployment, load, share, state, figures, site=None, rates=used)).value
            assert least is not None
            rate = float(state.rate_tok_s[0]) * deployment.parallelism.replicas
            yield rate / least, deployment, load


@pytest.mark.slow
def test_no_deployment_passes_its_least_ceiling() -> None:
    worst, deployment, load = max(phis(DRAWN, SEED), key=lambda case: case[0])
    assert worst <= 1.0 + 1e-9, (deployment.architecture.name, deployment.device.name, load)


def test_one_sequence_of_a_mixture_of_experts_is_never_bound_by_compute() -> None:
    for name in MIXTURES:
        entry = find_model(name)
        roomy = replace(find_device("h200"), memory_byte=4e12)
        for parallelism in (Parallelism(), Parallelism(2), Parallelism(1, 2, 2)):
            deployment = Deployment(
                architecture=entry.architecture, precision=entry.precision, device=roomy, parallelism=parallelism
            )
            p = predict(
                deployment, Workload(input_tok=512.0, output_tok=512.0, batch_req=1.0), rates("vllm"), lambda _: 0.1
            )
            assert p.binding.name not in ("compute", "undecided"), (name, parallelism, p.binding)


def test_deepseek_v3_needs_two_flop_a_token_and_active_parameter() -> None:
    """37 B active (arXiv:2412.19437), 2 FLOP each, and 61 layers × 128 heads × 2·(2·512 + 64) a token of context."""
    entry = find_model("deepseek-ai/DeepSeek-V3")
    deployment = Deployment(
        architecture=entry.architecture,
        precision=entry.precision,
        device=find_device("h200"),
        parallelism=Parallelism(8),
    )
    load = Workload(input_tok=8.0, output_tok=512.0, batch_req=1.0)
    p = predict(deployment, load, rates("vllm"), lambda _: 0.1)
    work = next(c.intensity for c in p.ceilings if c.name == "compute")
    assert work is not None
    attention = 61 * 128 * 2 * (2 * 512 + 64) * 0.5 * 512
    assert work.value == pytest.approx(2 * 37e9 + attention, rel=0.02)
