"""``joulemill.levers``: what would lower the joules per token of a deployment or of a measured run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from joulemill.analysis.levers_of_run import question_of_run
from joulemill.analysis.report import Report
from joulemill.analysis.run import report_of
from joulemill.api.frames import frame_of
from joulemill.api.results import Result
from joulemill.decisions.levers.case import Settings
from joulemill.decisions.levers.study import BEYOND_TUNING, Combination, Effect, by_use
from joulemill.errors import InputError
from joulemill.files import write_text
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.document import short_document_of
from joulemill.prediction.levers import LeversAnswer, levers_answer
from joulemill.prediction.question import PredictionRequest, PredictionResult
from joulemill.reports.html.levers import page
from joulemill.reports.text.levers import document, text
from joulemill.suggestions import meant
from joulemill.wording import signed

#: What combinations may use beside tuning; what levers are set to: settings that are numbers.
BEYOND = tuple(sorted(BEYOND_TUNING))
SETTINGS = tuple(f.name for f in fields(Settings) if str(f.type).startswith(("int", "float")))


class Predicted(Protocol):
    """A prediction, with the answer that it is of."""

    @property
    def answer(self) -> PredictionResult:
        """The answer, with its question."""


@dataclass(frozen=True, repr=False)
class LeverStudy(Result):
    """Every lever on one deployment, and combinations, each evaluated jointly."""

    answer: LeversAnswer
    report: Report | None = None

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Every lever, best first: its change of J/token, rate and latency, or why it does not apply."""
        return tuple(by_use(self.answer.study.effects))

    @property
    def meets(self) -> bool:
        """Whether all that was asked of the deployment is met as it is: latency, load, what the site delivers."""
        return self.answer.meets

    @property
    def best(self) -> Effect | None:
        """The lever that lowers J/token most; None where none does."""
        first = next((e for e in self.effects if e.energy_change is not None), None)
        change = None if first is None or first.energy_change is None else first.energy_change.value
        return first if change is not None and change < 0.0 else None

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """Levers together, each a joint prediction: effects do not add."""
        return self.answer.study.combinations

    @property
    def front(self) -> tuple[Combination, ...]:
        """The Pareto-optimal combinations in J/token, tok/s and time per token."""
        return self.answer.study.front

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill levers --json``."""
        return document(self.answer, self.report)

    def to_html(self, path: str | Path) -> None:
        """Write one offline page."""
        write_text(path, self.page())

    def page(self) -> str:
        """The offline page as text."""
        return page(self.answer, self.report)

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per lever that applies: its changes (new ÷ old − 1) of J/token with bounds, of tok/s and of TPOT."""
        applied = [e for e in self.effects if e.after is not None]
        energy = [e.energy_change for e in applied]
        return frame_of(
            {
                "lever": [e.lever.name for e in applied],
                "energy_change": [c and c.value for c in energy],
                "energy_change_low": [c and c.low for c in energy],
                "energy_change_high": [c and c.high for c in energy],
                "rate_change": [e.rate_change and e.rate_change.value for e in applied],
                "tpot_change": [e.tpot_change and e.tpot_change.value for e in applied],
            },
            backend,
        )

    def text(self) -> str:
        """The whole table."""
        return text(self.answer, self.report)

    def _line(self) -> str:
        applied = sum(e.after is not None for e in self.effects)
        best = self.best
        first = "" if best is None else f", best {best.lever.label}: J/token {signed(best.energy_change, bounds=True)}"
        return f"{applied} levers on {self.answer.answer.question.model}{first}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for e in self.effects:
            yield e.lever.label, e.why_not or f"J/token {signed(e.energy_change, bounds=True)}"


def levers(
    of: Predicted | Mapping[str, Any] | str | Path, *, deployment: Mapping[str, Any] | None = None, **settings: Any
) -> LeverStudy:
    """Study every lever on a prediction, on arguments of ``predict``, or on a measured run by the path of its folder.

    deployment       of a run: arguments of ``predict`` that say more than it records; a model or device comes first
    draft, small, alternative   models that drafts tokens, takes a share of the requests, replaces this one
    to               devices to compare with; default: h100, h200, b200, mi300x
    beyond           what combinations may use beside tuning: "retrain", "other model", "hardware", "facility"
    same_outputs     combine only levers that leave every answer as it is
    …_ratio, …_tok, draft_count   what levers are set to, by the names of ``Settings``

    Raises InputError for an argument that is not known, or a run whose model or device is not; MemoryShort, one of
    these, where the devices do not hold the model.
    """
    if isinstance(of, (str, Path)):
        question, run = question_of_run(Path(of), None if deployment is None else _asked(deployment, of_run=True))
        return levers_of_question(question, report=report_of(run), **settings)
    if isinstance(of, Mapping):
        return levers_of_question(_asked(of), **settings)
    return levers_of_question(of.answer.question, **settings)


def _asked(arguments: Mapping[str, Any], *, of_run: bool = False) -> PredictionRequest:
    """Arguments of ``predict``; a run says its model and device itself. InputError for others, or one that lacks."""
    known = [f.name for f in fields(PredictionRequest)]
    stray = next((name for name in arguments if name not in known), None)
    if stray is not None:
        raise InputError(f"predict has no argument {stray!r}; {meant(stray, known)}")
    missing = next((name for name in ("model", "device") if not of_run and name not in arguments), None)
    if missing is not None:
        raise InputError(f"`{missing}` is not stated; give it")
    return PredictionRequest(**{"model": None, "device": None, **arguments})


def memory_short_document(
    deployment: Mapping[str, Any], fault: MemoryShort, run: str | Path | None = None
) -> dict[str, Any]:
    """The document of ``joulemill predict --json`` where the devices do not hold the model.

    deployment   arguments of ``predict``;  run   the folder of the run that they say more of
    """
    question = _asked(deployment, of_run=run is not None)
    return short_document_of(question if run is None else question_of_run(Path(run), question)[0], fault)


def levers_of_question(
    question: PredictionRequest,
    *,
    draft: str | None = None,
    small: str | None = None,
    alternative: str | None = None,
    to: Iterable[str] | str | None = None,
    beyond: Iterable[str] = (),
    same_outputs: bool = False,
    report: Report | None = None,
    **settings: Any,
) -> LeverStudy:
    """The study of the deployment that ``question`` asks about; the arguments are those of ``levers``."""
    names = {"draft": draft, "small": small, "alternative": alternative}
    compared = to if to is None or isinstance(to, str) else ",".join(to)
    answer = levers_answer(
        question, {**names, "to": compared}, _settings(settings), _beyond(beyond), same_outputs=same_outputs
    )
    return LeverStudy(answer, report)


def _settings(arguments: dict[str, Any]) -> Settings:
    stray = next((name for name in arguments if name not in SETTINGS), None)
    if stray is not None:
        raise InputError(f"levers have no setting {stray!r}; {meant(stray, SETTINGS)}")
    for name, value in arguments.items():
        least = 1.0 if name.endswith(("_count", "_tok")) else 0.0
        if not (isinstance(value, (int, float)) and value >= least and (least or value <= 1.0 or name == "pue_ratio")):
            raise InputError(f"`{name}` is {value}; it must be {'at least 1' if least else 'between 0 and 1'}")
    return Settings(**arguments)


def _beyond(exceptions: Iterable[str]) -> frozenset[str]:
    asked = frozenset({exceptions} if isinstance(exceptions, str) else exceptions)
    stray = sorted(asked - BEYOND_TUNING)
    if stray:
        raise InputError(f"`beyond`: {stray[0]!r} is not known; {meant(stray[0], BEYOND)}")
    return asked
