"""llm-d Benchmark Report v0.2.1, with energy as an extension where its schema leaves room (``observability``). Pure."""

from __future__ import annotations

import json
from typing import Any

from joulemill.analysis.report import Percentiles, Report
from joulemill.figure import Figure
from joulemill.jsonable import plain
from joulemill.reports.exports.facts import model_name
from joulemill.version import __version__

VERSION = "0.2.1"


def llmd(report: Report) -> str:
    """The report; a distribution without a mean is left out, as the schema demands one."""
    aggregate = {
        "requests": {"total": report.requests.sent, "failures": report.requests.sent - report.requests.ok},
        "latency": _known(
            {
                "time_to_first_token": _statistics(report.latency.ttft_s, "s"),
                "time_per_output_token": _statistics(report.latency.tpot_s, "s/token"),
                "inter_token_latency": _statistics(report.latency.itl_s, "s/token"),
                "request_latency": _statistics(report.latency.e2e_s, "s"),
            }
        ),
        "throughput": _known(
            {
                "output_token_rate": _mean(report.output.rate_tok_s, "tokens/s"),
                "request_rate": _mean(report.output.request_rate_req_s, "queries/s"),
            }
        ),
    }
    observability: dict[str, Any] = {"joulemill_energy": _energy(report)}
    power = _mean(report.power.node_w, "Watts")
    if power:
        observability["components"] = [{"component_label": "server", "aggregate": {"power_consumption": power}}]
    document = {
        "version": VERSION,
        "run": {"uid": report.run_id, "time": _known({"start": report.conditions.started})},
        "scenario": {"stack": [_server(report)]},
        "results": {"request_performance": {"aggregate": aggregate}, "observability": observability},
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _server(report: Report) -> dict[str, Any]:
    """The server as a generic component: an inference engine of the schema demands what a client cannot see."""
    standardized = {
        "kind": "generic",
        "tool": report.conditions.text("server", "kind") or "unknown",
        "tool_version": report.conditions.text("server", "version") or "unknown",
        "model": model_name(report),
        "hardware": report.conditions.device,
    }
    return {"metadata": {"label": "server", "cfg_id": report.run_id}, "standardized": standardized, "native": {}}


def _energy(report: Report) -> dict[str, Any]:
    """The extension: figures as Joulemill's report has them, units beside them."""
    figures = {
        "device_joules_per_output_token": report.energy.device_j_tok,
        "node_joules_per_output_token": report.energy.node_j_tok,
        "site_joules_per_output_token": report.energy.site_j_tok,
        "node_power": report.power.node_w,
        "site_power": report.power.site_w,
    }
    figures_table = {name: plain(figure) for name, figure in figures.items()}
    return {"schema": f"joulemill report {report.schema_version}", "joulemill_version": __version__, **figures_table}


def _statistics(percentiles: Percentiles, units: str) -> dict[str, Any] | None:
    if percentiles.mean is None:
        return None
    return _known(
        {
            "units": units,
            "mean": percentiles.mean,
            "p50": percentiles.p50,
            "p90": percentiles.p90,
            "p99": percentiles.p99,
        }
    )


def _mean(figure: Figure, units: str) -> dict[str, Any] | None:
    return None if figure.value is None else {"units": units, "mean": figure.value}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}
