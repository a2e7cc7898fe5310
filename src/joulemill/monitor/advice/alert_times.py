"""Since when each alert stands. A snapshot knows its own moment alone, so the monitor looks at one after another."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from joulemill.monitor.advice.alerts import Alert

Key = tuple[str, str]


class AlertTimes:
    """When each alert that stands now was first seen (UNIX time); one that went and came back stands since it came."""

    def __init__(self) -> None:
        self.since_s: dict[Key, float] = {}
        self._looked_mono_s = -math.inf

    def due(self, every_s: float) -> bool:
        """Whether the last look is ``every_s`` ago."""
        return time.monotonic() - self._looked_mono_s >= every_s

    def look(self, standing: Iterable[Alert], at_s: float) -> None:
        """The alerts that stand at ``at_s``."""
        before = self.since_s
        self.since_s = {(a.kind, a.subject): before.get((a.kind, a.subject), at_s) for a in standing}
        self._looked_mono_s = time.monotonic()
