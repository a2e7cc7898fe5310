"""Lets go of sensors that may never come back: each in a thread of its own, for a bounded time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Protocol

_LOG = logging.getLogger("joulemill.meters")


class Closable(Protocol):
    """Whatever holds sensors."""

    def close(self) -> None:
        """Let go of them."""


def let_go(held: Iterable[Closable], within_s: float = 0.0) -> None:
    """Close each of ``held`` in a thread of its own and wait at most ``within_s`` for all: a meter may never end."""
    threads = [threading.Thread(target=closed, args=(one,), name="joulemill closing", daemon=True) for one in held]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(until_s - time.monotonic(), 0.0))


def closed(one: Closable) -> None:
    """Close ``one``, whatever it raises: that is told."""
    try:
        one.close()
    except Exception as fault:
        _LOG.warning("a meter does not close: %s: %s", type(fault).__name__, fault)
