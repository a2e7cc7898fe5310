"""What runs a sweep or a probe makes, and in which order: points of the load, or one setting changed at a time.

Runs are interleaved there and back (1 2 4 8 8 4 2 1): a machine that drifts shifts every point by about the same, and
does not fake an effect.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulemill.bench.machine.power_limits import LimitChange
from joulemill.bench.options import BenchOptions
from joulemill.errors import InputError

#: What may be swept, as the command line names it → as `sweep.json` names it.
KNOBS = {"concurrency": "concurrency", "rate": "rate", "input-tokens": "input", "output-tokens": "output"}
DEFAULT_POINT_S = 20.0
DEFAULT_REPEATS = 2


@dataclass(frozen=True)
class Setting:
    """One point: its name, its place on the axis (None: a probe's base), its runs' options, what boards are set to."""

    label: str
    knob: str
    x: float | None
    options: BenchOptions
    change: LimitChange | None = None


@dataclass(frozen=True)
class Plan:
    """Points, the order of their runs, and whether one server serves all (``host_options``) or each has its own.

    absent   points that were asked for and cannot be, with why
    """

    kind: str
    knob: str
    settings: tuple[Setting, ...]
    order: tuple[int, ...]
    host_options: BenchOptions | None
    absent: Mapping[str, str] = field(default_factory=dict)


def there_and_back(points: int, repeats: int) -> tuple[int, ...]:
    """Indices of the points, ``repeats`` times, every second time backwards.

    >>> there_and_back(3, 2)
    (0, 1, 2, 2, 1, 0)
    """
    up = tuple(range(points))
    return tuple(i for k in range(repeats) for i in (up if k % 2 == 0 else up[::-1]))


def sweep_plan(options: BenchOptions, text: str, repeats: int = DEFAULT_REPEATS, point_s: float | None = None) -> Plan:
    """The plan of ``sweep KNOB=V1,V2,…``. Raises InputError for a knob or value that cannot be."""
    name, _, listed = text.partition("=")
    if name not in KNOBS or not listed:
        raise InputError(f"sweep {text!r}: write one of {', '.join(KNOBS)} and values, e.g. concurrency=1,2,4,8")
    knob = KNOBS[name]
    values = [_value(name, word) for word in listed.split(",")]
    if len(values) < 2 or len(set(values)) < len(values):
        raise InputError(f"sweep {text!r}: give at least two values, each once")
    plain = _point(options, point_s, repeats)
    settings = tuple(Setting(f"{knob}={v:g}", knob, v, _with(plain, knob, v)) for v in values)
    largest = _with(plain, knob, max(values))
    return Plan("sweep", knob, settings, there_and_back(len(values), repeats), replace(largest, out=None))


def probe_plan(
    options: BenchOptions,
    repeats: int = DEFAULT_REPEATS,
    point_s: float | None = None,
    changes: Sequence[LimitChange] | None = None,
) -> Plan:
    """The plan of ``probe``: the run as it is, with twice the load, and what else may be changed, each alone.

    That is slots and threads of the embedded server, ``changes`` of boards that serve ``url`` (None: not asked for).
    """
    if options.url is not None and changes is None:
        raise InputError(
            "probe restarts the server with other settings, so it needs the embedded one: leave out `url` (or, for a "
            "server on this machine's boards, probe those: `board` power,clock)"
        )
    if not options.closed_loop:
        raise InputError("probe needs a closed loop: give `concurrency` instead of `rate_req_s` or `trace`")
    load = options.at_once
    base = replace(_point(options, point_s, repeats), concurrency=load)
    if options.url is None:
        base = replace(base, slots=options.slots or load, threads=options.threads or _cpus())
    twice = Setting(f"load {load} to {load * 2}", "load", 2.0, replace(base, concurrency=load * 2))
    settings = [Setting("base", "base", None, base), twice]
    settings += _restarts(base) if options.url is None else []
    settings += [Setting(c.label, c.knob, c.x, base, c) for c in changes or ()]
    host = base if options.url is not None else None
    return Plan("probe", "setting", tuple(settings), there_and_back(len(settings), repeats), host)


def _restarts(base: BenchOptions) -> list[Setting]:
    """What the embedded server is started anew for."""
    slots, threads, cpus = base.slots or 1, base.threads or 1, _cpus()
    settings = [Setting(f"slots {slots} to {slots * 2}", "slots", 2.0, replace(base, slots=slots * 2))]
    other = threads * 2 if threads * 2 <= cpus else threads // 2
    if other:
        changed = replace(base, threads=other)
        settings.append(Setting(f"threads {threads} to {other}", "threads", other / threads, changed))
    return settings


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _value(name: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise InputError(f"sweep {name}: {word!r} is not a number") from None
    if not 0 < value < 1e9 or (name != "rate" and value != int(value)):
        raise InputError(
            f"sweep {name}: {word!r} must be {'more than 0' if name == 'rate' else 'a whole number from 1'}"
        )
    return value


def _point(options: BenchOptions, point_s: float | None, repeats: int) -> BenchOptions:
    """What all points share: their length, and no quality set, which would be asked again at each."""
    if options.trace is not None:
        raise InputError("`trace` has one load only; leave it out of a sweep")
    if repeats < 1:
        raise InputError(f"`repeats` must be at least 1, not {repeats}")
    return replace(options, duration_s=point_s or options.duration_s or DEFAULT_POINT_S, quality=None, out=None)


def _with(options: BenchOptions, knob: str, value: float) -> BenchOptions:
    if knob == "concurrency":
        return replace(options, concurrency=int(value), rate_req_s=None)
    if knob == "rate":
        return replace(options, concurrency=None, rate_req_s=value)
    return replace(options, **{f"{knob}_tokens": str(int(value))})  # type: ignore[arg-type]
