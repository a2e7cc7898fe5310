"""The engine against a server whose truth is known: counts, faults, retries, cancellation, schedules."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib import import_module

import pytest
from simulated.mock_server import MockPlan, MockServer

from joulemill.bench.load.arrivals import Arrival
from joulemill.bench.load.engine import Engine
from joulemill.bench.load.prompts import PromptGenerator
from joulemill.bench.load.workload import AskRules, RequestSource
from joulemill.errors import MachineError, ServerError
from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.servers.client import Endpoint, open_session
from joulemill.statistics.lengths import Lengths
from tests.support.lateness import lateness

pytestmark = pytest.mark.apart

Drive = Callable[[Engine], Awaitable[None]]


def driven(
    plan: MockPlan, drive: Drive, *, retries: int = 0, timeout_s: float = 20.0, output_tok: int = 5
) -> tuple[list[RequestRecord], Engine, MockServer]:
    records: list[RequestRecord] = []

    async def whole() -> tuple[list[RequestRecord], Engine, MockServer]:
        async with MockServer(plan) as server, open_session(8) as session:
            mill = PromptGenerator(1)
            mill.calibrate([(10, 10), (100, 100)])
            workload = RequestSource(mill, Lengths("fixed", 20), Lengths("fixed", output_tok), AskRules(timeout_s))
            engine = Engine(
                session, Endpoint(url=server.url, model="mock-model"), workload, records.append, retries=retries
            )
            await drive(engine)
            return records, engine, server

    return asyncio.run(whole())


def closed(requests: int, concurrency: int = 4) -> Drive:
    async def drive(engine: Engine) -> None:
        engine.begin("load", requests)
        await engine.closed_loop(concurrency)

    return drive


def test_a_closed_loop_sends_what_is_asked_and_never_more_at_once() -> None:
    records, engine, server = driven(MockPlan(ttft_s=0.01, itl_s=0.001), closed(30))
    assert len(records) == engine.tally.ok == server.truth.requests == 30
    assert sum(r.output_tok or 0 for r in records) == server.truth.output_tok == 150
    assert {r.prompt_tok for r in records} == {20}
    marks = [(r.dispatched_mono_s or 0.0, 1) for r in records] + [(r.end_mono_s or 0.0, -1) for r in records]
    level = peak = 0
    for _, step in sorted(marks):
        level += step
        peak = max(peak, level)
    assert peak == 4
    assert engine.spent.is_set()


def test_each_record_is_in_the_order_of_time_and_of_its_own_prompt() -> None:
    records, _, server = driven(MockPlan(ttft_s=0.01, itl_s=0.001), closed(12))
    for r in records:
        times = [
            r.scheduled_mono_s,
            r.dispatched_mono_s,
            r.first_byte_mono_s,
            r.first_token_mono_s,
            r.last_token_mono_s,
        ]
        assert times == sorted(times)  # type: ignore[type-var]
        assert len(r.chunk_mono_s) == 5
    prompts = {body["messages"][0]["content"] for body in server.truth.bodies}
    assert len(prompts) == 12


def test_the_ramp_spreads_the_starts() -> None:
    async def drive(engine: Engine) -> None:
        engine.begin("load", 4)
        await engine.closed_loop(4, ramp_s=0.4)

    with lateness() as late:
        records, _, _ = driven(MockPlan(ttft_s=1.0), drive, output_tok=1)
    starts = sorted(r.scheduled_mono_s for r in records)
    assert [b - a for a, b in itertools.pairwise(starts)] == pytest.approx([0.1] * 3, abs=0.01 + 2 * late.worst_s)


def test_an_open_loop_keeps_its_schedule_whatever_the_server_does() -> None:
    arrivals = [Arrival(0.05 * i, 10 + i, 3) for i in range(10)]

    async def drive(engine: Engine) -> None:
        engine.begin("load")
        await engine.open_loop(arrivals, time.monotonic())

    records, _, _ = driven(MockPlan(ttft_s=0.4, slots=1), drive)  # a queue builds up
    records.sort(key=lambda r: r.scheduled_mono_s)
    start = records[0].scheduled_mono_s
    assert [r.scheduled_mono_s - start for r in records] == pytest.approx([a.at_s for a in arrivals])
    lags = [(r.dispatched_mono_s or 0.0) - r.scheduled_mono_s for r in records]
    assert sorted(lags)[5] < 0.4, "a request that waited for the one before would leave 0.4 s late, then 0.8 s, …"
    assert [r.asked_prompt_tok for r in records] == [a.input_tok for a in arrivals]
    assert (records[-1].first_token_mono_s or 0.0) - records[
        -1
    ].scheduled_mono_s > 3.0  # 9 × 0.4 s of queue, less its due


def test_refusals_are_retried_and_counted() -> None:
    records, engine, server = driven(
        MockPlan(fault="429", fault_count=3, retry_after="0"), closed(6, concurrency=1), retries=3
    )
    assert [r.outcome for r in records] == [RequestOutcome.OK] * 6
    assert sum(r.retries for r in records) == engine.tally.retries == 3
    assert server.truth.requests == 9


def test_the_wait_for_a_retry_is_in_the_latency() -> None:
    plan = MockPlan(ttft_s=0.01, fault="429", fault_count=1, retry_after="1")
    (record,), _, _ = driven(plan, closed(1, concurrency=1), retries=1)
    assert record.retries == 1
    assert 1.0 <= (record.end_mono_s or 0.0) - (record.dispatched_mono_s or 0.0) < 5.0


def test_without_retries_a_refusal_is_a_failure_with_its_status() -> None:
    records, engine, _ = driven(MockPlan(fault="429", fault_count=2), closed(5, concurrency=1))
    assert Counter(r.outcome for r in records) == {RequestOutcome.HTTP_ERROR: 2, RequestOutcome.OK: 3}
    assert records[0].http_status == 429
    assert (engine.tally.failed, engine.tally.ok) == (2, 3)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("500", RequestOutcome.HTTP_ERROR),
        ("cut", RequestOutcome.CUT_SHORT),
        ("reset", RequestOutcome.CUT_SHORT),
        ("no_usage", RequestOutcome.NO_USAGE),
        ("no_tokens", RequestOutcome.NO_TOKENS),
        ("hang", RequestOutcome.TIMEOUT),
    ],
)
def test_a_fault_in_the_middle_is_a_record_and_the_load_goes_on(fault: str, outcome: RequestOutcome) -> None:
    records, engine, _ = driven(
        MockPlan(fault=fault, fault_after=3, fault_count=2), closed(10, concurrency=2), retries=2, timeout_s=0.5
    )
    assert Counter(r.outcome for r in records) == {RequestOutcome.OK: 8, outcome: 2}
    assert all(r.error for r in records if r.outcome is not RequestOutcome.OK)
    assert engine.tally.failed == 2


def test_a_server_that_only_fails_ends_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("joulemill.bench.load.engine"), "GIVE_UP_S", 0.3)
    with pytest.raises(ServerError, match=r"failed in the middle of the run.*500") as caught:
        driven(MockPlan(fault="500", fault_after=5), closed(1000))
    assert caught.value.exit_code == 1


def test_a_failing_server_is_not_hammered() -> None:
    async def drive(engine: Engine) -> None:
        engine.begin("load")
        work = asyncio.create_task(engine.closed_loop(2))
        await asyncio.sleep(1.0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    records, _, _ = driven(MockPlan(fault="500"), drive)
    assert 3 <= len(records) <= 12  # 0.1, 0.2, 0.4, 0.8 s of pause in each of two slots; fewer on a busy machine


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_cancelled_requests_are_recorded_with_what_they_had(loop: str) -> None:
    async def drive(engine: Engine) -> None:
        engine.begin("load")
        arrivals = [Arrival(0.0)] * 3
        work = asyncio.create_task(
            engine.closed_loop(3) if loop == "closed" else engine.open_loop(arrivals, time.monotonic())
        )
        await asyncio.sleep(0.5)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    with lateness() as late:
        records, engine, _ = driven(MockPlan(ttft_s=0.1, itl_s=0.05), drive, output_tok=1000)
    assert [r.outcome for r in records] == [RequestOutcome.CANCELLED] * 3
    apart = late.worst_s / 0.05  # chunks that a machine so late sends or sees too few or too many of
    assert all(2 - apart <= len(r.chunk_mono_s) <= 9 + apart for r in records)
    assert all(r.output_tok is None for r in records)  # chunks are no count of tokens
    assert engine.tally.cancelled == 3


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_sink_that_fails_ends_the_load(loop: str) -> None:
    async def drive(engine: Engine) -> None:
        def full(_: RequestRecord) -> None:
            raise MachineError("the disk is full")

        engine.sink = full
        engine.begin("load")
        if loop == "closed":
            await engine.closed_loop(2)
        else:
            await engine.open_loop([Arrival(0.1 * i) for i in range(1000)], time.monotonic())

    start = time.monotonic()
    with pytest.raises(MachineError, match="full"):
        driven(MockPlan(), drive)
    assert time.monotonic() - start < 60, "of 100 s of arrivals"


def test_a_stop_lets_what_runs_end() -> None:
    async def drive(engine: Engine) -> None:
        engine.begin("load")
        work = asyncio.create_task(engine.closed_loop(3))
        await asyncio.sleep(0.3)
        engine.stop()
        await work

    records, engine, server = driven(MockPlan(ttft_s=0.1, itl_s=0.01), drive)
    assert {r.outcome for r in records} == {RequestOutcome.OK}
    assert len(records) == engine.tally.sent == server.truth.requests


def test_the_same_seed_asks_the_same_questions() -> None:
    mills = [PromptGenerator(seed) for seed in (4, 4, 5)]
    loads = [RequestSource(m, Lengths("uniform", 10, 90), Lengths("uniform", 1, 50), AskRules()) for m in mills]
    first, again, other = ([load.job(i) for i in range(50)] for load in loads)
    assert first == again
    assert first != other
    assert len({j.asked_prompt_tok for j in first}) > 20
