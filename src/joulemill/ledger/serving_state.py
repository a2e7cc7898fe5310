"""What the server's page and the requests show of its state in a run: room for sequences, restarts, overload. Pure.

Room: a server that names its cache in tokens holds as many sequences as fit at their mean length in the window (each
holds its prompt and, on average over its life, half of its answer). Restart: its counters begin anew. Silence: its page
answers no look. Overload: an open loop of which less ends than is due, while more and more are in flight.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from joulemill.ledger.record import Outcome, RequestRecord, RunRecord, ServerSample
from joulemill.ledger.window import Loop, Window, load_requests, load_shape

#: Counters that only a new process sets back; to less than this share of what they were, or behind looks that failed.
COUNTERS = ("output_tok_total", "prompt_tok_total", "requests_total")
ANEW_RATIO = 0.1
#: Looks that fail for less than this, or fewer of them, are a page that was slow once. Assumed.
SILENT_S, SILENT_COUNT = 5.0, 3
#: An open loop is overloaded where less than this share of what is due ends, and in flight grows so much. Assumed.
SERVED_RATIO, GROWN_RATIO = 0.9, 1.3
#: Gauges of fewer samples than this tell nothing of a share of the time.
FEWEST_SAMPLES_COUNT = 5


@dataclass(frozen=True, slots=True)
class Room:
    """How many sequences the server holds at once, and who says so in which words."""

    sequences_count: float
    source: str


@dataclass(frozen=True, slots=True)
class Interruption:
    """The server's process went away in the load. Seconds since the load's start.

    restarted   it came back with counters that begin anew;  looks_count  looks at its page that failed
    starved     no request got a token meanwhile
    """

    start_s: float
    end_s: float
    restarted: bool
    looks_count: int
    starved: bool

    @property
    def text(self) -> str:
        """In words."""
        silent = f"its page did not answer for {self.end_s - self.start_s:.3g} s ({self.looks_count} looks)"
        if not self.restarted:
            return f"{silent}, {self.start_s:.3g} s into the load" + (", and no token came" if self.starved else "")
        return f"restarted {self.start_s:.3g} s into the load: its counters began anew" + (
            f"; {silent}" if self.looks_count else ""
        )


@dataclass(frozen=True, slots=True)
class Overload:
    """An open loop that asks for more than is served: requests due and ended a second in the window."""

    offered_req_s: float
    served_req_s: float


def room(record: RunRecord, window: Window | None) -> Room | None:
    """The server's slots where it, or our options, say them; else what its cache holds; None where nothing tells."""
    for owner in ("server", "options"):
        value = (record.manifest.get(owner) or {}).get("slots")
        if value:
            return Room(float(value), "slots of the server")
    cache_tok, held = cache_capacity_tok(record), None if window is None else held_tok(load_requests(record), window)
    if cache_tok is None or not held:
        return None
    source = f"{cache_tok:,.0f} tokens of cache, by the server's own page, at {held:,.0f} tokens a sequence"
    return Room(cache_tok / held, source)


def cache_capacity_tok(record: RunRecord) -> float | None:
    """Tokens that the server's KV cache holds, by its page: the last that it said in the run."""
    stated = [v for s in record.server if (v := s.values.get("kv_capacity_tok")) is not None and v > 0]
    return stated[-1] if stated else None


def held_tok(requests: Sequence[RequestRecord], window: Window) -> float | None:
    """Tokens of cache that a sequence holds, mean over the sequences' time in the window."""
    rows = [
        ((r.prompt_tok or 0) + (r.output_tok or 0) / 2, time_s)
        for r in requests
        if (time_s := _inside_s(r, window)) > 0 and (r.prompt_tok or r.output_tok)
    ]
    whole_s = sum(t for _, t in rows)
    return sum(n * t for n, t in rows) / whole_s if whole_s > 0 else None


def _inside_s(r: RequestRecord, window: Window) -> float:
    first, last = r.first_token_mono_s, r.last_token_mono_s
    if first is None or last is None:
        return 0.0
    return max(0.0, min(last, window.end_s) - max(first, window.start_s))


def waiting_ratio(record: RunRecord, window: Window) -> float | None:
    """Share of the samples in the window that show requests waiting; None where too few say."""
    shown = [
        s.values["waiting_req"] > 0
        for s in record.server
        if window.start_s <= s.t_mono_s < window.end_s and "waiting_req" in s.values
    ]
    return sum(shown) / len(shown) if len(shown) >= FEWEST_SAMPLES_COUNT else None


def overload(record: RunRecord, window: Window | None) -> Overload | None:
    """Whether an open loop asked for more than the server gave; None where not, or where the load was a closed loop."""
    if window is None or load_shape(record.manifest).loop is Loop.CLOSED:
        return None
    load = load_requests(record)
    due = sum(window.start_s <= r.scheduled_mono_s < window.end_s for r in load)
    ended = sum(
        r.outcome is Outcome.OK and r.end_mono_s is not None and window.start_s <= r.end_mono_s < window.end_s
        for r in load
    )
    if not due or ended >= SERVED_RATIO * due:
        return None
    third_s = window.duration_s / 3
    early = _in_flight_count(load, window.start_s, window.start_s + third_s)
    late = _in_flight_count(load, window.end_s - third_s, window.end_s)
    if late < GROWN_RATIO * early + 1.0:
        return None
    return Overload(due / window.duration_s, ended / window.duration_s)


def _in_flight_count(load: Sequence[RequestRecord], start_s: float, end_s: float) -> float:
    """Mean number of requests due and not ended between two times; what never ended counts to the end."""
    spans = [(r.scheduled_mono_s, end_s if r.end_mono_s is None else r.end_mono_s) for r in load]
    return sum(max(0.0, min(b, end_s) - max(a, start_s)) for a, b in spans) / (end_s - start_s)


def interruptions(record: RunRecord) -> tuple[Interruption, ...]:
    """When the server restarted or fell silent in the load, by its page and by what the requests got."""
    phase, load = record.phase("load"), load_requests(record)
    ends = [r.end_mono_s for r in load if r.end_mono_s is not None]
    if phase is None or not ends:
        return ()
    end_s = max(ends) if phase.end_mono_s is None else max(phase.end_mono_s, *ends)
    looks = sorted((s for s in record.server if phase.start_mono_s <= s.t_mono_s <= end_s), key=lambda s: s.t_mono_s)
    arrivals = np.sort([t for r in load for t in r.chunk_mono_s])
    return tuple(_found(looks, arrivals, phase.start_mono_s))


def _found(looks: Sequence[ServerSample], arrivals: np.ndarray, zero_s: float) -> Iterator[Interruption]:
    good = [n for n, s in enumerate(looks) if s.error is None and s.values]
    for before, after in pairwise([*good, len(looks)]):
        failed = looks[before + 1 : after]
        last = looks[before]
        back = looks[after] if after < len(looks) else None
        restarted = back is not None and _began_anew(last, back, bool(failed))
        silent = len(failed) >= SILENT_COUNT and failed[-1].t_mono_s - last.t_mono_s >= SILENT_S
        if not restarted and not silent:
            continue
        end_s = back.t_mono_s if back is not None else failed[-1].t_mono_s
        # A token within the first look's time may have been on its way.
        since_s = failed[0].t_mono_s if failed else last.t_mono_s
        starved = bisect_left(arrivals, since_s) == bisect_left(arrivals, failed[-1].t_mono_s if failed else end_s)
        yield Interruption(last.t_mono_s - zero_s, end_s - zero_s, restarted, len(failed), starved)


def _began_anew(before: ServerSample, after: ServerSample, away: bool) -> bool:
    """Whether counters are those of a new process. Without a look that failed between, only a fall to nearly nothing
    says so: behind a balancer pages of several servers take turns."""
    pairs = [(before.values[n], after.values[n]) for n in COUNTERS if n in before.values and n in after.values]
    fell = [(a, b) for a, b in pairs if b < a]
    return bool(fell) and (away or all(b <= ANEW_RATIO * a for a, b in fell))
