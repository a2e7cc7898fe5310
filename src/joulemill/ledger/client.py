"""Was the client the bottleneck, and was the machine quiet? Pure verdicts on what a run recorded.

A load generator that is late measures itself. Both verdicts are conservative the same way: a signal that is missing
makes no claim, and the verdict says which signals it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.ledger.record import MachineSample, RequestRecord

#: Lag below this never matters: it is within what one timer tick and one scheduling slice of Linux take.
LAG_FLOOR_S = 0.010
#: Lag may be this share of the median TTFT: an error of 5 % is below what repeated runs differ by anyway.
LAG_TTFT_RATIO = 0.05
#: One thread runs the event loop. Waiting for it grows as ρ/(2(1−ρ)) of its service time (M/D/1): at 0.8 it is twofold,
#: and from there on it runs away.
CPU_LIMIT_RATIO = 0.8
#: Share of all CPUs that others may use. llama.cpp's threads meet at spin barriers, so that a neighbour on one core
#: holds up all the others: a tenth of the machine is already felt.
OTHERS_LIMIT_RATIO = 0.10
#: Time that the hypervisor gave to another guest; 2 % is seen on healthy shared hosts (assumed).
STEAL_LIMIT_RATIO = 0.02
#: Share of time in which some task waited for a CPU while we were idle ourselves.
PRESSURE_LIMIT_RATIO = 0.10


@dataclass(frozen=True, slots=True)
class ClientVerdict:
    """Whether the latencies are the server's.

    valid                 False with ``reasons``; True where every signal that was there is within bounds
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


@dataclass(frozen=True, slots=True)
class QuietVerdict:
    """Whether the machine was busy with things that are not this run. ``quiet`` None: it could not be seen."""

    quiet: bool | None
    notes: tuple[str, ...]
    others_ratio: float | None
    steal_ratio: float | None
    pressure_ratio: float | None


def client_verdict(requests: Sequence[RequestRecord], machine: Sequence[MachineSample]) -> ClientVerdict:
    """Judge the client by the requests and machine samples of the load phase (callers select them).

    The bounds on lag are the greater of LAG_FLOOR_S and LAG_TTFT_RATIO × the median TTFT from dispatch.
    """
    lags = [r.dispatched_mono_s - r.scheduled_mono_s for r in requests if r.dispatched_mono_s is not None]
    lag_s = float(np.percentile(lags, 99)) if lags else None
    loop_s = _median([m.loop_lag_s for m in machine])
    cpu = [m.client_cpu_ratio for m in machine if m.client_cpu_ratio is not None]
    cpu_ratio = float(np.mean(cpu)) if cpu else None
    bound_s = max(LAG_FLOOR_S, LAG_TTFT_RATIO * (_ttft_s(requests) or 0.0))
    reasons: list[str] = []
    if lag_s is not None and lag_s > bound_s:
        reasons.append(f"requests left late: 99th percentile {_ms(lag_s)} after their time, more than {_ms(bound_s)}")
    if loop_s is not None and loop_s > bound_s:
        reasons.append(f"the client's event loop lagged {_ms(loop_s)} (99th percentile), more than {_ms(bound_s)}")
    if cpu_ratio is not None and cpu_ratio > CPU_LIMIT_RATIO:
        reasons.append(f"the client used {cpu_ratio:.0%} of one core, more than {CPU_LIMIT_RATIO:.0%}")
    return ClientVerdict(not reasons, tuple(reasons), lag_s, loop_s, cpu_ratio, max(cpu) if cpu else None)


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
        notes.append(f"other processes used {others_ratio:.0%} of all CPUs {when}")
    if steal_ratio is not None and steal_ratio > STEAL_LIMIT_RATIO:
        notes.append(f"the hypervisor withheld {steal_ratio:.1%} of CPU time {when}")
    if not loaded and pressure_ratio is not None and pressure_ratio > PRESSURE_LIMIT_RATIO:
        notes.append(f"tasks waited for a CPU {pressure_ratio:.0%} of the time {when}")
    seen = others_ratio is not None or steal_ratio is not None or pressure_ratio is not None
    return QuietVerdict((not notes) if seen else None, tuple(notes), others_ratio, steal_ratio, pressure_ratio)


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
