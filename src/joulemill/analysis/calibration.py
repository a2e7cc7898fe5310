"""Recorded runs → the few coefficients of the machine that they ran on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from joulemill.analysis.load import load_report
from joulemill.analysis.report import Percentiles, Report
from joulemill.arrays import Array
from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import coefficients
from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.physics.serving.calibration import Fit, fit_machine
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.deployment import Parallelism
from joulemill.prediction.calibration_file import FittedCoefficients
from joulemill.prediction.precision import precision_named
from joulemill.statistics.normal import Z_80
from joulemill.validation.predict import compiled, predicted
from joulemill.validation.row import MeasuredRow

PROFILE = "vllm-0.11"
QUANTITIES = ("rate_tok_s", "tpot_s", "ttft_s", "power_w")


def calibrate_runs(
    runs: Sequence[Path], model: str, device: str | Device, devices: int, precision: str | None
) -> FittedCoefficients:
    """Fit to ``runs``, each a run folder or a report. InputError where a run cannot serve, and why."""
    rows = [row_of_run(path, model, device, devices, precision) for path in runs]
    plant = compiled(rows)
    prior = {c.name: c.value for c in coefficients(PROFILE)}
    measured = {q: np.array([r.measured.get(q, np.nan) for r in rows], dtype=np.float64) for q in QUANTITIES}

    def at(values: Mapping[str, float]) -> Mapping[str, Array]:
        return predicted(plant, rates_of(values))

    try:
        with np.errstate(all="ignore"):  # the fit may try coefficients under which nothing ends
            fit = fit_machine(prior, measured, at)
    except ValueError as fault:
        raise InputError(f"the runs cannot be fitted ({fault}); calibrate on longer ones") from fault
    return FittedCoefficients(
        coefficients=fit.coefficients,
        stderr=_informed(fit),
        widths=_widths(fit, len(rows)),
        runs=tuple(str(r) for r in runs),
        profile=PROFILE,
        device=rows[0].device.name,
        model=model,
        notes=tuple(n for r in rows for n in r.notes),
    )


def row_of_run(path: Path, model: str, device: str | Device, devices: int, precision: str | None) -> MeasuredRow:
    """A run as a row that can be predicted. InputError where it delivered nothing, or its batch is not known."""
    report: Report = load_report(path)
    entry = find_model(model)
    used = precision_named(model, entry.architecture, entry.precision, precision or "")
    requests = report.requests.in_window or report.requests.ok
    rate = report.output.rate_tok_s.value
    if not requests or not rate or not report.tokens.output:
        raise InputError(f"{path}: the run delivered no tokens in its window; nothing to calibrate on")
    # Means over the window's requests, where the run states them: a count of all that were active in a short window,
    # those that it cuts included, would make each look shorter and more of them seem in flight.
    stated = report.conditions
    out_tok = stated.load_mean("output [tok]") or report.tokens.output / requests
    in_tok = max(stated.load_mean("prompt computed [tok]") or report.tokens.prompt / requests, 1.0)
    stay = report.latency.e2e_s.mean or report.latency.e2e_s.p50
    if not stay:
        raise InputError(f"{path}: the run has no end-to-end latencies, so its batch is not known")
    measured = {
        "rate_tok_s": rate,
        "tpot_s": _mean(report.latency.tpot_s),
        "ttft_s": _mean(report.latency.ttft_s),
        "power_w": report.power.device_w.value if report.power.device_w.basis == "measured" else None,
    }
    hardware = device if isinstance(device, Device) else find_device(device)
    return MeasuredRow(
        number=0,
        model=model,
        architecture=entry.architecture,
        precision=used,
        device=hardware,
        parallelism=Parallelism(devices),
        engine=PROFILE,
        concurrency=max(stated.load_mean("requests in flight") or rate / out_tok * stay, 1.0),
        input_tok=in_tok,
        output_tok=max(out_tok, 1.0),
        spread_ratio=0.5,
        domain_evenness_ratio=1.0,
        running=True,
        max_batched_tok=8192.0,
        measured={k: float(v) for k, v in measured.items() if v},
        groups={},
        notes=tuple(_medians(path, report)),
    )


def _mean(latency: Percentiles) -> float | None:
    """The mean, which is what is predicted of mean lengths; the median where a report states no mean."""
    return latency.p50 if latency.mean is None else latency.mean


def _medians(path: Path, report: Report) -> Iterator[str]:
    """Where a median stands for a mean: a few late requests raise the mean alone."""
    for name, latency in (("TTFT", report.latency.ttft_s), ("TPOT", report.latency.tpot_s)):
        if latency.mean is None and latency.p50 is not None:
            yield f"{path}: states no mean {name}: its median is used, together with mean lengths"


def _informed(fit: Fit) -> dict[str, float]:
    """Standard errors of what the runs can tell: without measured power nothing of joules was fitted."""
    powered = any(fit.residuals[q].size for q in ("power_w", "energy_j_tok") if q in fit.residuals)
    return {n: e for n, e in fit.stderr.items() if powered or not ("energy" in n or "power" in n)}


def _widths(fit: Fit, runs: int) -> dict[str, float]:
    """80 % half-widths from the residuals, wider for few runs; nothing is claimed under 3 %."""
    factor = Z_80 * (1.0 + 1.0 / max(runs, 1)) ** 0.5
    widths = {q: max(0.03, factor * float(np.sqrt(np.mean(e * e)))) for q, e in fit.residuals.items() if e.size}
    if {"power_w", "rate_tok_s"} <= widths.keys():
        widths["energy_j_tok"] = float(np.hypot(widths["power_w"], widths["rate_tok_s"]))
    return widths
