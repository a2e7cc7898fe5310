"""What a meter is: channels that say what it reads, and ``read`` that reads them once.

Must live here: the seam that every sensor family stands behind, what a meter may ask of its surroundings
(:class:`MeterContext`), and how a SPEC on the command line is taken apart. Must not: anything about one sensor.
A reading that fails is a ``Reading`` with ``value=None`` and the error; it is never 0 and never left out.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from joulemill.errors import InputError
from joulemill.ledger.record import Channel, Reading
from joulemill.units import parse_quantity

_OPTION = re.compile(r"^([a-z][a-z0-9_-]*)=(.*)$", re.DOTALL)


class Meter(Protocol):
    """One sensor family, opened. A meter's ``read`` may leave out a channel that is not due; it never invents one."""

    def channels(self) -> tuple[Channel, ...]:
        """What this meter reads; fixed from opening to closing."""
        ...

    def read(self) -> tuple[Reading, ...]:
        """Read what is due now, each reading with its own two times."""
        ...

    def close(self) -> None:
        """Let go of the sensor. Calling it twice is harmless."""
        ...


@dataclass(frozen=True, slots=True)
class Clock:
    """The three faces of time that a meter needs; a test passes its own.

    mono   monotonic seconds (differences);  wall  Unix seconds (joining with others);  sleep  waits some seconds
    """

    mono: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


def log_notice(text: str) -> None:
    """The default way a notice goes: a warning on the logger ``joulemill.meters``."""
    logging.getLogger("joulemill.meters").warning("%s", text)


@dataclass(frozen=True, kw_only=True)
class MeterContext:
    """The surroundings of a meter, all of which a test may replace.

    server_pid   process whose CPU time the declared power model counts, and whose GPUs are its own; None unknown
    server_embedded  whether that process is the embedded server, which computes on this machine's CPUs alone
    server_here  whether the server runs on this machine: ``auto`` never takes this machine's watts for another's
    sysfs, proc  roots of the two kernel trees
    clock        see :class:`Clock`
    environ      where credentials come from; never the command line
    notice       takes one sentence that the user must see (a sensor that is missing, a share that is assumed)
    libraries    stands in for the vendors' Python modules by name (``pynvml``, ``amdsmi``)
    """

    server_pid: int | None = None
    server_here: bool = True
    server_embedded: bool = True
    sysfs: Path = Path("/sys")
    proc: Path = Path("/proc")
    clock: Clock = field(default_factory=Clock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    notice: Callable[[str], None] = log_notice
    libraries: Mapping[str, Any] = field(default_factory=dict)

    def library(self, name: str) -> Any:
        """The vendor's Python module ``name``. Raises ImportError where it is not installed."""
        return self.libraries[name] if name in self.libraries else import_module(name)

    def reading(self, channel: str, value: float | None, error: str | None = None) -> Reading:
        """A reading of ``channel`` taken now."""
        return Reading(channel, self.clock.mono(), self.clock.wall(), value, error)


@dataclass(frozen=True, slots=True)
class Spec:
    """A meter's SPEC, taken apart: ``name[:target][,key=value…]``: ``rapl:scope=psys``, ``file:x.csv,unit=kW``.

    text    as the user wrote it; name  the sensor family;  target  the part without a key ("" where none)
    """

    text: str
    name: str
    target: str
    options: Mapping[str, str]

    def option(self, key: str, default: str, allowed: tuple[str, ...] = ()) -> str:
        """The option ``key`` or ``default``. Raises InputError where it is not one of ``allowed``."""
        value = self.options.get(key, default)
        if allowed and value not in allowed:
            raise InputError(f"`meter` {self.text}: {key}={value} is not known; use one of {', '.join(allowed)}")
        return value

    def only(self, *keys: str) -> Spec:
        """This SPEC, after checking that it has no options but ``keys``; a mistyped option is never ignored."""
        unknown = sorted(set(self.options) - set(keys))
        if unknown:
            known = f"it takes {', '.join(keys)}" if keys else "it takes none"
            raise InputError(f"`meter` {self.text}: no option {', '.join(unknown)}; {known}")
        return self

    def several(self, key: str) -> tuple[str, ...]:
        """The parts of the option ``key``, joined by "+"; none where it is not there."""
        return tuple(dict.fromkeys(p.strip() for p in self.options.get(key, "").split("+") if p.strip()))

    def count(self) -> int | None:
        """How many things the user expects by ``count=``; None where nobody said. Raises InputError."""
        text = self.options.get("count")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text) > 0):
            raise InputError(f"`meter` {self.text}: count={text} must be a whole number such as 8")
        return int(text)

    def quantity(self, key: str, unit: str) -> float | None:
        """The option ``key`` as a quantity in the SI base ``unit``, at least 0; None where it is not there."""
        if key not in self.options:
            return None
        value = parse_quantity(self.options[key], unit, name=f"`meter` {self.text}: {key}")
        if not 0.0 <= value < math.inf:
            raise InputError(f"`meter` {self.text}: {key}={self.options[key][:40]} must be a number from 0")
        return value

    def without_target(self) -> Spec:
        """This SPEC, after checking that nothing stands in it without a key."""
        if self.target:
            raise InputError(f"`meter` {self.text}: {self.target!r} is not understood; options are written key=value")
        return self


def parse_spec(text: str) -> Spec:
    """Take a SPEC apart. Raises InputError when an option is given twice or there is no name.

    >>> parse_spec("declared:idle=60W,busy=180W").options
    {'idle': '60W', 'busy': '180W'}
    """
    name, _, rest = text.strip().partition(":")
    if not name:
        raise InputError(f"`meter` {text!r}: a meter's name is missing")
    options: dict[str, str] = {}
    target: list[str] = []
    for part in rest.split(",") if rest else []:
        match = _OPTION.match(part)
        if match is None:
            target.append(part)
        elif match.group(1) in options:
            raise InputError(f"`meter` {text}: {match.group(1)} is given twice")
        else:
            options[match.group(1)] = match.group(2).strip()
    return Spec(text.strip(), name.strip(), ",".join(target), options)
