"""What the model says of the levers of an experiment, calibrated on its runs as they are and on nothing else.

The machine's peaks are those that the run measured before it began; the few free coefficients are fitted to the runs
without a lever, so that each run with one is a prediction. Joules: a CPU server draws the same while all its threads
compute, so a change of J/token is that of the time that a token takes (assumed); with fewer threads it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from joulemill.analysis.account import account_of
from joulemill.analysis.calibration import calibrate_runs
from joulemill.analysis.intensity import measured_load
from joulemill.catalog.levers import paired_errors
from joulemill.catalog.models import find_model
from joulemill.decisions.levers.case import Case, Draft, Model
from joulemill.decisions.levers.outcome import outcome
from joulemill.decisions.levers.study import change_figure
from joulemill.errors import InputError
from joulemill.figure import Figure
from joulemill.ledger.record import RunRecord
from joulemill.physics.hardware.device import Device
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.continuous_batching import Rates
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.precision import precision_named
from joulemill.recording.reader import read_run

#: Kind of measured pairs that bound an error, by lever; the others take a share of their effect.
KINDS = {"slots-x2": "batch", "small-weights": "precision", "second-model": "model"}
#: Share of drafted tokens that are accepted, where nothing tells. Assumed.
ACCEPTANCE_RATIO = 0.7
#: Stands for the machine's power where no meter told it: only a scale, for changes of power are not predicted. Assumed.
USUAL_W = 100.0


@dataclass(frozen=True)
class Forecast:
    """Predicted changes by lever: ``rate``, ``energy``, ``ttft``, ``tpot``; why a lever or a change has none."""

    changes: Mapping[str, Mapping[str, Figure | None]] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def predicted_changes(
    plain_runs: Sequence[Path], base: Mapping[str, Any], points: Sequence[Mapping[str, Any]]
) -> Forecast:
    """The forecast of the levers' ``points`` against ``base`` (as ``sweep.json`` has them).

    plain_runs   runs without a lever, the first of them at ``base``
    Never raises: it says why there is none.
    """
    names = [str(p["label"]) for p in points]
    try:
        plant = _plant(plain_runs, base["options"])
    except InputError as fault:
        return Forecast(why=dict.fromkeys(names, str(fault)))
    changes: dict[str, Mapping[str, Figure | None]] = {}
    why: dict[str, str] = {}
    for name, point in zip(names, points, strict=True):
        try:
            changes[name] = _changes(name, plant, point["options"])
        except InputError as fault:
            why[name] = str(fault)
    if "threads-half" in changes:
        why["threads-half"] = "what a thread less draws is not known, so J/token is not predicted"
    return Forecast(changes, why, plant.notes)


@dataclass(frozen=True)
class _FittedCase:
    case: Case
    rates: Rates
    base: Mapping[str, Any]
    notes: tuple[str, ...]


def _plant(plain_runs: Sequence[Path], base: Mapping[str, Any]) -> _FittedCase:
    record = read_run(plain_runs[0])
    counted = account_of(record)
    power_w = None if counted.main is None else counted.scopes[counted.main].power.value
    device, model = device_of(record, power_w or USUAL_W), str(base["gguf"])
    fitted = calibrate_runs(plain_runs, model, device, 1, None)
    load = measured_load(record, counted)
    if load is None:
        raise InputError("the unchanged run delivered no tokens in its window")
    workload = Workload(
        input_tok=max(load.prompt_tok, 1.0),
        output_tok=max(load.output_tok, 1.0),
        concurrency=max(load.in_flight_count, 1.0),
    )
    note = (
        "Predicted: the model with this machine's measured peaks, its free coefficients fitted to the runs as they "
        "are; power is taken to be the same with the lever. Its 80 % intervals come from pairs of runs on "
        "accelerators: on a CPU, whose kernels are fast in one format and slow in another, they do not hold."
    )
    return _FittedCase(
        Case(deployment=_deployment(model, device, base), workload=workload),
        rates_of(fitted.coefficients),
        base,
        (note,),
    )


def device_of(record: RunRecord, power_w: float) -> Device:
    """The machine that a run of the embedded server measured before it began, drawing ``power_w`` at full load.

    Raises InputError where it measured nothing.
    """
    limits = record.manifest.machine_ceilings
    machine = (limits.machine if limits else None) or {}
    flop = limits.compute_flop_s.value if limits else None
    bandwidth = limits.memory_bandwidth_byte_s.value if limits else None
    memory = machine.get("memory_byte")
    if limits is None or not flop or not bandwidth or not isinstance(memory, int | float) or not memory:
        raise InputError("the machine's ceilings were not measured, so nothing can be predicted for it")
    whole = limits.compute_int8_flop_s.value or flop
    peaks = {"fp32": flop, "bf16": flop, "fp16": flop, "int8": whole}
    label = str(machine.get("cpu") or "this machine")
    return Device(
        name="this-machine",
        label=label,
        vendor="unknown",
        kind="cpu",
        peak_flop_s=peaks,
        memory_byte=float(memory),
        memory_bandwidth_byte_s=float(bandwidth),
        tdp_w=power_w,
    )


def _deployment(model: str, device: Device, options: Mapping[str, Any]) -> Deployment:
    entry = find_model(model)
    precision = precision_named(model, entry.architecture, entry.precision, "")
    if options.get("kv_type") in ("q8_0", "q4_0"):
        precision = precision.with_kv("int8" if options["kv_type"] == "q8_0" else "int4")
    return Deployment(architecture=entry.architecture, precision=precision, device=device)


def _changes(name: str, plant: _FittedCase, options: Mapping[str, Any]) -> Mapping[str, Figure | None]:
    before, after = outcome(plant.case, plant.rates), outcome(_changed(plant, options), plant.rates)
    kind, widths = KINDS.get(name, "modelled"), {k: e.half_width_ratio for k, e in paired_errors().items()}

    def change(old: float | None, new: float | None) -> Figure | None:
        return change_figure(old, new, kind, widths)

    return {
        "rate": change(before.rate_tok_s, after.rate_tok_s),
        "energy": None if name == "threads-half" else change(1.0 / before.rate_tok_s, 1.0 / after.rate_tok_s),
        "ttft": change(before.ttft_s, after.ttft_s),
        "tpot": change(before.tpot_s, after.tpot_s),
    }


def _changed(plant: _FittedCase, options: Mapping[str, Any]) -> Case:
    """The case under the lever's options."""
    case, base = plant.case, plant.base
    device = case.deployment.device
    if options["threads"] != base["threads"]:
        part = options["threads"] / base["threads"]
        device = replace(device, peak_flop_s={k: part * v for k, v in device.peak_flop_s.items()})
    deployment = case.deployment
    if any(options.get(k) != base.get(k) for k in ("gguf", "kv_type", "threads")):
        deployment = _deployment(str(options["gguf"]), device, options)
    draft = None
    if options.get("draft_gguf"):
        entry = find_model(str(options["draft_gguf"]))
        drafting = Model(entry.name, entry.architecture, entry.precision)
        draft = Draft(drafting, int(options["draft_tok"]), ACCEPTANCE_RATIO)
    return replace(case, deployment=deployment, workload=_workload(case.workload, base, options), draft=draft)


def _workload(workload: Workload, base: Mapping[str, Any], options: Mapping[str, Any]) -> Workload:
    batch = (workload.concurrency or 1.0) * options["concurrency"] / base["concurrency"]
    output = workload.output_tok
    if options["output_tokens"] != base["output_tokens"]:
        output *= float(options["output_tokens"]) / float(base["output_tokens"])
    cached = min(options["shared_prefix_tok"] / workload.input_tok, 0.99) if options.get("cache_prompt") else 0.0
    return replace(workload, concurrency=batch, output_tok=output, cached_ratio=cached)
