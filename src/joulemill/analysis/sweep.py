"""A sweep's folder → its result: a figure a point with interval, the knee, elasticities of a probe."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.analysis import report as doc
from joulemill.analysis.conditions import Conditions
from joulemill.analysis.measurement import Measurement, measurement_of
from joulemill.analysis.run import report_of
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.plausibility import plausible_record
from joulemill.ledger.record import Quantity
from joulemill.recording.reader import read_run
from joulemill.recording.sweeps import read_sweep, runs_of
from joulemill.statistics.repeats import combined, elasticity, kept_up, knee

#: A clock that changed by less than this (in ln) did not change.
LEAST_STEP = 0.02
MEASURES = ("rate_tok_s", "node_j_tok", "ttft_s", "tpot_s")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting: figures over its runs. ``x`` is its load, or by what factor the probe changed the capacity.

    binding       what bound most of its runs;  valid  False where the client was the bottleneck in all of them
    elasticity, energy_elasticity   d ln rate and d ln J/tok by d ln of what was changed, against the base of a probe;
                  None elsewhere
    left_out      runs that are not in the figures, and why
    """

    label: str
    x: float | None
    runs: int
    rate_tok_s: Figure
    node_j_tok: Figure
    ttft_s: Figure
    tpot_s: Figure
    request_rate_req_s: Figure
    binding: str
    valid: bool
    elasticity: Figure | None = None
    energy_elasticity: Figure | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepResult:
    """``kind`` sweep or probe, ``knob`` what was changed, ``status`` complete or interrupted; points in their order."""

    kind: str
    knob: str
    status: str
    points: tuple[Point, ...]
    knee: Figure
    conditions: Conditions


@dataclass(frozen=True)
class _SweepRun:
    """One run that was completed: its folder's name, its report, the mean clock of its boards where they tell it."""

    name: str
    report: doc.Report
    clock_hz: float | None

    @property
    def fault(self) -> str | None:
        """Why its figures are not of a server at rest; None where they are."""
        if self.report.status != "complete":
            return f"it {self.report.status}: {self.report.status_reason}"
        if not self.report.client.valid:
            return "the client was the bottleneck"
        return None if self.report.window.steady else "its window was not steady"


def sweep_result(folder: Path) -> SweepResult:
    """The result of what is in ``folder``. Raises InputError where not one run was completed."""
    sweep_document = read_sweep(folder)
    every = [[_read(folder, name) for name in runs_of(sweep_document, i)] for i in range(len(sweep_document["points"]))]
    if not any(every):
        raise InputError(f"{folder}: not one run was completed; run the sweep again, shorter or with fewer points")
    kept = [_sound(runs) for runs in every]
    measures = [_combined(kept, m) for m in (*MEASURES, "request_rate_req_s")]
    points = tuple(
        _point(about, runs, [m[i] for m in measures], every[i])
        for i, (about, runs) in enumerate(zip(sweep_document["points"], kept, strict=True))
    )
    if sweep_document["kind"] == "probe":
        points = tuple(_probed(p, points[0], _factor(sweep_document, i, kept)) for i, p in enumerate(points))
    first = next(runs[0].report for runs in every if runs)
    return SweepResult(
        sweep_document["kind"],
        sweep_document["knob"],
        sweep_document["status"],
        points,
        _knee(sweep_document["knob"], points),
        first.conditions,
    )


def _sound(runs: Sequence[_SweepRun]) -> Sequence[_SweepRun]:
    """The runs without fault; where there are none, those that were steady at least; else all."""
    return [r for r in runs if r.fault is None] or [r for r in runs if r.report.window.steady] or runs


def _combined(kept: Sequence[Sequence[_SweepRun]], measure: str) -> list[Figure]:
    """A figure a point. The spread of runs that are not sound tells nothing of the other points."""
    figures = [[_figure(r.report, measure) for r in runs] for runs in kept]
    sound = [all(r.fault is None for r in runs) for runs in kept]
    pooled = combined([f if good else [] for f, good in zip(figures, sound, strict=True)])
    return [p if good else combined([f])[0] for p, f, good in zip(pooled, figures, sound, strict=True)]


def _read(folder: Path, name: str) -> _SweepRun:
    run = measurement_of(read_run(folder / name))
    return _SweepRun(name, report_of(run), _clock_hz(run))


def _clock_hz(run: Measurement) -> float | None:
    """Mean clock of the boards over the window; None where none is metered."""
    record = run.record
    channels = {c.id for c in record.channels if c.quantity is Quantity.CLOCK}
    window = run.account.window if channels else None
    if window is None:
        return None
    record = plausible_record(record)
    clocks = [
        r.value
        for r in record.readings
        if r.channel in channels and r.value is not None and window.start_s <= r.t_mono_s <= window.end_s
    ]
    return sum(clocks) / len(clocks) if clocks else None


def _point(
    about: dict[str, object], runs: Sequence[_SweepRun], figures: Sequence[Figure], every: Sequence[_SweepRun]
) -> Point:
    x = about["x"] if isinstance(about["x"], (int, float)) else None
    names = Counter(r.report.binding.name for r in runs)
    rate, joules, ttft, tpot, requests = figures
    bound = names.most_common(1)[0][0] if names else "unknown"
    valid = all(r.report.client.valid for r in runs)
    out = tuple(f"{r.name}: {r.fault}" for r in every if r not in runs)
    return Point(
        label=str(about["label"]),
        x=x,
        runs=len(runs),
        rate_tok_s=rate,
        node_j_tok=joules,
        ttft_s=ttft,
        tpot_s=tpot,
        request_rate_req_s=requests,
        binding=bound,
        valid=valid,
        left_out=out,
    )


def _factor(sweep_document: dict[str, Any], index: int, kept: Sequence[Sequence[_SweepRun]]) -> float | None:
    """By what factor the point's capacity differs from the base's: as set, of a clock as metered where it is."""
    point = sweep_document["points"][index]
    x = point["x"] if isinstance(point["x"], (int, float)) else None
    if x is None or point["knob"] != "clock":
        return x
    base, here = ([r.clock_hz for r in kept[i] if r.clock_hz] for i in (0, index))
    if not base or not here:
        return x
    factor = (sum(here) / len(here)) / (sum(base) / len(base))
    return factor if abs(math.log(factor)) > LEAST_STEP else 1.0  # 1: the board never ran as fast as the lock allows


def _probed(point: Point, base: Point, factor: float | None) -> Point:
    if factor is None:
        return point
    rate = elasticity(base.rate_tok_s, point.rate_tok_s, factor)
    energy = elasticity(base.node_j_tok, point.node_j_tok, factor)
    return replace(point, elasticity=rate, energy_elasticity=energy)


def _figure(report: doc.Report, name: str) -> Figure:
    if name == "rate_tok_s":
        return report.output.rate_tok_s
    if name == "request_rate_req_s":
        return report.output.request_rate_req_s
    if name == "node_j_tok":
        return report.energy.node_j_tok
    percentiles: doc.Percentiles = getattr(report.latency, name)
    if percentiles.p50 is None:
        return unknown("s", "no request of the window had it")
    return Figure(percentiles.p50, "s", Basis.MEASURED, source=f"median of {percentiles.n} requests")


def _knee(knob: str, points: Sequence[Point]) -> Figure:
    rows = [(p.x, p) for p in points if p.x is not None and p.valid]
    if knob == "concurrency":
        return knee([x for x, _ in rows], [p.rate_tok_s for _, p in rows])
    if knob == "rate":
        return kept_up([x for x, _ in rows], [p.request_rate_req_s for _, p in rows])
    return unknown("1", f"a sweep of {knob} has no knee")
