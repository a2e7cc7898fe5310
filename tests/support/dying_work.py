"""Work for pools whose worker dies; little is imported, as every new worker imports it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def dying(points: Sequence[Mapping[str, Any]]) -> str:
    """Kills its own process the first time that it meets a point with a file to make."""
    for point in points:
        mark = point.get("dies_once")
        if mark and not Path(mark).exists():
            Path(mark).write_text("dead")
            os.kill(os.getpid(), signal.SIGKILL)
    return "".join(f"{point['n']}\n" for point in points)


def always_dying(points: Sequence[Mapping[str, Any]]) -> str:
    """Kills its own process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return str(points)
