"""Who else computes on an NVIDIA board: its power has no split by process, so their joules are in the server's.

What is read is a bound: the share of the board's multiprocessor time that other processes had, and 1 where others are
there and NVML does not tell what they do (MIG mode, some drivers). The server's own processes are known by its process
id; where that is not known, or hidden by a container, the process with the most memory is taken for it (assumed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemill.meters.local.cpu_time import process_tree
from joulemill.meters.meter import MeterContext


class BoardSharing:
    """The processes of one board."""

    def __init__(self, library: Any, handle: Any, context: MeterContext) -> None:
        self._library, self._handle, self._context = library, handle, context
        self._seen_us = 0

    def others(self) -> tuple[int, ...]:
        """Process ids that compute on the board and are not the server's."""
        processes = self._library.nvmlDeviceGetComputeRunningProcesses(self._handle)
        memory = {p.pid: p.usedGpuMemory or 0 for p in processes}
        return tuple(sorted(set(memory) - self._own(memory)))

    def foreign_ratio(self) -> float:
        """The most that others can have had of the board's work since the last call, 0–1."""
        others = self.others()
        if not others:
            return 0.0
        try:
            samples = self._library.nvmlDeviceGetProcessUtilization(self._handle, self._seen_us)
        except self._library.NVMLError:
            return 1.0
        self._seen_us = max((s.timeStamp for s in samples), default=self._seen_us)
        total = sum(s.smUtil for s in samples)
        return sum(s.smUtil for s in samples if s.pid in others) / total if total else 0.0

    def _own(self, memory: Mapping[int, int]) -> set[int]:
        pid = self._context.server_pid
        ours = set() if pid is None else process_tree(self._context.proc, pid) & memory.keys()
        return ours or {max(memory, key=lambda p: (memory[p], -p))} if memory else set()
