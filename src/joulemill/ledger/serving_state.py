"""What the server's page and the requests show of its state in a run: room for sequences, overload. Pure.

Room: a server that names its cache in tokens holds as many sequences as fit at their mean length in the window (each
holds its prompt and, on average over its life, half of its answer). Overload: an open loop of which less ends than is
due, while more and more are in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulemill.ledger.record import RequestOutcome, RequestRecord, RunRecord
from joulemill.ledger.window import Loop, Window, load_requests, load_shape

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
class Overload:
    """An open loop that asks for more than is served: requests due and ended a second in the window."""

    offered_req_s: float
    served_req_s: float


def room(record: RunRecord, window: Window | None) -> Room | None:
    """The server's slots where it, or our options, say them; else what its cache holds; None where nothing tells."""
    server, options = record.manifest.server, record.manifest.asked
    slots = (server.slots if server else None) or options.slots
    if slots:
        return Room(float(slots), "slots of the server")
    cache_tok, held = cache_capacity_tok(record), None if window is None else held_tok(load_requests(record), window)
    if cache_tok is None or not held:
        return None
    source = f"{cache_tok:,.0f} tokens of cache, from the server's own metrics, at {held:,.0f} tokens per sequence"
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
    if window is None or load_shape(record.manifest.asked).loop is Loop.CLOSED:
        return None
    load = load_requests(record)
    due = sum(window.start_s <= r.scheduled_mono_s < window.end_s for r in load)
    ended = sum(
        r.outcome is RequestOutcome.OK and r.end_mono_s is not None and window.start_s <= r.end_mono_s < window.end_s
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
