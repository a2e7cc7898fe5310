"""Opens the meters of many targets side by side; a meter that does not answer is listed as dead, not waited for.

A SPEC that cannot be is an InputError that ends the start. A sensor that is not there keeps its target from being
metered, is told with its reason, and is tried again while the monitor runs.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Channel
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.opening import open_all
from joulemill.monitor.config import TargetConfig
from joulemill.monitor.findings import listed

_LOG = logging.getLogger("joulemill.meters")
#: Meters that are opened at once (assumed): most of the time each waits for an answer.
AT_ONCE = 64
#: A dead meter is tried again after this time [s] (assumed).
RETRY_S = 30.0
_ADDRESS = re.compile(r"[\w.-]+(?::\d+)?(?=\W)")


@dataclass(slots=True)
class Opened:
    """What came of one target's SPECs: its meters, or for each SPEC why it has none; and what was noticed."""

    meters: list[Meter] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    fault: InputError | None = None


def opened(target: TargetConfig) -> Opened:
    """Every meter of ``target`` or none of them: a part of its meters would pass for all of it."""
    result = Opened()
    context = MeterContext(server_here=target.here, server_pid=target.server_pid, notice=result.notices.append)
    try:
        result.meters = open_all(target.meters, context) if target.meters else []
    except InputError as fault:
        result.fault = InputError(f"target {target.name!r}: {fault}")
    except MachineError as fault:
        result.dead = [(text, str(fault)) for text in target.meters]
    return result


def open_targets(targets: Collection[TargetConfig]) -> dict[str, Opened]:
    """The meters of ``targets`` by name. Raises InputError for a SPEC that cannot be, and then opens none."""
    metered = [t for t in targets if t.meters]
    results = {t.name: Opened() for t in targets}
    if metered:
        results |= _side_by_side(metered)
    fault = next((r.fault for r in results.values() if r.fault is not None), None)
    if fault is not None:
        close_all(results.values())
        raise fault
    for line in folded(results):
        _LOG.warning("%s", line)
    return results


def _side_by_side(targets: Sequence[TargetConfig]) -> dict[str, Opened]:
    """``opened`` of each. The threads are daemons: whoever ends the monitor does not wait for a meter that is slow."""
    waiting = deque(targets)
    results: dict[str, Opened] = {}

    def work() -> None:
        while True:
            try:
                target = waiting.popleft()
            except IndexError:
                return
            try:
                results[target.name] = opened(target)
            except Exception as fault:  # a meter may fail in any way: that is its target's fault alone
                results[target.name] = Opened(dead=[(m, f"{type(fault).__name__}: {fault}") for m in target.meters])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(targets)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def close_all(results: Iterable[Opened]) -> None:
    """Let go of what was opened."""
    for result in results:
        for meter in result.meters:
            meter.close()


def folded(results: Mapping[str, Opened]) -> list[str]:
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
