"""OTLP: what an exporter is handed is what /metrics shows."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="the monitor extra is not installed")
pytest.importorskip("opentelemetry.sdk", reason="the otlp extra is not installed")
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

from joulemill.monitor.web.otlp import start, unit_of
from tests.support.synthetic import Moving


class Kept(MetricExporter):
    """An exporter that keeps what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.got.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def test_counters_and_gauges_with_their_attributes() -> None:
    source, kept = Moving(6), Kept()
    start(source, kept, 3600.0)()  # the last export comes at the end
    (resource,) = kept.got[-1].resource_metrics
    assert resource.resource.attributes["service.name"] == "joulemill"
    found = {m.name: m for scope in resource.scope_metrics for m in scope.metrics}
    energy = found["joulemill.energy_joules"]
    assert energy.unit == "J" and energy.data.is_monotonic
    shown = {p.attributes["target"]: p.value for p in energy.data.data_points}
    for t in source.snapshot().targets:
        assert shown.get(t.facts.target, 0.0) == pytest.approx(sum(t.energy_j.values()))
    assert "chat-5" not in shown  # unknown is absent
    assert found["joulemill.ttft_seconds"].unit == "s"
    assert all("device" not in p.attributes for p in energy.data.data_points)


def test_units() -> None:
    assert [unit_of(n) for n in ("joulemill_tokens", "joulemill_idle_ratio", "joulemill_target_up")] == [
        "{token}",
        "1",
        "1",
    ]
