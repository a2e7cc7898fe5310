"""The end of a monitor: a signal is taken wherever the loop is, nothing long is begun after it, nothing is waited for.

No test says how fast: the machine does other work. Each says what is not done, or not waited for.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from types import SimpleNamespace

import pytest

from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope, ServerSample
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.config import MonitorConfig, TargetConfig
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import Interval, SiteFacts, TokenKind
from joulemill.monitor.target import ENDED, WatchedTarget
from joulemill.monitor.watching import _ended_by_signals

TARGET = TargetConfig(name="a", model="m", metrics_url="http://127.0.0.1:9/")


class OneBoard:
    """A board of 300 W, read by the test."""

    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(
                id="b:e", meter="b", device="GPU-0", scope=Scope.DEVICE, quantity=Quantity.ENERGY, basis=Basis.MEASURED
            ),
        )

    def read(self) -> tuple[Reading, ...]:
        return ()

    def close(self) -> None:
        pass


def _watched() -> WatchedTarget:
    meters = TargetMeters([OneBoard()], 1.0, 1000.0, {Scope.DEVICE: 1})
    watched = WatchedTarget(TARGET, meters, SiteFacts(site="default"))
    start_s = time.monotonic()
    meters.take([Reading("b:e", start_s - 50 + t, t, 300.0 * t) for t in range(100)])
    watched.since_mono_s = start_s
    return watched


def _intervals(watched: WatchedTarget) -> list[Interval]:
    start_s = watched.since_mono_s
    for t in (0.0, 10.0):
        sample = ServerSample(start_s + t, t, {"output_tok_total": 100 * t, "running_req": 1.0})
        intervals = watched.account(sample)
    return [*intervals, *watched.finish()]


def test_once_the_time_is_over_tokens_are_told_and_joules_are_unknown_with_the_reason() -> None:
    in_time = _intervals(_watched())[-1]
    assert in_time.tokens[TokenKind.OUTPUT] == 1000 and in_time.energy["device"].energy_j == pytest.approx(3000.0)
    late = _watched()
    late.until_s = -math.inf
    interval = _intervals(late)[-1]
    assert interval.tokens[TokenKind.OUTPUT] == 1000 and interval.observed
    assert interval.energy == {} and interval.binding_reason == ENDED
    assert [(f.scope, f.text, f.refused) for f in interval.findings] == [("device", ENDED, True)]


def test_a_signal_is_taken_while_the_loop_is_busy() -> None:
    hurried: list[float] = []

    async def busy() -> bool:
        stop = asyncio.Event()
        source = SimpleNamespace(hurry=lambda: hurried.append(time.monotonic()))
        before = signal.getsignal(signal.SIGTERM)
        with _ended_by_signals(asyncio.get_running_loop(), stop, source):  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # no await: the loop has had no turn since
            taken = len(hurried) == 1 and not stop.is_set()
            await asyncio.wait_for(stop.wait(), 60.0)
        return taken and signal.getsignal(signal.SIGTERM) is before

    assert asyncio.run(busy())


def test_pages_that_never_answer_are_not_waited_for_and_sums_leave_the_loop_its_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two targets whose pages hang, and three that are summed: no two sums in one turn of the loop."""
    turns, turn_of_sum = [0], []

    async def sample(watched: WatchedTarget, session: object, timeout_s: float) -> ServerSample:
        if watched.config.name.startswith("hangs"):
            await asyncio.sleep(3600.0)
        return ServerSample(time.monotonic(), time.time(), {"output_tok_total": 1.0})

    def account(watched: WatchedTarget, after: ServerSample) -> list[Interval]:
        turn_of_sum.append(turns[0])
        return []

    async def watch() -> None:
        names = ["hangs-0", "hangs-1", "a", "b", "c"]
        targets = [{"name": n, "model": "m", "metrics_url": "http://127.0.0.1:9/"} for n in names]
        config = {"period_s": 0.01, "timeout_s": 3600, "target": targets}
        monitor, stop = Monitor(MonitorConfig.model_validate(config)), asyncio.Event()
        loop = asyncio.get_running_loop()

        def turn() -> None:
            turns[0] += 1
            loop.call_soon(turn)

        turn()
        running = asyncio.create_task(monitor.run(stop))
        while len(turn_of_sum) < 30:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(running, 120.0)  # a page has an hour to answer: nobody waits for it

    monkeypatch.setattr(WatchedTarget, "sample", sample)
    monkeypatch.setattr(WatchedTarget, "account", account)
    asyncio.run(watch())
    assert len(set(turn_of_sum)) == len(turn_of_sum)
