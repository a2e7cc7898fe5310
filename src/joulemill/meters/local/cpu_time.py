"""CPU time from /proc: of the whole machine, or of one process with its children."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from joulemill.errors import MachineError

#: A new child is looked for this often; its CPU time is cumulative, so none is lost until then.
CHILDREN_EVERY_S = 5.0


def ticks_s() -> float:
    """Seconds a tick of /proc's counters (USER_HZ)."""
    return 1.0 / os.sysconf("SC_CLK_TCK")


def machine_cpu_s(proc: Path) -> float:
    """CPU seconds that all CPUs were busy since boot: user, nice, system, irq, softirq; not steal (others ran then)."""
    head = (proc / "stat").read_text().split("\n", 1)[0].split()
    ticks = [int(x) for x in head[1:]]
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * ticks_s()


def cpu_count(proc: Path) -> int:
    """How many CPUs (hardware threads) the kernel runs."""
    lines = (proc / "stat").read_text().splitlines()
    return sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdigit())


def process_tree(proc: Path, pid: int) -> set[int]:
    """``pid``, its children and theirs, as far as they can be seen."""
    parents: dict[int, int] = {}
    for path in proc.iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int(_stat(proc, int(path.name))[1])
            except (ProcessLookupError, MachineError):
                continue
    tree = {pid}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in tree} - tree
        grown = bool(more)
        tree |= more
    return tree


def _stat(proc: Path, pid: int) -> list[str]:
    """Fields from the third on; the second, the name, may hold spaces and brackets."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
    except OSError as error:
        raise MachineError(f"the CPU time of process {pid} cannot be read: {error}") from error
    return text.rsplit(")", 1)[1].split()


class ProcessTime:
    """CPU seconds of a process, its children, and what of them has ended. Never goes down.

    Raises ProcessLookupError when the process has ended (or its number belongs to another one now).
    """

    def __init__(self, proc: Path, pid: int, now_s: Callable[[], float]) -> None:
        self._proc, self._pid, self._now_s = proc, pid, now_s
        self._tree: set[int] = {pid}
        self._scanned_s = float("-inf")
        self._most_s = 0.0
        self._started = self._stat(pid)[19]

    def cpu_s(self) -> float:
        """CPU seconds since the process began."""
        root = self._stat(self._pid)
        if root[19] != self._started:
            raise ProcessLookupError(f"process {self._pid} has ended; its number is another process's now")
        if self._now_s() >= self._scanned_s + CHILDREN_EVERY_S:
            self._scan()
        own = self._cpu_ticks(root)
        total = own + sum(self._ticks_of(pid) for pid in self._tree if pid != self._pid)
        self._most_s = max(self._most_s, total * ticks_s())
        return self._most_s

    def _ticks_of(self, pid: int) -> int:
        try:
            return self._cpu_ticks(self._stat(pid))
        except ProcessLookupError:
            return 0  # ended: its parent's cutime holds its time

    @staticmethod
    def _cpu_ticks(stat: list[str]) -> int:
        return sum(int(x) for x in stat[11:15])  # utime, stime, cutime, cstime

    def _stat(self, pid: int) -> list[str]:
        return _stat(self._proc, pid)

    def _scan(self) -> None:
        self._tree, self._scanned_s = process_tree(self._proc, self._pid), self._now_s()
