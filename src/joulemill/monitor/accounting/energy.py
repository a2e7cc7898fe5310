"""A target's meters: read in the background, kept for a short while, and summed by the ledger over each interval.

A meter that updates more slowly than the target is scraped does not lose its joules: an interval waits until the
readings that bracket it have come (:meth:`TargetMeters.settled`), as long as the slowest meter usually takes. Since
consecutive intervals share an edge and E(t) between two updates never changes afterwards, the intervals' joules add up
to the counter's difference. Where a reading does not come, or E(t) is broken, the joules are of the covered part.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from joulemill.ledger.energy import EnergyResult, allowed_gap_s, window_energy
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.plausibility import dead_sensor
from joulemill.ledger.record import Quantity, Reading, Scope
from joulemill.ledger.scopes import Composition, compose, scope_energy
from joulemill.ledger.trace import Trace, traces
from joulemill.ledger.unmetered import completed, incomplete
from joulemill.meters.meter import Meter
from joulemill.meters.sampler import Sampler
from joulemill.monitor.accounting.nodes import NOT_STATED, Chassis
from joulemill.monitor.findings import meter_findings
from joulemill.monitor.snapshot import MeterFinding, MeterHealth, ScopeEnergy

#: Readings are kept this many interval lengths back (assumed): enough for the trace to tell a sensor that stands still.
KEPT_INTERVALS = 6
#: And at least so long [s] (assumed): a PDU that updates once a minute has told its period by then.
KEPT_LEAST_S = 300.0
#: Readings kept at most for each target (assumed): bounds memory whatever a meter delivers.
MAX_READINGS = 20_000
#: An interval waits for so many usual updates of the slowest meter, and at least for so many reads (assumed).
HOLD_UPDATES = 2.5
HOLD_READS = 5.0
#: Health is of a look at the readings that is at most so old [s] (assumed).
LOOK_S = 10.0

Stretch = tuple[float, float]


class TargetMeters:
    """The meters of one target or site. ``settle_s``: how long after a scrape a reading that brackets it has come.

    ``expected``: how many things a scope is made of, where that is known. ``chassis``: what holds the boards, so that
    their node is modelled where no meter sees it. ``unopened``: SPECs that could not be opened, and why.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        period_s: float,
        kept_s: float,
        expected: Mapping[Scope, int] | None = None,
        *,
        chassis: Chassis | None = None,
        unopened: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._expected = expected
        self.chassis, self.unopened = chassis, tuple(unopened)
        self._meters = tuple(meters)
        self.opened = tuple(m.channels() for m in meters)
        self._channels = [c for m in meters for c in m.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
        self._everything = [c for m in meters for c in m.channels()]
        self._readings: deque[Reading] = deque(maxlen=MAX_READINGS)
        self._lock = threading.Lock()
        self._period_s = period_s
        self._kept_s = max(kept_s, KEPT_LEAST_S, 4 * max((c.update_period_s or 0 for c in self._channels), default=0.0))
        self._taken = 0
        self._looked: tuple[int, float, dict[str, Trace]] = (-1, -math.inf, {})
        self._sampler = Sampler(meters, period_s, self.take)
        self.settle_s = 1.2 * period_s if self._channels else 0.0

    def start(self) -> None:
        """Begin to sample."""
        self._sampler.start()

    def quiet(self) -> None:
        """Each meter reads once more, and then no more; ``close`` waits for it."""
        self._sampler.quiet()

    def close(self) -> None:
        """Stop sampling and let go of the sensors."""
        self._sampler.stop(2.0)
        for meter in self._meters:
            meter.close()

    def take(self, readings: Sequence[Reading]) -> None:
        """Keep ``readings`` and drop those that are too old; a stamp ahead of our clock makes nothing old."""
        with self._lock:
            self._taken += len(readings)
            self._readings.extend(readings)
            newest_s = min(max((r.t_mono_s for r in readings), default=0.0), time.monotonic())
            while self._readings and self._readings[0].t_mono_s < newest_s - self._kept_s:
                self._readings.popleft()

    def _traces(self, old_s: float = 0.0) -> dict[str, Trace]:
        """The traces of what is kept; a look that is at most ``old_s`` old will do."""
        taken, at_s, trace_of_channel = self._looked
        now_s = time.monotonic()
        if taken == self._taken or now_s - at_s < old_s:
            return trace_of_channel
        with self._lock:
            taken, kept = self._taken, tuple(self._readings)
        trace_of_channel = traces(self._everything, kept, None if self.chassis is None else self.chassis.board_w)
        self._looked = (taken, now_s, trace_of_channel)
        return trace_of_channel

    def _traces_until(self, end_s: float) -> dict[str, Trace]:
        """The traces up to ``end_s``: the last ones looked at, where they reach so far, since E(t) then stands."""
        last = self._looked[2]
        reach = bool(last) and all(t.usable and _known_until_s(t) >= end_s for t in last.values())
        return last if reach else self._traces()

    def settled(self, end_mono_s: float, now_mono_s: float) -> bool:
        """Whether no reading that is still to come would say more of the time before ``end_mono_s``."""
        usable = [t for t in self._traces_until(end_mono_s).values() if t.usable]
        waiting = [t for t in usable if _known_until_s(t) < end_mono_s and not _stands_still(t)]
        slowest_s = max((_usual_s(t) for t in waiting), default=0.0)
        hold_s = max(HOLD_UPDATES * slowest_s, HOLD_READS * self._period_s)
        return not waiting or now_mono_s - end_mono_s > hold_s

    def known_until_s(self) -> float:
        """Until when every meter that can be used has told; infinite where there is none."""
        return min((_known_until_s(t) for t in self._traces().values() if t.usable), default=math.inf)

    def energy(self, start_mono_s: float, end_mono_s: float) -> dict[str, ScopeEnergy]:
        """Joules by scope, of the part of the window that readings cover; a scope that is not known is absent."""
        return self.account(start_mono_s, end_mono_s)[0]

    def account(
        self, start_mono_s: float, end_mono_s: float, scopes: Collection[Scope] = tuple(Scope), output_tok: float = 0.0
    ) -> tuple[dict[str, ScopeEnergy], tuple[MeterFinding, ...]]:
        """Joules by scope as ``energy`` has them, and findings: why a scope is refused, and what stands beside it.

        ``output_tok``: tokens that were made meanwhile; a sensor that says next to nothing then is dead.
        """
        if not self._channels or end_mono_s <= start_mono_s:
            return {}, ()
        window = (start_mono_s, end_mono_s)
        everything = self._traces_until(end_mono_s)
        known = {i: _covered(t, *window) for i, t in everything.items()}
        refusals: dict[str, tuple[Finding, ...]] = {
            i: (_unread(everything[i]),) for i, stretches in known.items() if not stretches
        }
        if output_tok > 0:
            refusals |= self._dead(everything, known, output_tok)
        joules: dict[str, ScopeEnergy] = {}
        findings: list[MeterFinding] = []
        for scope, made_of in compose(self._channels, refusals, self._expected).items():
            if scope not in scopes or not self._metered(scope):
                continue
            energy, scope_findings = self._scope(made_of, everything, known, window)
            findings += meter_findings(scope.value, scope_findings, boards=self._boards(), refused=energy is None)
            if energy is not None:
                joules[scope.value] = energy
        return joules, tuple(findings)

    def _dead(
        self, everything: Mapping[str, Trace], known: Mapping[str, Sequence[Stretch]], output_tok: float
    ) -> dict[str, tuple[Finding, ...]]:
        """Boards' and nodes' sensors that stand at nothing while their server makes tokens."""
        board_w = None if self.chassis is None else self.chassis.board_w
        findings_of_device: dict[str, tuple[Finding, ...]] = {}
        for i, stretches in known.items():
            channel = everything[i].channel
            if channel.scope not in (Scope.DEVICE, Scope.NODE) or not stretches:
                continue
            joules = math.fsum(float(np.diff(everything[i].cumulative_j(np.array(s)))[0]) for s in stretches)
            length_s = math.fsum(b - a for a, b in stretches)
            limit_w = board_w if channel.scope is Scope.DEVICE else None
            if dead_sensor(joules, output_tok, length_s, limit_w=limit_w, resolution_j=channel.resolution or 0.0):
                said_w = f"{joules / length_s:.3g} W while its server makes tokens: a dead sensor"
                findings_of_device[i] = (Finding(Reason.DEAD_SENSOR, channel.device, said_w, fatal=True),)
        return findings_of_device

    def boards(self, start_s: float, end_s: float) -> tuple[float, int] | None:
        """Mean power of the boards [W] over the part of a window that is known, and how many they are."""
        energy = self.account(start_s, end_s, (Scope.DEVICE,))[0].get(Scope.DEVICE.value)
        covered_s = 0.0 if energy is None else energy.covered_ratio * (end_s - start_s)
        return None if energy is None or covered_s <= 0 else (energy.energy_j / covered_s, self._boards_count())

    def _boards(self) -> list[str]:
        return sorted({c.device for c in self._channels if c.scope is Scope.DEVICE})

    def _boards_count(self) -> int:
        return (self._expected or {}).get(Scope.DEVICE) or len(self._boards())

    def _metered(self, scope: Scope) -> bool:
        """Whether anything is meant to tell of ``scope``; a node also where it is made of its boards."""
        parts = (Scope.DEVICE, Scope.CPU, Scope.MEMORY) if scope is Scope.NODE else ()
        return any(c.scope in (scope, *parts) for c in self._channels)

    def _scope(
        self,
        made_of: Composition,
        everything: Mapping[str, Trace],
        known: Mapping[str, Sequence[Stretch]],
        window: Stretch,
    ) -> tuple[ScopeEnergy | None, tuple[Finding, ...]]:
        """A scope's joules; a node's parts are completed to the node where what holds them is known."""
        refusing = any(f.fatal or f.code is Reason.UNEXPECTED_DEVICE for f in made_of.findings)
        if not made_of.channels or made_of.basis is None or refusing:
            return None, made_of.findings
        pieces = _common([known[i] for i in made_of.channels])
        totals = [scope_energy(made_of, _results(everything, *piece), piece) for piece in pieces]
        usable = [t for t in totals if t.energy_j is not None]
        findings = tuple(dict.fromkeys([*made_of.findings, *(f for t in totals for f in t.findings)]))
        if not usable:
            return None, findings
        whole = _joined(made_of, usable)
        if incomplete(made_of):
            whole = self._completed(made_of, whole, everything, pieces)
            if whole.energy_j is None:
                return None, self._alone(whole.findings)
            findings = tuple(dict.fromkeys([*(f for f in findings if f.code is not Reason.PARTIAL), *whole.findings]))
        basis = whole.basis or made_of.basis
        covered_ratio = min(whole.duration_s / (window[1] - window[0]), 1.0)
        half_j = None if whole.high_j is None or whole.energy_j is None else whole.high_j - whole.energy_j
        return ScopeEnergy(made_of.scope.value, whole.energy_j or 0.0, half_j, basis.value, covered_ratio), findings

    def _alone(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Why the parts are no node, with what the configuration can do about it."""
        why = NOT_STATED if self.chassis is None else self.chassis.reason
        return tuple(
            replace(f, detail=f"the boards are no node, and no meter sees the whole of it; {why}")
            if f.code is Reason.PARTIAL and f.fatal and why
            else f
            for f in findings
        )

    def _completed(
        self, made_of: Composition, total: EnergyResult, everything: Mapping[str, Trace], pieces: Sequence[Stretch]
    ) -> EnergyResult:
        """The node of which ``total`` are the metered parts, at their mean power over ``pieces``."""
        parts_j: dict[Scope, float] = {}
        for i in made_of.channels:
            scope = everything[i].channel.scope
            joules = [_results({i: everything[i]}, *piece)[i].energy_j or 0.0 for piece in pieces]
            parts_j[scope] = parts_j.get(scope, 0.0) + math.fsum(joules)
        holder = None
        if self.chassis is not None and pieces:
            holder = self.chassis.share(self._boards_count(), pieces[0][0], pieces[-1][1])
        return completed(total, parts_j, made_of.coverage, holder)

    def health(self, target: str | None, site: str) -> list[MeterHealth]:
        """Each channel's state: ``ok`` or the ledger's first reason that refuses its newest readings."""
        now_s = time.monotonic()
        states = [
            MeterHealth(meter=spec, target=target, site=site, scope="", state="not_open", age_s=None, detail=why)
            for spec, why in self.unopened
        ]
        for channel, trace in zip(self._channels, self._traces(LOOK_S).values(), strict=False):
            age = now_s - float(trace.read_s[-1]) if len(trace.read_s) else None
            code = _state(trace)
            states.append(
                MeterHealth(
                    meter=channel.id, target=target, site=site, scope=channel.scope.value, state=code, age_s=age
                )
            )
        return states


def _state(trace: Trace) -> str:
    code = next((f.code for f in trace.findings if f.fatal), None)
    if code is None and len(trace.failed_s) and trace.failed_s[-1] > trace.read_s[-1]:
        code = Reason.READ_FAILED
    if code is None and _stands_still(trace):
        code = Reason.STALE
    return "ok" if code is None else code.value


def _unread(trace: Trace) -> Finding:
    """Why nothing of an interval is known: its readings are refused, stand still or fail, or there are none yet."""
    refused = next((f for f in trace.findings if f.fatal), None)
    if refused is not None and (trace.failed_why or refused.code not in (Reason.NO_READINGS, Reason.TOO_FEW_READINGS)):
        return refused
    if _stands_still(trace):
        return Finding(Reason.STALE, trace.channel.id, "its counter does not change", fatal=True)
    if len(trace.failed_s) and (not len(trace.read_s) or trace.failed_s[-1] > trace.read_s[-1]):
        why = trace.failed_why[-1]
        return Finding(why, trace.channel.id, f"its newest readings fail: {trace.examples.get(why, '')}", fatal=True)
    return Finding(Reason.NOT_BRACKETED, trace.channel.id, "no reading covers any of the interval", fatal=True)


def _known_until_s(trace: Trace) -> float:
    """Until when E(t) will not change: a counter's last step, since what it shows after that is still to come."""
    return float(trace.t_s[-1])


def _usual_s(trace: Trace) -> float:
    return max(trace.period_s, float(np.median(np.diff(trace.t_s))))


def _stands_still(trace: Trace) -> bool:
    last = float(trace.t_s[-1]) if len(trace.t_s) else math.nan
    return any(b.finding.code is Reason.STALE and b.start_s == last for b in trace.broken)


def _covered(trace: Trace, start_s: float, end_s: float) -> list[Stretch]:
    """The parts of the window in which E(t) is known. A counter bridges the time between two readings, power not."""
    if not trace.usable:
        return []
    holes = [(b.start_s, b.end_s) for b in trace.broken]
    if trace.kind != "counter":
        apart = np.flatnonzero(np.diff(trace.t_s) > allowed_gap_s(trace))
        holes += [(float(trace.t_s[i]), float(trace.t_s[i + 1])) for i in apart]
    stretches, at = [], max(start_s, float(trace.t_s[0]))
    last = min(end_s, _known_until_s(trace))
    for low, high in sorted(holes):
        if at < min(low, last):
            stretches.append((at, min(low, last)))
        at = max(at, high)
    return [*stretches, (at, last)] if at < last else stretches


def _common(covers: Iterable[Sequence[Stretch]]) -> list[Stretch]:
    """What all of ``covers`` hold."""
    stretches: list[Stretch] = [(-math.inf, math.inf)]
    for cover in covers:
        both = [(max(a, c), min(b, d)) for a, b in stretches for c, d in cover]
        stretches = [(low, high) for low, high in both if low < high]
    return stretches


def _joined(made_of: Composition, totals: Sequence[EnergyResult]) -> EnergyResult:
    """Covered stretches as one window of their length together."""
    joules = math.fsum(t.energy_j or 0.0 for t in totals)
    half_j = math.fsum(t.half_width_j or 0.0 for t in totals)
    length_s = math.fsum(t.duration_s for t in totals)
    reads = sum(t.reading_count for t in totals)
    low_j = max(joules - half_j, 0.0)
    return EnergyResult(
        subject=made_of.scope.value,
        start_s=0.0,
        end_s=length_s,
        energy_j=joules,
        low_j=low_j,
        high_j=joules + half_j,
        basis=made_of.basis,
        kind=totals[0].kind,
        reading_count=reads,
    )


def _results(trace_of_channel: Mapping[str, Trace], start_s: float, end_s: float) -> dict[str, EnergyResult]:
    """Each channel over one covered stretch. Gaps and slow updates are dealt with: stretches are added up again."""
    return {
        i: window_energy(t, start_s, end_s, max_gap_s=math.inf, least_periods=0.0) if t.usable else _none(t)
        for i, t in trace_of_channel.items()
    }


def _none(trace: Trace) -> EnergyResult:
    return EnergyResult(
        subject=trace.channel.id,
        start_s=0.0,
        end_s=0.0,
        energy_j=None,
        low_j=None,
        high_j=None,
        basis=None,
        kind=trace.kind,
        reading_count=0,
        findings=trace.findings,
    )
