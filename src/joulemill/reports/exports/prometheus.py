"""One run as Prometheus text (version 0.0.4), for a Pushgateway or a textfile collector. Pure.

Names are in base units with the unit at the end, as Prometheus asks for; unknown figures are left out, since a gauge
has no null. OpenTelemetry names stand in ``docs/conventions.md``.
"""

from __future__ import annotations

from joulemill.analysis.report import Percentiles, Report
from joulemill.figure import Figure
from joulemill.reports.exports.facts import model_name

Sample = tuple[dict[str, str], float]


def prometheus(report: Report) -> str:
    """Gauges with scope, basis, model and hardware as labels."""
    energy, power, output = report.energy, report.power, report.output
    about = {
        "model": model_name(report),
        "hardware": report.conditions.device or "unknown",
        "run": report.run_id,
    }
    scopes = (("device", energy.device_j_tok), ("node", energy.node_j_tok), ("site", energy.site_j_tok))
    watts = (("device", power.device_w), ("node", power.node_w), ("site", power.site_w))
    lines = [
        *_family("joulemill_energy_joules_per_output_token", "Joules per output token", about, _ends(scopes)),
        *_family("joulemill_power_watts", "Mean power over the window", about, _plain("scope", watts)),
        *_family(
            "joulemill_output_tokens_per_second",
            "Output token rate over the window",
            about,
            _plain(
                "kind", (("window", output.rate_tok_s), ("utilization_adjusted", output.utilization_adjusted_tok_s))
            ),
        ),
        *_family(
            "joulemill_accuracy_ratio", "Share of correct answers", about, _plain("", (("", report.quality.accuracy),))
        ),
        *_family(
            "joulemill_utilization_ratio", "Rate over rate at full load", about, _plain("", (("", report.utilization),))
        ),
        *_family("joulemill_time_to_first_token_seconds", "TTFT by quantile", about, _quantiles(report.latency.ttft_s)),
        *_family(
            "joulemill_time_per_output_token_seconds", "TPOT by quantile", about, _quantiles(report.latency.tpot_s)
        ),
    ]
    return "\n".join(lines) + "\n"


def _ends(scopes: tuple[tuple[str, Figure], ...]) -> list[Sample]:
    samples: list[Sample] = []
    for scope, figure in scopes:
        for end, value in (("value", figure.value), ("low", figure.low), ("high", figure.high)):
            if value is not None:
                samples.append(({"scope": scope, "basis": str(figure.basis), "end": end}, value))
    return samples


def _plain(label: str, figures: tuple[tuple[str, Figure], ...]) -> list[Sample]:
    return [
        ({**({label: name} if label else {}), "basis": str(figure.basis)}, figure.value)
        for name, figure in figures
        if figure.value is not None
    ]


def _quantiles(percentiles: Percentiles) -> list[Sample]:
    points = (("0.5", percentiles.p50), ("0.9", percentiles.p90), ("0.99", percentiles.p99))
    return [({"quantile": q}, v) for q, v in points if v is not None]


def _family(name: str, about: str, common: dict[str, str], samples: list[Sample]) -> list[str]:
    if not samples:
        return []
    lines = [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        shown = ",".join(f'{k}="{_escaped(v)}"' for k, v in {**common, **labels}.items())
        lines.append(f"{name}{{{shown}}} {value!r}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
