"""Whole runs against a mock server of its own process: phases, faults, interruption in each phase, what is kept."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.bench.load.engine import Engine
from joulemill.bench.load.workload import Job
from joulemill.bench.options import BenchOptions
from joulemill.bench.progress import NullProgress
from joulemill.bench.run import RunContext, run_measure
from joulemill.errors import InputError, MachineError, ServerError
from joulemill.ledger.manifest import MachineLimits, document, part_of
from joulemill.ledger.record import RequestOutcome, RunRecord
from joulemill.recording.writer import RunWriter, read_run
from joulemill.servers.client import Ask, Endpoint, ask

pytestmark = pytest.mark.apart

PLAN = MockPlan(ttft_s=0.03, itl_s=0.002)
METER = "declared:idle=60W,busy=180W"

#: As the probe of this machine would tell them.
CEILINGS = {
    name: {
        "value": 1e9,
        "low": None,
        "high": None,
        "unit": unit,
        "basis": "measured",
        "source": "a test",
        "when": "now",
    }
    for name, unit in (
        ("compute_flop_s", "flop/s"),
        ("compute_int8_flop_s", "flop/s"),
        ("memory_bandwidth_byte_s", "byte/s"),
    )
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with mock_process(PLAN) as url:
        yield url


def options(url: str, out: Path, **given: Any) -> BenchOptions:
    short: dict[str, Any] = {
        "duration_s": 1.0,
        "warmup_s": 0.4,
        "idle_s": 0.3,
        "drain_s": 5.0,
        "concurrency": 3,
        "input_tokens": "32",
        "output_tokens": "16",
        "meters": (METER,),
        "sample_period_s": 0.05,
        "machine_period_s": 0.1,
        "timeout_s": 10.0,
    }
    return BenchOptions(url=url, out=out / "run", **{**short, **given})


def run(asked: BenchOptions, display: NullProgress | None = None, around: RunContext | None = None) -> RunRecord:
    return read_run(run_measure(asked, display, around))


class Interrupter(NullProgress):
    """Sends this process a signal shortly after a phase has begun."""

    def __init__(self, phase: str, number: signal.Signals = signal.SIGINT, after_s: float = 0.15) -> None:
        self.wanted, self.number, self.after_s = phase, number, after_s
        self.seen: list[str] = []

    def phase(self, name: str, total_s: float | None) -> None:
        self.seen.append(name)
        if name == self.wanted:
            threading.Timer(self.after_s, os.kill, (os.getpid(), self.number)).start()


async def ask_three(session: aiohttp.ClientSession, endpoint: Endpoint, writer: RunWriter, second: object) -> None:
    for word in ("one", "two", "three"):
        answer = await ask(session, endpoint, Ask(text=word, max_tok=4))
        assert answer.outcome is RequestOutcome.OK
        writer.event("asked", word=word)


def test_a_complete_run_keeps_everything(server: str, tmp_path: Path) -> None:
    record = run(
        options(server, tmp_path),
        around=RunContext(ask_quality=ask_three, machine_ceilings=part_of(MachineLimits, CEILINGS)),
    )
    assert (record.status, record.status_reason) == ("complete", None)
    assert [p.name for p in record.phases] == ["idle", "calibrate", "load", "drain", "quality"]
    for before, after in zip(record.phases, record.phases[1:], strict=False):
        assert before.end_mono_s is not None
        assert before.end_mono_s <= after.start_mono_s
    load = [r for r in record.requests if r.phase == "load"]
    assert {r.outcome for r in record.requests} == {RequestOutcome.OK}
    assert {(r.output_tok, r.asked_output_tok) for r in load} == {(16, 16)}
    assert {r.prompt_tok for r in load} == {32}  # the mock counts words, and the line was learnt from it
    assert [e["word"] for e in record.events if e["kind"] == "asked"] == ["one", "two", "three"]
    lengths = next(e for e in record.events if e["kind"] == "prompt_lengths")
    assert (lengths["prompts"], lengths["mean_error_ratio"]) == (len(load), 0.0)
    manifest = document(record.manifest)
    assert manifest["schema_version"] == 1
    assert manifest["machine_ceilings"] == CEILINGS
    assert manifest["prompt_line"] == {"overhead_tok": pytest.approx(0.0), "tok_word": pytest.approx(1.0)}
    server = record.manifest.server
    assert server is not None and (server.kind, server.embedded) == ("vllm", False)
    assert record.manifest.cpus == os.cpu_count()


def test_the_phases_are_bracketed_by_readings_and_counters(server: str, tmp_path: Path) -> None:
    record = run(options(server, tmp_path))
    idle, drain = record.phase("idle"), record.phase("drain")
    assert idle is not None and drain is not None and drain.end_mono_s is not None
    times = [r.t_mono_s for r in record.readings]
    assert {r.channel for r in record.readings} == {c.id for c in record.channels}
    assert min(times) <= idle.start_mono_s + 0.05
    assert max(times) >= drain.end_mono_s
    assert len(record.machine) > 10
    assert any(m.own_cpu_ratio is not None for m in record.machine)
    load = [r for r in record.requests if r.phase == "load"]
    counted = record.server[-1].values["output_tok_total"] - record.server[0].values["output_tok_total"]
    assert counted == sum(r.output_tok or 0 for r in record.requests)
    assert sum(r.output_tok or 0 for r in load) == 16 * len(load)


def test_the_load_ends_after_the_requests_that_were_asked(server: str, tmp_path: Path) -> None:
    record = run(options(server, tmp_path, duration_s=None, requests=20, warmup_s=0.0))
    assert len([r for r in record.requests if r.phase == "load"]) == 20


def test_fewer_requests_than_slots_are_waited_for_inside_the_load(server: str, tmp_path: Path) -> None:
    record = run(options(server, tmp_path, duration_s=None, requests=2, warmup_s=0.0))
    load = record.phase("load")
    assert load is not None and load.end_mono_s is not None
    ends = [r.end_mono_s or 0.0 for r in record.requests if r.phase == "load"]
    assert len(ends) == 2
    assert max(ends) <= load.end_mono_s


def test_a_rate_and_a_trace(server: str, tmp_path: Path) -> None:
    rate = run(options(server, tmp_path / "a", concurrency=None, rate_req_s=40.0, burstiness=float("inf")))
    load = [r for r in rate.requests if r.phase == "load"]
    assert 50 <= len(load) <= 56  # 1.4 s at 40 a second, the warm-up inside
    steps = sorted(r.scheduled_mono_s for r in load)
    assert [b - a for a, b in itertools.pairwise(steps)] == pytest.approx([0.025] * (len(steps) - 1))
    file = tmp_path / "trace.csv"
    file.write_text("time_s,input_tokens,output_tokens\n0,20,3\n0.2,40,5\n0.5,60,7\n")
    trace = run(options(server, tmp_path / "b", concurrency=None, trace=file, duration_s=None))
    load = [r for r in trace.requests if r.phase == "load"]
    assert [(r.prompt_tok, r.output_tok) for r in sorted(load, key=lambda r: r.scheduled_mono_s)] == [
        (20, 3),
        (40, 5),
        (60, 7),
    ]
    assert any(r.phase == "warmup" for r in trace.requests)
    assert trace.manifest.asked.warmup_s is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["idle", "calibrate", "load", "drain", "quality"])
def test_an_interruption_in_each_phase_keeps_what_was_seen(phase: str, number: signal.Signals, tmp_path: Path) -> None:
    async def slow(*_: object) -> None:
        await asyncio.sleep(20)

    interrupter = Interrupter(phase, number)
    with mock_process(replace(PLAN, ttft_s=0.4)) as url:
        asked = options(url, tmp_path, idle_s=0.6, output_tokens="200", warmup_s=0.2, duration_s=0.8)
        record = run(asked, interrupter, RunContext(ask_quality=slow))
    assert record.status == "interrupted"
    assert record.status_reason == f"stopped by {number.name} in phase {phase}"
    assert record.phases[-1].name == interrupter.seen[-1] == phase
    assert record.phases[-1].end_mono_s is None
    assert record.readings
    assert record.manifest.server is not None and record.manifest.server.kind == "vllm"
    outcomes = Counter(r.outcome for r in record.requests)
    if phase in ("calibrate", "load", "drain"):
        assert outcomes[RequestOutcome.CANCELLED] >= 1
    if phase == "quality":
        assert outcomes[RequestOutcome.OK] >= 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_cancelled_caller_is_an_interruption_too(server: str, tmp_path: Path) -> None:
    from joulemill.bench.run import measure

    async def cut() -> None:
        task = asyncio.create_task(measure(options(server, tmp_path, duration_s=30.0)))
        await asyncio.sleep(1.0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut())
    record = read_run(tmp_path / "run")
    assert record.status == "interrupted"
    assert "the caller" in (record.status_reason or "")


def test_a_server_that_fails_in_the_middle_is_a_failed_run_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("joulemill.bench.load.engine"), "GIVE_UP_S", 0.3)
    with mock_process(replace(PLAN, fault="500", fault_after=20)) as url:
        record = run(options(url, tmp_path, duration_s=60.0, retries=0))
    assert record.status == "failed"
    assert "failed in the middle" in (record.status_reason or "")
    outcomes = Counter(r.outcome for r in record.requests)
    assert outcomes[RequestOutcome.OK] == 20
    assert outcomes[RequestOutcome.HTTP_ERROR] >= 10
    assert record.readings


def test_faults_in_the_middle_do_not_end_the_run(tmp_path: Path) -> None:
    with mock_process(replace(PLAN, fault="cut", fault_after=10, fault_count=3)) as url:
        record = run(options(url, tmp_path))
    assert record.status == "complete"
    assert Counter(r.outcome for r in record.requests)[RequestOutcome.CUT_SHORT] == 3


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"fault": "500"}, "nothing usable.*500"),
        ({"fault": "no_usage"}, "nothing usable.*usage"),
        ({"fault": "no_tokens"}, "without a"),
        ({"fault": "hang"}, "not answer in time"),
    ],
)
def test_a_server_that_was_never_usable_is_the_users_to_mend(plan: dict[str, Any], says: str, tmp_path: Path) -> None:
    with (
        mock_process(replace(PLAN, **plan)) as url,
        pytest.raises(ServerError, match=says) as caught,
    ):
        run(options(url, tmp_path, model="mock-model", timeout_s=0.5, retries=0))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    kept = read_run(tmp_path / "run")
    assert (kept.status, kept.status_reason) == ("failed", str(caught.value))


@pytest.mark.parametrize(
    ("plan", "says"), [({"model": "another"}, "no model 'mock-model'"), ({"api_key": "secret"}, "401")]
)
def test_a_run_that_never_began_leaves_no_folder_in_the_way(plan: dict[str, Any], says: str, tmp_path: Path) -> None:
    with mock_process(replace(PLAN, **plan)) as url:
        for _ in range(2):
            with pytest.raises(ServerError, match=says) as caught:
                run(options(url, tmp_path, model="mock-model"))
            assert caught.value.usage and not (tmp_path / "run").exists()
    assert tmp_path.exists()


def test_a_folder_of_the_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ServerError):
        run(options("http://127.0.0.1:9", tmp_path))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no server answers") as caught:
        run(options("http://127.0.0.1:9", tmp_path))
    assert caught.value.usage


def test_what_nobody_foresaw_ends_the_run_with_what_was_measured(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine._keep

    def surprised(self: Engine, job: Job, *rest: Any) -> Any:
        if job.index == 5:
            raise OverflowError("intermediate overflow in fsum")
        return real(self, job, *rest)

    monkeypatch.setattr(Engine, "_keep", surprised)
    record = run(options(server, tmp_path, duration_s=60.0))
    assert record.status == "failed"
    assert "an error inside Joulemill (OverflowError: intermediate overflow" in (record.status_reason or "")
    assert sum(r.outcome is RequestOutcome.OK for r in record.requests) >= 5
    assert any(e["kind"] == "traceback" and "surprised" in e["text"] for e in record.events)


def test_requests_longer_than_the_context_are_refused_before_the_load(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"8204 tokens .* 8192"):
        run(options(server, tmp_path, input_tokens="8188"))


def test_a_disk_that_fills_up_ends_the_run_with_one_line(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RunWriter._keep

    def full_later(self: RunWriter, name: str, row: Any) -> None:
        if name == "requests" and row.phase == "load":
            self._fault = OSError(28, "No space left on device")
        else:
            real(self, name, row)

    monkeypatch.setattr(RunWriter, "_keep", full_later)
    with pytest.raises(MachineError, match="is full"):
        run(options(server, tmp_path, duration_s=60.0))
    assert read_run(tmp_path / "run").readings


def test_a_background_fault_ends_even_an_idle_run(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunWriter, *_: object) -> None:
        raise MachineError("the disk is full")

    monkeypatch.setattr(RunWriter, "machine", full)
    with pytest.raises(MachineError, match="full"):
        run(options(server, tmp_path, idle_s=60.0))


def test_the_key_is_written_nowhere(tmp_path: Path) -> None:
    with mock_process(replace(PLAN, api_key="s3cret-key")) as url:
        record = run(options(url, tmp_path), around=RunContext(api_key="s3cret-key"))
    assert record.status == "complete"
    for file in (tmp_path / "run").iterdir():
        assert "s3cret" not in file.read_text()
