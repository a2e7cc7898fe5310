"""A sweep's folder → its result: a figure a point with interval, the knee, elasticities of a probe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulemill.bench.reading import read_run
from joulemill.bench.sweep import read_sweep, runs_of
from joulemill.decisions.sweep import combined, elasticity, kept_up, knee
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.reports import document as doc
from joulemill.reports.analyse import analyse

MEASURES = ("rate_tok_s", "node_j_tok", "ttft_s", "tpot_s")


@dataclass(frozen=True)
class Point:
    """One setting: figures over its runs. ``x`` is its load, or by what factor the probe changed the capacity.

    binding       what bound most of its runs;  valid  False where the client was the bottleneck in one of them
    elasticity    d ln rate / d ln of what was changed, against the base of a probe; None elsewhere
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


@dataclass(frozen=True)
class SweepResult:
    """``kind`` sweep or probe, ``knob`` what was changed, ``status`` complete or interrupted; points in their order."""

    kind: str
    knob: str
    status: str
    points: tuple[Point, ...]
    knee: Figure
    conditions: dict[str, object]


def sweep_result(folder: Path) -> SweepResult:
    """The result of what is in ``folder``. Raises InputError where not one run was completed."""
    told = read_sweep(folder)
    reports = [[analyse(read_run(folder / name)) for name in runs_of(told, i)] for i in range(len(told["points"]))]
    if not any(reports):
        raise InputError(f"{folder}: not one run was completed; run the sweep again, shorter or with fewer points")
    measures = [
        combined([[_figure(r, m) for r in runs] for runs in reports]) for m in (*MEASURES, "request_rate_req_s")
    ]
    base = measures[0][0]
    points = tuple(
        _point(about, runs, [m[i] for m in measures], base if told["kind"] == "probe" else None)
        for i, (about, runs) in enumerate(zip(told["points"], reports, strict=True))
    )
    first = next(runs[0] for runs in reports if runs)
    return SweepResult(
        told["kind"], told["knob"], told["status"], points, _knee(told["knob"], points), dict(first.conditions)
    )


def _point(
    about: dict[str, object], runs: Sequence[doc.Report], figures: Sequence[Figure], base: Figure | None
) -> Point:
    x = about["x"] if isinstance(about["x"], (int, float)) else None
    names = Counter(r.binding.name for r in runs)
    changed = elasticity(base, figures[0], x) if base is not None and x is not None else None
    rate, joules, ttft, tpot, requests = figures
    bound = names.most_common(1)[0][0] if names else "unknown"
    valid = all(r.client.valid for r in runs)
    return Point(str(about["label"]), x, len(runs), rate, joules, ttft, tpot, requests, bound, valid, changed)


def _figure(report: doc.Report, name: str) -> Figure:
    if name == "rate_tok_s":
        return report.output.rate_tok_s
    if name == "request_rate_req_s":
        return report.output.request_rate_req_s
    if name == "node_j_tok":
        return report.energy.node_j_tok
    seen: doc.Percentiles = getattr(report.latency, name)
    if seen.p50 is None:
        return unknown("s", "no request of the window had it")
    return Figure(seen.p50, "s", Basis.MEASURED, source=f"median of {seen.n} requests")


def _knee(knob: str, points: Sequence[Point]) -> Figure:
    rows = [(p.x, p) for p in points if p.x is not None and p.valid]
    if knob == "concurrency":
        return knee([x for x, _ in rows], [p.rate_tok_s for _, p in rows])
    if knob == "rate":
        return kept_up([x for x, _ in rows], [p.request_rate_req_s for _, p in rows])
    return unknown("1", f"a sweep of {knob} has no knee")
