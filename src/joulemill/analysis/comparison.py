"""Runs side by side: conditions that differ first, then figures with the probability that a difference is real. Pure.

The probability is that of the sign that was seen, under a flat prior: 1 − one-sided p-value, 50 % where nothing can be
said to 100 %. Energy per token is compared by its sub-windows (``decisions.change``); every other figure by its
interval, where that holds its noise in time. Where it does not, nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from scipy.special import ndtr, ndtri

from joulemill.analysis import rows
from joulemill.analysis.latency_comparison import PERCENTILES, real_ratio
from joulemill.analysis.report import Report
from joulemill.decisions.gate.change import Change, change
from joulemill.decisions.gate.comparable import differences, same_sensor, unstated
from joulemill.decisions.gate.sample import Sample
from joulemill.figure import Figure
from joulemill.jsonable import plain
from joulemill.statistics.normal import Z_95
from joulemill.statistics.ratio import TELLING_FACTOR
from joulemill.wording import percent, signed_percent

SCHEMA_VERSION = "1.0"
#: The figure whose sub-windows are known, by the metric that carries them; power is their joules over time.
_BY_METRIC = {
    "energy per output token, node": "node",
    "energy per output token, site": "site",
    "energy per output token, devices": "device",
    "energy per request": "request",
}
_POWERS = {"node power": "node", "PUE-adjusted power (site)": "site", "device power": "device"}
#: Figures whose interval holds how they vary in time; that of any other is the meter's alone.
_SAMPLED = {
    "energy per output token, node above idle",
    "energy per output token that met its targets",
    "energy per prompt token computed (prefill)",
    "energy per output token (decode)",
    "energy per correct answer",
    "output rate",
    "output rate that met its targets",
    "accuracy",
}
TOO_FEW = "too few sub-windows or runs for an interval"
_LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs: its report and its samples by metric. ``label`` is a letter."""

    label: str
    name: str
    report: Report
    samples: Mapping[str, Sample]


@dataclass(frozen=True)
class Shift:
    """A run's figure against the first run's: ratio − 1, and the probability that the difference is real."""

    ratio: float | None
    low: float | None
    high: float | None
    real: float | None
    method: str


@dataclass(frozen=True)
class Row:
    """One figure over all runs; ``shifts`` of the second run on."""

    name: str
    unit: str
    figures: tuple[Figure, ...]
    shifts: tuple[Shift, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. ``blocking``: conditions that forbid comparing joules; ``conditions``: all that differ."""

    runs: tuple[ComparedRun, ...]
    blocking: tuple[tuple[str, tuple[str, ...]], ...]
    conditions: tuple[tuple[str, tuple[str, ...]], ...]
    trusted: tuple[str, ...]
    rows: tuple[Row, ...]
    latencies: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]

    @property
    def comparable(self) -> bool:
        """Whether the joules may be compared."""
        return not self.blocking


def label(index: int) -> str:
    """A, B, … Z, A2, …"""
    return _LETTERS[index % 26] + (str(index // 26 + 1) if index >= 26 else "")


def compare(loaded_runs: Sequence[tuple[Mapping[str, Sample], Report]]) -> Comparison:
    """Compare the runs, each with its samples by metric, against the first of them."""
    runs = tuple(
        ComparedRun(label(i), samples["node"].name, report, samples) for i, (samples, report) in enumerate(loaded_runs)
    )
    nodes = [r.samples["node"] for r in runs]
    blocking = tuple((d.name, d.values) for d in differences(nodes))
    return Comparison(
        runs,
        blocking,
        _other_conditions(runs),
        unstated(nodes),
        tuple(_rows(runs)),
        tuple(_latencies(runs)),
    )


def _other_conditions(runs: Sequence[ComparedRun]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    conditions = [dict(rows.conditions(r.report)) for r in runs]
    names = dict.fromkeys(n for t in conditions for n in t)
    every = [(n, tuple(t.get(n, "–") for t in conditions)) for n in names]
    quality = ("question set", tuple(r.report.quality.task or "none" for r in runs))
    return tuple((n, v) for n, v in [*every, quality] if len(set(v)) > 1)


def _rows(runs: Sequence[ComparedRun]) -> list[Row]:
    columns = [rows.figures_or_stated(r.report) for r in runs]
    table = []
    for places in zip(*columns, strict=True):
        name, figures = places[0][0], tuple(f for _, f in places)
        if not any(f.known for f in figures):
            continue
        shifts = tuple(
            _shift(name, runs[0], run, (figures[0], f)) for run, f in zip(runs[1:], figures[1:], strict=True)
        )
        table.append(Row(name, figures[0].unit, figures, shifts))
    return table


def _shift(name: str, first: ComparedRun, other: ComparedRun, figures: tuple[Figure, Figure]) -> Shift:
    metric = _BY_METRIC.get(name) or _POWERS.get(name)
    if metric is not None:
        pair = [r.samples[metric] for r in (first, other)]
        if name in _POWERS:
            pair = [_over_time(s, f) for s, f in zip(pair, figures, strict=True)]
        shift_change = change(pair[:1], pair[1:], same_sensor=same_sensor(pair))
        if isinstance(shift_change, Change):
            return of_change(shift_change)
    return _by_intervals(*figures, sampled=name in _SAMPLED or (name in _BY_METRIC and metric != "request"))


def _over_time(sample: Sample, power: Figure) -> Sample:
    """The sample of a power: joules over the seconds of the sub-windows."""
    count = len(sample.energy_j)
    widths = (sample.window_s / count,) * count if count else ()
    return replace(sample, figure=replace(power, low=None, high=None), amount_count=widths)


def of_change(difference: Change) -> Shift:
    """A change of J/token as a shift with its two-sided 95 % interval."""
    low, high = difference.bound_ratio(0.025), difference.bound_ratio(0.975)
    if not difference.telling:
        return Shift(difference.increase_ratio, None, None, difference.real_ratio, TOO_FEW)
    return Shift(difference.increase_ratio, low, high, difference.real_ratio, "sub-windows")


def _by_intervals(a: Figure, b: Figure, *, sampled: bool) -> Shift:
    if a.value is None or b.value is None:
        return Shift(None, None, None, None, "unknown")
    ratio = b.value / a.value - 1.0 if a.value else None
    if not sampled:
        return Shift(ratio, None, None, None, "no interval of the noise")
    errors = [_stderr(f) for f in (a, b)]
    if errors[0] is None or errors[1] is None:
        return Shift(ratio, None, None, None, "no interval")
    error = math.hypot(errors[0], errors[1])
    real = float(ndtr(abs(b.value - a.value) / error)) if error else 0.5 if a.value == b.value else 1.0
    if a.value > 0.0 and b.value > 0.0:
        return _in_logs(a, b, real)
    return Shift(None, None, None, real, "a ratio needs two figures above 0")


def _in_logs(a: Figure, b: Figure, real: float) -> Shift:
    """ln(b ÷ a) with the errors of the logarithms: its interval can never reach down to −100 %."""
    shift = math.log((b.value or 1.0) / (a.value or 1.0))
    half = Z_95 * math.hypot(_log_stderr(a), _log_stderr(b))
    if 2.0 * half > math.log(TELLING_FACTOR):
        return Shift(math.expm1(shift), None, None, real, TOO_FEW)
    return Shift(math.expm1(shift), math.expm1(shift - half), math.expm1(shift + half), real, "intervals")


def _log_stderr(figure: Figure) -> float:
    """Standard error of the logarithm: from its interval's own ends, or as a share where that reaches down to 0."""
    quantile = float(ndtri(0.5 + (figure.level or 0.95) / 2))
    if figure.low is not None and figure.high is not None and figure.low > 0.0:
        return math.log(figure.high / figure.low) / 2 / quantile
    return (_stderr(figure) or 0.0) / (figure.value or 1.0)


def _stderr(figure: Figure) -> float | None:
    if figure.low is None or figure.high is None:
        return None
    return (figure.high - figure.low) / 2 / float(ndtri(0.5 + (figure.level or 0.95) / 2))


def _latencies(runs: Sequence[ComparedRun]) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """Name, and p50, p90, p99 in ms of each run."""
    columns = [rows.latencies_or_stated(r.report) for r in runs]
    return [
        (places[0][0], tuple(tuple(rows.milliseconds(p)[:3]) for _, p in places))
        for places in zip(*columns, strict=True)
    ]


def latency_shifts(comparison: Comparison) -> list[dict[str, Any]]:
    """Each percentile of each run against the first's, over all requests of the load; null where too few tell."""
    first, documents = comparison.runs[0], []
    for key, q, other in product(_LATENCIES, PERCENTILES, comparison.runs[1:]):
        values = [getattr(r.report.series.histograms, key) for r in (first, other)]
        shift = real_ratio(values[0], values[1], q)
        ratio, real = shift if shift is not None else (None, None)
        documents.append({"latency": key, "percentile": q, "run": other.label, "ratio": ratio, "real": real})
    return documents


def latency_lines(comparison: Comparison) -> list[str]:
    """The same for people, of those that can be told."""
    return [
        f"{s['latency'].removesuffix('_s').upper()} p{s['percentile'] * 100:g}, {s['run']} against "
        f"{comparison.runs[0].label}: {signed_percent(s['ratio'])}, {percent(s['real'], 1)} likely to be real"
        for s in latency_shifts(comparison)
        if s["ratio"] is not None
    ]


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON."""

    def differing(pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[dict[str, Any]]:
        return [{"name": n, "values": list(v)} for n, v in pairs]

    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "joulemill-comparison",
        "comparable": comparison.comparable,
        "not_comparable": differing(comparison.blocking),
        "conditions": differing(comparison.conditions),
        "taken_on_trust": list(comparison.trusted),
        "runs": [{"label": r.label, "name": r.name, "run_id": r.report.run_id} for r in comparison.runs],
        "figures": [plain(r) for r in comparison.rows],
        "latency_s": {
            n: [plain(dict(rows.latencies_or_stated(r.report))[n]) for r in comparison.runs]
            for n, _ in comparison.latencies
        },
        "latency_shifts": latency_shifts(comparison),
        "warnings": {r.label: list(r.report.warnings) for r in comparison.runs if r.report.warnings},
    }
