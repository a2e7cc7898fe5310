"""The bar: what the engine adds to a known timing at 128 streams. A busy machine is told from a slow client."""

from __future__ import annotations

import asyncio
import os

import pytest
from simulated.mock_server import MockPlan, mock_process
from simulated.streams import ITL_S, TOKENS, TTFT_S, Timing, drive, runner, sleep_overshoot

from joulemill.bench.machine.quiet import MachineWatch

pytestmark = pytest.mark.apart

#: TTFT 101 ms + 11 %, ITL 20 ms + 2.5 %. The server's 101 ms are a sleep: what it comes late by (on some virtual
#: machines 5 ms) is the server's, not the engine's.
TTFT_BAR_S, ITL_BAR_S = 0.112, 0.0205
#: A plain sleep that comes so late, or neighbours that take so much: the machine cannot judge anybody.
OVERSHOOT_S, OTHERS_RATIO = 0.003, 0.10
#: CPU time of the client for a chunk of an answer: 25 to 80 µs were seen, and 128 streams of 50 tok/s are 156 µs apart.
CPU_S_CHUNK = 156e-6


def timed(concurrency: int) -> tuple[Timing, float, float, float]:
    """The timing; how late sleeps come, before and after, the worse of both: short ones (90th percentile) and those of
    the server (median); what others took of the CPUs meanwhile."""
    with mock_process(MockPlan(ttft_s=TTFT_S, itl_s=ITL_S)) as url, runner() as run:
        before_s = run.run(sleep_overshoot(0.5))
        late_s = run.run(sleep_overshoot(0.5, TTFT_S, 50.0))
        watch = MachineWatch()
        timing = run.run(drive(url, concurrency, rounds=2))
        sample = watch.sample()
        after_s = run.run(sleep_overshoot(0.5))
        late_s = max(late_s, run.run(sleep_overshoot(0.5, TTFT_S, 50.0)))
    # The mock is this process's child, so its time is inside own_cpu_ratio.
    others = (sample.cpu_busy_ratio or 0.0) - (sample.own_cpu_ratio or 0.0)
    return timing, max(before_s, after_s), late_s, others


@pytest.mark.parametrize("concurrency", [1, 128])
def test_the_engine_adds_next_to_nothing(concurrency: int) -> None:
    for _ in range(2):  # what an engine adds is there every time; a neighbour's burst is not
        timing, overshoot_s, late_s, others = timed(concurrency)
        # No engine can be quicker than the server: a figure below its truth would be a wrong clock, on any machine.
        assert timing.ttft_p50_s >= TTFT_S - 0.001
        # A first token that is seen late, with the rest on time, leaves less between the tokens.
        assert timing.itl_p50_s >= ITL_S - 0.0002 - (timing.ttft_p95_s - TTFT_S) / (TOKENS - 1)
        assert timing.requests == 2 * concurrency
        good = timing.ttft_p50_s <= TTFT_BAR_S + late_s and timing.itl_p50_s <= ITL_BAR_S
        if good:
            break
        # What it costs is there on any machine: CPU time of this process for each chunk that it read and timed.
        if concurrency > 1:
            chunks = 3 * concurrency * TOKENS  # a warm-up and two rounds
            assert timing.client_cpu_s / chunks < CPU_S_CHUNK, timing
    if not good and (overshoot_s > OVERSHOOT_S or others > OTHERS_RATIO or (os.cpu_count() or 1) < 2):
        pytest.skip(
            f"machine too loaded to judge: sleeps {overshoot_s * 1e3:.1f} ms late, others use {others:.0%} of the CPUs"
        )
    assert good, timing


def test_a_slow_client_would_be_seen() -> None:
    """The bar can fail: a client whose loop is held up 40 ms at a time misses it against the same server.

    It sees a first token after whole turns of its loop: 3 × 42 ms, or 2 of over 50 ms where sleeps come late.
    """

    async def held_up(url: str) -> Timing:
        async def hold() -> None:
            import time

            while True:
                time.sleep(0.04)
                await asyncio.sleep(0.002)

        task = asyncio.create_task(hold())
        try:
            return await drive(url, 16, rounds=2)
        finally:
            task.cancel()

    with mock_process(MockPlan(ttft_s=TTFT_S, itl_s=ITL_S)) as url, runner() as run:
        timing = run.run(held_up(url))
    assert timing.ttft_p50_s > TTFT_BAR_S
