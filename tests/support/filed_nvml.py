"""``pynvml`` for a process of its own: the fake one, with its boards' limits in a file that a test watches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.fake_nvml import FakeBoard, FakeNvml
from tests.support.paths import ROOT

KEPT = ("limit_mw", "locked_mhz")

MODULE = """
import os
from pathlib import Path
from tests.support.filed_nvml import FiledNvml
_fake = FiledNvml(Path(os.environ["FAKE_NVML"]))
globals().update({n: getattr(_fake, n) for n in dir(_fake) if n.startswith(("nvml", "NVML"))})
"""


class FiledNvml(FakeNvml):
    """One board, whose limits are read from and written to ``state`` at every call."""

    def __init__(self, state: Path) -> None:
        super().__init__(FakeBoard())
        self.state = state

    def _alive(self, board: FakeBoard) -> FakeBoard:
        for name, value in json.loads(self.state.read_text()).items():
            setattr(board, name, value)
        return super()._alive(board)

    def _kept(self, board: FakeBoard) -> None:
        part = self.state.with_suffix(".part")
        part.write_text(json.dumps({name: getattr(board, name) for name in KEPT}))
        part.replace(self.state)

    def nvmlDeviceSetPowerManagementLimit(self, handle: FakeBoard, limit: int) -> None:
        super().nvmlDeviceSetPowerManagementLimit(handle, limit)
        self._kept(handle)

    def nvmlDeviceSetGpuLockedClocks(self, handle: FakeBoard, minGpuClockMHz: int, maxGpuClockMHz: int) -> None:
        super().nvmlDeviceSetGpuLockedClocks(handle, minGpuClockMHz, maxGpuClockMHz)
        self._kept(handle)

    def nvmlDeviceResetGpuLockedClocks(self, handle: FakeBoard) -> None:
        super().nvmlDeviceResetGpuLockedClocks(handle)
        self._kept(handle)


def installed(folder: Path) -> tuple[dict[str, str], Path]:
    """Variables that make ``import pynvml`` this one in a child process, and the file of its board's limits."""
    (folder / "fake").mkdir()
    (folder / "fake" / "pynvml.py").write_text(MODULE)
    state = folder / "board.json"
    state.write_text(json.dumps({"limit_mw": 700_000, "locked_mhz": None}))
    root = ROOT
    return {"PYTHONPATH": f"{folder / 'fake'}:{root}", "FAKE_NVML": str(state)}, state


def limits(state: Path) -> tuple[Any, Any]:
    """Power limit [mW] and locked clocks [MHz] now."""
    told = json.loads(state.read_text())
    return told["limit_mw"], told["locked_mhz"]
