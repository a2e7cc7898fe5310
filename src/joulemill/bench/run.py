"""A measured run, from the server's start to the folder's last line.

    idle (server loaded, no load) → calibrate → load (its first part is the warm-up) → drain → quality

Meters, the server's counters and the machine are sampled throughout. However the run ends, what was measured is
kept: Ctrl-C gives status "interrupted", a server that fails in the middle "failed", and both are read like any other.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from joulemill.bench.facts import machine_facts, server_facts, serves_here, version_facts
from joulemill.bench.host import ServerUnderTest, hosted
from joulemill.bench.load.engine import Engine
from joulemill.bench.load.phases import calibrate, drive
from joulemill.bench.load.prompts import PromptGenerator, fresh_salt
from joulemill.bench.load.workload import AskRules, RequestSource
from joulemill.bench.machine.server_process import ServerProcess, server_process
from joulemill.bench.options import BenchOptions
from joulemill.bench.progress import NullProgress, Progress
from joulemill.bench.watch import Source, Watch
from joulemill.catalog.stated_device import expected_counts
from joulemill.errors import InputError, JoulemillError, MachineError, ServerError
from joulemill.ledger.manifest import MachineLimits, Manifest, PromptSizes, RunOptions, ServingProcess, part_of
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from joulemill.recording.writer import RunWriter, free_folder
from joulemill.servers.client import Endpoint, EndpointFacts, check_endpoint, open_session

Result = TypeVar("Result")
MAX_TRACEBACK_CHARS = 20_000
AskQuality = Callable[[aiohttp.ClientSession, Endpoint, RunWriter, Endpoint | None], Awaitable[object]]


@dataclass(frozen=True)
class RunContext:
    """What a run takes from its caller beside the options.

    machine_ceilings   result of ``bench.microbench.measure_ceilings``; None where the server is elsewhere
    ask_quality        asks the quality set and keeps requests and answers; None: not asked
    meter_context      the meters' surroundings; ``server_pid`` and ``notice`` are filled in here
    api_key            of the server; it is never written down
    host               a server that is up already and stays so after the run (a sweep's); None: the run's own
    """

    machine_ceilings: MachineLimits | None = None
    ask_quality: AskQuality | None = None
    meter_context: MeterContext = field(default_factory=MeterContext)
    api_key: str | None = None
    host: ServerUnderTest | None = None


def run_measure(options: BenchOptions, display: Progress | None = None, around: RunContext | None = None) -> Path:
    """``measure`` on an event loop of its own: uvloop's where it is installed."""
    return on_own_loop(measure(options, display, around))


def on_own_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` on an event loop made for measuring."""
    with _tuned(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


async def measure(options: BenchOptions, display: Progress | None = None, around: RunContext | None = None) -> Path:
    """Run ``options`` and return the run folder; its status says how it ended.

    A server that fails in the middle and Ctrl-C or SIGTERM end the run early, and the folder is returned all the same.
    Raises ServerError(usage=True) where the server was never usable, InputError and MachineError for what their names
    say; what was measured until then is kept too.
    """
    out = options.out or free_folder(Path("runs"), time.time())
    return await _MeasuredRun(options, display or NullProgress(), around or RunContext(), RunWriter(out)).whole()


class _MeasuredRun:
    """One run: what ``measure`` does, with its state."""

    def __init__(self, options: BenchOptions, display: Progress, around: RunContext, writer: RunWriter) -> None:
        self.options, self.display, self.around, self.writer = options, display, around, writer
        self.server_pid: int | None = None
        self.salt = options.salt if options.salt is not None else fresh_salt()
        self.engine: Engine | None = None
        self.watch: Watch | None = None
        self.signal: str | None = None
        self.manifest = Manifest(
            created_wall_s=time.time(),
            salt=self.salt,
            options=part_of(RunOptions, options.manifest()),
            versions=version_facts(),
            machine=machine_facts(),
            site=options.site,
            device=options.device,
            expected=expected_counts(options.device),
            precision=options.precision,
            architecture=options.architecture,
            machine_ceilings=around.machine_ceilings,
        )

    async def whole(self) -> Path:
        try:
            self.writer.manifest(self.manifest)
            with self._signals():
                status, reason = await self._ended(asyncio.create_task(self._body()))
            self.writer.status(status, reason)
            return self.writer.path
        finally:
            if sys.exc_info()[0] is None:
                self.writer.close()
            else:
                with suppress(MachineError):
                    self.writer.close()
                refused = self.engine is None and isinstance(sys.exc_info()[1], InputError | MachineError)
                if self.watch is None or refused:
                    self.writer.discard()  # it never began: an empty run is of no use, and stands in the way of --out

    async def _ended(self, body: asyncio.Task[None]) -> tuple[str, str | None]:
        """Wait for the body: how the run ended. What is the caller's to hear is raised, after it is written down."""
        try:
            await self._cancellable(body)
        except asyncio.CancelledError:
            where = self.watch.phase_name if self.watch and self.watch.phase_name else "start"
            reason = f"stopped by {self.signal or 'the caller'} in phase {where}"
            if self.signal is None:
                self._note_status("interrupted", reason)
                raise
            return "interrupted", reason
        except ServerError as fault:
            if fault.usage or self.watch is None:  # it never served: there is nothing to report
                self._note_status("failed", str(fault))
                raise
            return "failed", str(fault)
        except JoulemillError as fault:
            self._note_status("failed", str(fault))
            raise
        except Exception as fault:
            return self._surprised(fault)
        return "complete", None

    def _surprised(self, fault: Exception) -> tuple[str, str]:
        """What nobody foresaw ends the run as any fault does: with what was measured, and one line."""
        reason = f"an error inside Joulemill ({type(fault).__name__}: {fault}); please report it, with events.jsonl"
        with suppress(MachineError):
            self.writer.event("traceback", text="".join(traceback.format_exception(fault))[-MAX_TRACEBACK_CHARS:])
        if self.watch is None:
            self._note_status("failed", reason)
            raise MachineError(reason) from fault
        return "failed", reason

    async def _cancellable(self, body: asyncio.Task[None]) -> None:
        self._task = body
        try:
            await asyncio.shield(body)
        except asyncio.CancelledError:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)
            raise

    def _note_status(self, status: str, reason: str) -> None:
        with suppress(MachineError):  # a full disk is being raised already
            self.writer.status(status, reason)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM ends the run in order; a second one is Python's own again."""
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            self.signal = number.name
            self.display.stopping(number.name, self.writer.path)
            if self.watch is not None:
                self.watch.hurried = True
            loop.remove_signal_handler(number)
            self._task.cancel()

        taken: list[signal.Signals] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(
                ValueError, RuntimeError, NotImplementedError
            ):  # not in the main thread: the caller's business
                loop.add_signal_handler(number, stop, number)
                taken.append(number)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)

    async def _body(self) -> None:
        async with AsyncExitStack() as stack:
            self.display.phase("start", None)
            host = self.around.host
            if host is None:
                host = await stack.enter_async_context(hosted(self.options, self.around.api_key))
            session = await stack.enter_async_context(open_session(self.options.at_once))
            facts = await check_endpoint(session, host.endpoint)
            endpoint = replace(host.endpoint, model=facts.model)
            self._describe(host, endpoint, facts)
            watch = self.watch = Watch(
                self.writer, self.display, period_s=self.options.machine_period_s, doing=self._doing
            )
            stack.push_async_callback(watch.close)
            phases = asyncio.create_task(self._phases(session, endpoint, facts, host, watch))
            await _first_fault(phases, watch.watching())

    def _describe(self, host: ServerUnderTest, endpoint: Endpoint, facts: EndpointFacts) -> None:
        slots = host.slots
        pid = self._process(host)
        server = server_facts(endpoint, facts, embedded=host.pid is not None, slots=slots)
        process = None if pid is None else ServingProcess(pid=pid.pid, name=pid.name, known=pid.known)
        self.manifest = replace(
            self.manifest,
            server=replace(server, process=process),
            model=replace(host.model, name=facts.model),
        )
        self.writer.manifest(self.manifest)
        longest = self.options.turns * (self.options.input_lengths.bound_tok + self.options.output_lengths.bound_tok)
        if self.options.trace is None and facts.max_context_tok is not None and longest > facts.max_context_tok:
            raise InputError(
                f"a request may need {longest} tokens and the server's context for one is {facts.max_context_tok}: "
                "ask for less with `input_tokens` and `output_tokens`, or serve with more context"
            )

    def _process(self, host: ServerUnderTest) -> ServerProcess | None:
        """The server's process, where it runs here: ours, the one that is named, or whoever listens on its port."""
        process = server_process(host.endpoint.url, host.pid, self.options.server_pid)
        self.server_pid = None if process is None else process.pid
        return process

    async def _phases(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        facts: EndpointFacts,
        host: ServerUnderTest,
        watch: Watch,
    ) -> None:
        options = self.options
        self._open_meters(watch, host)
        watch.machine(self.server_pid, host.check)
        watch.server(session, Source(facts.metrics_url, endpoint.headers(facts.metrics_url), endpoint.secrets))
        with watch.phase("idle", options.idle_s):
            await asyncio.sleep(options.idle_s)
        engine = self.engine = self._engine(session, endpoint, facts)
        with watch.phase("calibrate", None):
            line = await calibrate(engine, facts.max_context_tok)
        sizes = PromptSizes(overhead_tok=line.overhead_tok, tok_word=line.tok_word)
        self.manifest = replace(self.manifest, prompt_line=sizes)
        self.writer.manifest(self.manifest)
        await watch.counters()
        await drive(engine, options, watch, facts.max_context_tok)
        await watch.counters()
        self.writer.event("prompt_lengths", **engine.workload.mill.achieved())
        if self.around.ask_quality is not None:
            with watch.phase("quality", None):
                await self.around.ask_quality(session, endpoint, self.writer, host.second)

    def _open_meters(self, watch: Watch, host: ServerUnderTest) -> None:
        here = serves_here(host.endpoint.url)
        context = replace(
            self.around.meter_context,
            server_pid=self.server_pid,
            server_here=here,
            server_embedded=host.pid is not None,
            notice=self._notice,
        )
        watch.meter(open_meters(self.options.meters, context), self.options.sample_period_s)

    def _notice(self, text: str) -> None:
        """One sentence that the user must see, now and in the report."""
        self.writer.event("notice", text=text)
        self.display.note(text)

    def _engine(self, session: aiohttp.ClientSession, endpoint: Endpoint, facts: EndpointFacts) -> Engine:
        options = self.options
        rules = AskRules(options.timeout_s, ignore_eos=options.ignore_eos and facts.takes_ignore_eos)
        mill = PromptGenerator(options.seed, shared_prefix_tok=options.shared_prefix_tok, salt=self.salt)
        workload = RequestSource(mill, options.input_lengths, options.output_lengths, rules)
        return Engine(session, endpoint, workload, self.writer.request, retries=options.retries, note=self._notice)

    def _doing(self) -> str:
        if self.engine is None:
            return ""
        tally = self.engine.tally
        failed = f", {tally.failed} failed" if tally.failed else ""
        return f"{tally.ok} of {tally.sent} requests done{failed}"


async def _first_fault(phases: asyncio.Task[None], watching: Awaitable[None]) -> None:
    """Wait for the phases; a fault of the background ends them and is raised."""
    beside = asyncio.ensure_future(watching)
    try:
        await asyncio.wait({phases, beside}, return_when=asyncio.FIRST_COMPLETED)
        if beside.done():
            await beside
        await phases
    finally:
        for task in (phases, beside):
            task.cancel()
        await asyncio.gather(phases, beside, return_exceptions=True)


@contextmanager
def _tuned() -> Iterator[None]:
    """What keeps time stamps true in CPython: threads of the meters and the folder yield within 1 ms instead of 5, and
    the garbage collector need not walk what was there before the run. Many streams want many open files."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    with suppress(ValueError, OSError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval_s)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.environ.get("JOULEMILL_LOOP") == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
