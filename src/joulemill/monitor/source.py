"""What pages and metrics are made from: whatever can tell the newest snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from joulemill.monitor.snapshot import Snapshot


class SnapshotSource(Protocol):
    """The loop, as who shows it sees it."""

    def snapshot(self) -> Snapshot:
        """What is known now."""
        ...

    def subscribe(self) -> AsyncIterator[Snapshot]:
        """The newest snapshot once a period."""
        ...
