"""The same figures as ``/metrics`` to an OpenTelemetry collector, by OTLP over HTTP. The extra ``joulemill[otlp]``.

Counters are ``hw.energy``-like sums in J and tokens; their names are those of ``/metrics`` with dots, their labels
attributes. Where the collector is: the standard variables ``OTEL_EXPORTER_OTLP_ENDPOINT`` and ``…_HEADERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from joulemill.errors import InputError
from joulemill.monitor.snapshot import Snapshot
from joulemill.monitor.source import SnapshotSource
from joulemill.monitor.web.metrics import metrics
from joulemill.version import __version__

UNITS = {"joules": "J", "seconds": "s", "tokens": "{token}", "watts": "W", "grams": "g", "ratio": "1"}


def exporter() -> Any:
    """The OTLP exporter. Raises InputError with the step to take where the extra is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        raise InputError("OTLP needs the extra: pip install 'joulemill[otlp]'") from None
    return OTLPMetricExporter()


def start(source: SnapshotSource, to: Any, period_s: float) -> Callable[[], None]:
    """Export ``source`` every ``period_s`` through ``to``; what is returned ends it, after a last export."""
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = PeriodicExportingMetricReader(to, export_interval_millis=1000.0 * period_s)
    about = Resource.create({"service.name": "joulemill", "service.version": __version__})
    provider = MeterProvider(metric_readers=[reader], resource=about)
    meter = provider.get_meter("joulemill", __version__)
    for name, kind, text in _families(source.snapshot()):
        make = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge

        def observe(_: Any, name: str = name) -> Iterable[Any]:
            return [Observation(value, labels) for labels, value in observed(source.snapshot(), name)]

        make(name.replace("_", ".", 1), callbacks=[observe], unit=unit_of(name), description=text)

    def end() -> None:
        provider.shutdown()

    return end


def _families(now: Snapshot) -> list[tuple[str, str, str]]:
    return [(m.name, m.type, m.documentation) for m in metrics(now) if m.type in ("counter", "gauge")]


def observed(now: Snapshot, name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each sample of one family; empty labels are left out."""
    family = next(m for m in metrics(now) if m.name == name)
    return [
        ({k: v for k, v in s.labels.items() if v}, s.value) for s in family.samples if not s.name.endswith("_created")
    ]


def unit_of(name: str) -> str:
    """The unit by the name's words, as UCUM writes it."""
    return next((u for word, u in UNITS.items() if word in name.split("_")), "1")
