"""``joulemill.compare`` and ``joulemill.gate``: runs side by side, and whether a change may pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from joulemill.analysis.comparison import Comparison, document
from joulemill.analysis.comparison import compare as compared
from joulemill.analysis.samples import METRICS, load_run, load_samples
from joulemill.api.frames import frame_of
from joulemill.api.results import Result
from joulemill.api.runs import Run
from joulemill.decisions.gate.gate import Check, Outcome, Terms, Verdict
from joulemill.decisions.gate.gate import gate as gated
from joulemill.decisions.gate.run_length import LengthPlan, plan_length
from joulemill.decisions.gate.sample import Sample
from joulemill.errors import InputError
from joulemill.files import write_text
from joulemill.reports.comparison import markdown, real_text, render, shift_text, value_text
from joulemill.reports.text.gate import EXIT, plan_document
from joulemill.reports.text.gate import document as gate_document
from joulemill.reports.text.gate import text as gate_text

#: A run, or where one lies.
Recorded = Run | str | Path
#: A rise that is allowed on purpose; more is no gate.
MOST_INCREASE_RATIO = 1.0


@dataclass(frozen=True, repr=False)
class RunComparison(Result):
    """Runs side by side, each against the first: conditions that differ, figures, how surely a difference is real."""

    comparison: Comparison

    @property
    def comparable(self) -> bool:
        """Whether the joules may be compared: no condition differs that forbids it."""
        return self.comparison.comparable

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill compare --json``."""
        return document(self.comparison)

    def to_html(self, path: str | Path) -> None:
        """Write the comparison as one offline page."""
        write_text(path, render(self.comparison))

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per figure and run: name, unit, run, value, and the change against the first run with its bounds."""
        table: list[dict[str, Any]] = []
        for row in self.comparison.rows:
            for i, (run, figure) in enumerate(zip(self.comparison.runs, row.figures, strict=True)):
                shift = row.shifts[i - 1] if i else None
                table.append(
                    {
                        "figure": row.name,
                        "unit": row.unit,
                        "run": run.name,
                        "value": figure.value,
                        "change": shift and shift.ratio,
                        "change_low": shift and shift.low,
                        "change_high": shift and shift.high,
                        "probability": shift and shift.real,
                    }
                )
        return frame_of({name: [each[name] for each in table] for name in table[0]}, backend)

    def text(self) -> str:
        """The whole comparison as Markdown."""
        return markdown(self.comparison)

    def _line(self) -> str:
        names = " against ".join(run.name for run in self.comparison.runs)
        return names if self.comparable else f"{names}: not comparable"

    def _rows(self) -> Iterable[tuple[str, str]]:
        yield from ((name, " / ".join(values)) for name, values in self.comparison.blocking)
        for row in self.comparison.rows:
            values = [value_text(row, i) for i in range(len(self.comparison.runs))]
            shifts = [
                f"{shift_text(s)} ({real_text(s.real)})" if s.real is not None else shift_text(s) for s in row.shifts
            ]
            yield row.name, "; ".join([*values, *shifts])


def compare(*runs: Recorded) -> RunComparison:
    """Two runs or more, side by side. Raises InputError for fewer, or where one is given twice."""
    if len(runs) < 2:
        raise InputError("compare needs two runs or more")
    paths = [_path(run) for run in runs]
    places = [p.resolve() for p in paths]
    twice = next((p for p, place in zip(paths, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice; name another run to compare it with")
    return RunComparison(compared([load_run(path) for path in paths]))


@dataclass(frozen=True, repr=False)
class GatePlan(Result):
    """How long, or how many, runs must be for the gate to decide. ``plan``: or why there is none."""

    plan: LengthPlan | str

    @property
    def decides(self) -> bool:
        """Whether there is one."""
        return not isinstance(self.plan, str)

    def to_dict(self) -> dict[str, Any]:
        """The ``plan`` of the document of ``joulemill gate --plan --json``."""
        return plan_document(self.plan)

    def _line(self) -> str:
        return f"plan: {self.plan if isinstance(self.plan, str) else self.plan.text}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((name, str(value)) for name, value in self.to_dict().items())


@dataclass(frozen=True, repr=False)
class GateVerdict(Result):
    """The gate's answer. ``outcome``: "pass", "fail" or "undecided"; an unknown figure is never a pass.

    plan   how long, or how many, runs must be to decide; None where it was not asked for
    """

    verdict: Verdict
    plan: GatePlan | None = None

    @property
    def outcome(self) -> Outcome:
        """pass, fail or undecided."""
        return self.verdict.outcome

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why."""
        return self.verdict.reasons

    @property
    def checks(self) -> tuple[Check, ...]:
        """Each thing that was looked at, with its figures and change."""
        return self.verdict.checks

    @property
    def exit_code(self) -> int:
        """That of the command: 0 pass, 1 fail, 3 undecided."""
        return EXIT[self.outcome]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill gate --json``."""
        return gate_document(self.verdict, None if self.plan is None else self.plan.plan)

    def text(self) -> str:
        """The verdict, its reasons and every check."""
        return gate_text(self.verdict) + ("" if self.plan is None else f"{self.plan}\n")

    def _line(self) -> str:
        return f"gate {self.outcome.value}: {'; '.join(self.reasons)}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((check.name, f"{check.outcome.value}: {check.text}") for check in self.checks)


def gate(
    base: Recorded | Sequence[Recorded],
    new: Recorded | Sequence[Recorded],
    *,
    max_increase: float = 0.05,
    metric: str = "node",
    min_quality: float | None = None,
    min_attained: float | None = None,
    without_quality: bool = False,
    run_noise: float = 0.0,
    force: bool = False,
    plan: bool = False,
) -> GateVerdict:
    """Has J/token of ``new`` risen by more than ``max_increase`` against ``base``, at its quality and latency?

    base, new        runs, or several repeated ones each: folders, report documents, baseline files
    max_increase     allowed rise, as a share;  metric   node, site or device (per output token), or request
    min_quality, min_attained   least accuracy, lowest share of requests within targets (default: those of the base)
    without_quality  pass though no accuracy is known;  force   judge runs whose conditions differ
    run_noise        run-to-run standard deviation as a share, where single runs cannot show it
    plan             also say how long, or how many, runs must be to decide
    """
    for name, share in (("min_quality", min_quality), ("min_attained", min_attained), ("run_noise", run_noise)):
        if share is not None and not 0.0 <= share <= 1.0:
            raise InputError(f"`{name}` is {share}; it must be a share between 0 and 1")
    _check_gate(max_increase, metric)
    terms = Terms(
        max_increase_ratio=max_increase,
        min_quality_ratio=min_quality,
        min_attained_ratio=min_attained,
        without_quality=without_quality,
        force=force,
        run_spread_ratio=run_noise,
    )
    bases, news = _samples(base, metric), _samples(new, metric)
    verdict = gated(bases, news, terms)
    return GateVerdict(verdict, _planned(bases, max_increase, len(verdict.checks)) if plan else None)


def gate_plan(
    base: Recorded | Sequence[Recorded],
    *,
    max_increase: float = 0.05,
    metric: str = "node",
    without_quality: bool = False,
) -> GatePlan:
    """How long, or how many, runs must be for the gate to decide, from base runs alone; arguments as of ``gate``."""
    _check_gate(max_increase, metric)
    bases = _samples(base, metric)
    checks = 1 + (not without_quality) + any(t is not None for t in bases[0].targets_s)
    return _planned(bases, max_increase, checks)


def _check_gate(max_increase: float, metric: str) -> None:
    if not isinstance(max_increase, Real) or not 0.0 < float(max_increase) <= MOST_INCREASE_RATIO:
        raise InputError(
            f"`max_increase` is {max_increase!r}; it must be a share above 0 and up to 1, such as 0.05 for 5 %"
        )
    if metric not in METRICS:
        raise InputError(f"`metric` {metric!r} is not known; use one of {', '.join(METRICS)}")


def _planned(base: list[Sample], max_increase: float, checks: int) -> GatePlan:
    faults = [f"{s.name}: {f}" for s in base for f in s.faults]
    if faults:
        return GatePlan(f"no plan is made from a base that is not sound: {'; '.join(faults)}")
    return GatePlan(plan_length(base, max_increase, checks_count=checks))


def _samples(runs: Recorded | Sequence[Recorded], metric: str) -> list[Sample]:
    several = [runs] if isinstance(runs, (Run, str, Path)) else list(runs)
    if not several:
        raise InputError("the gate needs a run on either side")
    return [sample for run in several for sample in load_samples(_path(run), metric)]


def _path(run: Recorded) -> Path:
    return run.path if isinstance(run, Run) else Path(run)
