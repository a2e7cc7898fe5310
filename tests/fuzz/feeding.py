"""Feeds mutated inputs to one parser and counts what came of them."""

from __future__ import annotations

import hashlib
import random
import resource
import signal
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from joulemill.errors import JoulemillError
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import CORPUS, TARGETS, seeds_of

SLOW_S = 2.0
#: An input is cut off after so much processor time, and after so much time in all: a neighbor that holds the processor
#: must not cut one, and one that waits for ever must be.
CUT_S, CUT_WALL_S = 5 * SLOW_S, 120.0
MOST_RSS_BYTE = 500e6
KEPT = 5


@dataclass(kw_only=True)
class RequestCounts:
    """What came of one parser's inputs."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    slow: int = 0
    slowest_s: float = 0.0
    rss_byte: float = 0.0
    uncaught: Counter[str] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        return not self.uncaught and not self.slow and self.rss_byte <= MOST_RSS_BYTE


class TooSlow(BaseException):
    """An input took longer than it may."""


def _too_slow(number: int, frame: object) -> None:
    raise TooSlow


def fuzz(name: str, seed: int, inputs: int, most_s: float) -> RequestCounts:
    """Feed ``name`` until it had ``inputs`` inputs, or ``most_s`` are over."""
    until_s = time.monotonic() + most_s
    feed, seeds, chance, tally = TARGETS[name], seeds_of(name), random.Random(f"{name}:{seed}"), RequestCounts()
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _too_slow)
    while tally.inputs < inputs and time.monotonic() < until_s:
        data = mutated(chance.choice(seeds), chance)
        begun_s = time.process_time()  # of the processor: a neighbor that holds it makes no parser slow
        cut = False
        signal.setitimer(signal.ITIMER_PROF, CUT_S)
        signal.setitimer(signal.ITIMER_REAL, CUT_WALL_S)
        try:
            feed(data)
            tally.read += 1
        except JoulemillError:
            tally.refused += 1
        except TooSlow:
            cut = True
        except Exception as fault:
            last = [f for f in traceback.extract_tb(fault.__traceback__) if "joulemill" in f.filename][-1:]
            place = f"{Path(last[0].filename).name}:{last[0].lineno}" if last else "outside"
            tally.uncaught[f"{type(fault).__name__} at {place}"] += 1
            _keep(name, data, tally.uncaught.total())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
        took_s = time.process_time() - begun_s
        tally.inputs += 1
        tally.slowest_s = max(tally.slowest_s, took_s)
        if cut or took_s > SLOW_S:
            tally.slow += 1
            _keep(name, data, tally.slow)
    tally.rss_byte = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return tally


def _keep(name: str, data: bytes, count: int) -> None:
    if count <= KEPT:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"failed-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
