from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.bench.machine.quiet import (
    CpuTicks,
    LoopProbe,
    MachineWatch,
    ProcessTimes,
    parse_load,
    parse_pressure,
    parse_process,
    parse_stat,
)

STAT = "cpu  100 5 30 800 20 1 4 40 7 0\ncpu0 50 2 15 400 10 0 2 20 3 0\n"
PROCESS = "4242 (a (wild) name) S 17 4242 4242 0 -1 4194304 100 0 0 0 {u} {s} {cu} {cs} 20 0 5 0 999 0 0\n"


def test_the_kernels_first_line() -> None:
    # user+nice+system+irq+softirq; total adds idle, iowait, steal; guest (7) is inside user already
    assert parse_stat(STAT) == CpuTicks(busy=140, steal=40, total=1000)
    assert parse_stat("cpu 1 2 3 4\n") == CpuTicks(6, 0, 10)  # kernels of long ago


@pytest.mark.parametrize("text", ["", "intr 1 2 3 4 5", "cpu a b c d"])
def test_what_is_not_there_is_none(text: str) -> None:
    assert parse_stat(text) is None
    assert parse_process(text) is None
    assert parse_pressure(text) is None


@given(st.text())
def test_the_parsers_never_raise(text: str) -> None:
    for parse in (parse_stat, parse_process, parse_pressure, parse_load):
        parse(text)


def test_a_process_with_a_wild_name() -> None:
    assert parse_process(PROCESS.format(u=7, s=5, cu=3, cs=2)) == ProcessTimes(12, 5)


def test_pressure_and_load() -> None:
    text = "some avg10=0.12 avg60=0.05 avg300=0.01 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n"
    assert parse_pressure(text) == 123456
    assert parse_load("0.52 0.58 0.59 1/467 12345\n") == 0.52


class Proc:
    """A /proc of our own, with the server 900 and its child 901."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, stat: str, pressure: int, own: int, server: int, child: int) -> None:
        files = {
            "stat": stat,
            "loadavg": "1.5 1 1 1/1 1",
            "pressure/cpu": f"some avg10=0 avg60=0 avg300=0 total={pressure}",
            f"{os.getpid()}/stat": PROCESS.format(u=own, s=0, cu=0, cs=0),
            "900/stat": PROCESS.format(u=server, s=0, cu=0, cs=0),
            "901/stat": PROCESS.format(u=child, s=0, cu=0, cs=0),
            "900/task/900/children": "901 ",
        }
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)


def test_a_sample_is_the_difference_of_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = Proc(tmp_path)
    ticks = os.sysconf("SC_CLK_TCK")
    now = iter([100.0, 102.0])
    monkeypatch.setattr(import_module("joulemill.bench.machine.quiet").time, "monotonic", lambda: next(now))
    monkeypatch.setattr(import_module("joulemill.bench.machine.quiet").os, "cpu_count", lambda: 4)
    proc.write("cpu 0 0 0 0 0 0 0 0", 0, own=0, server=0, child=0)
    watch = MachineWatch(900, tmp_path)
    proc.write("cpu 50 0 0 40 0 0 0 10", 500_000, own=ticks, server=2 * ticks, child=ticks)
    sample = watch.sample(0.003)
    assert (sample.cpu_busy_ratio, sample.steal_ratio) == (0.5, 0.1)
    # 8 core-seconds passed: the server and its child used 3 of them, this process 1.
    assert sample.server_cpu_ratio == pytest.approx(3 / 8)
    assert sample.own_cpu_ratio == pytest.approx(4 / 8)
    assert sample.psi_some_ratio == pytest.approx(0.25)
    assert (sample.load1, sample.loop_lag_s) == (1.5, 0.003)


def test_a_kernel_that_tells_nothing_gives_none(tmp_path: Path) -> None:
    sample = MachineWatch(None, tmp_path).sample()
    assert (sample.cpu_busy_ratio, sample.steal_ratio, sample.own_cpu_ratio, sample.psi_some_ratio) == (None,) * 4


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")
def test_a_busy_child_is_seen_as_the_servers() -> None:
    """The child uses half a second of CPU time, however long its neighbors make that take, and then waits."""
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(1, flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", busy], text=True, **pipes) as server:
        try:
            watch, began_s = MachineWatch(server.pid), time.monotonic()
            assert server.stdout is not None and server.stdout.readline() == "1\n"
            sample, passed_s = watch.sample(), time.monotonic() - began_s
        finally:
            server.kill()
    cpus = os.cpu_count() or 1
    ticks_s = 3.0 / os.sysconf("SC_CLK_TCK")  # a time of /proc is a whole number of ticks, at each of its ends
    used_s = (sample.server_cpu_ratio or 0.0) * cpus * passed_s
    assert 0.4 < used_s < 1.0  # and what its start took; the two clocks are read one after the other
    assert (sample.own_cpu_ratio or 0.0) * cpus * passed_s >= used_s - ticks_s


def test_the_probe_sees_a_blocked_loop() -> None:
    async def block() -> tuple[float, float]:
        probe = LoopProbe()
        await asyncio.sleep(0.1)
        calm = probe.worst_s()
        time.sleep(0.15)  # the sin that it looks for
        await asyncio.sleep(0.05)
        blocked = probe.worst_s()
        probe.stop()
        return calm, blocked

    calm, blocked = asyncio.run(block())
    assert blocked >= 0.12
    assert blocked > calm
