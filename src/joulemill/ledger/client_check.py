"""Was the client the bottleneck, and was the machine quiet? Pure verdicts on what a run recorded.

A load generator that is late biases the latencies that it takes. Whether it also held the server up is another
question: only lateness that is a share of a request's time can take tokens from the rate. Both verdicts are
conservative the same way: a signal that is missing makes no claim, and the verdict says which signals it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.ledger.record import MachineSample, RequestRecord, RunRecord
from joulemill.ledger.window import Loop, Window, load_requests, load_shape
from joulemill.wording import percent

#: Lag below this never matters: it is within what one timer tick and one scheduling slice of Linux take.
LAG_FLOOR_S = 0.010
#: Lag may be this share of the median TTFT: an error of 5 % is below what repeated runs differ by anyway.
LAG_TTFT_RATIO = 0.05
#: A closed loop loses this share of its rate when its requests leave late by this share of their time; an open loop
#: when its requests leave this much slower than they were due. Below it the client does not bind. Assumed.
BIND_RATIO = 0.05
#: One late request decides nothing: at least two, and more than this share of all, must be late.
LATE_COUNT, LATE_RATIO = 2, 0.01
#: An open loop of fewer requests shows no growing lateness.
FEWEST_OPEN_COUNT = 6
#: One thread runs the event loop. Waiting for it grows as ρ/(2(1−ρ)) of its service time (M/D/1): at 0.8 it is twofold,
#: and from there on it runs away.
CPU_LIMIT_RATIO = 0.8
#: Share of all CPUs that others may use. llama.cpp's threads meet at spin barriers, so that a neighbor on one core
#: holds up all the others: a tenth of the machine is already felt.
OTHERS_LIMIT_RATIO = 0.10
#: Time that the hypervisor gave to another guest; 2 % is seen on healthy shared hosts (assumed).
STEAL_LIMIT_RATIO = 0.02
#: Share of time in which some task waited for a CPU while we were idle ourselves.
PRESSURE_LIMIT_RATIO = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientVerdict:
    """Whether the latencies are the server's, and whether the rate is.

    valid                 latencies: False with ``reasons``; True where every signal that was there is within bounds
    binds                 the rate: the client kept the server waiting for more than BIND_RATIO of the time
    lateness_ratio        the share of the rate that its lateness can have cost; None where nothing tells
    dispatch_lag_p99_s    dispatched − scheduled, 99th percentile over the requests; None without any
    loop_lag_p99_s        event-loop lag: median over samples of each sample's worst of about 50 probes; None unknown
    cpu_ratio             share of one core used by the client process, mean over samples; None unknown
    cpu_max_ratio         the greatest of the samples
    """

    valid: bool
    reasons: tuple[str, ...]
    dispatch_lag_p99_s: float | None
    loop_lag_p99_s: float | None
    cpu_ratio: float | None
    cpu_max_ratio: float | None
    binds: bool = False
    lateness_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class QuietVerdict:
    """Whether the machine was busy with things that are not this run. ``quiet`` None: it could not be seen."""

    quiet: bool | None
    notes: tuple[str, ...]
    others_ratio: float | None
    steal_ratio: float | None
    pressure_ratio: float | None


def client_verdict(
    requests: Sequence[RequestRecord], machine: Sequence[MachineSample], *, closed: bool = True
) -> ClientVerdict:
    """Judge the client by the requests and machine samples of the window (callers select them).

    The bounds on lag are the greater of LAG_FLOOR_S and LAG_TTFT_RATIO × the median TTFT from dispatch.
    closed   a closed loop sends as soon as a request has ended; an open loop by its schedule
    """
    lags = [r.dispatched_mono_s - r.scheduled_mono_s for r in requests if r.dispatched_mono_s is not None]
    lag_s = float(np.percentile(lags, 99)) if lags else None
    loop_s = _median([m.loop_lag_s for m in machine])
    cpu = [m.client_cpu_ratio for m in machine if m.client_cpu_ratio is not None]
    cpu_ratio = float(np.mean(cpu)) if cpu else None
    bound_s = max(LAG_FLOOR_S, LAG_TTFT_RATIO * (_ttft_s(requests) or 0.0))
    reasons: list[str] = []
    late = sum(lag > bound_s for lag in lags)
    if lag_s is not None and late >= LATE_COUNT and late > LATE_RATIO * len(lags):
        who = f"{late} of {len(lags)} requests left late"
        reasons.append(f"{who}: by more than {_ms(bound_s)}, the 99th percentile by {_ms(lag_s)}")
    if loop_s is not None and loop_s > bound_s:
        reasons.append(f"the client's event loop lagged {_ms(loop_s)} (99th percentile), more than {_ms(bound_s)}")
    if cpu_ratio is not None and cpu_ratio > CPU_LIMIT_RATIO:
        reasons.append(f"the client used {percent(cpu_ratio)} of one core, more than {percent(CPU_LIMIT_RATIO)}")
    lost = _lateness_ratio(requests, loop_s or 0.0) if closed else _slowed_ratio(requests)
    binds = bool(reasons) and lost is not None and lost > BIND_RATIO
    return ClientVerdict(
        valid=not reasons,
        reasons=tuple(reasons),
        dispatch_lag_p99_s=lag_s,
        loop_lag_p99_s=loop_s,
        cpu_ratio=cpu_ratio,
        cpu_max_ratio=max(cpu, default=None),
        binds=binds,
        lateness_ratio=lost,
    )


def judged_requests(record: RunRecord, window: Window | None) -> list[RequestRecord]:
    """The load's requests by which the client is judged: those due in the window; all of them where none is.

    Where a tool holds requests of a rate back at a limit of its own, their wait is its plan, and none is judged.
    """
    if record.manifest.asked.max_concurrency:
        return []
    load = [r for r in load_requests(record) if r.dispatched_mono_s is not None]
    if window is None:
        return load
    return [r for r in load if window.start_s <= r.scheduled_mono_s < window.end_s] or load


def is_closed(record: RunRecord) -> bool:
    """Whether the load was a closed loop."""
    return load_shape(record.manifest.asked).loop is Loop.CLOSED


def _lateness_ratio(requests: Sequence[RequestRecord], loop_s: float) -> float | None:
    """Closed loop: mean lateness, and what the event loop may add to it ÷ the mean time from schedule to end."""
    rows = [
        (r.dispatched_mono_s - r.scheduled_mono_s, r.end_mono_s - r.scheduled_mono_s)
        for r in requests
        if r.dispatched_mono_s is not None and r.end_mono_s is not None
    ]
    whole_s = float(np.mean([t for _, t in rows])) if rows else 0.0
    return min((float(np.mean([lag for lag, _ in rows])) + loop_s) / whole_s, 1.0) if whole_s > 0.0 else None


def _slowed_ratio(requests: Sequence[RequestRecord]) -> float | None:
    """Open loop: by what share requests left slower than they were due; a lateness that does not grow costs no rate."""
    rows = sorted((r.scheduled_mono_s, r.dispatched_mono_s) for r in requests if r.dispatched_mono_s is not None)
    if len(rows) < FEWEST_OPEN_COUNT:
        return None
    due, left = (np.array(column) for column in zip(*rows, strict=True))
    third = max(len(rows) // 3, 1)
    grown_s = float(np.median((left - due)[-third:]) - np.median((left - due)[:third]))
    span_s = float(np.mean(due[-third:]) - np.mean(due[:third]))
    return max(grown_s, 0.0) / (span_s + max(grown_s, 0.0)) if span_s > 0.0 else None


def quiet_verdict(samples: Sequence[MachineSample], *, loaded: bool) -> QuietVerdict:
    """Judge the machine by ``samples``; ``loaded`` while this run itself was working.

    CPU time of others is all busy time less that of this process and its server; under load it is known only where the
    server's own share is (a server that we did not start may stand on this machine or not). Pressure counts only while
    this run was idle, as its own threads wait for each other under load.
    """
    others = [
        max(0.0, m.cpu_busy_ratio - m.own_cpu_ratio)
        for m in samples
        if m.cpu_busy_ratio is not None
        and m.own_cpu_ratio is not None
        and (m.server_cpu_ratio is not None or not loaded)
    ]
    others_ratio = float(np.mean(others)) if others else None
    steal_ratio = _mean([m.steal_ratio for m in samples])
    pressure_ratio = _mean([m.psi_some_ratio for m in samples])
    notes: list[str] = []
    when = "during the load" if loaded else "before the load"
    if others_ratio is not None and others_ratio > OTHERS_LIMIT_RATIO:
        notes.append(f"other processes used {percent(others_ratio)} of all CPUs {when}")
    if steal_ratio is not None and steal_ratio > STEAL_LIMIT_RATIO:
        notes.append(f"the hypervisor withheld {percent(steal_ratio, 1)} of CPU time {when}")
    if not loaded and pressure_ratio is not None and pressure_ratio > PRESSURE_LIMIT_RATIO:
        notes.append(f"tasks waited for a CPU {percent(pressure_ratio)} of the time {when}")
    observed = others_ratio is not None or steal_ratio is not None or pressure_ratio is not None
    return QuietVerdict((not notes) if observed else None, tuple(notes), others_ratio, steal_ratio, pressure_ratio)


def _ttft_s(requests: Sequence[RequestRecord]) -> float | None:
    return _median(
        [
            r.first_token_mono_s - r.dispatched_mono_s
            for r in requests
            if r.first_token_mono_s is not None and r.dispatched_mono_s is not None
        ]
    )


def _median(numbers: Sequence[float | None]) -> float | None:
    known = [x for x in numbers if x is not None]
    return float(np.median(known)) if known else None


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [x for x in numbers if x is not None]
    return float(np.mean(known)) if known else None


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
