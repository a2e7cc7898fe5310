"""Was there one server, all the time? Restarts, times in which its counters did not answer, times of no tokens at all.

A run over such a time measures two servers, or one that was away for part of it: the reader must know before the first
figure, however whole the window looks. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from joulemill.ledger.flow import last_seen_s
from joulemill.ledger.record import RequestOutcome, RequestRecord, RunRecord, ServerSample

#: Looks at the counters that fail one after another before it is an outage, and for how long: one slow look is none.
LEAST_FAILED_LOOKS = 3
LEAST_AWAY_S = 3.0
#: Nothing from any request in flight for so long, and for so many usual times to first token, is silence. Assumed.
LEAST_SILENT_S = 10.0
SILENT_TTFT_RATIO = 5.0


@dataclass(frozen=True, slots=True)
class Outage:
    """``kind``: "restarted" (counters fell), "unreachable" (they did not answer), "silent" (no token came).

    start_s, end_s   from the start of the load;  whole: it lasted until the end of what was seen
    """

    kind: str
    start_s: float
    end_s: float
    whole: bool = False

    @property
    def text(self) -> str:
        """One clause for a report."""
        lasted = f"{self.end_s - self.start_s:.0f} s from {self.start_s:.0f} s of the load on"
        until = ", until its end" if self.whole else ""
        return {
            "restarted": f"it was restarted before {self.end_s:.0f} s of the load: its counters were reset",
            "unreachable": f"its metrics did not answer for {lasted}{until}",
            "silent": f"no token came from it for {lasted}{until}",
        }[self.kind]


def outages(record: RunRecord) -> tuple[Outage, ...]:
    """What interrupted the server from the load's start to its last request's end, in order."""
    load = [r for r in record.requests if r.phase == "load" and r.dispatched_mono_s is not None]
    sent = [r.dispatched_mono_s for r in load if r.dispatched_mono_s is not None]
    if not sent:
        return ()
    start_s = min(sent)
    end_s = max(t for t in (last_seen_s(r) for r in load) if t is not None)
    looks = sorted((s for s in record.server if s.t_mono_s >= start_s - 2.0), key=lambda s: s.t_mono_s)
    looks = [s for s in looks if s.t_mono_s <= end_s + 2.0]
    silences = [*_away(looks), *_restarts(looks), *_silences(load, start_s, end_s)]
    shifted = [Outage(o.kind, max(0.0, o.start_s - start_s), max(0.0, o.end_s - start_s), o.whole) for o in silences]
    return tuple(sorted(shifted, key=lambda o: (o.start_s, o.kind)))


def _away(looks: Sequence[ServerSample]) -> Iterator[Outage]:
    if all(s.error is not None for s in looks):
        return  # it never had counters to answer with
    begun: list[ServerSample] = []
    for look in [*looks, None]:
        if look is not None and look.error is not None:
            begun.append(look)
            continue
        if len(begun) >= LEAST_FAILED_LOOKS:
            end_s = begun[-1].t_mono_s if look is None else look.t_mono_s
            if end_s - begun[0].t_mono_s >= LEAST_AWAY_S:
                yield Outage("unreachable", begun[0].t_mono_s, end_s, look is None)
        begun = []


def _restarts(looks: Sequence[ServerSample]) -> Iterator[Outage]:
    """Times at which a counter was lower than at the look before."""
    good = [s for s in looks if s.error is None]
    for before, after in pairwise(good):
        shared = (n for n in before.values.keys() & after.values.keys() if n.endswith("_total"))
        if any(after.values[n] < before.values[n] for n in shared):
            yield Outage("restarted", before.t_mono_s, after.t_mono_s)


def _silences(load: Sequence[RequestRecord], start_s: float, end_s: float) -> Iterator[Outage]:
    """Times with requests in flight in which none of them got anything."""
    waits = [
        r.first_token_mono_s - r.dispatched_mono_s
        for r in load
        if r.outcome is RequestOutcome.OK and r.first_token_mono_s is not None and r.dispatched_mono_s is not None
    ]
    least_s = max(LEAST_SILENT_S, SILENT_TTFT_RATIO * float(np.median(waits)) if waits else 0.0)
    heard = [t for r in load for t in (*r.chunk_mono_s, r.first_byte_mono_s, r.end_mono_s) if t is not None]
    times = np.unique(np.clip(np.array([start_s, *heard, end_s]), start_s, end_s))
    for at in np.flatnonzero(np.diff(times) >= least_s):
        low, high = float(times[at]), float(times[at + 1])
        if any(_in_flight(r, low, high) for r in load):
            yield Outage("silent", low, high, high >= end_s)


def _in_flight(r: RequestRecord, low_s: float, high_s: float) -> bool:
    last = last_seen_s(r)
    asked = r.dispatched_mono_s
    return asked is not None and last is not None and asked < high_s - LEAST_SILENT_S / 2 and last >= high_s > low_s
