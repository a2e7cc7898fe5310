"""From what a user says, or what a run's folder holds, to a case and the settings of its levers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from joulemill.catalog.devices import find_device
from joulemill.catalog.levers import evidence_of, paired_errors
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import rates
from joulemill.decisions.levers.case import Case, Model, Settings
from joulemill.decisions.levers.study import Study, Widths, all_levers, change_figure, study
from joulemill.errors import InputError
from joulemill.figure import Figure
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.coefficients import rates_of
from joulemill.prediction.calibration_file import load_calibration
from joulemill.prediction.precision import precision_named
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest, PredictionResult
from joulemill.prediction.scale_file import is_scale_file
from joulemill.prediction.spread import widened_ratio

#: Number formats that weights may be brought to.
FORMATS = ("fp8", "int8", "nvfp4", "int4")
#: Device generations that are compared where the user names none.
GENERATIONS = ("h100", "h200", "b200", "mi300x")


@dataclass(frozen=True)
class LeversAnswer:
    """A study with the question it answers."""

    answer: PredictionResult
    study: Study
    settings: Settings
    notes: tuple[str, ...]

    @property
    def meets(self) -> bool:
        """Whether the deployment, as it is, meets all that is asked."""
        return self.answer.meets and self.study.before.meets


def levers_answer(
    question: PredictionRequest,
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
    if question.calibration and is_scale_file(Path(question.calibration)):
        raise InputError(
            f"`calibration` {question.calibration} holds scales of one deployment, and levers make others of it; "
            "leave it out, or give coefficients fitted to runs (joulemill calibrate RUN --out FILE.json)"
        )
    result = answer(question)
    architecture = result.deployment.architecture
    native = question.released_model().precision
    weights: dict[str, Precision] = {
        word: precision_named(question.model, architecture, native, word) for word in FORMATS
    }
    draft, small, other = (named_model(names.get(role)) for role in ("draft", "small", "alternative"))
    devices = _devices(names.get("to"))
    chosen = replace(settings, weights=weights, devices=devices, draft=draft, small=small, alternative=other)
    calibration = load_calibration(Path(question.calibration)) if question.calibration else None
    used = rates_of(calibration.coefficients) if calibration else rates(result.profile)
    case = Case(deployment=result.deployment, workload=result.workload, site=question.place())
    barred = _barred(chosen, same_outputs, together)
    lever_study = study(case, chosen, used, _paired_widths(architecture), beyond=beyond, barred=barred)
    return LeversAnswer(result, lever_study, chosen, result.notes)


def paired_change(before: float | None, after: float | None, kind: str, architecture: Architecture) -> Figure | None:
    """``after`` ÷ ``before`` − 1 of two predictions that differ in one thing, with its 80 % interval.

    kind   of lever (batch, devices, precision …), whose measured pairs the interval is from; "declared": arithmetic on
           what is stated, without one
    """
    return change_figure(before, after, kind, _paired_widths(architecture))


def _paired_widths(architecture: Architecture) -> Widths:
    return {k: widened_ratio(e.half_width_ratio, architecture) for k, e in paired_errors().items()}


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
    targets: list[tuple[Device, Node | None]] = []
    for name in names.split(",") if names else GENERATIONS:
        device = find_device(name.strip())
        try:
            targets.append((device, node_of(device.name)))
        except InputError:
            targets.append((device, None))
    return tuple(targets)
