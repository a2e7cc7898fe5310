"""Runs whose truth is known: a server of steady speed, a power that is a stated function of its work."""

from __future__ import annotations

from typing import Any

import numpy as np

from joulemill.ledger.manifest import Manifest, part_of
from joulemill.ledger.record import (
    Channel,
    Phase,
    Reading,
    RequestOutcome,
    RequestRecord,
    RunRecord,
    Scope,
    ServerSample,
)
from simulated.readings import EPOCH_S, channel, reading

IDLE_W, BUSY_W = 80.0, 300.0


def request(
    n: int,
    sent_s: float,
    first_s: float,
    last_s: float,
    output_tok: int | None = 20,
    prompt_tok: int = 100,
    **facts: Any,
) -> RequestRecord:
    chunks = tuple(float(t) for t in np.linspace(first_s, last_s, max((output_tok or 20) // 2, 1)))
    given: dict[str, Any] = {
        "phase": "load",
        "scheduled_mono_s": sent_s,
        "dispatched_mono_s": sent_s,
        "first_byte_mono_s": first_s,
        "first_token_mono_s": first_s,
        "last_token_mono_s": last_s,
        "end_mono_s": last_s,
        "outcome": RequestOutcome.OK,
        "prompt_tok": prompt_tok,
        "cached_tok": 0,
        "output_tok": output_tok,
        "chunk_mono_s": chunks,
    }
    return RequestRecord(id=f"r{n:04d}", **{**given, **facts})


def closed_loop(
    slots: int, each: int, start_s: float, ttft_s: float = 0.1, decode_s: float = 0.9
) -> list[RequestRecord]:
    """``slots`` workers that start 50 ms apart and send ``each`` requests one after another."""
    made = []
    for s in range(slots):
        t = start_s + 0.05 * s
        for _ in range(each):
            made.append(request(len(made), t, t + ttft_s, t + ttft_s + decode_s))
            t += ttft_s + decode_s
    return made


def stepped(
    c: Channel, start_s: float, end_s: float, every_s: float, shift_s: float, duration_s: float
) -> list[Reading]:
    """A counter at IDLE_W, at BUSY_W from start to end."""
    t = np.arange(0.0, duration_s + 1e-9, every_s) + shift_s
    joules = IDLE_W * (t - shift_s) + (BUSY_W - IDLE_W) * np.clip(t - start_s, 0.0, end_s - start_s)
    return [reading(c.id, x, y) for x, y in zip(t, joules, strict=True)]


def steady_run(
    *, shift_s: float = 0.0, factor: float = 1.0, channels: tuple[Channel, ...] | None = None, **facts: Any
) -> RunRecord:
    """Idle 0–20 s, load from 25 s: 4 slots × 60 requests of 1 s and 20 tokens: 80 tok/s at BUSY_W = 3.75 J/tok."""
    start = 25.0 + shift_s
    requests = closed_loop(4, 60, start)
    end = max(r.end_mono_s or 0.0 for r in requests)
    mine = (channel("meter:a:energy", scope=Scope.NODE, update_period_s=0.01),) if channels is None else channels
    raw = [r for c in mine for r in stepped(c, start, end, 0.25, shift_s, 95.0)]
    raw = [reading(r.channel, r.t_mono_s, factor * (r.value or 0.0)) for r in raw]
    phases = tuple(
        Phase(n, a + shift_s, EPOCH_S + a + shift_s, b + shift_s)
        for n, a, b in (("idle", 0.0, 20.0), ("warmup", 20.0, 25.0), ("load", 25.0, end - shift_s))
    )
    total = float(sum(r.output_tok or 0 for r in requests))
    served = [(start - 1.0, 500.0), (start + 30.0, 500.0 + total / 2), (end + 1.0, 500.0 + total)]
    given: dict[str, Any] = {
        "manifest": {"options": {"concurrency": 4, "slo_ttft_s": 0.2, "slo_tpot_s": 0.1}},
        "channels": mine,
        "readings": tuple(raw),
        "requests": tuple(requests),
        "phases": phases,
        "server": tuple(ServerSample(t, EPOCH_S + t, {"output_tok_total": v}) for t, v in served),
    }
    record = {**given, **facts}
    members = record["manifest"]
    if not isinstance(members, Manifest):
        record["manifest"] = part_of(Manifest, members)
    return RunRecord(**record)
