"""The steady-state window: found, and its rule told.

Closed loop: from when every slot has had its first token until the first slot that is not filled again (the drain
begins). Open loop: the load phase less its ramp (the stated warm-up, or one median request). The window is cut to
what the readings cover where that leaves most of it. Whether the rate really was steady in it is checked and said;
it is never searched for a quieter place. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from joulemill.arrays import Array
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.flow import last_seen_s
from joulemill.ledger.manifest import RunOptions
from joulemill.ledger.record import RequestOutcome, RequestRecord, RunRecord

#: Readings may cut the window to this share of itself; if they would leave less, joules are refused instead. Assumed.
LEAST_COVERED = 0.5
#: Steady: four quarters whose rates vary by at most this, and no drift beyond it that is significant. Assumed.
STEADY_COV = 0.10
STEADY_T = 3.0
#: Sub-windows: at most, at least, and how many meter updates or reads each should hold. Assumed.
MOST_SUB_WINDOWS = 120
ENOUGH_SUB_WINDOWS = 8
FEWEST_SUB_WINDOWS = 4
UPDATES_EACH = 5.0
FEWEST_UPDATES_EACH = 2.0


class Loop(StrEnum):
    """How load was offered."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class LoadShape:
    """The load as planned: ``concurrency`` of a closed loop; ``warmup_s`` inside the load phase, where stated."""

    loop: Loop
    concurrency: int | None = None
    warmup_s: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Where every figure is computed, on the client's monotonic clock, and why there."""

    start_s: float
    end_s: float
    rule: str
    steady: bool | None = None
    note: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.end_s - self.start_s


def load_shape(options: RunOptions) -> LoadShape:
    """The plan: a rate or a trace is an open loop, else ``concurrency`` says how many are in flight."""
    if options.open_loop:
        return LoadShape(Loop.OPEN, None, options.warmup_s)
    return LoadShape(Loop.CLOSED, options.concurrency or None, options.warmup_s)


def load_requests(record: RunRecord) -> tuple[RequestRecord, ...]:
    """The requests of the load phase, in the order sent."""
    mine = [r for r in record.requests if r.phase == "load"]
    return tuple(sorted(mine, key=lambda r: (r.scheduled_mono_s, r.id)))


def find_window(record: RunRecord, shape: LoadShape, covered: tuple[float, float] | None) -> Window | None:
    """The steady-state window of ``record``'s load, or None where no load was sent.

    covered   from the first to the last reading that all used channels share; None without readings
    """
    requests = [r for r in load_requests(record) if r.dispatched_mono_s is not None]
    if not requests:
        return None
    if any(p.name == "warmup" for p in record.phases):  # it was warmed up before, and the load has none inside
        shape = replace(shape, warmup_s=None)
    start, end, rule, findings = (
        _closed(requests, shape) if shape.loop is Loop.CLOSED else _open(record, requests, shape)
    )
    if not end > start:
        return None
    return _cut(Window(start, end, rule, findings=tuple(findings)), covered)


def _life(requests: Sequence[RequestRecord]) -> tuple[float, float]:
    sent = [r.dispatched_mono_s for r in requests if r.dispatched_mono_s is not None]
    return min(sent), max(t for t in (last_seen_s(r) for r in requests) if t is not None)


def _closed(requests: Sequence[RequestRecord], shape: LoadShape) -> tuple[float, float, str, list[Finding]]:
    slots = shape.concurrency or _usual_in_flight(requests)
    first_sent, last_seen = _life(requests)
    firsts = sorted(r.first_token_mono_s for r in requests if r.first_token_mono_s is not None)
    last_sent = max(r.dispatched_mono_s for r in requests if r.dispatched_mono_s is not None)
    ends = [t for t in (last_seen_s(r) for r in requests) if t is not None]
    drain = min((t for t in ends if t > last_sent), default=last_seen)
    if len(firsts) >= slots:
        start = max(firsts[slots - 1], first_sent + (shape.warmup_s or 0.0))
        if drain > start:
            rule = f"closed loop: all {slots} slots busy, each with its first token, until the first stays empty"
            return start, drain, rule, []
    detail = f"{slots} slots were never all busy with {len(requests)} requests; send more, or fewer at once"
    not_steady = Finding(Reason.NOT_STEADY, "window", detail)
    return first_sent, last_seen, "closed loop: the whole load, ramp and drain included", [not_steady]


def _usual_in_flight(requests: Sequence[RequestRecord]) -> int:
    """The number of requests in flight for the longest time: the slots of a closed loop."""
    spans = [(r.dispatched_mono_s, last_seen_s(r)) for r in requests]
    marks = sorted([(t, 1) for t, _ in spans if t is not None] + [(t, -1) for _, t in spans if t is not None])
    at = np.array([t for t, _ in marks])
    level = np.maximum(np.cumsum([step for _, step in marks]), 0)  # a request may begin and end in one moment
    held = np.bincount(level[:-1], weights=np.diff(at))
    return max(int(np.argmax(held)), 1)


def _open(
    record: RunRecord, requests: Sequence[RequestRecord], shape: LoadShape
) -> tuple[float, float, str, list[Finding]]:
    first_sent, last_seen = _life(requests)
    phase = record.phase("load")
    start = first_sent if phase is None else min(phase.start_mono_s, first_sent)
    end = last_seen if phase is None or phase.end_mono_s is None else min(phase.end_mono_s, last_seen)
    last_sent = max(r.dispatched_mono_s for r in requests if r.dispatched_mono_s is not None)
    spacing = (last_sent - first_sent) / max(len(requests) - 1, 1)
    end = min(end, last_sent + spacing)  # after the last arrival and its turn the server drains
    times = [
        r.end_mono_s - r.dispatched_mono_s
        for r in requests
        if r.outcome is RequestOutcome.OK and r.end_mono_s is not None and r.dispatched_mono_s is not None
    ]
    if shape.warmup_s is not None:
        ramp, what = shape.warmup_s, "the stated warm-up"
    else:
        ramp, what = (float(np.median(times)) if times else 0.0), "one median request"
    if start + ramp < start + 0.75 * (end - start):
        return start + ramp, end, f"open loop: the load phase less {what} ({ramp:.3g} s), until the last arrival", []
    detail = f"the load lasted {end - start:.3g} s, too short to leave out {what} ({ramp:.3g} s); run longer"
    return start, end, "open loop: the whole load phase", [Finding(Reason.NOT_STEADY, "window", detail)]


def _cut(window: Window, covered: tuple[float, float] | None) -> Window:
    if covered is None:
        return window
    start, end = max(window.start_s, covered[0]), min(window.end_s, covered[1])
    if (start, end) == (window.start_s, window.end_s) or end - start < LEAST_COVERED * window.duration_s:
        return window
    rule = f"{window.rule}; cut to the readings by {window.duration_s - (end - start):.3g} s"
    return Window(start, end, rule, findings=window.findings)


def sub_window_edges_s(window: Window, resolution_s: float) -> Array:
    """Edges [k+1] of equal sub-windows, each holding five meter updates or reads of ``resolution_s``.

    Where that makes fewer than eight, two updates each must do; never fewer than four sub-windows.
    """
    if resolution_s <= 0.0:
        return np.linspace(window.start_s, window.end_s, MOST_SUB_WINDOWS + 1)
    count = int(window.duration_s / (UPDATES_EACH * resolution_s))
    if count < ENOUGH_SUB_WINDOWS:
        count = min(int(window.duration_s / (FEWEST_UPDATES_EACH * resolution_s)), ENOUGH_SUB_WINDOWS)
    count = max(FEWEST_SUB_WINDOWS, min(MOST_SUB_WINDOWS, count))
    return np.linspace(window.start_s, window.end_s, count + 1)


def steadiness(output_tok: Array, edges_s: Array) -> tuple[bool, str]:
    """Whether the token rate over the sub-windows was steady, and the figures that say so.

    output_tok [k], edges_s [k+1]. Quarters must agree within ``STEADY_COV``; a drift across the window larger than
    that with |t| > 3 (least squares, independent residuals) is unsteady too.
    """
    rate = output_tok / np.diff(edges_s)
    mean = float(rate.mean())
    if mean <= 0.0:
        return False, "no tokens in the window"
    quarters = np.array([q.mean() for q in np.array_split(rate, 4)])
    cov = float(quarters.std(ddof=1)) / mean
    drift, t = _drift(rate)
    reason = f"quarters vary by {100 * cov:.1f} %, drift {100 * drift / mean:+.1f} % across the window (t = {t:.1f})"
    steady = cov <= STEADY_COV and not (abs(drift) > STEADY_COV * mean and abs(t) > STEADY_T)
    return steady, reason


def _drift(rate: Array) -> tuple[float, float]:
    """Least-squares change of the rate across the window, and its t-statistic."""
    x = np.linspace(-0.5, 0.5, len(rate))
    slope = float(x @ rate / (x @ x))
    residual = rate - rate.mean() - slope * x
    error = float(np.sqrt(residual @ residual / max(len(rate) - 2, 1) / (x @ x)))
    return slope, slope / error if error > 0.0 else 0.0
