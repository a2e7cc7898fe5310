"""The question that a recorded run asks of the levers: its model, device, load and site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from joulemill.analysis.intensity import MeasuredLoad, model_of
from joulemill.analysis.measurement import Measurement, measurement_of
from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.stated_device import count_in, device_in
from joulemill.errors import InputError
from joulemill.ledger.manifest import ModelDescription, StatedDevice
from joulemill.ledger.record import RunRecord
from joulemill.physics.hardware.device import Device
from joulemill.physics.serving.speculation import MOST_DRAFTED, yield_acceptance_ratio
from joulemill.prediction.question import PredictionRequest
from joulemill.recording.writer import read_run


def question_of_run(
    path: Path, base_question: PredictionRequest | None, run: Measurement | None = None
) -> tuple[PredictionRequest, Measurement]:
    """What the run in the folder ``path`` asks: its model, device, load and site; and the run, measured.

    What ``given`` names of model, device and site comes first; ``run`` is the folder's where it was measured before.
    InputError where the run's model or device is not known.
    """
    if not path.exists():
        raise InputError(f"{path}: no such run; give the run folder that `joulemill bench` wrote")
    if not path.is_dir():
        raise InputError(f"{path}: levers need the run folder that `joulemill bench` wrote, not a report")
    run = run or measurement_of(read_run(path))
    record = run.record
    device, count, own = _device_of(record, base_question)
    stated = base_question.model if base_question else None
    released = None if stated else _model_of(record)
    model = released.name if released else stated or ""
    load = run.intensity.load
    if load is None:
        raise InputError(f"{path}: no tokens in the window, so there is no load to predict at")
    base = base_question or PredictionRequest(model=model, device=device)
    offered = _offered_req_s(run)
    question = replace(
        base,
        model=model,
        device=device,
        devices=base.devices if base.devices > 1 else count,
        input_tokens=max(load.prompt_tok, 1.0),
        output_tokens=max(load.output_tok, 1.0),
        concurrency=None if offered else max(load.in_flight_count, 1.0),
        rate_req_s=offered,
        facility=run.site,
        hardware=own,
        released=released,
        **_drafts_of(load, released, base),
    )
    return question, run


def _drafts_of(load: MeasuredLoad, released: ModelEntry | None, base: PredictionRequest) -> dict[str, Any]:
    """Tokens that the run's server drafted, by the model's own layers; nothing where others draft, or it is stated."""
    if load.drafts is None or base.speculative_tokens or released is None or not released.architecture.mtp:
        return {}
    count = min(max(round(load.drafts.draft_count), 1), MOST_DRAFTED)
    return {"speculative_tokens": count, "acceptance_rate": yield_acceptance_ratio(load.drafts.accepted_tok, count)}


def _offered_req_s(run: Measurement) -> float | None:
    """Requests a second of an open loop, whose demand no lever raises; None for a closed loop."""
    options = run.record.manifest.asked
    if options.rate is None and not options.trace:
        return None
    return run.account.request_rate.value or None


def _device_of(record: RunRecord, base_question: PredictionRequest | None) -> tuple[str, int, Device | None]:
    """Name, how many, and the device itself where it is the user's own and the run keeps its facts."""
    table = record.manifest.device or StatedDevice()
    if base_question and base_question.device:
        return base_question.device, count_in(table), None
    if not table.name:
        raise InputError(
            "the run names no device, so nothing can be predicted for it: name it with --device NAME (a CPU too: see "
            "`joulemill show device`) or --device FILE.toml; `joulemill calibrate RUN` and --calibration FILE fit it"
        )
    return table.name, count_in(table), device_in(table) if table.facts else None


def _model_of(record: RunRecord) -> ModelEntry:
    """The model as it was served: by the GGUF header or config.json that the run keeps, else by its name."""
    described = record.manifest.model or ModelDescription()
    try:
        architecture, precision, source = model_of(record.manifest)
    except InputError as fault:
        raise InputError(f"the run's model is not known ({fault}); name it with --model NAME or FILE") from fault
    return ModelEntry(
        name=str(described.architecture or described.name or architecture.name),
        architecture=architecture,
        precision=precision,
        source=source,
        approximations=architecture.approximations,
    )
