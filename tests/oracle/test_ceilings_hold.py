"""Ceilings that no deployment passes: Φ ≤ 1 over drawn deployments, and decode of one sequence bound by memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from joulemill.arrays import Array
from joulemill.catalog.devices import device_names, find_device
from joulemill.catalog.models import find_model, model_names
from joulemill.catalog.serving import engines, rates
from joulemill.errors import InputError
from joulemill.figure import unknown
from joulemill.physics.production.predicted_ceilings import ceilings_of, device_ceiling_rates, least_other
from joulemill.physics.production.prediction import predict
from joulemill.physics.serving.batch import demand_of, weights_that_fit
from joulemill.physics.serving.continuous_batching import Demand, Rates, Steady, steady
from joulemill.physics.serving.deployment import Deployment, Parallelism, parallelism_for
from joulemill.physics.serving.shard import Shard, shard, shard_table
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.precision import precision_named

#: Deployments, each another, and loads of each.
DRAWN, LOADS, SEED = 2000, 3, 20261130
PRECISIONS = ("native", "native", "bf16", "fp8", "int4")
#: Of every so many deployments, Φ is computed a second way: by the ceilings that a prediction prints.
CHECKED = 20


@dataclass(frozen=True)
class Case:
    deployment: Deployment
    share: Shard
    load: Workload

    @property
    def identity(self) -> tuple[object, ...]:
        d = self.deployment
        device = (d.device.name, d.device.memory_byte, d.memory_use_ratio)
        return d.architecture.name, str(d.precision), d.parallelism, device

    @property
    def full_ratio(self) -> float:
        """How much of what the engine may use the weights take."""
        return self.share.weight_byte / (self.share.memory_byte * self.deployment.memory_use_ratio)


def drawn(rng: np.random.Generator) -> tuple[Deployment, Shard]:
    """A deployment; of every second one the weights leave less than a tenth of what the engine may use."""
    entry = find_model(str(rng.choice(model_names())))
    wanted = str(rng.choice(PRECISIONS))
    entry = replace(entry, precision=precision_named(entry.name, entry.architecture, entry.precision, wanted))
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


def asked(rng: np.random.Generator) -> Workload:
    tok, out = (float(round(2 ** rng.uniform(a, b))) for a, b in ((0, 15), (0, 12)))
    return Workload(
        input_tok=tok,
        output_tok=out,
        output_spread_ratio=float(rng.choice([0.0, 0.6])),
        cached_ratio=float(rng.choice([0.0, 0.0, 0.7])),
    )


def joined(demands: Sequence[Demand]) -> Demand:
    """One demand with the rows of all."""
    columns = {f.name: [getattr(d, f.name) for d in demands] for f in fields(Demand) if f.name != "draft"}
    rows = [d.concurrency.size for d in demands]

    def column(values: Sequence[Any]) -> Array:
        return np.concatenate([np.broadcast_to(v, n) for v, n in zip(values, rows, strict=True)])

    return Demand(draft=None, **{name: column(values) for name, values in columns.items()})


def steady_of(cases: Sequence[Case], batches: Sequence[Array], used: Rates) -> tuple[Steady, Demand]:
    """The steady states of all cases in one call, and what is asked of them; ``batches``: those of each."""
    one = shard_table([c.share for c in cases])
    places = [np.full(b.size, i) for i, b in enumerate(batches)]
    each = zip(cases, batches, places, strict=True)
    demand = joined([demand_of(c.deployment, c.load, b, one.rows(at)) for c, b, at in each])
    return steady(one.rows(np.concatenate(places)), used, demand), demand


def cut(state: Any, rows: slice, count: int) -> Any:
    """The rows of a state, or of a demand, in arrays of ``count``."""
    parts = {f.name: getattr(state, f.name) for f in fields(state)}
    arrays = {k: v[rows] for k, v in parts.items() if isinstance(v, np.ndarray) and v.shape == (count,)}
    return replace(state, **arrays, **{k: cut(v, rows, count) for k, v in parts.items() if is_dataclass(v)})


def tried(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """``count`` deployments whose weights fit, whether a request fits beside them or not."""
    while count:
        with suppress(InputError):
            case = Case(*drawn(rng), asked(rng))
            weights_that_fit(case.deployment, case.share)
            yield case
            count -= 1


def fitting(rng: np.random.Generator, count: int, used: Rates) -> tuple[list[Case], list[Array]]:
    """``count`` deployments that hold a request, and loads of each: as many requests as fit, or fewer."""
    cases: list[Case] = []
    batches: list[Array] = []
    while len(cases) < count:
        some = list(tried(rng, count - len(cases)))
        most = steady_of(some, [np.ones(1)] * len(some), used)[0].capacity_req
        for case, room in zip(some, most, strict=True):
            if room >= 1.0:
                fewer = np.minimum(room, np.round(2 ** rng.uniform(0, 10, LOADS)))
                cases.append(case)
                batches.append(np.where(rng.random(LOADS) < 0.3, room, fewer))
    return cases, batches


def phi_in_words(case: Case, concurrency: float, state: Steady, used: Rates) -> float:
    """Φ of one load by the ceilings that a prediction prints."""
    figures = dict.fromkeys(("full_node_j_tok", "full_tok_s"), unknown("1", "not asked"))
    load = replace(case.load, concurrency=concurrency)
    least = least_other(ceilings_of(case.deployment, load, case.share, state, figures, site=None, rates=used)).value
    assert least is not None
    return float(state.rate_tok_s[0]) * case.deployment.parallelism.replicas / least


def phis(count: int, seed: int) -> Iterator[tuple[Array, Case]]:
    """Φ of every load of ``count`` deployments, all deployments of an engine in one call."""
    rng = np.random.default_rng(seed)
    for engine, share in zip(engines(), np.diff(np.linspace(0, count, len(engines()) + 1).astype(int)), strict=True):
        used = rates(engine)
        cases, batches = fitting(rng, int(share), used)
        states, demand = steady_of(cases, batches, used)
        for i, case in enumerate(cases):
            rows = slice(i * LOADS, (i + 1) * LOADS)
            state = cut(states, rows, states.rate_tok_s.size)
            least = device_ceiling_rates(case.deployment, case.share, cut(demand, rows, demand.concurrency.size), state)
            phi = state.rate_tok_s * case.deployment.parallelism.replicas / least.min(axis=0)
            if i % CHECKED == 0:
                alone = phi_in_words(case, float(batches[i][0]), cut(state, slice(1), LOADS), used)
                assert phi[0] == pytest.approx(alone, rel=1e-9), case.identity
            yield phi, case


@pytest.mark.slow
def test_no_deployment_passes_its_least_ceiling() -> None:
    found = list(phis(DRAWN, SEED))
    assert len({case.identity for _, case in found}) == len(found) == DRAWN
    assert sum(case.full_ratio > 0.9 for _, case in found) > DRAWN / 3, "those nearly full of weights are among them"
    phi, case = max(found, key=lambda one: one[0].max())
    assert phi.max() <= 1.0 + 1e-9, (case.identity, case.load, phi)


def test_one_sequence_of_a_mixture_of_experts_is_never_bound_by_compute() -> None:
    for name in (n for n in model_names() if find_model(n).architecture.is_moe):
        entry = find_model(name)
        roomy = replace(find_device("h200"), memory_byte=4e12)
        for parallelism in (Parallelism(), Parallelism(2), Parallelism(1, 2, 2)):
            deployment = Deployment(
                architecture=entry.architecture, precision=entry.precision, device=roomy, parallelism=parallelism
            )
            p = predict(
                deployment, Workload(input_tok=512.0, output_tok=512.0, concurrency=1.0), rates("vllm"), lambda _: 0.1
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
    load = Workload(input_tok=8.0, output_tok=512.0, concurrency=1.0)
    p = predict(deployment, load, rates("vllm"), lambda _: 0.1)
    work = next(c.intensity for c in p.ceilings if c.name == "compute")
    assert work is not None
    attention = 61 * 128 * 2 * (2 * 512 + 64) * 0.5 * 512
    assert work.value == pytest.approx(2 * 37e9 + attention, rel=0.02)
