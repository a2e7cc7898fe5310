"""Runs as the gate and the comparison need them: from a run folder or a report document. Reads files, else pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.analysis.baseline import read_baseline
from joulemill.analysis.load import load_report
from joulemill.analysis.measurement import measurement_of
from joulemill.analysis.report import MeterReport, Report
from joulemill.analysis.run import report_of
from joulemill.decisions.gate.sample import Sample, Share
from joulemill.figure import Basis, Figure
from joulemill.ledger.account import Account
from joulemill.ledger.caching import UNEXPLAINED_RATIO
from joulemill.ledger.record import RequestOutcome, RunRecord, Scope
from joulemill.ledger.window import load_requests
from joulemill.recording.writer import read_run

METRICS = ("node", "site", "device", "request")
_KINDS_OF_ENERGY = ("energy_j", "power_w")
#: Facts of the model that change what a token costs, where the run knows them.
_MODEL_FACTS = ("quantization", "dtype", "weight_byte")
#: A window of less time, or with fewer requests ended in it, tells too little of the load to be judged. Assumed.
SHORTEST_WINDOW_S, FEWEST_REQUESTS_COUNT = 5.0, 10
_MEAN_LENGTHS = {"mean prompt": "mean prompt computed [tok]", "mean output": "mean output [tok]"}


def load_samples(path: Path, metric: str) -> list[Sample]:
    """The runs at ``path`` for the gate: a run folder, a report document, or all runs of a baseline file."""
    if path.is_file():
        kept = read_baseline(path)
        if kept is not None:
            return [of_report(r, metric, f"{path}: {r.run_id}") for r in kept.reports]
    return [load_run(path, (metric,))[0][metric]]


def load_run(path: Path, metrics: Sequence[str] = METRICS) -> tuple[dict[str, Sample], Report]:
    """The run at ``path`` as a sample of each metric, and its report. Raises InputError where it is neither kind."""
    if not path.is_dir():
        report = load_report(path)
        return {m: of_report(report, m, str(path)) for m in metrics}, report
    record = read_run(path)
    run = measurement_of(record)
    report, counted = report_of(run), run.account
    samples = {}
    for metric in metrics:
        sample, series = of_report(report, metric, str(path)), _of_account(record, counted, report, metric)
        samples[metric] = sample if series is None else replace(sample, energy_j=series[0], amount_count=series[1])
    return samples, report


def of_report(report: Report, metric: str, name: str) -> Sample:
    """A sample from a report alone. Per request it holds no sub-windows: nothing there says when requests end."""
    figure, series = _figure(report, metric), _of_series(report, metric)
    if metric == "request":
        # Its interval is the meter's alone: nothing in the document says how requests vary.
        figure = replace(figure, low=None, high=None)
    return Sample(
        name=name,
        figure=figure,
        energy_j=series[0],
        amount_count=series[1],
        window_s=report.window.duration_s,
        accuracy=_accuracy(report),
        accuracy_reason=report.quality.accuracy.reason,
        attained=_attained(report),
        targets_s=(report.latency.slo.ttft_s, report.latency.slo.tpot_s),
        conditions=_conditions(report, metric),
        meters=frozenset(_meter_kind(m) for m in _energy_meters(report)),
        sensors=frozenset(_sensor(m) for m in _energy_meters(report)),
        faults=faults_of(report),
        notes=_notes(report),
        run_id=report.run_id,
    )


def _figure(report: Report, metric: str) -> Figure:
    energy = report.energy
    return {
        "node": energy.node_j_tok,
        "site": energy.site_j_tok,
        "device": energy.device_j_tok,
        "request": energy.request_j,
    }[metric]


_Series = tuple[tuple[float, ...], tuple[float, ...]]


def _of_series(report: Report, metric: str) -> _Series:
    """Joules and tokens of the sub-windows, where the document's series is of this scope, or of the node under PUE."""
    series, main = report.series, report.energy.attribution.scope
    factor = 1.0 if metric == main else _site_factor(report) if metric == "site" and main == "node" else None
    known = [(p, r) for p, r in zip(series.power_w, series.rate_tok_s, strict=True) if p is not None and r is not None]
    if factor is None or not known or len(known) < len(series.t_s):
        return (), ()
    width_s = report.window.duration_s / len(known)
    return tuple(factor * p * width_s for p, _ in known), tuple(r * width_s for _, r in known)


def _site_factor(report: Report) -> float | None:
    """PUE, where the site's joules are the node's times PUE and no site meter."""
    pue, node, site = report.site.pue.value, report.energy.node_j_tok.value, report.energy.site_j_tok.value
    if pue is None or not node or site is None or abs(site / node - pue) > 1e-6 * pue:
        return None
    return pue


def _of_account(record: RunRecord, counted: Account, report: Report, metric: str) -> _Series | None:
    sub_windows = counted.series
    if sub_windows is None or counted.main is None:
        return None
    scope = counted.main if metric == "request" else Scope(metric)
    joules, factor = sub_windows.energy_j.get(scope), 1.0
    if joules is None and metric == "site":
        joules, factor = sub_windows.energy_j.get(Scope.NODE), _site_factor(report) or 0.0
    if joules is None or not factor or any(j is None for j in joules):
        return None
    amounts = sub_windows.output_tok if metric != "request" else _ended(record, sub_windows.edges_s)
    return tuple(factor * j for j in joules if j is not None), amounts


def _ended(record: RunRecord, edges_s: tuple[float, ...]) -> tuple[float, ...]:
    ends = [r.end_mono_s for r in load_requests(record) if r.outcome is RequestOutcome.OK and r.end_mono_s is not None]
    return tuple(float(n) for n in np.histogram(ends, edges_s)[0])


def _accuracy(report: Report) -> Share | None:
    quality = report.quality
    if quality.accuracy.value is None or not quality.questions:
        return None
    right = quality.correct if quality.correct is not None else quality.accuracy.value * quality.questions
    return Share(right, quality.questions, of=quality.task or "")


def _attained(report: Report) -> Share | None:
    ratio, met = report.latency.slo.attained_ratio, report.latency.slo.met
    if ratio is None or met is None:
        return None
    asked = round(met / ratio) if ratio else report.latency.e2e_s.n or report.requests.sent
    together = report.conditions.load_mean("requests in flight")
    return Share(float(met), asked, together or 1.0) if asked else None


def _conditions(report: Report, metric: str) -> dict[str, str | float | None]:
    stated = report.conditions
    model, hardware, load = stated.model, stated.hardware, stated.load
    conditions_by_name: dict[str, str | float | None] = {"model": _plain(model.get("name"))}
    conditions_by_name |= {f"model {k}": _plain(model[k]) for k in _MODEL_FACTS if model.get(k) is not None}
    conditions_by_name["hardware"] = _plain(hardware.get("device"))
    if stated.embedded:
        conditions_by_name["processor"] = _plain(hardware.get("cpu"))
    conditions_by_name["load"] = _plain(load.get("text"))
    conditions_by_name |= {name: _plain(load[key]) for name, key in _MEAN_LENGTHS.items() if load.get(key) is not None}
    if metric == "site":
        conditions_by_name["PUE"] = report.site.pue.value
    return conditions_by_name


def _plain(value: Any) -> str | float | None:
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _energy_meters(report: Report) -> list[MeterReport]:
    return [m for m in report.meters if m.quantity in _KINDS_OF_ENERGY and m.readings != 0]


def _meter_kind(meter: MeterReport) -> str:
    """What reads at which scope; for a power model the model, without the process that it happened to watch."""
    if meter.basis == Basis.MEASURED:
        return f"{meter.meter.split(':', 1)[0]} {meter.scope} {meter.quantity} measured"
    return f"{meter.scope} {meter.basis}: {_formula(meter)}"


def _formula(meter: MeterReport) -> str:
    return re.sub(r"process \d+", "process", meter.source or meter.meter)


def _sensor(meter: MeterReport) -> str:
    return f"{_meter_kind(meter)} {meter.device}"


def faults_of(report: Report) -> tuple[str, ...]:
    """Why nothing can be decided on a run: broken, invalid, drifting or too short."""
    faults = []
    if report.status != "complete":
        faults.append(f"the run was {report.status} ({report.status_reason or 'no reason given'})")
    if not report.client.valid:
        faults.append("the client was the bottleneck: " + "; ".join(report.client.reasons))
    if (report.tokens.cached_unexplained_ratio or 0.0) > UNEXPLAINED_RATIO:
        faults.append(
            f"{report.tokens.cached_unexplained} of its prompt tokens came from a cache that had met them before the "
            "run: this is no measurement of computing them"
        )
    if report.window.duration_s > 0.0:
        faults += _window_faults(report)
    return tuple(faults)


def _window_faults(report: Report) -> list[str]:
    window, ended = report.window, report.requests.in_window
    faults = []
    if not window.steady:
        faults.append(
            f"the window was not steady ({window.note or window.rule}); run longer, or leave out more warm-up"
        )
    if window.duration_s < SHORTEST_WINDOW_S:
        faults.append(
            f"the window is too short: {window.duration_s:.1f} s, at least {SHORTEST_WINDOW_S:g} s are needed"
        )
    if ended < FEWEST_REQUESTS_COUNT:
        faults.append(f"too few requests ended in the window: {ended}, at least {FEWEST_REQUESTS_COUNT} are needed")
    return faults


def _notes(report: Report) -> tuple[str, ...]:
    notes = []
    if report.client.late:
        notes.append("the client was late: " + "; ".join(report.client.reasons))
    if report.client.machine_quiet is False:
        notes.append("the machine was not quiet")
    return tuple(notes)
