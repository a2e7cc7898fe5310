"""Whether a channel's readings carry a window: bracketed, without gaps, few failed, updates enough; and what is hidden.

The allowed time between reads follows the sensor's own period, as it declares it or as its reads come at their usual
pace; not the median of the reads, which a few long gaps among few reads would stretch. Pure.
"""

from __future__ import annotations

import numpy as np

from joulemill.arrays import Array
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.trace import Trace

#: Reads further apart than this, and than so many periods of the sensor, are a gap [s]. Assumed; InferenceX refuses
#: at 3 s. Reads of a sensor that does not state its period come at least at this quantile of the times between them.
GAP_S = 3.0
GAP_PERIODS = 2.5
PACE_QUANTILE = 0.1
#: Clocks of files have digits: so much more than allowed is not more [s].
_ROUNDING_S = 2e-3
#: A larger share of a gauge's reads in a window that failed refuses it; InferenceX refuses at the first. Assumed.
FAILED_MOST_RATIO = 0.05
#: A counter tells at its next good read what was used; but one that fails at half its reads is none. Assumed.
FAILED_COUNTER_RATIO = 0.5
#: Updates that must fit in a window: fewer refuse, fewer than the second are told. The second is the field's practice.
MIN_PERIODS = 2.0
GOOD_PERIODS = 20.0


def window_findings(
    trace: Trace, start_s: float, end_s: float, max_gap_s: float | None, least_periods: float
) -> list[Finding]:
    """What speaks against the joules of [start_s, end_s]. ``max_gap_s`` infinite: the caller sees to missing reads."""
    if not trace.usable:
        return []
    name, findings = trace.channel.id, []
    first, last = float(trace.read_s[0]), float(trace.read_s[-1])
    late = f"the first reading came {first - start_s:.3g} s after the window began" if start_s < first else ""
    early = f"the last reading came {end_s - last:.3g} s before the window ended" if end_s > last else ""
    if late or early:
        findings.append(Finding(Reason.NOT_BRACKETED, name, ", ".join(filter(None, (late, early))), fatal=True))
    findings += [b.finding for b in trace.broken if b.start_s < end_s and b.end_s > start_s]
    allowed_s = allowed_gap_s(trace) if max_gap_s is None else max_gap_s
    findings += _failed(trace, start_s, end_s, refuses=np.isfinite(allowed_s))
    findings += _gaps(trace, start_s, end_s, allowed_s)
    return findings + _resolution(trace, end_s - start_s, least_periods)


def allowed_gap_s(trace: Trace) -> float:
    """Largest time between reads that is no gap: max(3 s, 2.5 periods of the sensor)."""
    stated = trace.channel.update_period_s
    pace = stated if stated else float(np.quantile(np.diff(trace.read_s), PACE_QUANTILE))
    return max(GAP_S, GAP_PERIODS * pace)


def hidden_stretches_s(trace: Trace, start_s: float, end_s: float) -> Array:
    """The parts of the window [n, 2] between good reads in which others failed: what was drawn there is not known."""
    t = trace.read_s
    if not len(trace.failed_s) or len(t) < 2:
        return np.zeros((0, 2))
    after = np.unique(np.searchsorted(t, trace.failed_s, side="right"))
    after = after[(after > 0) & (after < len(t))]
    parts = np.column_stack((np.maximum(t[after - 1], start_s), np.minimum(t[after], end_s)))
    return parts[parts[:, 1] > parts[:, 0]]


def _failed(trace: Trace, start_s: float, end_s: float, *, refuses: bool) -> list[Finding]:
    """Reads that failed in the window or at its edges, by reason. Too many refuse."""
    t = trace.read_s
    low = t[max(int(np.searchsorted(t, start_s, side="right")) - 1, 0)]
    high = t[min(int(np.searchsorted(t, end_s, side="left")), len(t) - 1)]
    inside = (trace.failed_s >= low) & (trace.failed_s <= high)
    count = int(inside.sum())
    if not count:
        return []
    every = count + int(np.count_nonzero((t >= low) & (t <= high)))
    most = FAILED_COUNTER_RATIO if trace.kind == "counter" else FAILED_MOST_RATIO
    fatal = refuses and count > most * every
    reasons = [trace.failed_why[i] for i in np.flatnonzero(inside)]
    return [_finding(trace, why, reasons.count(why), every, fatal=fatal) for why in dict.fromkeys(reasons)]


def _finding(trace: Trace, why: Reason, count: int, every: int, *, fatal: bool) -> Finding:
    detail = f"{count} of {every} readings of the window: {trace.examples.get(why, 'no value')}"
    return Finding(why, trace.channel.id, detail, fatal)


def _gaps(trace: Trace, start_s: float, end_s: float, allowed_s: float) -> list[Finding]:
    """Gaps that touch the window. A counter spans a gap inside; at an edge, or for a gauge, the joules are unknown."""
    t = trace.read_s
    dt = np.diff(t)
    touching = (dt > allowed_s + _ROUNDING_S) & (t[:-1] < end_s) & (t[1:] > start_s)
    findings = []
    for i in np.flatnonzero(touching):
        at_edge = t[i] < start_s or t[i + 1] > end_s
        fatal = trace.kind != "counter" or bool(at_edge)
        detail = f"{dt[i]:.3g} s without a reading, {allowed_s:.3g} s allowed"
        findings.append(Finding(Reason.GAP, trace.channel.id, detail, fatal))
    return findings + _hidden_wraps(trace, start_s, end_s)


def _hidden_wraps(trace: Trace, start_s: float, end_s: float) -> list[Finding]:
    """A gap in which the counter could have gone round once more, at the largest power seen."""
    if trace.kind != "counter" or trace.channel.max_range is None:
        return []
    dt = np.diff(trace.read_s)
    inside = (trace.read_s[:-1] < end_s) & (trace.read_s[1:] > start_s)
    if not inside.any() or dt[inside].max() * trace.segment_w.max() < trace.channel.max_range:
        return []
    limit = trace.channel.max_range / float(trace.segment_w.max())
    detail = f"between two reads the counter could wrap around unnoticed; read it more often than every {limit:.3g} s"
    return [Finding(Reason.WRAP_AMBIGUOUS, trace.channel.id, detail, fatal=True)]


def _resolution(trace: Trace, duration_s: float, least_periods: float) -> list[Finding]:
    if trace.period_s <= 0.0 or duration_s >= GOOD_PERIODS * trace.period_s:
        return []
    need = GOOD_PERIODS * trace.period_s
    detail = f"updates every {trace.period_s:.3g} s, the window has {duration_s:.3g} s; {need:.3g} s would suffice"
    if duration_s < least_periods * trace.period_s:
        return [Finding(Reason.WINDOW_TOO_SHORT, trace.channel.id, detail, fatal=True)]
    return [Finding(Reason.COARSE, trace.channel.id, detail)]
