"""A target's meters: read in the background, kept for a short while, and summed by the ledger over an interval."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from joulemill.ledger.energy import window_energy
from joulemill.ledger.reasons import refused
from joulemill.ledger.record import Quantity, Reading
from joulemill.ledger.scopes import compose, scope_energy
from joulemill.ledger.trace import Trace, traces
from joulemill.meters.meter import Meter
from joulemill.meters.sampler import Sampler
from joulemill.monitor.snapshot import MeterHealth, ScopeEnergy, TargetFacts

#: Readings are kept this many interval lengths back (assumed): enough for the trace to tell a sensor that stands still.
KEPT_INTERVALS = 6
#: Readings kept at most for each target (assumed): bounds memory whatever a meter delivers.
MAX_READINGS = 20_000


class TargetMeters:
    """The meters of one target. ``settle_s``: how long after a scrape a reading that brackets it has come."""

    def __init__(self, meters: Sequence[Meter], period_s: float, kept_s: float) -> None:
        self._meters = tuple(meters)
        self._channels = [c for m in meters for c in m.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
        self._readings: deque[Reading] = deque(maxlen=MAX_READINGS)
        self._lock = threading.Lock()
        self._kept_s = kept_s
        self._sampler = Sampler(meters, period_s, self.take)
        self.settle_s = 1.2 * period_s if self._channels else 0.0

    def start(self) -> None:
        """Begin to sample."""
        self._sampler.start()

    def close(self) -> None:
        """Stop sampling and let go of the sensors."""
        self._sampler.stop(2.0)
        for meter in self._meters:
            meter.close()

    def take(self, readings: Sequence[Reading]) -> None:
        """Keep ``readings`` and drop those that are too old."""
        with self._lock:
            self._readings.extend(readings)
            newest = max((r.t_mono_s for r in readings), default=0.0)
            while self._readings and self._readings[0].t_mono_s < newest - self._kept_s:
                self._readings.popleft()

    def _traces(self) -> dict[str, Trace]:
        with self._lock:
            kept = tuple(self._readings)
        return traces(self._channels, kept)

    def energy(self, start_mono_s: float, end_mono_s: float) -> dict[str, ScopeEnergy]:
        """Joules by scope in the window, by the ledger; a scope that is partly metered, or not readable, is absent."""
        if not self._channels:
            return {}
        results = {i: window_energy(t, start_mono_s, end_mono_s) for i, t in self._traces().items()}
        refusals = {i: r.findings for i, r in results.items() if refused(r.findings)}
        found: dict[str, ScopeEnergy] = {}
        for scope, made_of in compose(self._channels, refusals).items():
            if not made_of.complete:  # a part (its devices alone) must not pass for the node
                continue
            total = scope_energy(made_of, results, (start_mono_s, end_mono_s))
            if total.energy_j is not None and total.basis is not None:
                found[scope.value] = ScopeEnergy(
                    scope.value, total.energy_j, total.half_width_j, total.basis.value, 1.0
                )
        return found

    def health(self, facts: TargetFacts) -> list[MeterHealth]:
        """Each channel's state: ``ok`` or the ledger's first fatal reason over the readings kept."""
        now_s = time.monotonic()
        found = []
        for channel, trace in zip(self._channels, self._traces().values(), strict=True):
            code = next((f.code.value for f in trace.findings if f.fatal), "ok")
            age = now_s - float(trace.read_s[-1]) if len(trace.read_s) else None
            found.append(MeterHealth(channel.id, facts.target, facts.site, channel.scope.value, code, age))
        return found
