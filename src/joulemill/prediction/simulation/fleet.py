"""A deployment by names → the fleet that plays traffic: step costs, limits of its engine, what it draws at rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from joulemill.catalog.idle_states import IdleState, idle_ladder
from joulemill.catalog.serving import rates
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.physics.production.prediction import check_cap
from joulemill.physics.serving.batch import MemoryShort, weights_that_fit
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.continuous_batching import Rates
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.power import floor_w
from joulemill.prediction.calibration_file import load_calibration
from joulemill.prediction.predict import memory_holds, resolved
from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.scale_file import is_scale_file, load_scales
from joulemill.prediction.scales import Cell, canonical_model, figure_factor, matching
from joulemill.prediction.shortfall import does_not_fit
from joulemill.prediction.spread import NODE, half_width_ratio, kind_of, widened_ratio
from joulemill.simulation.cost import StepCost
from joulemill.simulation.fleet import PrefillPool
from joulemill.simulation.policies import rest_named
from joulemill.simulation.replica_cost import (
    at_setting,
    ingest_s,
    kv_tok_capacity,
    kv_transfer,
    replica_physics,
    step_cost,
    step_yield_tok,
)
from joulemill.simulation.resting import RestPolicy, RestState
from joulemill.simulation.run import Widths
from joulemill.simulation.scheduler import POLICIES, EngineLimits
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import Traffic

#: Sequences at once where none are stated: vLLM's default on data-center boards.
MAX_NUM_SEQS = 1024
#: Engine profile → scheduler.
SCHEDULERS = {"vllm-0.11": "vllm-synchronous", "sglang": "sglang", "trtllm": "trtllm"}
#: What leaving out the boost of an open context saves a board [W], middle of 26 to 66 W that SGLang's developers report
#: (sgl-project/sglang, "Expose CUDA_DISABLE_PERF_BOOST"); no less than a bare board is left.
BOOST_W = 46.0
_LADDER_NAMES = {"sleep-1": "sleep-1", "sleep-2": "sleep-2", "unload": "bare"}


@dataclass(frozen=True, kw_only=True)
class ResolvedScene:
    """Names resolved: the deployment of one copy, its coefficients, what measured rows correct it by."""

    question: PredictionRequest
    deployment: Deployment
    rates: Rates
    profile: str
    basis: Basis
    time_ratio: float
    energy_ratio: float
    widths: Widths
    notes: tuple[str, ...]


def _check_memory(question: PredictionRequest, deployment: Deployment) -> None:
    """MemoryShort with what would fit, as ``predict`` has it."""
    try:
        weights_that_fit(deployment, shard_of(deployment))
    except MemoryShort as fault:
        raise does_not_fit(question, fault, memory_holds) from fault


def resolve(question: PredictionRequest) -> ResolvedScene:
    """Look the names up. Raises InputError for what is unknown, or cannot be."""
    deployment, _, profile, notes = resolved(question)
    own, basis, time_ratio, energy_ratio = rates(profile), Basis.MODELLED, 1.0, 1.0
    kind = kind_of(deployment, profile)
    active = widened_ratio(half_width_ratio("energy_j_tok", kind), deployment.architecture)
    if question.calibration:
        path = Path(question.calibration)
        if is_scale_file(path):
            time_ratio, energy_ratio = _scaled(path, question, deployment, profile)
        else:
            calibrated = load_calibration(path)
            if calibrated.device and calibrated.device != deployment.device.name:
                raise InputError(
                    f"`calibration` {path} is of {calibrated.device}; `device` is {deployment.device.name}"
                )
            own, active = rates_of(calibrated.coefficients), calibrated.widths.get("energy_j_tok", active)
        basis = Basis.CALIBRATED
    _check_memory(question, deployment)
    check_cap(deployment, own)
    time = widened_ratio(half_width_ratio("tpot_s", kind), deployment.architecture)
    widths = Widths(active_ratio=active, node_ratio=NODE, time_ratio=time)
    return ResolvedScene(
        question=question,
        deployment=deployment,
        rates=own,
        profile=profile,
        basis=basis,
        time_ratio=time_ratio,
        energy_ratio=energy_ratio,
        widths=widths,
        notes=notes,
    )


def _scaled(path: Path, q: PredictionRequest, deployment: Deployment, profile: str) -> tuple[float, float]:
    """Factors of a step's time and joules from measured rows, at the concurrency that is asked, or at 32."""
    cell = Cell(
        canonical_model(q.model),
        deployment.device.name,
        deployment.device_count,
        deployment.precision.name,
        profile,
        "aggregated",
    )
    scales = matching(load_scales(path).cells, cell, str(path))
    concurrency = q.concurrency or 32.0
    rate = figure_factor(scales, "rate_tok_s", concurrency)
    return 1.0 / rate, figure_factor(scales, "energy_j_tok", concurrency)


def costs_of(
    played: ResolvedScene, limits: EngineLimits, longest_tok: float, errors: tuple[float, float] = (1.0, 1.0)
) -> Callable[[float, float], StepCost]:
    """Step costs by cap and clock, each made once, for requests of up to ``longest_tok``.

    errors   factors of time and energy of a scenario
    """
    costs: dict[tuple[float, float], StepCost] = {}

    def cost_at(cap_w: float, clock_ratio: float) -> StepCost:
        key = (-1.0 if math.isnan(cap_w) else cap_w, clock_ratio)
        if key not in costs:
            costs[key] = step_cost(
                at_setting(played.deployment, cap_w, clock_ratio),
                played.rates,
                max_num_seqs=limits.max_num_seqs,
                most_context_tok=max(min(longest_tok, float(limits.kv_tok)), 2.0),
                time_ratio=played.time_ratio * errors[0],
                energy_ratio=played.energy_ratio * errors[1],
            )
        return costs[key]

    return cost_at


def limits_of(played: ResolvedScene, traffic: Traffic) -> EngineLimits:
    """The engine's limits, with the KV cache that the memory leaves for requests like those of ``traffic``."""
    d = played.deployment
    mean_tok = float((traffic.input_tok + traffic.output_tok / 2.0).mean())
    kv_tok = kv_tok_capacity(d, max(mean_tok, 1.0))
    fixed_s, token_s = ingest_s(played.rates.host)
    wanted = int(d.batch_limit_req or MAX_NUM_SEQS)
    return EngineLimits(
        policy=POLICIES[SCHEDULERS.get(played.profile, "vllm")],
        max_num_seqs=max(1, min(wanted, kv_tok)),
        max_num_batched_tokens=int(d.max_batched_tok),
        kv_tok=kv_tok,
        max_model_len_tok=d.architecture.max_context,
        ranks_count=d.parallelism.data,
        ingest_s=fixed_s,
        ingest_tok_s=token_s,
        step_yield_tok=step_yield_tok(d),
    )


def prefill_pool(
    played: ResolvedScene,
    limits: EngineLimits,
    longest_tok: float,
    *,
    rest: RestPolicy,
    copies: int,
    errors: tuple[float, float] = (1.0, 1.0),
) -> PrefillPool | None:
    """The replicas that compute prompts for ``copies`` of the deployment; None where those that decode do.

    InputError where they have more or fewer devices each than those that decode: a node's share would not be known.
    """
    d = played.deployment
    if d.prefill is None:
        return None
    if d.prefill.devices != d.parallelism.devices:
        raise InputError(
            f"a simulation needs replicas of one size: {d.prefill.devices} devices compute prompts in each, and "
            f"{d.parallelism.devices} decode; give `prefill_tp={d.parallelism.devices}`"
        )
    alone = replace(d, parallelism=d.prefill, prefill=None, speculation=None)
    prompts = replace(played, deployment=alone)
    own = replace(limits, ranks_count=d.prefill.data, ingest_s=limits.ingest_s, step_yield_tok=1.0)
    token_s, token_j = kv_transfer(d, played.rates)
    return PrefillPool(
        limits=own,
        cost_at=costs_of(prompts, own, longest_tok, errors),
        rest=rest,
        replicas_count=copies * d.prefill.replicas,
        devices_count=d.prefill.devices,
        kv_transfer_tok_s=token_s,
        kv_transfer_j_tok=token_j,
    )


def least_cap_w(played: ResolvedScene) -> float:
    """The lowest power limit that a device can hold while it works: what it draws between kernels."""
    physics = replica_physics(played.deployment, played.rates)
    power = physics.rates.power
    return float(floor_w(physics.table, power)[0]) / power.ceiling_ratio


def rest_policy(deployment: Deployment, rest: str) -> RestPolicy:
    """What idle replicas do: ``loaded``, ``boost-off``, or ``sleep-1:60s``, ``sleep-2``, ``unload:10min``."""
    name, state, after_s = rest_named(rest)
    device = deployment.device
    loaded_w = device.resting_w
    if loaded_w is None:
        raise InputError(
            f"what {device.label} draws when idle is not known; state tdp, idle or loaded_idle in its file"
        )
    loaded = RestState(power_w=_boost_off(loaded_w, device.bare_w) if name == "boost-off" else loaded_w)
    states = {ReplicaState.LOADED_IDLE: loaded, ReplicaState.OFF: RestState(power_w=0.0)}
    if state == ReplicaState.LOADED_IDLE:  # a replica that is scaled away is unloaded, its board stays on
        states[ReplicaState.BARE] = _resting(device.name, "bare", loaded_w, device.bare_w)
        return RestPolicy(states=states, inactive=ReplicaState.BARE)
    states[state] = _resting(device.name, _LADDER_NAMES[name], loaded_w, device.bare_w)
    return RestPolicy(states=states, ladder=((0.0, ReplicaState.LOADED_IDLE), (after_s, state)), inactive=state)


def _boost_off(loaded_w: float, bare_w: float | None) -> float:
    return max(loaded_w - BOOST_W, bare_w if bare_w is not None else loaded_w)


def _resting(name: str, state: str, loaded_w: float, bare_w: float | None) -> RestState:
    """Watts of a state, and seconds and joules to serve again; joules that are not known: at loaded idle's watts."""
    rung = _rung(name, state)
    power_w = rung.power_w.value if rung else None
    if power_w is None:
        power_w = bare_w if state == "bare" else loaded_w
    wake_s = rung.wake_s.value if rung else None
    if power_w is None or wake_s is None:
        raise InputError(f"watts or time of {state} are not known for {name}; choose another --rest")
    wake_j = rung.wake_j.value if rung and rung.wake_j.value is not None else wake_s * loaded_w
    return RestState(power_w=power_w, wake_s=wake_s, wake_j=wake_j)


def _rung(name: str, state: str) -> IdleState | None:
    try:
        return next(s for s in idle_ladder(name) if s.name == state)
    except InputError:  # a device of the user's own has no ladder
        return next((s for s in idle_ladder("h100-sxm") if s.name == state), None)


def asked_of(question: PredictionRequest, traffic: Traffic) -> PredictionRequest:
    """The question whose steady state is full load of this traffic: its mean lengths, as many requests as fit."""
    return replace(
        question,
        input_tokens=float(traffic.input_tok.mean()),
        output_tokens=float(traffic.output_tok.mean()),
        concurrency=None,
        rate_req_s=None,
        slo_ttft_s=None,
        slo_tpot_s=None,
        site=None,
        facility=None,
    )
