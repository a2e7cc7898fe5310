"""The phases that ask: calibrating the prompts' lengths, and the load with its warm-up and drain."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

import numpy as np

from joulemill.bench.load.arrivals import Arrival, cut_of
from joulemill.bench.load.engine import Engine
from joulemill.bench.load.prompts import CALIBRATION_WORDS, TokenLengthFit
from joulemill.bench.load.replay import clipped, replayed
from joulemill.bench.load.until import NarrowEnough
from joulemill.bench.load.workload import Job
from joulemill.bench.options import DEFAULT_CONCURRENCY, BenchOptions
from joulemill.bench.watch import Watch
from joulemill.errors import ServerError
from joulemill.ledger.record import RequestOutcome
from joulemill.servers.client import Ask
from joulemill.statistics.arrivals import arrival_times
from joulemill.wording import percent

#: Output tokens of a calibration question: enough to see that the server streams and counts.
CALIBRATION_TOK = 8
#: The slots of a closed loop start over this part of the warm-up, and over so many seconds at most.
_RAMP_RATIO, _RAMP_S = 0.5, 10.0
_LOOK_S = 0.5
_MEANT = {
    RequestOutcome.NO_USAGE: "it streams no usage counts, and tokens are never guessed; serve with usage in the stream",
    RequestOutcome.NO_TOKENS: "it answered without a token; is the model one that generates text?",
    RequestOutcome.TIMEOUT: "it did not answer in time; raise --timeout or look at its log",
}


async def calibrate(engine: Engine, max_context_tok: int | None) -> TokenLengthFit:
    """Size the prompts by the server's counts. Raises ServerError(usage=True) where it answers nothing usable."""
    engine.begin("calibrate")
    samples: list[tuple[int, int]] = []
    rules = engine.workload.rules
    mill = engine.workload.mill
    for index, words in enumerate(CALIBRATION_WORDS):
        if samples and max_context_tok is not None and words * 2 + CALIBRATION_TOK > max_context_tok:
            break
        text = mill.text(-1 - index, words)
        ask = Ask(
            text=text,
            max_tok=CALIBRATION_TOK,
            timeout_s=rules.timeout_s,
            temperature=rules.temperature,
            ignore_eos=rules.ignore_eos,
        )
        job = Job(index, ask, round(mill.line.tok_word * words), CALIBRATION_TOK, words)
        record, answer = await engine.one(job, time.monotonic(), retries=max(1, engine.retries))
        if record.outcome is not RequestOutcome.OK or answer.prompt_tok is None:
            raise ServerError(_unusable(record.outcome, record.error), usage=True)
        samples.append((words, answer.prompt_tok))
    return mill.calibrate(samples)


def _unusable(outcome: RequestOutcome, error: str | None) -> str:
    meaning = _MEANT.get(outcome, "look at its log, and check --model and the key")
    return f"the server answers nothing usable ({outcome.value}: {error}): {meaning}"


async def drive(engine: Engine, options: BenchOptions, watch: Watch, max_context_tok: int | None = None) -> None:
    """Warm-up, load, drain. Raises ServerError where the server failed, in the middle or in every request."""
    if options.trace is not None:
        trace, shortened = clipped(replayed(options), max_context_tok)
        if cut := cut_of(options.trace):
            engine.note(cut)
        if shortened:
            engine.note(
                f"{shortened} of {len(trace)} requests of the trace were longer than the server's context of "
                f"{max_context_tok} tokens and are sent shortened to it"
            )
        await _warm_apart(engine, options, watch)
        await _measured(engine, options, watch, trace)
    elif options.rate_req_s is not None:
        await _measured(engine, options, watch, schedule(options))
    else:
        await _measured(engine, options, watch, None)


def schedule(options: BenchOptions) -> tuple[Arrival, ...]:
    """The arrivals of a rate, warm-up included, from the options' seed."""
    rate_req_s = options.rate_req_s or 0.0
    load_s = options.load_s
    if options.requests is not None and not math.isfinite(load_s):  # six standard deviations more than needed
        more = 6.0 * math.sqrt(options.requests / min(options.burstiness, 1e9)) + 10.0
        load_s = (options.requests + more) / rate_req_s
    rng = np.random.default_rng(np.random.SeedSequence(options.seed).spawn(3)[2])
    times = arrival_times(rng, rate_req_s, burstiness=options.burstiness, duration_s=options.warmup_s + load_s)
    return tuple(Arrival(float(t)) for t in times)


async def _warm_apart(engine: Engine, options: BenchOptions, watch: Watch) -> None:
    """A closed loop that is drained before a trace begins, as a trace's first line belongs to it already."""
    if options.warmup_s == 0.0:
        return
    engine.begin("warmup")
    with watch.phase("warmup", options.warmup_s):
        work = asyncio.create_task(engine.closed_loop(DEFAULT_CONCURRENCY, ramp_s=_ramp_s(options)))
        await _until(work, options.warmup_s, None)
        await _drained(engine, work, options.drain_s)
    engine.reopen()


async def _measured(engine: Engine, options: BenchOptions, watch: Watch, arrivals: Sequence[Arrival] | None) -> None:
    warmup_s = 0.0 if options.trace is not None else options.warmup_s
    ok_before = engine.tally.ok
    engine.begin("load", None if warmup_s else options.requests)
    expected_s = warmup_s + _expected_s(options, arrivals)
    if arrivals is None:
        loop = engine.closed_loop(
            options.at_once, ramp_s=_ramp_s(options), turns=options.turns, think_s=options.think_s
        )
        work = asyncio.create_task(loop)
    else:
        work = asyncio.create_task(engine.open_loop(arrivals, time.monotonic()))
    try:
        with watch.phase("load", expected_s if math.isfinite(expected_s) else None):
            if warmup_s:
                await _until(work, warmup_s, None)
                engine.begin("load", options.requests)
            # Fewer requests than slots never fill them: the load is then over when they are.
            few = options.requests is not None and arrivals is None and options.requests <= options.at_once
            enough = _stopper(engine, options)
            await _until(work, options.load_s, None if few else engine.spent, enough)
            if enough is not None:
                _tell_stop(engine, enough)
        with watch.phase("drain", None):
            await _drained(engine, work, options.drain_s)
    finally:
        await _ended(work)
    if engine.tally.ok == ok_before:
        last_error = engine.tally.last_error
        why = (
            f"the last said: {last_error}" if last_error else "none had ended when the load was over: give it more time"
        )
        raise ServerError(f"no request of the load succeeded; {why}")


def _expected_s(options: BenchOptions, arrivals: Sequence[Arrival] | None) -> float:
    if math.isfinite(options.load_s):
        return options.load_s
    return arrivals[-1].at_s if arrivals else math.inf


def _ramp_s(options: BenchOptions) -> float:
    return min(options.warmup_s * _RAMP_RATIO, _RAMP_S)


def _stopper(engine: Engine, options: BenchOptions) -> NarrowEnough | None:
    """What says when the rate is known well enough; None where nobody asked."""
    if options.until_ratio is None:
        return None
    enough = NarrowEnough(options.until_ratio, time.monotonic())
    engine.also(enough.add)
    return enough


def _tell_stop(engine: Engine, enough: NarrowEnough) -> None:
    known = "unknown" if enough.half_ratio is None else f"± {percent(enough.half_ratio, 1)}"
    if enough.half_ratio is not None and enough.half_ratio <= enough.target_ratio:
        engine.note(f"the load ended because its rate was known to {known}, as --until asked")
    else:
        engine.note(
            f"the load ended at its longest with the rate known to {known}, not to {percent(enough.target_ratio, 1)}"
        )


async def _narrowed(enough: NarrowEnough) -> None:
    while not enough.reached(time.monotonic()):
        await asyncio.sleep(_LOOK_S)


async def _until(
    work: asyncio.Task[None], seconds: float, spent: asyncio.Event | None, enough: NarrowEnough | None = None
) -> None:
    """Wait ``seconds``, until ``work`` ends (and raise its fault), all requests are sent, or the rate is known."""
    waiting: set[asyncio.Task[object]] = {work}
    if spent is not None:
        waiting.add(asyncio.create_task(spent.wait()))
    if enough is not None:
        waiting.add(asyncio.create_task(_narrowed(enough)))
    try:
        await asyncio.wait(
            waiting, timeout=seconds if math.isfinite(seconds) else None, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in waiting - {work}:
            task.cancel()
    if work.done():
        work.result()


async def _drained(engine: Engine, work: asyncio.Task[None], drain_s: float) -> None:
    """Send nothing more and let end what runs; what takes longer than ``drain_s`` is cancelled, and recorded so."""
    engine.stop()
    await asyncio.wait({work}, timeout=drain_s)
    if work.done():
        work.result()
    else:
        await _ended(work)


async def _ended(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
