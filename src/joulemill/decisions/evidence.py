"""What a run shows for or against each constraint: counters, shares of time, and how the rate answers to load. Pure.

All of it is taken over the steady window. What a run does not show is None; nothing is inferred from its absence.

The answer to load comes from the run itself. A decode step of B sequences takes t(B) = a + b·B; requests that ran alone
(the ones that size the prompts) give t(1), the window gives t(B). Then, with s = t(B)/t(1),

    b/(a+b) = (s − 1)/(B − 1),    rate = B/t(B),    d ln rate / d ln B = a / t(B) = (1 − (s−1)/(B−1)) / s

with t(1) = 1, and where a step of more sequences touches more weights (experts), a·φ(B) in place of a, φ(1) = 1. It
is 1 where more sequences cost no time (the load binds), 0 where time grows in proportion (the machine binds).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.client_check import client_verdict, is_closed, judged_requests, quiet_verdict
from joulemill.ledger.clock_offset import busy_spans
from joulemill.ledger.latency import tpot_s
from joulemill.ledger.plausibility import LIMIT_MARGIN_RATIO
from joulemill.ledger.record import Quantity, RequestOutcome, RequestRecord, RunRecord
from joulemill.ledger.serving_state import room
from joulemill.ledger.window import Loop, Window, load_requests, load_shape
from joulemill.physics.production.ceilings import CeilingValue
from joulemill.statistics.normal import Z_95

#: Fewer lone requests than this, or fewer tokens in each, and their speed counts as not known. Assumed.
FEWEST_ALONE, FEWEST_ALONE_TOK = 2, 4
#: Lone requests that differ by more than this factor, or are slower than steps of many by more than noise, tell
#: nothing: a step of more sequences never takes less time, so something else held the machine up. Assumed.
MOST_SPREAD_RATIO, LEAST_SLOWER_RATIO = 2.0, 0.9
#: How servers refuse: too many at once; longer than the context (llama.cpp, vLLM, SGLang, TGI, TensorRT-LLM say these).
BUSY, TOO_LONG = (429, 503), (400, 413, 422)
CONTEXT_WORDS = ("context", "max_seq_len", "max_input", "maximum length", "must have less than")
#: Fewer sequences at once than this tell nothing of the answer to load.
FEWEST_TOGETHER_COUNT = 1.5


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the weights that a step touches grow with its sequences B: φ(B) over those of a lone one, and dφ/d ln B."""

    grown_ratio: float
    slope_ratio: float


#: Every step touches all weights, as in a dense model.
EVEN = Sharing(1.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run's evidence; ``*_ratio`` are shares of the window unless said.

    achieved_tok_s, ceilings   the rate, and what it is held against
    client_reasons      why the client itself was the bottleneck; empty where it was not, or nothing was seen
    client_late         in what it was late where that is too little of a request's time to bind
    closed, concurrency_count, slots_count   the load's loop, and how many sequences the server holds, where told
    in_flight_count, decoding_count          means over the window
    served_ratio        open loop: requests that ended well ÷ requests that were due, of which there were due_count
    empty_ratio         share of the window in which no request at all was in flight
    refused_ratio       share of requests that the server refused: too long for its context, or too many at once
    waiting_ratio       share of the server's samples with requests waiting;  waiting_count, running_count  means
    kv_use_ratio        mean use of the cache;  preemptions_count  in the window
    cut_ratio           share of answers that ended at the length limit with fewer tokens than were asked for
    throttle_power_ratio, throttle_thermal_ratio   worst device
    limit_use_ratio     mean draw ÷ enforced power limit, worst device;  utilization_ratio  least busy device
    server_cpu_ratio, threads_count, cpus_count    of the embedded server;  others_ratio, steal_ratio  of its machine
    devices_count       over which the model is spread
    attained_ratio      share of requests that met the stated targets
    load_elasticity     d ln rate / d ln sequences at once, with its interval; unknown with reason
    """

    achieved_tok_s: Figure
    ceilings: tuple[CeilingValue, ...] = ()
    client_reasons: tuple[str, ...] = ()
    client_late: tuple[str, ...] = ()
    closed: bool = True
    concurrency_count: float | None = None
    slots_count: float | None = None
    in_flight_count: float | None = None
    decoding_count: float | None = None
    served_ratio: float | None = None
    due_count: float | None = None
    empty_ratio: float | None = None
    waiting_ratio: float | None = None
    waiting_count: float | None = None
    running_count: float | None = None
    kv_use_ratio: float | None = None
    preemptions_count: float | None = None
    cut_ratio: float | None = None
    refused_ratio: float | None = None
    throttle_power_ratio: float | None = None
    throttle_thermal_ratio: float | None = None
    limit_use_ratio: float | None = None
    utilization_ratio: float | None = None
    server_cpu_ratio: float | None = None
    threads_count: float | None = None
    cpus_count: float | None = None
    others_ratio: float | None = None
    steal_ratio: float | None = None
    attained_ratio: float | None = None
    devices_count: float | None = None
    load_elasticity: Figure = field(default_factory=lambda: unknown("1", "no request ran alone"))


def gather(
    record: RunRecord,
    account: Account,
    ceilings: Sequence[CeilingValue],
    modelled: Figure,
    sharing: Sharing = EVEN,
) -> Evidence:
    """The evidence of ``record``. ``modelled``: the architecture's answer to load, where the run shows none itself."""
    shape, window = load_shape(record.manifest.asked), account.window
    facts: dict[str, Any] = {"closed": shape.loop is Loop.CLOSED, "concurrency_count": shape.concurrency}
    if window is None:
        return Evidence(achieved_tok_s=account.output_rate, ceilings=tuple(ceilings), **facts)
    load = load_requests(record)
    held, server = room(record, window), _server(record, window)
    shown = load_elasticity(record.requests, load, window, sharing, server["preemptions_count"] or 0.0)
    return Evidence(
        achieved_tok_s=account.output_rate,
        ceilings=tuple(ceilings),
        attained_ratio=account.latency.attained_ratio if account.latency.targets.stated else None,
        load_elasticity=shown if shown.known else modelled,
        slots_count=None if held is None else held.sequences_count,
        in_flight_count=_together(load, window, "dispatched_mono_s", "end_mono_s"),
        decoding_count=_together(load, window, "first_token_mono_s", "last_token_mono_s"),
        served_ratio=_served(load, window),
        due_count=float(_due_count(load, window)),
        empty_ratio=_empty(record.requests, window),
        cut_ratio=_cut(load, window),
        devices_count=float(record.manifest.device_count),
        refused_ratio=_refused(load, window),
        **facts,
        **server,
        **_devices(record, window),
        **_machine(record, window),
    )


def load_elasticity(
    every: Sequence[RequestRecord],
    load: Sequence[RequestRecord],
    window: Window,
    sharing: Sharing = EVEN,
    preempted_count: float = 0.0,
) -> Figure:
    """d ln rate / d ln sequences at once (see above), its interval from the spread of both speeds.

    preempted_count   sequences that were preempted in the window: the slowest so many, at most half, waited for cache,
                      which is not the time of their steps
    """
    alone = [_step_s(r) for r in every if r.phase == "calibrate"]
    single = [t for t in alone if t is not None]
    inside = [r for r in load if window.start_s <= (r.first_token_mono_s or -1.0) < window.end_s]
    steps = sorted(t for t in (_step_s(r) for r in inside) if t is not None)
    steps = steps[: len(steps) - min(int(preempted_count), len(steps) // 2)]
    count = _together(load, window, "first_token_mono_s", "last_token_mono_s")
    if len(single) < FEWEST_ALONE or not steps:
        return unknown("1", "too few requests ran alone to know the speed of one")
    if count is None or count < FEWEST_TOGETHER_COUNT:
        return unknown("1", "too few sequences ran at once to see whether throughput scales with concurrency")
    lone, together = float(np.median(single)), float(np.mean(steps))
    if max(single) > MOST_SPREAD_RATIO * min(single):
        return unknown("1", "requests that ran alone differ too much: something else held the machine up")
    error = np.hypot(_error(single, lone), _error(steps, together))
    slower = together / lone
    if slower < LEAST_SLOWER_RATIO:
        return unknown("1", "requests that ran alone were slower than those that ran together: not by their load")
    values = [
        answer_to_load_ratio(slower * float(np.exp(sign * Z_95 * error)), count, sharing) for sign in (0.0, 1.0, -1.0)
    ]
    source = f"steps of {count:.1f} sequences {slower:.2f} times as long as of a lone one"
    return Figure(values[0], "1", Basis.MEASURED, low=min(values), high=max(values), level=0.95, source=source)


def answer_to_load_ratio(slower_ratio: float, together_count: float, sharing: Sharing = EVEN) -> float:
    """d ln(B/t) / d ln B of t(B) = a·φ(B) + b·B, from t(B)/t(1) and B > 1; held to 0 … 1."""
    grown = min(sharing.grown_ratio, 0.999 * together_count)
    share = min(max((slower_ratio - grown) / (together_count - grown), 0.0), 1.0)
    step = (1.0 - share) * grown + share * together_count
    return min(max((1.0 - share) * (grown - sharing.slope_ratio) / step, 0.0), 1.0)


def _error(values: Sequence[float], middle: float) -> float:
    return float(np.std(values, ddof=1)) / middle / len(values) ** 0.5 if len(values) > 1 else 0.1


def _step_s(r: RequestRecord) -> float | None:
    return tpot_s(r) if r.outcome is RequestOutcome.OK and (r.output_tok or 0) >= FEWEST_ALONE_TOK else None


def _together(rows: Sequence[RequestRecord], window: Window, first: str, last: str) -> float | None:
    spans = [(getattr(r, first), getattr(r, last)) for r in rows]
    held = [
        max(0.0, min(b, window.end_s) - max(a, window.start_s)) for a, b in spans if a is not None and b is not None
    ]
    return sum(held) / window.duration_s if held else None


def _empty(every: Sequence[RequestRecord], window: Window) -> float | None:
    """Share of the window in which nothing was in flight, whatever it was for; None where the times are not known.

    A request whose end nobody saw counts as in flight to the end.
    """
    if not every or any(r.dispatched_mono_s is None and r.end_mono_s is not None for r in every):
        return None
    spans = [(r.dispatched_mono_s, window.end_s if r.end_mono_s is None else r.end_mono_s) for r in every]
    busy = busy_spans(spans).clip(window.start_s, window.end_s)
    return 1.0 - float(np.diff(busy).sum()) / window.duration_s


def _served(load: Sequence[RequestRecord], window: Window) -> float | None:
    """Requests that ended well in the window ÷ those that were due as much earlier as the fastest one took."""
    due = _due_count(load, window)
    ended = sum(r.outcome is RequestOutcome.OK for r in _ended(load, window))
    return ended / due if due else None


def _due_count(load: Sequence[RequestRecord], window: Window) -> int:
    well = [r for r in load if r.outcome is RequestOutcome.OK and r.end_mono_s is not None]
    least_s = min((r.end_mono_s - r.scheduled_mono_s for r in well if r.end_mono_s is not None), default=0.0)
    return sum(window.start_s <= r.scheduled_mono_s + least_s < window.end_s for r in load)


def _ended(load: Sequence[RequestRecord], window: Window) -> list[RequestRecord]:
    return [r for r in load if window.start_s <= (r.end_mono_s or -1.0) < window.end_s]


def _refused(load: Sequence[RequestRecord], window: Window) -> float | None:
    """Of all requests that were under way in the window, not of those that ended: what is refused ends at once."""
    under_way = [
        r
        for r in load
        if r.dispatched_mono_s is not None
        and r.dispatched_mono_s < window.end_s
        and (r.end_mono_s is None or r.end_mono_s >= window.start_s)
    ]
    refused = [r for r in under_way if r.outcome is RequestOutcome.HTTP_ERROR and _for_want_of_room(r)]
    return len(refused) / len(under_way) if under_way else None


def _for_want_of_room(r: RequestRecord) -> bool:
    text = (r.error or "").lower()
    return r.http_status in BUSY or (r.http_status in TOO_LONG and any(word in text for word in CONTEXT_WORDS))


def _cut(load: Sequence[RequestRecord], window: Window) -> float | None:
    ended = _ended(load, window)
    known = [r for r in ended if r.asked_output_tok and r.output_tok is not None and r.finish_reason is not None]
    cut = [r for r in known if r.finish_reason == "length" and (r.output_tok or 0) < (r.asked_output_tok or 0)]
    return len(cut) / len(known) if known else None


def _server(record: RunRecord, window: Window) -> dict[str, Any]:
    samples = [s.values for s in record.server if window.start_s <= s.t_mono_s < window.end_s and s.values]
    waiting = [v["waiting_req"] for v in samples if "waiting_req" in v]
    preempted = [v["preemptions_total"] for v in samples if "preemptions_total" in v]
    return {
        "waiting_ratio": _mean(float(w > 0) for w in waiting),
        "waiting_count": _mean(waiting),
        "running_count": _mean(v["running_req"] for v in samples if "running_req" in v),
        "kv_use_ratio": _mean(v["kv_use_ratio"] for v in samples if "kv_use_ratio" in v),
        "preemptions_count": max(preempted[-1] - preempted[0], 0.0) if len(preempted) > 1 else None,
    }


def _devices(record: RunRecord, window: Window) -> dict[str, Any]:
    inside: dict[str, list[tuple[float, float]]] = {}
    for r in record.readings:
        if r.value is not None and window.start_s <= r.t_mono_s <= window.end_s:
            inside.setdefault(r.channel, []).append((r.t_mono_s, r.value))
    by: dict[Quantity, dict[str, list[tuple[float, float]]]] = {}
    for c in record.channels:
        if len(inside.get(c.id, ())) > 1:
            by.setdefault(c.quantity, {})[c.device] = inside[c.id]
    draw = {d: _speed(rows) for d, rows in by.get(Quantity.ENERGY, {}).items()}
    draw |= {d: _level(rows) for d, rows in by.get(Quantity.POWER, {}).items() if d not in draw}
    limits = {d: _level(rows) for d, rows in by.get(Quantity.POWER_LIMIT, {}).items()}
    uses = [draw[d] / limit for d, limit in limits.items() if d in draw and limit > 0]
    uses = [u for u in uses if u <= LIMIT_MARGIN_RATIO]  # a counter that jumped says nothing of the limit
    return {
        "throttle_power_ratio": _worst(by.get(Quantity.THROTTLE_POWER)),
        "throttle_thermal_ratio": _worst(by.get(Quantity.THROTTLE_THERMAL)),
        "limit_use_ratio": max(uses) if uses else None,
        "utilization_ratio": min(map(_level, by.get(Quantity.UTILIZATION, {}).values()), default=None),
    }


def _speed(rows: Sequence[tuple[float, float]]) -> float:
    return max(rows[-1][1] - rows[0][1], 0.0) / max(rows[-1][0] - rows[0][0], 1e-9)


def _level(rows: Sequence[tuple[float, float]]) -> float:
    return float(np.mean([v for _, v in rows]))


def _worst(devices: Mapping[str, Sequence[tuple[float, float]]] | None) -> float | None:
    return min(max(map(_speed, devices.values())), 1.0) if devices else None


def _machine(record: RunRecord, window: Window) -> dict[str, Any]:
    samples = [m for m in record.machine if window.start_s <= m.t_mono_s < window.end_s]
    client = client_verdict(judged_requests(record, window), samples, closed=is_closed(record))
    quiet = quiet_verdict(samples, loaded=True)
    threads = record.manifest.threads if record.manifest.embedded else None
    return {
        "client_reasons": client.reasons if client.binds else (),
        "client_late": () if client.binds else client.reasons,
        "server_cpu_ratio": _mean(m.server_cpu_ratio for m in samples if m.server_cpu_ratio is not None),
        "threads_count": float(threads) if threads else None,
        "cpus_count": record.manifest.cpus,
        "others_ratio": quiet.others_ratio,
        "steal_ratio": quiet.steal_ratio,
    }


def _mean(numbers: Iterable[float]) -> float | None:
    known = list(numbers)
    return float(np.mean(known)) if known else None


def keeps_up(evidence: Evidence, waits: float | None) -> bool:
    """Whether the server serves all that it did not refuse: then nothing but the want of room lost those requests.

    waits   share of the time in which requests waited; None unknown
    """
    if waits is not None:
        return waits <= 0.3
    return evidence.served_ratio is not None and evidence.served_ratio + (evidence.refused_ratio or 0.0) >= 0.85
