"""The embedded server inside a run: really started, really stopped, whatever happens."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from joulemill.bench.host import embedded_options
from joulemill.bench.options import BenchOptions
from joulemill.bench.progress import NullProgress
from joulemill.bench.run import run_measure
from joulemill.errors import InputError
from joulemill.ledger.manifest import document
from joulemill.ledger.record import RequestOutcome
from joulemill.recording.writer import read_run
from tests.support.embedded_runs import embedded, options


def servers_left() -> list[str]:
    """Children of this process that are embedded servers; a thread or a child that ends meanwhile leaves none."""
    left = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                command = Path("/proc", pid, "cmdline").read_bytes().decode()
                left += [command] if "embedded_process" in command else []
    return left


class Doing(NullProgress):
    """Does something soon after a phase has begun."""

    def __init__(self, phase: str, act: Any, after_s: float) -> None:
        self.wanted, self.act, self.after_s = phase, act, after_s

    def phase(self, name: str, total_s: float | None) -> None:
        if name == self.wanted:
            threading.Timer(self.after_s, self.act).start()


def test_slots_and_context_fit_the_load(tmp_path: Path) -> None:
    assert (embedded_options(BenchOptions()).slots, embedded_options(BenchOptions()).context_tok) == (4, 2048)
    long = embedded_options(BenchOptions(concurrency=9, input_tokens="3000", output_tokens="1000"))
    assert long.slots == 9
    assert long.context_tok >= 4000
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,input_tokens,output_tokens\n0,5000,100\n1,10,10\n")
    assert embedded_options(BenchOptions(trace=trace)).context_tok >= 5100
    assert embedded_options(BenchOptions(slots=1, context_tok=77, kv_type="q8_0")).kv_type == "q8_0"
    with pytest.raises(InputError, match="KV-cache"):
        embedded_options(BenchOptions(kv_type="q7"))


@pytest.mark.parametrize("gguf", [b"", b"no model at all" * 100])
def test_an_unreadable_gguf_is_named_and_leaves_no_run(gguf: bytes, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    file = tmp_path / "bad.gguf"
    file.write_bytes(gguf)
    with pytest.raises(InputError, match=r"bad\.gguf"):
        run_measure(options(tmp_path, gguf=file))
    assert not (tmp_path / "run").exists()
    assert servers_left() == []


class TestReal:
    pytestmark = embedded

    def test_real_tokens_of_a_real_model(self, tmp_path: Path) -> None:
        record = read_run(run_measure(options(tmp_path)))
        assert record.status == "complete"
        load = [r for r in record.requests if r.phase == "load"]
        assert {r.outcome for r in load} == {RequestOutcome.OK}
        assert {r.output_tok for r in load} == {12}
        asked = [abs((r.prompt_tok or 0) - 48) / 48 for r in load]
        assert sum(asked) / len(asked) < 0.12
        spent = record.server[-1].values["output_tok_total"] - record.server[0].values["output_tok_total"]
        assert spent == pytest.approx(sum(r.output_tok or 0 for r in record.requests), rel=0.1)
        header = document(record.manifest)["model"]["gguf"]
        assert header["metadata"]["llama.block_count"] == 30
        assert header["weight_count"] == pytest.approx(134.5e6, rel=0.01)
        cpus = record.manifest.cpus or 0
        assert any((m.server_cpu_ratio or 0.0) * cpus > 0.1 for m in record.machine)  # a tenth of its one thread
        assert servers_left() == []

    def test_ctrl_c_while_the_server_starts(self, tmp_path: Path) -> None:
        display = Doing("start", lambda: os.kill(os.getpid(), signal.SIGINT), 0.02)
        record = read_run(run_measure(options(tmp_path), display))
        assert (record.status, record.status_reason) == ("interrupted", "stopped by SIGINT in phase start")
        assert servers_left() == []

    def test_a_server_that_dies_in_the_middle(self, tmp_path: Path) -> None:
        def kill() -> None:
            for task in Path("/proc/self/task").iterdir():
                for pid in (task / "children").read_text().split():
                    if b"embedded_process" in Path("/proc", pid, "cmdline").read_bytes():
                        os.kill(int(pid), signal.SIGKILL)

        record = read_run(run_measure(options(tmp_path, duration_s=60.0), Doing("load", kill, 1.0)))
        assert record.status == "failed"
        assert "embedded server stopped" in (record.status_reason or "")
        assert record.readings
        assert record.requests
