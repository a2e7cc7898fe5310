"""From what a user says, or what a run's folder holds, to a case and the settings of its levers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from joulemill.analysis.account import account_of
from joulemill.analysis.intensity import measured_load, model_of
from joulemill.analysis.report import Report
from joulemill.analysis.run import analyse
from joulemill.analysis.site import run_site
from joulemill.catalog.devices import find_device
from joulemill.catalog.levers import evidence_of, paired_errors
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import rates
from joulemill.catalog.stated_device import count_in, device_in
from joulemill.decisions.levers.case import Case, Model, Settings
from joulemill.decisions.levers.study import Study, all_levers, study
from joulemill.errors import InputError
from joulemill.ledger.record import RunRecord
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.coefficients import rates_of
from joulemill.prediction.calibration_file import load_calibration
from joulemill.prediction.precision import precision_named
from joulemill.prediction.question import Answer, Question, answer
from joulemill.recording.writer import read_run
from joulemill.reports.text.architecture import widened_ratio

#: Number formats that weights may be brought to.
FORMATS = ("fp8", "int8", "nvfp4", "int4")
#: Device generations that are compared where the user names none.
GENERATIONS = ("h100", "h200", "b200", "mi300x")


@dataclass(frozen=True)
class LeversAnswer:
    """A study with the question it answers; ``report`` is that of the run, where it is about one."""

    answer: Answer
    study: Study
    settings: Settings
    notes: tuple[str, ...]
    report: Report | None = None

    @property
    def meets(self) -> bool:
        """Whether the deployment, as it is, meets all that is asked."""
        return self.answer.meets and self.study.before.meets


def levers_answer(
    question: Question,
    names: dict[str, str | None],
    settings: Settings,
    beyond: frozenset[str],
    *,
    same_outputs: bool = False,
    together: bool = True,
) -> LeversAnswer:
    """Resolve and study. ``names``: models of levers by role (draft, small, alternative); ``to``: devices, by comma.

    ``same_outputs``: combinations use no lever that changes what the model answers, so that q* holds untested.
    ``together``: combinations are studied too, which takes three times as long as the levers alone.
    InputError says what is unknown or cannot be.
    """
    found = answer(question)
    architecture = found.deployment.architecture
    native = find_model(question.model, approximate=question.approximate).precision
    weights: dict[str, Precision] = {
        word: precision_named(question.model, architecture, native, word) for word in FORMATS
    }
    draft, small, other = (named_model(names.get(role)) for role in ("draft", "small", "alternative"))
    devices = _devices(names.get("to"))
    chosen = replace(settings, weights=weights, devices=devices, draft=draft, small=small, alternative=other)
    calibration = load_calibration(Path(question.calibration)) if question.calibration else None
    used = rates_of(calibration.coefficients) if calibration else rates(found.profile)
    widths = {k: widened_ratio(e.half_width_ratio, architecture) for k, e in paired_errors().items()}
    case = Case(found.deployment, found.workload, question.place())
    barred = _barred(chosen, same_outputs, together)
    made = study(case, chosen, used, widths, beyond=beyond, barred=barred)
    return LeversAnswer(found, made, chosen, found.notes)


def _barred(settings: Settings, same_outputs: bool, together: bool) -> frozenset[str]:
    """Names of levers that no combination uses."""
    every = [x.name for x in all_levers(settings)]
    if not together:
        return frozenset(every)
    differing = (n for n in every if evidence_of(n).quality not in ("same", "none"))
    return frozenset(differing if same_outputs else ())


def named_model(name: str | None) -> Model | None:
    """A model that a lever needs, by name."""
    if name is None:
        return None
    entry = find_model(name)
    return Model(entry.name, entry.architecture, entry.precision)


def _devices(names: str | None) -> tuple[tuple[Device, Node | None], ...]:
    found: list[tuple[Device, Node | None]] = []
    for name in names.split(",") if names else GENERATIONS:
        device = find_device(name.strip())
        try:
            found.append((device, node_of(device.name)))
        except InputError:
            found.append((device, None))
    return tuple(found)


def question_of_run(path: Path, given: Question | None, record: RunRecord | None = None) -> tuple[Question, Report]:
    """What a measured run asks: its model, device, load and site, and its report.

    What ``given`` names of model, device and site comes first; ``record`` stands for the folder's where it was altered.
    InputError where the run's model or device is not known.
    """
    if not path.exists():
        raise InputError(f"{path}: no such run; give the run folder that `joulemill bench` wrote")
    if not path.is_dir():
        raise InputError(f"{path}: levers need the run folder that `joulemill bench` wrote, not a report")
    record = record or read_run(path)
    device, count, own = _device_of(record, given)
    model = given.model if given and given.model else _model_of(record)
    counted = account_of(record)
    load = measured_load(record, counted)
    if load is None:
        raise InputError(f"{path}: no tokens in the window, so there is no load to predict at")
    base = given or Question(model, device)
    report = analyse(record)
    offered = _offered_req_s(record, report)
    question = replace(
        base, model=model, device=device, devices=base.devices if base.devices > 1 else count,
        input_tok=max(load.prompt_tok, 1.0), output_tok=max(load.output_tok, 1.0),
        batch_req=None if offered else max(load.in_flight_count, 1.0), rate_req_s=offered,
        facility=run_site(record, counted), hardware=own,
    )  # fmt: skip
    return question, report


def _offered_req_s(record: RunRecord, report: Report) -> float | None:
    """Requests a second of an open loop, whose demand no lever raises; None for a closed loop."""
    options = record.manifest.get("options") or {}
    if options.get("rate") is None and not options.get("trace"):
        return None
    return report.output.request_rate_req_s.value or None


def _device_of(record: RunRecord, given: Question | None) -> tuple[str, int, Device | None]:
    """Name, how many, and the device itself where it is the user's own and the run keeps its facts."""
    table = record.manifest.get("device") or {}
    if given and given.device:
        return given.device, count_in(table), None
    name = str(table.get("name") or "")
    if not name:
        raise InputError(
            "the run names no device, so nothing can be predicted for it: name it with --device NAME (a CPU too: see "
            "`joulemill show device`) or --device FILE.toml; `joulemill calibrate RUN` and --calibration FILE fit it"
        )
    return name, count_in(table), device_in(table) if table.get("facts") else None


def _model_of(record: RunRecord) -> str:
    told = record.manifest.get("model") or {}
    if told.get("gguf"):
        raise InputError("the run's model is a GGUF file: name it with --model FILE.gguf")
    model_of(record.manifest)
    return str(told.get("architecture") or told.get("name"))
