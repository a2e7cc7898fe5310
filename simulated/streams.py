"""The load engine against a server of an exact schedule: what it adds to TTFT and ITL."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np

from joulemill.bench.load.engine import Engine
from joulemill.bench.load.prompts import PromptGenerator
from joulemill.bench.load.workload import AskRules, RequestSource
from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.servers.client import Endpoint, open_session
from joulemill.statistics.lengths import Lengths

TTFT_S, ITL_S, TOKENS = 0.101, 0.020, 50


@dataclass(frozen=True, kw_only=True)
class Timing:
    concurrency: int
    requests: int
    ttft_p50_s: float
    ttft_p95_s: float
    scheduled_p50_s: float
    itl_p50_s: float
    lag_p99_s: float
    client_cpu_s: float
    wall_s: float


async def drive(url: str, concurrency: int, rounds: int = 4, ramp_s: float | None = None) -> Timing:
    """``rounds`` × concurrency requests in a closed loop after a warm-up of one round."""
    records: list[RequestRecord] = []
    whole_s = TTFT_S + ITL_S * (TOKENS - 1)
    workload = RequestSource(PromptGenerator(1), Lengths("fixed", 32), Lengths("fixed", TOKENS), AskRules(60.0))
    async with open_session(concurrency) as session:
        engine = Engine(session, Endpoint(url=url, model="mock-model"), workload, records.append)
        engine.begin("warmup")
        start_s, start_cpu_s = time.monotonic(), time.process_time()
        load = asyncio.create_task(engine.closed_loop(concurrency, ramp_s=whole_s if ramp_s is None else ramp_s))
        await asyncio.sleep(whole_s * 2)
        engine.begin("load", rounds * concurrency)
        await load
        wall_s, cpu_s = time.monotonic() - start_s, time.process_time() - start_cpu_s
    steady = [r for r in records if r.phase == "load"]
    bad = [r.error for r in steady if r.outcome is not RequestOutcome.OK]
    if bad:
        raise SystemExit(f"{len(bad)} requests failed: {bad[0]}")
    ttft = [r.first_token_mono_s - r.dispatched_mono_s for r in steady]  # type: ignore[operator]
    itl = [(r.last_token_mono_s - r.first_token_mono_s) / (r.output_tok - 1) for r in steady]  # type: ignore[operator]
    lag = [r.dispatched_mono_s - r.scheduled_mono_s for r in steady]  # type: ignore[operator]
    scheduled = [r.first_token_mono_s - r.scheduled_mono_s for r in steady]  # type: ignore[operator]
    p50, p95 = np.percentile(ttft, [50, 95])
    return Timing(
        concurrency=concurrency,
        requests=len(steady),
        ttft_p50_s=float(p50),
        ttft_p95_s=float(p95),
        scheduled_p50_s=float(np.median(scheduled)),
        itl_p50_s=float(np.median(itl)),
        lag_p99_s=float(np.percentile(lag, 99)),
        client_cpu_s=cpu_s,
        wall_s=wall_s,
    )


async def sleep_overshoot(seconds: float = 1.0, nap_s: float = 0.010, percentile: float = 90.0) -> float:
    """By how much a sleep of ``nap_s`` comes late with nothing else in this loop [s]."""
    late, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        due_s = time.monotonic() + nap_s
        await asyncio.sleep(nap_s)
        late.append(time.monotonic() - due_s)
    return float(np.percentile(late, percentile))


def runner() -> asyncio.Runner:
    """With uvloop where it is installed, as a run does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
