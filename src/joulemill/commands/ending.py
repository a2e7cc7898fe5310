"""The last resort of a command that was told to end: a little later its process ends, whatever it is busy with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from joulemill.errors import EXIT_INTERRUPTED

#: After SIGTERM a command has this long [s] to end by itself.
TERMINATION_S = 2.5
#: Saying so may take this long [s]: a stdout that nobody reads takes nothing.
SAYING_S = 0.3

Report = Callable[[str], object]
_reports: list[Report] = []


@contextmanager
def reported_by(report: Report) -> Iterator[None]:
    """Inside, ``report`` says why the process ends."""
    _reports.append(report)
    try:
        yield
    finally:
        _reports.pop()


def begin(why: str) -> None:
    """The process has ``TERMINATION_S`` from here. It ends before that where all is done."""
    last = threading.Timer(TERMINATION_S, _end, [why])
    last.daemon = True
    last.start()


def _end(why: str) -> None:
    if _reports:
        saying = threading.Thread(target=_reports[-1], args=(why,), daemon=True)
        saying.start()
        saying.join(SAYING_S)
    os._exit(EXIT_INTERRUPTED)
