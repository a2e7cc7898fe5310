"""Opens targets' meters beside the loop, all at once and within a bound of time: a meter that does not answer holds up
nobody, and costs its own target its joules until it does.

What a configuration cannot mean (an unknown SPEC, two targets on one meter) is refused as ever; what this machine or
another cannot do just now is told, and tried again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_all
from joulemill.servers.boundary import reason_of

LOG = logging.getLogger("joulemill.monitor")
#: A target's meters open within this time [s] (assumed: a slow BMC takes three), so many targets' at once.
OPEN_S = 10.0
AT_ONCE = 64
Wanted = Mapping[str, tuple[Sequence[str], MeterContext]]


@dataclass(slots=True)
class Opened:
    """A target's meters; ``fault`` says why there are none."""

    meters: list[Meter] = field(default_factory=list)
    fault: JoulemillError | None = None


class _Opening:
    """One target's meters on their way, in a thread of its own that nobody need wait for."""

    def __init__(self, specs: Sequence[str], context: MeterContext) -> None:
        self._specs, self._context = specs, context
        self._lock, self._given_up, self._done = threading.Lock(), False, threading.Event()
        self._result = Opened()
        threading.Thread(target=self._run, name="joulemill opening", daemon=True).start()

    def _run(self) -> None:
        try:
            result = Opened(open_all(self._specs, self._context))
        except JoulemillError as fault:
            result = Opened(fault=fault)
        except Exception as fault:
            result = Opened(fault=MachineError(f"--meter {' '.join(self._specs)}: {reason_of(fault)}"))
        with self._lock:
            self._result = result
            late = self._given_up
            self._done.set()
        if late:
            close_meters(result.meters)

    def result(self, until_s: float) -> Opened:
        """What came of it until ``until_s`` (monotonic); what comes later is closed again."""
        self._done.wait(max(until_s - time.monotonic(), 0.0))
        with self._lock:
            if self._done.is_set():
                return self._result
            self._given_up = True
        return Opened(fault=MachineError(f"--meter {' '.join(self._specs)}: not opened within {OPEN_S:g} s"))


def open_each(wanted: Wanted) -> dict[str, Opened]:
    """The meters of each target that is ``wanted``. Raises InputError, and opens none, where one cannot be meant."""
    opened: dict[str, Opened] = {}
    names = [n for n, (specs, _) in wanted.items() if specs]
    for first in range(0, len(names), AT_ONCE):
        part = {n: _Opening(*wanted[n]) for n in names[first : first + AT_ONCE]}
        until_s = time.monotonic() + OPEN_S
        opened |= {n: o.result(until_s) for n, o in part.items()}
    wrong = next((o.fault for o in opened.values() if isinstance(o.fault, InputError)), None)
    if wrong is not None:
        for one in opened.values():
            close_meters(one.meters)
        raise wrong
    return opened


def close_meters(meters: Sequence[Meter]) -> None:
    """Let go of ``meters``, whatever they raise."""
    for meter in meters:
        try:
            meter.close()
        except Exception as fault:
            LOG.warning("a meter does not close: %s", reason_of(fault))


def in_background(work: object) -> None:
    """Call ``work`` in a thread that nobody waits for: what ends a slow meter may take its time."""
    if callable(work):
        threading.Thread(target=work, name="joulemill closing", daemon=True).start()
