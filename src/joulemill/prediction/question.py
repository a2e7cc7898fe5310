"""From what a user says about a deployment to its prediction, and from that to text and JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.catalog.devices import find_device, load_device
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import profile_of, rates
from joulemill.catalog.sites import load_site, reference_pues
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.hardware.site import Site
from joulemill.physics.production.prediction import Prediction
from joulemill.physics.production.prediction import predict as predict_values
from joulemill.physics.serving.batch import MemoryShort, most_that_fit_req
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.deployment import Deployment, parallelism_for
from joulemill.physics.serving.shard import shard
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.calibration_file import Calibrated, load_calibration
from joulemill.prediction.precision import precision_named
from joulemill.prediction.shortfall import (
    Shortfall,
    does_not_fit,
    of_context,
    of_latency,
    of_load,
    of_site,
    short_document,
    within_targets,
)
from joulemill.prediction.spread import half_width_ratio
from joulemill.reports.text.architecture import architecture_document, widened_ratio
from joulemill.reports.text.prediction import lines


@dataclass(frozen=True)
class Question:
    """What is asked, as the command line says it. None: not said.

    facility, hardware   a run's own site, after ``site``; a run's own device, before ``device``
    approximate          whether a model file that is not understood is read as a plain decoder
    """

    model: str
    device: str
    devices: int = 1
    tp: int | None = None
    ep: int | None = None
    dp: int | None = None
    precision: str | None = None
    kv_dtype: str | None = None
    engine: str = "vllm"
    input_tok: float = 512.0
    output_tok: float = 512.0
    output_spread_ratio: float = 0.0
    cached_ratio: float = 0.0
    batch_req: float | None = None
    batch_limit_req: float | None = None
    rate_req_s: float | None = None
    ttft_limit_s: float | None = None
    tpot_limit_s: float | None = None
    power_cap_w: float | None = None
    memory_use_ratio: float = 0.9
    prefill_budget_tok: float = 8192.0
    site: str | None = None
    calibration: str | None = None
    facility: Site | None = None
    hardware: Device | None = None
    approximate: bool = False

    def place(self) -> Site | None:
        """The site, read. Raises InputError where the file is none."""
        return load_site(self.site) if self.site else self.facility

    def document(self) -> dict[str, Any]:
        """What was said, as JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("facility", "hardware")}


@dataclass(frozen=True)
class Answer:
    """A prediction with the deployment and workload that it is of, and what had to be assumed."""

    question: Question
    deployment: Deployment
    workload: Workload
    profile: str
    prediction: Prediction
    notes: tuple[str, ...]
    short_by: tuple[Shortfall, ...] = ()

    @property
    def meets(self) -> bool:
        """Whether all that was asked is met: latency, load, and what the site delivers."""
        return not self.short_by

    @property
    def every_note(self) -> tuple[str, ...]:
        """What must be read with it, each once."""
        more = of_context(self)
        return tuple(dict.fromkeys((*self.notes, *self.prediction.notes, *((more,) if more else ()))))


def answer(question: Question) -> Answer:
    """Resolve names in the catalogue and predict, within the limits; ``short_by`` says what is missed.

    InputError says what is unknown or cannot be; MemoryShort what would fit.
    """
    found = _answered(question)
    late = tuple(of_latency(found))
    if late and question.batch_req is not None:
        found = _answered(within_targets(question))
    found = replace(found, question=question)
    site = question.place()
    count, each = found.deployment.device_count, found.deployment.parallelism.devices
    return replace(found, short_by=(*of_site(found.prediction, site, count, each), *late, *of_load(found)))


def memory_holds(question: Question) -> bool:
    """Whether the weights and one request fit. InputError where the deployment cannot be at all."""
    deployment, workload, profile, _ = _asked(question)
    share = shard(deployment.architecture, deployment.precision, deployment.device, deployment.parallelism)
    try:
        return most_that_fit_req(deployment, workload, share, rates(profile)) >= 1.0
    except MemoryShort:
        return False


def _answered(q: Question) -> Answer:
    deployment, workload, profile, notes = _asked(q)
    calibrated = load_calibration(Path(q.calibration)) if q.calibration else None
    if calibrated is not None and calibrated.device and calibrated.device != deployment.device.name:
        raise InputError(
            f"--calibration {q.calibration} is of {calibrated.device}, and --device is {deployment.device.name}; "
            "calibrate on runs of this device"
        )
    try:
        prediction = _predicted(deployment, workload, profile, q.place(), calibrated)
    except MemoryShort as fault:
        raise does_not_fit(q, fault) from fault
    return Answer(q, deployment, workload, profile, prediction, notes)


def _asked(q: Question) -> tuple[Deployment, Workload, str, tuple[str, ...]]:
    """Names resolved in the catalogue; what had to be assumed."""
    model = find_model(q.model, approximate=q.approximate)
    architecture = model.architecture
    precision = precision_named(q.model, architecture, model.precision, q.precision or "")
    if q.kv_dtype:
        precision = precision.with_kv(q.kv_dtype)
    device, node, notes = _plant(q.device, q.hardware)
    cut = parallelism_for(architecture, q.devices, q.tp, q.dp, q.ep)
    profile = profile_of(q.engine)
    deployment = Deployment(
        architecture, precision, device, cut, profile.partition("-")[0], node, q.batch_limit_req,
        q.prefill_budget_tok, q.memory_use_ratio, q.power_cap_w,
    )  # fmt: skip
    workload = Workload(
        q.input_tok, q.output_tok, q.output_spread_ratio, q.cached_ratio, q.batch_req, q.rate_req_s, q.ttft_limit_s,
        q.tpot_limit_s,
    )  # fmt: skip
    return deployment, workload, profile, (*notes, *model.approximations)


def _plant(name: str, own: Device | None = None) -> tuple[Device, Node | None, tuple[str, ...]]:
    if own is not None or name.endswith(".toml"):
        return own or load_device(Path(name)), None, ("no node is catalogued for a device of your own",)
    device = find_device(name)
    try:
        return device, node_of(name), ()
    except InputError as error:
        return device, None, (str(error),)


def _predicted(
    deployment: Deployment, workload: Workload, profile: str, site: Site | None, calibrated: Calibrated | None
) -> Prediction:
    moe = deployment.architecture.is_moe

    def widths(quantity: str) -> float:
        own = calibrated.widths.get(quantity) if calibrated else None
        width = own or half_width_ratio(quantity, profile, deployment.device.name, is_moe=moe)
        return widened_ratio(width, deployment.architecture)

    used = rates_of(calibrated.coefficients) if calibrated else rates(profile)
    found = predict_values(deployment, workload, used, widths, site, reference_pues())
    return _as_calibrated(found, calibrated) if calibrated else found


#: Figure of a prediction → the quantity whose measurement makes it calibrated.
_FITTED = {
    "rate_tok_s": "rate_tok_s", "request_rate_req_s": "rate_tok_s", "device_power_w": "power_w",
    "device_j_tok": "energy_j_tok", "ttft_s": "ttft_s", "tpot_s": "tpot_s", "itl_s": "tpot_s",
}  # fmt: skip


def _as_calibrated(prediction: Prediction, calibrated: Calibrated) -> Prediction:
    """Calibrated are only the quantities that the runs measured; the rest stays modelled."""
    names = [n for n, quantity in _FITTED.items() if quantity in calibrated.widths]
    figures: dict[str, Any] = {n: _with_basis(getattr(prediction, n)) for n in names}
    return replace(prediction, **figures)


def _with_basis(figure: Figure) -> Figure:
    return figure if figure.value is None else replace(figure, basis=Basis.CALIBRATED)


def document(found: Answer) -> dict[str, Any]:
    """The JSON document. Figures as {value, unit, basis, low, high, level, reason, source}; unknown is null."""
    q, p = found.question, found.prediction
    plain = _plain(p)
    plain.pop("terms")
    return {
        "schema_version": "1.0",
        "meets": found.meets,
        "short_by": [missed.document() for missed in found.short_by],
        "deployment": q.document() | {"profile": found.profile, "precision_used": found.deployment.precision.name}
        | {"cut": asdict(found.deployment.parallelism)},
        "architecture": architecture_document(found.deployment.architecture, found.deployment.precision),
        **plain,
        "terms": _plain(p.terms),
        "notes": list(found.every_note),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """JSON-ready: dataclasses as objects, enums as text, infinities as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v) for k, v in vars_of(value).items()}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Basis) else value


def vars_of(value: Any) -> dict[str, Any]:
    """Fields of a dataclass, slots or not, in order."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def short_document_of(question: Question, fault: MemoryShort) -> dict[str, Any]:
    """The JSON document of a deployment that does not fit: no rate, no joules, and by how much it is short."""
    asked = _asked(question)[0]
    return {
        "schema_version": "1.0", "meets": False, "short_by": short_document(fault),
        "deployment": question.document(), "architecture": architecture_document(asked.architecture, asked.precision),
        "rate_tok_s": _plain(unknown("tok/s", str(fault))),
    }  # fmt: skip


def text(found: Answer, *, explain: bool = False) -> str:
    """The page that people read: what it misses, what it does, its limits, prices; the arithmetic with ``explain``."""
    return "\n".join(lines(found, explain)) + "\n"
