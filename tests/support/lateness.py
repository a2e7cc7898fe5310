"""How late this machine is at the moment: measured beside a test, so that what it times is compared with like."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

NAP_S = 0.005


@dataclass
class Lateness:
    """``worst_s``: the latest of many short sleeps, or of answers, while the block ran [s]."""

    worst_s: float = 0.0


@contextmanager
def lateness() -> Iterator[Lateness]:
    """Sleep beside the block, in a thread of this process: what delays that delays whatever the block times."""

    def nap() -> float:
        due_s = time.monotonic() + NAP_S
        time.sleep(NAP_S)
        return time.monotonic() - due_s

    with _beside(nap) as late:
        yield late


@contextmanager
def asked_beside(url: str) -> Iterator[Lateness]:
    """Ask ``url`` a few times a second beside the block: how late answers are for anybody who asks then."""

    def ask() -> float:
        began_s = time.monotonic()
        with suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()
        took_s = time.monotonic() - began_s
        time.sleep(0.2)
        return took_s

    with _beside(ask) as late:
        yield late


@contextmanager
def _beside(measure: Callable[[], float]) -> Iterator[Lateness]:
    late, ended = Lateness(), threading.Event()

    def run() -> None:
        while not ended.is_set():
            late.worst_s = max(late.worst_s, measure())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield late
    finally:
        ended.set()
        thread.join()
