"""From names to a prediction: the catalog resolves them, physics computes, limits that are missed are reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from joulemill.catalog.devices import find_device, load_device
from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import find_node, node_of, nodes_that_hold
from joulemill.catalog.serving import profile_of, rates
from joulemill.catalog.sites import reference_pues
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.hardware.site import Site
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.production.prediction import Prediction, Scaling
from joulemill.physics.production.prediction import predict as predict_values
from joulemill.physics.serving.batch import MemoryShort, most_that_fit_req
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import WIDE_RANKS, Deployment, ExpertTraffic, Parallelism, parallelism_for
from joulemill.physics.serving.speculation import Speculation
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.alternatives import alternatives, domain_count
from joulemill.prediction.calibration_file import FittedCoefficients, load_calibration
from joulemill.prediction.precision import precision_named
from joulemill.prediction.question import PredictionRequest, PredictionResult
from joulemill.prediction.scale_file import is_scale_file, load_scales
from joulemill.prediction.scales import Cell, Scales, canonical_model, figure_factor, figure_width, matching, told_by
from joulemill.prediction.shortfall import (
    does_not_fit,
    of_latency,
    of_load,
    of_site,
    within_targets,
)
from joulemill.prediction.spread import NODE, Kind, caveats, half_width_ratio, kind_of, load_class, widened_ratio
from joulemill.units import say_quantity

#: The draft model that is none: drafts are looked up in the text so far.
NGRAM = "ngram"


def answer(question: PredictionRequest, *, brief: bool = False) -> PredictionResult:
    """Resolve names in the catalog and predict, within the limits; ``short_by`` says what is missed.

    ``brief``: without shadow prices and other parallelisms, half of the work.
    InputError says what is unknown or cannot be; MemoryShort what would fit.
    """
    result = _answered(question, brief=brief)
    late = tuple(of_latency(result))
    if late and question.concurrency is not None:
        result = _answered(within_targets(question), brief=brief)
    result = replace(result, question=question)
    site = question.place()
    count = result.deployment.device_count
    each = max(1, count // result.deployment.parallelism.replicas)
    return replace(result, short_by=(*of_site(result.prediction, site, count, each), *late, *of_load(result)))


def memory_holds(question: PredictionRequest) -> bool:
    """Whether the weights and one request fit. InputError where the deployment cannot be at all."""
    deployment, workload, profile, _ = resolved(question)
    share = shard_of(deployment)
    try:
        return most_that_fit_req(deployment, workload, share, rates(profile)) >= 1.0
    except MemoryShort:
        return False


def _answered(q: PredictionRequest, *, brief: bool) -> PredictionResult:
    deployment, workload, profile, notes = resolved(q)
    path = Path(q.calibration) if q.calibration else None
    scales: Scales = {}
    if path is not None and is_scale_file(path):
        scales, path = matching(load_scales(path).cells, _cell(q, deployment, profile), str(path)), None
    calibrated = load_calibration(path) if path else None
    if calibrated is not None and calibrated.device and calibrated.device != deployment.device.name:
        raise InputError(
            f"`calibration` {q.calibration} is of {calibrated.device}, and `device` is {deployment.device.name}; "
            "calibrate on runs of this device"
        )
    try:
        kind = kind_of(deployment, profile, q.engine)
        prediction = _predicted(
            deployment, workload, (profile, kind), q.place(), calibrated or scales, prices=not brief
        )
    except MemoryShort as fault:
        raise does_not_fit(q, fault, memory_holds) from fault
    notes = (*notes, *caveats(kind_of(deployment, profile, q.engine), prediction.batch.concurrency))
    own = rates_of(calibrated.coefficients) if calibrated else rates(profile)
    return PredictionResult(
        question=q,
        deployment=deployment,
        workload=workload,
        profile=profile,
        prediction=prediction,
        notes=notes,
        short_by=(),
        alternatives=() if brief else alternatives(deployment, workload, prediction, own),
    )


def _precision(q: PredictionRequest, model: ModelEntry) -> Precision:
    """The number formats asked for. InputError names the argument whose format is not known."""
    with _naming("precision"):
        precision = precision_named(q.model, model.architecture, model.precision, q.precision or "")
    with _naming("kv_dtype"):
        return precision.with_kv(q.kv_dtype) if q.kv_dtype else precision


@contextmanager
def _naming(argument: str) -> Iterator[None]:
    """InputError of the block begins with the argument."""
    try:
        yield
    except InputError as fault:
        raise InputError(f"`{argument}`: {fault}") from None


def resolved(q: PredictionRequest) -> tuple[Deployment, Workload, str, tuple[str, ...]]:
    """Names resolved in the catalog; what had to be assumed."""
    model = q.released_model()
    architecture = model.architecture
    precision = _precision(q, model)
    device, node, notes = _plant(q)
    stated = {"tp": q.tp, "dp": q.dp, "ep": q.ep, "pp": q.pp}
    parallelism = parallelism_for(architecture, q.devices, stated, domain_count(device, node))
    profile = profile_of(q.engine)
    pool = _prefill_pool(q, architecture, domain_count(device, node))
    deployment = Deployment(
        prefill=pool,
        traffic=_traffic(q, parallelism, pool),
        architecture=architecture,
        precision=precision,
        device=device,
        parallelism=parallelism,
        engine=profile.partition("-")[0],
        node=node,
        batch_limit_req=q.max_num_seqs,
        max_batched_tok=q.max_num_batched_tokens,
        memory_use_ratio=q.gpu_memory_utilization,
        power_cap_w=q.power_cap_w,
        clock_ratio=_clock_ratio(q, device),
        speculation=_speculation(q),
        chunked_prefill=q.chunked_prefill,
        eager=q.enforce_eager,
    )
    workload = Workload(
        input_tok=q.input_tokens,
        output_tok=q.output_tokens,
        output_spread_ratio=q.output_spread_ratio,
        cached_ratio=q.cached_ratio,
        concurrency=q.concurrency,
        rate_req_s=q.rate_req_s,
        ttft_limit_s=q.slo_ttft_s,
        tpot_limit_s=q.slo_tpot_s,
    )
    return deployment, workload, profile, (*notes, *model.approximations)


def _prefill_pool(q: PredictionRequest, architecture: Architecture, domain: float) -> Parallelism | None:
    """The parallelism of the devices that compute prompts; None where these are the same."""
    if q.prefill_devices is None:
        return None
    stated = {"tp": q.prefill_tp, "dp": q.prefill_dp, "ep": q.prefill_ep}
    try:
        return parallelism_for(architecture, q.prefill_devices, stated, domain)
    except InputError as fault:
        raise InputError(f"the prefill pool, `prefill_devices={q.prefill_devices}`: {fault}") from fault


def _traffic(q: PredictionRequest, parallelism: Parallelism, pool: Parallelism | None) -> ExpertTraffic | None:
    """How rows and experts come together; None where neither pool spreads experts wide, unless it is asked for."""
    stated = (q.two_batch_overlap, q.eplb)
    widest = max(parallelism.expert, pool.expert if pool else 1)
    if any(stated) and max(parallelism.data, pool.data if pool else 1) == 1:
        raise InputError("`two_batch_overlap` and `eplb` are of experts over ranks of data parallelism; give `dp`")
    if widest < WIDE_RANKS and not any(stated):
        return None
    wide = widest >= WIDE_RANKS
    overlapped, balanced = (wide if choice is None else bool(choice) for choice in stated)
    return ExpertTraffic(overlapped, balanced)


def _speculation(q: PredictionRequest) -> Speculation | None:
    """How tokens are drafted. InputError for a draft model that is not known, or n-grams of unknown acceptance."""
    if not q.speculative_tokens:
        return None
    if q.draft_model == NGRAM:
        if q.acceptance_rate is None:
            raise InputError("`draft_model=ngram` drafts what the text so far holds; give `acceptance_rate`")
        return Speculation(q.speculative_tokens, q.acceptance_rate, ngram=True)
    if q.draft_model is None:
        return Speculation(q.speculative_tokens, q.acceptance_rate)
    draft = find_model(q.draft_model, approximate=q.approximate)
    return Speculation(q.speculative_tokens, q.acceptance_rate, draft.architecture, draft.precision)


def _plant(q: PredictionRequest) -> tuple[Device, Node | None, tuple[str, ...]]:
    """The device, its node, and what was assumed of it."""
    own = q.hardware or (load_device(Path(q.device)) if q.device.endswith(".toml") else None)
    device = own or find_device(q.device)
    if q.node is not None:
        node = find_node(q.node)
        fitting = () if own else nodes_that_hold(q.device)
        if fitting and node.name not in fitting:
            raise InputError(f"node {node.name} ({node.label}) holds no {device.label}; use {' or '.join(fitting)}")
        return _linked(device, node), node, ()
    if own is not None:
        return own, None, ("the catalog has no node for a device of your own: name one, e.g. hgx-hopper-8",)
    try:
        node = node_of(q.device)
    except InputError as error:
        return device, None, (str(error),)
    return device, node, (f"the node is assumed: {node.label}; cooling: {node.cooling}",)


def _linked(device: Device, node: Node) -> Device:
    """The device with the links that its node decides."""
    names = ("link_bandwidth_byte_s", "link_domain_count", "scale_out_bandwidth_byte_s")
    stated = {n: value for n in names if (value := getattr(node, n)) is not None}
    return replace(device, **stated)


def _clock_ratio(q: PredictionRequest, device: Device) -> float:
    """The locked clock over the highest. InputError where the highest is not known, or below what is asked."""
    if q.clock_hz is None:
        return q.clock_ratio
    if device.max_clock_hz is None:
        raise InputError(f"the highest clock of {device.label} is not in the catalog; give `clock_ratio` instead")
    if q.clock_hz > device.max_clock_hz:
        asked, most = say_quantity(q.clock_hz, "Hz"), say_quantity(device.max_clock_hz, "Hz")
        raise InputError(f"`clock_hz` is {asked}, above the {most} that {device.label} runs at most")
    return q.clock_hz / device.max_clock_hz


def _predicted(
    deployment: Deployment,
    workload: Workload,
    kinds: tuple[str, Kind],
    site: Site | None,
    own: FittedCoefficients | Scales,
    *,
    prices: bool,
) -> Prediction:
    profile, kind = kinds
    calibrated = own if isinstance(own, FittedCoefficients) else None
    scales = {} if isinstance(own, FittedCoefficients) else own

    prompts_ratio = workload.input_tok / workload.output_tok

    def widths(quantity: str, concurrency: float) -> float:
        fitted = calibrated.widths.get(quantity) if calibrated else None
        width = fitted or half_width_ratio(quantity, kind, load_class(concurrency, prompts_ratio))
        return widened_ratio(width, deployment.architecture)

    used = rates_of(calibrated.coefficients) if calibrated else rates(profile)
    prediction = predict_values(
        deployment,
        workload,
        used,
        partial(widths, concurrency=1.0),
        site,
        reference_pues(),
        scaling=_scaling(scales, widths),
        prices=prices,
    )
    return _as_calibrated(prediction, calibrated.widths.keys() if calibrated else told_by(scales))


def _cell(q: PredictionRequest, deployment: Deployment, profile: str) -> Cell:
    """What a scale must be of to hold for this deployment."""
    model, devices = canonical_model(q.model), deployment.device_count
    return Cell(model, deployment.device.name, devices, deployment.precision.name, profile, "aggregated")


def _scaling(scales: Scales, usual: Callable[[str, float], float]) -> Scaling:
    """Factors and half-widths by quantity and batch; what no row tells keeps its ``usual`` width."""

    def width(quantity: str, concurrency: float) -> float:
        at_devices = _AT_DEVICES.get(quantity, quantity)
        band = figure_width(scales, at_devices, concurrency)
        if band is None:
            return usual(quantity, concurrency)
        return band if at_devices == quantity else math.hypot(band, NODE)

    return Scaling(partial(figure_factor, scales), width)


_AT_DEVICES = {"node_power_w": "power_w", "node_energy_j_tok": "energy_j_tok"}


#: Figure of a prediction → the quantity whose measurement makes it calibrated.
_FITTED = {
    "rate_tok_s": "rate_tok_s",
    "request_rate_req_s": "rate_tok_s",
    "device_power_w": "power_w",
    "device_j_tok": "energy_j_tok",
    "ttft_s": "ttft_s",
    "tpot_s": "tpot_s",
    "itl_s": "tpot_s",
}


def _as_calibrated(prediction: Prediction, measured: Collection[str]) -> Prediction:
    """Calibrated are only the quantities that the runs measured; the rest stays modelled."""
    names = [n for n, quantity in _FITTED.items() if quantity in measured]
    figures: dict[str, Any] = {n: _with_basis(getattr(prediction, n)) for n in names}
    return replace(prediction, **figures)


def _with_basis(figure: Figure) -> Figure:
    return figure if figure.value is None else replace(figure, basis=Basis.CALIBRATED)
