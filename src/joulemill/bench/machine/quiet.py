"""Looks at how busy this machine is: /proc/stat with steal, load, pressure, our own and the server's CPU time.

The parsers are pure text → numbers. ``MachineWatch`` keeps the counters of the look before, and gives a MachineSample
a look. ``LoopProbe`` measures how late the event loop runs. The judgements stand in ``joulemill.ledger.client_check``.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from joulemill.ledger.record import MachineSample

#: The loop is probed this often: 50 times in a sample of one second, for 0.1 % of a core.
PROBE_S = 0.020


@dataclass(frozen=True, slots=True)
class CpuTicks:
    """CPU time of the whole machine since boot, in clock ticks, all CPUs together."""

    busy: int
    steal: int
    total: int


@dataclass(frozen=True, slots=True)
class ProcessTimes:
    """One process's CPU ticks (user + system): its own, and those of children that it has reaped."""

    ticks: int
    reaped_ticks: int


def parse_stat(text: str) -> CpuTicks | None:
    """The first line of /proc/stat, None where it is not there. Guest time is inside user time; iowait is idle."""
    words = text.partition("\n")[0].split()
    if len(words) < 5 or words[0] != "cpu" or not all(w.isdigit() for w in words[1:]):
        return None
    user, nice, system, idle, *rest = (int(w) for w in words[1:9])
    iowait, irq, softirq, steal = (*rest, 0, 0, 0, 0)[:4]
    busy = user + nice + system + irq + softirq
    return CpuTicks(busy, steal, busy + idle + iowait + steal)


def parse_pressure(text: str) -> int | None:
    """Total microseconds of the "some" line of /proc/pressure/cpu."""
    for line in text.splitlines():
        if line.startswith("some "):
            for word in line.split():
                if word.startswith("total=") and word[6:].isdigit():
                    return int(word[6:])
    return None


def parse_process(text: str) -> ProcessTimes | None:
    """/proc/<pid>/stat. The name in brackets may itself hold spaces and brackets, so fields count from the last one."""
    after = text.rpartition(")")[2].split()
    try:
        return ProcessTimes(int(after[11]) + int(after[12]), int(after[13]) + int(after[14]))
    except (IndexError, ValueError):
        return None


def parse_load(text: str) -> float | None:
    """Load average over one minute."""
    try:
        return float(text.split()[0])
    except (IndexError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _MachineLook:
    mono_s: float
    cpu: CpuTicks | None
    pressure_us: int | None
    own_ticks: int | None
    server_ticks: int | None
    client_s: float


class MachineWatch:
    """Samples this machine; each sample covers the time since the one before. ``server_pid``: the embedded server's."""

    def __init__(self, server_pid: int | None = None, proc: Path = Path("/proc")) -> None:
        self.server_pid = server_pid
        self._proc = proc
        self._cpus = os.cpu_count() or 1
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._before = self._look()

    def sample(self, loop_lag_s: float | None = None) -> MachineSample:
        """What happened since the last look. What this kernel does not tell is None."""
        now, before = self._look(), self._before
        self._before = now
        elapsed_s = max(now.mono_s - before.mono_s, 1e-6)
        total = now.cpu.total - before.cpu.total if now.cpu and before.cpu else 0
        busy = now.cpu.busy - before.cpu.busy if now.cpu and before.cpu else 0
        steal = now.cpu.steal - before.cpu.steal if now.cpu and before.cpu else 0
        cores_s = elapsed_s * self._cpus / self._tick_s
        client_s = now.client_s - before.client_s
        server = _share(now.server_ticks, before.server_ticks, cores_s)
        return MachineSample(
            t_mono_s=now.mono_s,
            t_wall_s=time.time(),
            load1=parse_load(self._text("loadavg")),
            cpu_busy_ratio=min(1.0, busy / total) if total > 0 else None,
            steal_ratio=min(1.0, max(0.0, steal / total)) if total > 0 else None,
            own_cpu_ratio=_share(now.own_ticks, before.own_ticks, cores_s),
            server_cpu_ratio=server,
            psi_some_ratio=_share(now.pressure_us, before.pressure_us, elapsed_s * 1e6),
            loop_lag_s=loop_lag_s,
            client_cpu_ratio=client_s / elapsed_s,
        )

    def _look(self) -> _MachineLook:
        pids = {os.getpid()} | ({self.server_pid} if self.server_pid else set())
        return _MachineLook(
            time.monotonic(),
            parse_stat(self._text("stat")),
            parse_pressure(self._text("pressure/cpu")),
            self._family_ticks(pids),
            self._family_ticks({self.server_pid}) if self.server_pid else None,
            time.process_time(),
        )

    def _family_ticks(self, roots: set[int]) -> int | None:
        """CPU ticks of processes, their living descendants, and the children they have reaped."""
        ticks: int | None = None
        waiting, visited = list(roots), set(roots)
        while waiting:
            pid = waiting.pop()
            times = parse_process(self._text(f"{pid}/stat"))
            if times is None:
                continue
            ticks = (ticks or 0) + times.ticks + times.reaped_ticks
            children = self._children(pid) - visited
            waiting += children
            visited |= children
        return ticks

    def _children(self, pid: int) -> set[int]:
        """From the kernel's own lists, as walking all of /proc would take the event loop tens of milliseconds."""
        try:
            threads = os.listdir(self._proc / str(pid) / "task")
        except OSError:
            return set()
        lists = [self._text(f"{pid}/task/{thread}/children").split() for thread in threads]
        return {int(word) for words in lists for word in words if word.isdigit()}

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text(errors="replace")
        except OSError:
            return ""


def _share(now: int | None, before: int | None, whole: float) -> float | None:
    """Part of ``whole`` between two counters; None where one is unknown or the counter went back (a process ended)."""
    if now is None or before is None or now < before:
        return None
    return (now - before) / whole


class LoopProbe:
    """How late the running event loop calls what is due: a timer every PROBE_S, its worst delay kept."""

    def __init__(self) -> None:
        self._worst_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._due_s = self._loop.time() + PROBE_S
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def worst_s(self) -> float:
        """The worst lag since this was asked last."""
        worst, self._worst_s = self._worst_s, 0.0
        return worst

    def stop(self) -> None:
        """End probing."""
        self._timer.cancel()

    def _tick(self) -> None:
        now_s = self._loop.time()
        self._worst_s = max(self._worst_s, now_s - self._due_s)
        self._due_s = now_s + PROBE_S
        self._timer = self._loop.call_at(self._due_s, self._tick)
