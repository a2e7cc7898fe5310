"""From what a user says about a deployment to its prediction, and from that to text and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.catalog.devices import find_device, load_device
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import profile_of, rates
from joulemill.catalog.sites import load_site, reference_pues
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure
from joulemill.physics.coefficients import rates_of
from joulemill.physics.deployment import Deployment, parallelism_for
from joulemill.physics.device import Device
from joulemill.physics.node import Node
from joulemill.physics.prediction import Prediction
from joulemill.physics.prediction import predict as predict_values
from joulemill.physics.site import Site
from joulemill.physics.workload import Workload
from joulemill.reports.architecture_view import architecture_document, architecture_lines, widened_ratio
from joulemill.reports.calibration_file import Calibrated, load_calibration
from joulemill.reports.measured_models import precision_named
from joulemill.reports.spread import half_width_ratio


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


def answer(question: Question) -> Answer:
    """Resolve names in the catalogue and predict. InputError says what is unknown or cannot be."""
    q = question
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
    site = q.place()
    calibrated = load_calibration(Path(q.calibration)) if q.calibration else None
    if calibrated is not None and calibrated.device and calibrated.device != device.name:
        raise InputError(
            f"--calibration {q.calibration} is of {calibrated.device}, and --device is {device.name}; "
            "calibrate on runs of this device"
        )
    prediction = _predicted(deployment, workload, profile, site, calibrated)
    return Answer(q, deployment, workload, profile, prediction, (*notes, *model.approximations))


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
        "deployment": q.document() | {"profile": found.profile, "precision_used": found.deployment.precision.name}
        | {"cut": asdict(found.deployment.parallelism)},
        "architecture": architecture_document(found.deployment.architecture, found.deployment.precision),
        **plain,
        "terms": _plain(p.terms),
        "notes": list(dict.fromkeys((*found.notes, *p.notes))),
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


def text(found: Answer, *, explain: bool = False) -> str:
    """The page that people read: what it does, the barrel, prices; the arithmetic with ``explain``."""
    return "\n".join(_lines(found, explain)) + "\n"


def _lines(found: Answer, explain: bool) -> Iterator[str]:
    q, p, cut = found.question, found.prediction, found.deployment.parallelism
    yield (
        f"{q.model} in {found.deployment.precision.name} on {q.devices} × {found.deployment.device.label} "
        f"(tp {cut.tensor}, dp {cut.data}, ep {cut.expert}, replicas {cut.replicas}), {found.profile}"
    )
    flight = f"{p.batch.batch_req:.0f} in flight a replica: {p.batch.why}"
    yield from architecture_lines(found.deployment.architecture, found.deployment.precision)
    yield f"{q.input_tok:.0f} tokens in, {q.output_tok:.0f} out; {flight}"
    yield ""
    for label, figure in (
        ("token rate", p.rate_tok_s), ("devices", p.device_j_tok), ("node", p.node_j_tok),
        ("site", p.site.site_j_tok if p.site else None), ("devices' power", p.device_power_w),
        ("node power", p.node_power_w), ("time to first token", p.ttft_s), ("time per token", p.tpot_s),
        ("median step", p.itl_s),
    ):  # fmt: skip
        if figure is not None:
            yield f"  {label:<22}{_figure(figure)}"
    yield ""
    yield f"The barrel: {p.binding.explanation}"
    for c in sorted(p.ceilings, key=lambda c: c.rate_tok_s.value or math.inf):
        yield f"  {c.name:<22}{_figure(c.rate_tok_s)}"
    yield f"  {'Φ':<22}{_figure(p.phi)}"
    yield ""
    yield "One per cent more of …    moves the rate by    shadow price"
    for m in p.marginals:
        moved = "unknown" if m.elasticity_ratio is None else f"{m.elasticity_ratio:+.2f} %"
        price = f"unknown: {m.price.reason}" if m.price.value is None else f"{m.price.value:.3g} {m.price.unit}"
        yield f"  {m.resource:<24}{moved:>10}          {price}"
    yield from _stave_lines(p)
    if explain:
        yield from _explained(p)
    for note in dict.fromkeys((*found.notes, *p.notes)):
        yield f"note: {note}"


def _stave_lines(p: Prediction) -> Iterator[str]:
    if p.two_stave is not None:
        yield (
            f"Two staves: compute {p.two_stave.compute_tok_s:.4g} tok/s, power {p.two_stave.power_tok_s:.4g} tok/s; "
            f"{p.two_stave.binding} binds; Φ {p.two_stave.phi_ratio:.2f}"
        )
    if p.day_j_tok:
        yield "Node J/tok by utilisation: " + ", ".join(f"{u:.0%} {e:.4g}" for u, e in p.day_j_tok.items())


#: How people read a size: unit → (least value that is scaled, divisor, unit shown).
_SHOWN = {"s": (0.0, 1e-3, "ms"), "byte": (1e8, 1e9, "GB"), "byte/tok": (1e3, 1e3, "kB/tok"), "1": (0.0, 1.0, "")}


def _explained(p: Prediction) -> Iterator[str]:
    """Terms by part; those of a step with their share of it, and the step's total."""
    yield ""
    for part in dict.fromkeys(t.part for t in p.terms):
        terms = [t for t in p.terms if t.part == part]
        total = sum(t.value for t in terms) if "step" in part else 0.0
        yield f"{part}:"
        for term in terms:
            least, divisor, unit = _SHOWN.get(term.unit, (0.0, 1.0, term.unit))
            if term.value < least:
                divisor, unit = 1.0, term.unit
            note = f"{term.value / total:>5.0%} of it" if total else term.note
            yield f"  {term.name:<32}{term.value / divisor:>10.4g} {unit:<9}{note}".rstrip()
        if total:
            yield f"  {'in all':<32}{total / 1e-3:>10.4g} ms"


def _figure(f: Figure) -> str:
    if f.value is None:
        return f"unknown: {f.reason}"
    text = f"{f.value:.4g} {f.unit}" if f.unit != "1" else f"{f.value:.4g}"
    if f.low is not None and f.high is not None:
        text += f"  [{f.low:.4g} – {f.high:.4g}]"
    return text + f"  {f.basis}"
