"""Opens the meters of many targets side by side; a meter that does not answer is listed as dead, not waited for.

A SPEC that cannot be is an InputError that ends the start. A sensor that is not there, that fails in whatever way, or
that does not answer within ``OPEN_S`` keeps its target from being metered, is told with its reason, and is tried again
while the monitor runs. Never called in the event loop.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.ledger.record import Channel
from joulemill.meters.closing import closed
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_meters
from joulemill.monitor.config import TargetConfig
from joulemill.monitor.findings import listed
from joulemill.servers.boundary import reason_of

_LOG = logging.getLogger("joulemill.meters")
#: Meters that are opened at once (assumed): most of the time each waits for an answer.
AT_ONCE = 64
#: A target's meters open within this time [s] (assumed: a slow BMC takes three).
OPEN_S = 10.0
#: A dead meter is tried again after this time [s] (assumed).
RETRY_S = 30.0
_ADDRESS = re.compile(r"[\w.-]+(?::\d+)?(?=\W)")


@dataclass(slots=True)
class OpenedMeters:
    """What came of one target's SPECs: its meters, or for each SPEC why it has none; and what was noticed."""

    meters: list[Meter] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    fault: InputError | None = None


class _TargetOpening:
    """Some SPECs on their way, in a thread of its own that nobody need wait for."""

    def __init__(self, specs: Sequence[str], context: MeterContext) -> None:
        self._specs, self._context = specs, context
        self._lock, self._given_up, self._done = threading.Lock(), False, threading.Event()
        self._result: list[Meter] | JoulemillError = []
        threading.Thread(target=self._run, name="joulemill opening", daemon=True).start()

    def _run(self) -> None:
        result: list[Meter] | JoulemillError
        try:
            result = open_meters(self._specs, self._context)
        except JoulemillError as fault:
            result = fault
        except Exception as fault:
            result = MachineError(f"--meter {' '.join(self._specs)}: {reason_of(fault)}")
        with self._lock:
            self._result, late = result, self._given_up
            self._done.set()
        if late and not isinstance(result, JoulemillError):
            close_meters(result)

    def meters(self, until_s: float) -> list[Meter]:
        """What has come until ``until_s`` (monotonic); what comes later is closed again. Raises JoulemillError."""
        self._done.wait(max(until_s - time.monotonic(), 0.0))
        with self._lock:
            self._given_up = not self._done.is_set()
            result = self._result
        if self._given_up:
            raise MachineError(f"--meter {' '.join(self._specs)}: it did not open within {OPEN_S:g} s")
        if isinstance(result, JoulemillError):
            raise result
        return result


def open_within(specs: Sequence[str], context: MeterContext) -> list[Meter]:
    """``open_meters`` within ``OPEN_S``. Raises InputError or MachineError."""
    return _TargetOpening(specs, context).meters(time.monotonic() + OPEN_S)


def _opened(target: TargetConfig, result: OpenedMeters, opening: _TargetOpening, until_s: float) -> None:
    """Every meter of ``target`` or none of them: a part of its meters would pass for all of it."""
    try:
        result.meters = opening.meters(until_s)
    except InputError as fault:
        result.fault = InputError(f"target {target.name!r}: {fault}")
    except JoulemillError as fault:
        result.dead = [(text, str(fault)) for text in target.meters]


def open_targets(targets: Collection[TargetConfig]) -> dict[str, OpenedMeters]:
    """The meters of ``targets`` by name. Raises InputError for a SPEC that cannot be, and then opens none."""
    metered = [t for t in targets if t.meters]
    results = {t.name: OpenedMeters() for t in targets}
    for first in range(0, len(metered), AT_ONCE):
        part = metered[first : first + AT_ONCE]
        openings = [_TargetOpening(t.meters, _context(t, results[t.name])) for t in part]
        until_s = time.monotonic() + OPEN_S
        for target, opening in zip(part, openings, strict=True):
            _opened(target, results[target.name], opening, until_s)
    fault = next((r.fault for r in results.values() if r.fault is not None), None)
    if fault is not None:
        close_all(results.values())
        raise fault
    for line in folded(results):
        _LOG.warning("%s", line)
    return results


def _context(target: TargetConfig, result: OpenedMeters) -> MeterContext:
    return MeterContext(server_here=target.here, server_pid=target.server_pid, notice=result.notices.append)


def close_meters(meters: Iterable[Meter]) -> None:
    """Let go of ``meters``, whatever they raise."""
    for meter in meters:
        closed(meter)


def close_all(results: Iterable[OpenedMeters]) -> None:
    """Let go of what was opened."""
    for result in results:
        close_meters(result.meters)


def folded(results: Mapping[str, OpenedMeters]) -> list[str]:
    """What was noticed, and what is dead, each once with the names of the targets that it is about."""
    alike: dict[str, tuple[str, list[str]]] = {}
    for name, result in results.items():
        for text in [*result.notices, *dict.fromkeys(why for _, why in result.dead)]:
            key = _ADDRESS.sub("", re.sub(r"--meter \S+", "", text)) if len(results) > 1 else text
            alike.setdefault(key, (text, []))[1].append(name)
    lines = []
    for text, names in alike.values():
        others = f" (and alike for {listed(names[1:])})" if len(names) > 1 else ""
        lines.append(f"target {names[0]}{others}: {text}")
    return lines


def check_owners(owners: Mapping[str, Sequence[Sequence[Channel]]]) -> None:
    """Raise InputError where two owners (a target, a site) read the same thing: its joules would count twice."""
    first: dict[str, tuple[str, str]] = {}
    for owner, groups in owners.items():
        for channel in (c for group in groups for c in group):
            other = first.setdefault(channel.id, (owner, channel.meter))
            if other[0] != owner:
                raise InputError(
                    f"two meters read the same thing ({channel.device}): {other[0]} by {other[1]} and {owner} by "
                    f"{channel.meter}; give each board to one target, e.g. with gpus=0+1+2+3 in its SPEC"
                )
