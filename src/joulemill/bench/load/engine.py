"""The load engine: sends jobs on a closed loop or an absolute schedule and hands on a record of each as it ends.

Closed loop: ``concurrency`` slots, each sending its next job when its last one ended; a job is *scheduled* at the end
of the one before. The slots start one after the other over ``ramp_s``: a start in one step would make a burst that
no later moment of the run has, put the client's own work of connecting into the first TTFTs, and keep all slots of a
server with constant timing in lockstep for ever. The ramp belongs into the warm-up, so it is never counted.

Open loop: every job has its time beforehand, and is sent then whatever the server does.

Nothing is hidden: a retry counts in its record, whose dispatch is the first one; time-outs, refusals and what was
still running at the end are records too. It knows the clock and the server, and no files.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from joulemill.bench.load.arrivals import Arrival
from joulemill.bench.load.conversation import Conversation
from joulemill.bench.load.records import record_of_answer
from joulemill.bench.load.workload import Job, RequestSource
from joulemill.errors import ServerError
from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.servers.client import Answer, Endpoint, Transcript, ask

Sink = Callable[[RequestRecord], None]
#: Refusals that say "later": too many requests, and the gateway's three ways of not having a server just now.
LATER = frozenset({429, 502, 503, 504})
#: The server counts as failed when nothing but failures came for this long …
GIVE_UP_S = 2.0
#: … and at least so many.
GIVE_UP_COUNT = 10
#: A slot whose request failed waits so long, doubling, before its next.
_PAUSE_S = (0.1, 1.0)
_LONGEST_RETRY_S = 60.0
#: A wait of this long is told.
_TOLD_RETRY_S = 5.0


@dataclass(slots=True)
class RequestCounts:
    """Counts over the whole run; ``failed`` are records that are neither ok nor cancelled."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    last_error: str | None = None


class Engine:
    """Drives one endpoint. ``begin`` names the phase of what is sent from then on; ``stop`` ends the sending."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        workload: RequestSource,
        sink: Sink,
        *,
        retries: int = 0,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.note, self._asked_to_wait = note, False
        self._others: list[Sink] = []
        self._talks: dict[str, Conversation] = {}
        self.session, self.endpoint, self.workload, self.sink = session, endpoint, workload, sink
        self.retries = retries
        self.tally = RequestCounts()
        self.spent = asyncio.Event()
        self.phase = "load"
        self.latency_s: float | None = None
        self._left: int | None = None
        self._open = True
        self._index = 0
        self._running: set[asyncio.Task[RequestRecord]] = set()
        self._failing_since_s: float | None = None
        self._failing_count = 0
        self._fault: asyncio.Future[None] | None = None
        self._jitter = random.Random(workload.mill.seed)

    def begin(self, phase: str, max_requests: int | None = None) -> None:
        """From now on requests belong to ``phase``; after ``max_requests`` sending ends, ``spent`` is set."""
        self.phase, self._left = phase, max_requests

    def also(self, sink: Sink) -> None:
        """Another that hears of each request as it ends."""
        self._others.append(sink)

    def stop(self) -> None:
        """Send nothing more; what runs may end."""
        self._open = False

    async def closed_loop(self, concurrency: int, *, ramp_s: float = 0.0, turns: int = 1, think_s: float = 0.0) -> None:
        """Keep ``concurrency`` requests running until ``stop``; returns when the last has ended.

        With ``turns`` each slot holds conversations of so many, waiting ``think_s`` before each turn but the first.

        Raises ServerError when the server fails for good. Cancelled, it records what was running as cancelled.
        """
        start_s = time.monotonic()
        starts = [start_s + ramp_s * i / concurrency for i in range(concurrency)]
        await self._until_fault([self._slot(at_s, turns, think_s) for at_s in starts])

    async def open_loop(self, arrivals: Sequence[Arrival], start_mono_s: float) -> None:
        """Send each arrival at ``start_mono_s`` + its time, until ``stop``; ends and raises as ``closed_loop`` does."""
        await self._until_fault([self._dispatcher(arrivals, start_mono_s)])

    def reopen(self) -> None:
        """After a ``stop``: another loop may follow."""
        self._open = True
        self.spent.clear()

    async def one(
        self, job: Job, scheduled_mono_s: float, *, retries: int | None = None
    ) -> tuple[RequestRecord, Answer]:
        """Send one job, with retries (None: the engine's), and record it."""
        phase = self.phase
        transcript = Transcript()
        first_dispatch_s: float | None = None
        tries = 0
        limit = self.retries if retries is None else retries
        self.tally.sent += 1
        try:
            while True:
                answer = await ask(self.session, self.endpoint, job.ask, transcript)
                first_dispatch_s = first_dispatch_s or answer.dispatched_mono_s
                self._heed(answer)
                if tries >= limit or not _comes_later(answer):
                    break
                tries += 1
                await asyncio.sleep(self._delay_s(tries, answer.retry_after_s))
                transcript = Transcript()
        except asyncio.CancelledError:
            answer = transcript.answer()
            if answer.outcome is not RequestOutcome.OK:  # it may have been whole, and only not been read yet
                answer = replace(answer, outcome=RequestOutcome.CANCELLED, error="cancelled by the client")
            self._keep(job, phase, scheduled_mono_s, answer, first_dispatch_s, tries)
            raise
        return self._keep(job, phase, scheduled_mono_s, answer, first_dispatch_s, tries), answer

    async def _slot(self, start_mono_s: float, turns: int, think_s: float) -> None:
        scheduled_s, pause_s = start_mono_s, _PAUSE_S[0]
        talk = Conversation()
        await _until(start_mono_s)
        while self._may_send():
            job = self._next_job(None, talk)
            record, answer = await self.one(job, scheduled_s)
            if record.outcome is RequestOutcome.OK:
                pause_s = _PAUSE_S[0]
                scheduled_s = record.end_mono_s or time.monotonic()
                talk = _carried(talk, turns, job, answer)
                if talk.turns:
                    scheduled_s += think_s
                    await _until(scheduled_s)
            else:
                talk = Conversation()  # a server that refuses at once must not be asked a thousand times a second
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_S[1])
                scheduled_s = time.monotonic()

    async def _dispatcher(self, arrivals: Sequence[Arrival], start_mono_s: float) -> None:
        for arrival in arrivals:
            job = self._next_job(arrival, None) if arrival.session is None else None
            await _until(start_mono_s + arrival.at_s)
            if not self._may_send():
                break
            task = asyncio.create_task(self._unpaired(job, arrival, start_mono_s + arrival.at_s))
            self._running.add(task)
            task.add_done_callback(self._ended)
        if self._open:
            self.spent.set()
        if self._running:
            await asyncio.gather(*self._running)

    def _ended(self, task: asyncio.Task[RequestRecord]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._fault is not None and not self._fault.done():
            self._fault.set_exception(error)

    async def _unpaired(self, job: Job | None, arrival: Arrival, due_mono_s: float) -> RequestRecord:
        if job is not None:
            return (await self.one(job, due_mono_s))[0]
        talk = self._talks.setdefault(arrival.session or "", Conversation())
        came_s = time.monotonic()
        async with talk.busy:  # turns take it in the order in which they came
            waited_s = time.monotonic() - came_s
            job = self._next_job(arrival, talk)
            record, answer = await self.one(job, due_mono_s + waited_s)
            if record.outcome is RequestOutcome.OK:
                talk.add_turn(job.ask.text, answer)
        return record

    async def _until_fault(self, parts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run ``parts`` (coroutines) to their end or the server's; nothing of theirs is left running afterwards."""
        fault = self._fault = asyncio.get_running_loop().create_future()
        tasks = [asyncio.create_task(p) for p in parts]
        work = asyncio.gather(*tasks)
        try:
            await asyncio.wait({work, fault}, return_when=asyncio.FIRST_COMPLETED)
            if fault.done():
                fault.result()
            await work
        finally:
            self._open = False
            left = [*tasks, *self._running]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, work, return_exceptions=True)
            if fault.done():
                fault.exception()
            fault.cancel()

    def _may_send(self) -> bool:
        if not self._open:
            return False
        if self._left is not None:
            if self._left <= 0:
                self._open = False
                self.spent.set()
                return False
            self._left -= 1
            if self._left == 0:
                self.spent.set()
        return True

    def _next_job(self, arrival: Arrival | None, talk: Conversation | None) -> Job:
        job = self.workload.job(self._index, arrival, talk)
        self._index += 1
        return job

    def _heed(self, answer: Answer) -> None:
        """Say once that the server asks to be left alone, and for how long it is."""
        if self._asked_to_wait or answer.retry_after_s is None or answer.retry_after_s < _TOLD_RETRY_S:
            return
        self._asked_to_wait = True
        shown = f"{answer.retry_after_s:.0f} s" if answer.retry_after_s < 1e6 else "for years"
        does = "it is asked again then" if _comes_later(answer) else f"{_LONGEST_RETRY_S:g} s are the longest wait here"
        self.note(f"the server answers {answer.http_status} and asks to wait (Retry-After: {shown}): {does}")

    def _delay_s(self, tries: int, asked_s: float | None) -> float:
        if asked_s is not None:
            return asked_s
        return min(0.25 * 2.0 ** (tries - 1), 10.0) * self._jitter.uniform(0.75, 1.25)

    def _keep(
        self, job: Job, phase: str, scheduled_s: float, answer: Answer, first_s: float | None, tries: int
    ) -> RequestRecord:
        record = record_of(job, phase, scheduled_s, answer, first_s, tries)
        for sink in (self.sink, *self._others):
            sink(record)
        self.tally.retries += tries
        if record.outcome is RequestOutcome.CANCELLED:
            self.tally.cancelled += 1
        elif record.outcome is RequestOutcome.OK:
            self._succeeded(job, answer)
        else:
            self._failed(record)
        return record

    def _succeeded(self, job: Job, answer: Answer) -> None:
        self.tally.ok += 1
        self._failing_since_s, self._failing_count = None, 0
        if answer.end_mono_s is not None:
            self.latency_s = answer.end_mono_s - answer.dispatched_mono_s
        self.workload.learn(job, answer)

    def _failed(self, record: RequestRecord) -> None:
        self.tally.failed += 1
        self.tally.last_error = record.error
        now_s = time.monotonic()
        self._failing_since_s = self._failing_since_s or now_s
        self._failing_count += 1
        lasted = now_s - self._failing_since_s >= GIVE_UP_S and self._failing_count >= GIVE_UP_COUNT
        if lasted and self._fault is not None and not self._fault.done():
            self._fault.set_exception(
                ServerError(
                    f"the server failed in the middle of the run: {self._failing_count} requests in a row, the last "
                    f"with {record.outcome.value} ({record.error}); look at its log"
                )
            )


def record_of(
    job: Job, phase: str, scheduled_s: float, answer: Answer, first_dispatch_s: float | None, tries: int
) -> RequestRecord:
    """The record of one answered, failed or cancelled job."""
    return replace(
        record_of_answer(f"{phase}:{job.index}", phase, answer),
        scheduled_mono_s=scheduled_s,
        dispatched_mono_s=first_dispatch_s or answer.dispatched_mono_s or None,
        asked_prompt_tok=job.asked_prompt_tok,
        asked_output_tok=job.asked_output_tok,
        history_tok=job.history_tok or None,
        retries=tries,
    )


def _carried(talk: Conversation, turns: int, job: Job, answer: Answer) -> Conversation:
    """The conversation to go on with after a turn: the same, or a new one where it has had its ``turns``."""
    if talk.turns + 1 >= turns:
        return Conversation()
    talk.add_turn(job.ask.text, answer)
    return talk


def _comes_later(answer: Answer) -> bool:
    """Whether the same question may be answered soon: not where the server asks to wait longer than a run can."""
    if (answer.retry_after_s or 0.0) > _LONGEST_RETRY_S:
        return False
    return answer.outcome is RequestOutcome.CONNECTION_ERROR or answer.http_status in LATER


async def _until(mono_s: float) -> None:
    wait_s = mono_s - time.monotonic()
    if wait_s > 0:
        await asyncio.sleep(wait_s)
