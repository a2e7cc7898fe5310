"""The folder of a lever experiment → what each lever did, beside what the model says it would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from joulemill.analysis import report as doc
from joulemill.analysis.account import holder_of
from joulemill.analysis.conditions import Conditions
from joulemill.analysis.lever_forecast import Forecast, predicted_changes
from joulemill.analysis.samples import load_run
from joulemill.decisions.gate.change import change
from joulemill.decisions.gate.sample import Sample
from joulemill.decisions.levers.measured import (
    Cascade,
    RepeatSpread,
    ScoredAnswer,
    answer_change,
    cascades,
    change_of,
    figure_of,
    pooled,
)
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown, weakest
from joulemill.ledger.account import phase_energy
from joulemill.ledger.findings import why
from joulemill.ledger.record import RunRecord
from joulemill.recording.reader import read_run
from joulemill.recording.sweeps import CASCADE, KIND, LEVER_LABELS, read_sweep, runs_of
from joulemill.statistics.ratio import wilson

UNROUTED = "the model predicts loads, not question sets"
#: What each lever is, in words.


@dataclass(frozen=True)
class Side:
    """All completed runs of one point: figures are means over them, of answers sums."""

    runs: int
    rate_tok_s: Figure
    node_j_tok: Figure
    accuracy: Figure
    correct_answer_j: Figure
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MeasuredLever:
    """One lever: changes are new ÷ old − 1, measured, and as predicted (None: the model has no term for it).

    why_not   why it was not measured; then everything else is empty
    """

    name: str
    label: str
    why_not: str | None = None
    after: Side | None = None
    energy_change: Figure | None = None
    rate_change: Figure | None = None
    request_change: Figure | None = None
    ttft_change: Figure | None = None
    tpot_change: Figure | None = None
    answer_change: Figure | None = None
    predicted: Mapping[str, Figure | None] | None = None
    unpredicted: str | None = None
    cascades: tuple[Cascade, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """``status`` complete or interrupted; ``before`` the runs as they are; levers in the order of their effect."""

    status: str
    runs: int
    planned: int
    before: Side
    levers: tuple[MeasuredLever, ...]
    conditions: Conditions
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _ExperimentRun:
    name: str
    report: doc.Report
    samples: Mapping[str, Sample]
    record: RunRecord
    question_j: Figure


def is_experiment(folder: Path) -> bool:
    """Whether a lever experiment is in ``folder``."""
    if not (folder / "sweep.json").is_file() or (folder / "run.json").exists():
        return False
    return bool(read_sweep(folder).get("kind") == KIND)


def experiment(folder: Path) -> Experiment:
    """The result of what is in ``folder``. Raises InputError where the run as it is was not completed once."""
    sweep_document = read_sweep(folder)
    if sweep_document.get("kind") != KIND:
        raise InputError(f"{folder}: holds no lever experiment; make one with joulemill levers measure")
    every = [
        [_read(folder / name) for name in runs_of(sweep_document, i)] for i in range(len(sweep_document["points"]))
    ]
    if not every or not every[0]:
        raise InputError(f"{folder}: no unchanged run was completed; rerun with --out {folder} to resume")
    kept = [_sound(runs) for runs in every]
    base = kept[0]
    levers = [i for i, p in enumerate(sweep_document["points"]) if i and p["knob"] != "calibrate"]
    plain_runs = [r for i, runs in enumerate(kept) if i not in levers for r in runs]
    forecast = predicted_changes(
        [folder / r.name for r in plain_runs],
        sweep_document["points"][0],
        [sweep_document["points"][i] for i in levers],
    )
    calm = [[r for r in runs if _fault(r) is None] for runs in kept]
    spreads = {name: pooled([[get(r) for r in runs] for runs in calm]) for name, get in MEASURES.items()}
    measured = [
        _lever(
            str(sweep_document["points"][i]["label"]),
            (calm[0], calm[i]),
            _left_out(every[i], calm[i]),
            forecast,
            spreads,
        )
        for i in levers
    ]
    absent = [
        MeasuredLever(name=n, label=LEVER_LABELS.get(n, n), why_not=why)
        for n, why in (sweep_document.get("absent") or {}).items()
    ]
    ranked = sorted(measured, key=_rank)
    return Experiment(
        status=str(sweep_document["status"]),
        runs=sum(len(r) for r in every),
        planned=len(sweep_document["order"]),
        before=_side(base, _left_out(every[0], base)),
        levers=(*ranked, *absent),
        conditions=base[0].report.conditions,
        notes=_notes(base, forecast.notes),
    )


def _read(path: Path) -> _ExperimentRun:
    samples, report = load_run(path, ("node", "request"))
    record = read_run(path)
    return _ExperimentRun(path.name, report, samples, record, _question_j(record))


def _question_j(record: RunRecord) -> Figure:
    """Joules of a question, metered while they were asked: the whole phase, so pauses at its end count."""
    asked = len({a.question_id for a in record.quality})
    if not asked:
        return unknown("J", "no quality set was asked")
    phase_joules = phase_energy(record, "quality", holder_of(record))
    if phase_joules is None or phase_joules.energy_j is None:
        return unknown("J", why(phase_joules.findings) if phase_joules is not None else "nothing metered the questions")
    return Figure(phase_joules.energy_j / asked, "J", phase_joules.basis)


def _fault(run: _ExperimentRun) -> str | None:
    """Why a run's speed is not the lever's doing; None where it is."""
    client = run.report.client
    if not client.valid:
        return "the client was the bottleneck"
    return "something else ran on the machine" if client.machine_quiet is False else None


def _sound(runs: Sequence[_ExperimentRun]) -> Sequence[_ExperimentRun]:
    """The runs without fault; where there are none, those whose client was no bottleneck; else all."""
    return [r for r in runs if _fault(r) is None] or [r for r in runs if r.report.client.valid] or runs


def _left_out(every: Sequence[_ExperimentRun], kept: Sequence[_ExperimentRun]) -> tuple[str, ...]:
    return tuple(f"{r.name}: {_fault(r)}" for r in every if r not in kept)


def _rank(lever: MeasuredLever) -> tuple[bool, float]:
    change = lever.energy_change
    return (change is None or change.value is None, 0.0 if change is None else change.value or 0.0)


def _lever(
    name: str,
    sides: tuple[Sequence[_ExperimentRun], Sequence[_ExperimentRun]],
    left_out: tuple[str, ...],
    forecast: Forecast,
    spreads: Mapping[str, RepeatSpread | None],
) -> MeasuredLever:
    base, runs = sides
    measured_lever = MeasuredLever(
        name=name,
        label=LEVER_LABELS.get(name, name),
        predicted=forecast.changes.get(name),
        unpredicted=forecast.why.get(name),
    )
    if not runs or not base:
        what = "of its runs" if not runs else "run as it is"
        why = f"not one {what} was completed on a quiet machine; measure it again"
        return replace(measured_lever, why_not="; ".join((why, *left_out)))

    def of(measure: str) -> Figure:
        get = MEASURES[measure]
        return change_of([get(r) for r in base], [get(r) for r in runs], spreads[measure])

    before, after = _side(base, ()), _side(runs, left_out)
    answers = _answers(base, runs, of("question"))
    if name == CASCADE:
        no = unknown("1", "the load goes to the first model alone; the questions are routed")
        return replace(
            measured_lever,
            after=after,
            answer_change=answers,
            predicted=None,
            unpredicted=UNROUTED,
            energy_change=no,
            rate_change=no,
            request_change=no,
            ttft_change=no,
            tpot_change=no,
        )
    energy = _energy(base, runs, "node", spreads)
    return replace(
        measured_lever,
        after=after,
        energy_change=energy,
        request_change=_energy(base, runs, "request", spreads),
        rate_change=of("rate"),
        ttft_change=of("ttft"),
        tpot_change=of("tpot"),
        answer_change=answers,
        cascades=_cascades(base, runs, before, after) if name == "second-model" else (),
    )


def _energy(
    base: Sequence[_ExperimentRun],
    runs: Sequence[_ExperimentRun],
    metric: str,
    spreads: Mapping[str, RepeatSpread | None],
) -> Figure:
    sides = [[r.samples[metric] for r in side] for side in (base, runs)]
    basis = weakest(*(s.figure.basis for side in sides for s in side))
    return figure_of(change(sides[0], sides[1]), basis, spreads[metric], (len(base), len(runs)))


def _median(latencies: doc.Percentiles) -> Figure:
    if latencies.p50 is None:
        return unknown("s", "no request of the window had it")
    return Figure(latencies.p50, "s", Basis.MEASURED)


#: What is compared of a run, by name.
MEASURES: Mapping[str, Callable[[_ExperimentRun], Figure]] = {
    "node": lambda r: r.samples["node"].figure,
    "request": lambda r: r.samples["request"].figure,
    "rate": lambda r: r.report.output.rate_tok_s,
    "ttft": lambda r: _median(r.report.latency.ttft_s),
    "question": lambda r: r.question_j,
    "tpot": lambda r: _median(r.report.latency.tpot_s),
}


def _answers(base: Sequence[_ExperimentRun], runs: Sequence[_ExperimentRun], energy: Figure) -> Figure:
    """Change of joules per correct answer; few questions decide it, and its interval holds that."""
    sides = [[a for r in side for a in _answered(r.record)] for side in (base, runs)]
    return answer_change(sides[0], sides[1], energy, np.random.default_rng(0))


def _side(runs: Sequence[_ExperimentRun], left_out: tuple[str, ...]) -> Side:
    rates = [r.report.output.rate_tok_s for r in runs]
    joules = [r.report.energy.node_j_tok for r in runs]
    accuracy = _accuracy(runs)
    correct = _correct(_mean([r.question_j for r in runs]), accuracy)
    return Side(len(runs), _mean(rates), _mean(joules), accuracy, correct, left_out)


def _mean(figures: Sequence[Figure]) -> Figure:
    """Geometric mean; the widest of the runs' intervals, relative to it, since a meter's error is in all of them."""
    known = [f for f in figures if f.value]
    if not known:
        return unknown(figures[0].unit, figures[0].reason or "unknown in every run")
    value = 1.0
    for f in known:
        value *= (f.value or 1.0) ** (1.0 / len(known))
    basis = weakest(*(f.basis for f in known))
    bounded = [f for f in known if f.low is not None and f.high is not None]
    if len(bounded) < len(known):
        return Figure(value, known[0].unit, basis)
    low = value * min((f.low or 0.0) / (f.value or 1.0) for f in bounded)
    high = value * max((f.high or 0.0) / (f.value or 1.0) for f in bounded)
    return Figure(value, known[0].unit, basis, low=low, high=high, level=0.95)


def _accuracy(runs: Sequence[_ExperimentRun]) -> Figure:
    """Share of correct answers over all runs. Repeats ask the same questions: they count once."""
    qualities = [r.report.quality for r in runs if r.report.quality.accuracy.value is not None]
    if not qualities:
        return unknown("1", "no quality set was asked")
    value = sum(q.accuracy.value or 0.0 for q in qualities) / len(qualities)
    asked = max(q.questions or 0 for q in qualities)
    low, high = wilson(value * asked, asked) or (None, None)
    return Figure(
        value, "1", Basis.MEASURED, low=low, high=high, level=0.95, source=f"{asked} questions; Wilson interval"
    )


def _correct(question_j: Figure, accuracy: Figure) -> Figure:
    """Joules a correct answer: those of a question ÷ accuracy; the interval is the accuracy's.

    The meter's own error is left out: it cancels in the change, which this is for.
    """
    if question_j.value is None or accuracy.value is None:
        return unknown("J", question_j.reason or accuracy.reason or "unknown")
    if not accuracy.value or not accuracy.low or not accuracy.high:
        return unknown("J", "no answer was right")
    spent, basis = question_j.value, question_j.basis
    source = "joules of the question set ÷ correct answers"
    return Figure(
        spent / accuracy.value,
        "J",
        basis,
        low=spent / accuracy.high,
        high=spent / accuracy.low,
        level=0.95,
        source=source,
    )


def _answered(record: RunRecord) -> list[ScoredAnswer]:
    requests = {r.id: r for r in record.requests if r.phase == "quality"}
    answers = []
    for a in record.quality:
        r = requests.get(a.request_id)
        if r is not None:
            answers.append(ScoredAnswer(a.question_id, r.output_tok or 0, a.score, r.finish_reason == "stop"))
    return answers


def _cascades(
    base: Sequence[_ExperimentRun], runs: Sequence[_ExperimentRun], before: Side, after: Side
) -> tuple[Cascade, ...]:
    """Cascades of the run's model and the second one, the one with fewer joules per token first."""
    if before.node_j_tok.value is None or after.node_j_tok.value is None:
        return ()
    sides = [(before.node_j_tok.value, base), (after.node_j_tok.value, runs)]
    (first_j, first), (second_j, second) = sorted(sides, key=lambda s: s[0])
    return cascades(_answered(first[0].record), _answered(second[0].record), first_j, second_j)


def _notes(base: Sequence[_ExperimentRun], more: Sequence[str]) -> tuple[str, ...]:
    basis = base[0].report.energy.node_j_tok.basis
    lines = [
        f"Runs were interleaved (ABBA). Joules: {basis or 'not metered'}; the meter's own error is common "
        "to both sides "
        "and cancels in a change. Intervals 95 %, from repeated runs; of correct answers, from the number of questions."
    ]
    if basis not in (Basis.MEASURED, Basis.CALIBRATED):
        lines.append("No energy sensor: joules follow CPU time, so a change of power at full load is not detected.")
    return (*lines, *more)
