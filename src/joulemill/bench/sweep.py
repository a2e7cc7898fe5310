"""Several runs that belong together: a sweep of the load over one server, or a probe of one setting at a time.

Runs are interleaved there and back (1 2 4 8 8 4 2 1): a machine that drifts shifts every point by about the same, and
does not fake an effect. Each run has its folder under the sweep's; ``sweep.json`` is rewritten after each, so that
Ctrl-C or a failing server leave all that was measured.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.bench.folder import free_folder
from joulemill.bench.host import hosted
from joulemill.bench.options import BenchOptions
from joulemill.bench.progress import Silence, Teller
from joulemill.bench.reading import read_run
from joulemill.bench.run import Surroundings, measure
from joulemill.errors import InputError, JoulemillError, MachineError

SCHEMA_VERSION = 1
FILE = "sweep.json"
KNOBS = ("concurrency", "rate", "input", "output")
DEFAULT_POINT_S = 20.0
DEFAULT_REPEATS = 2


@dataclass(frozen=True)
class Setting:
    """One point: what it is called, its place on the axis (None: a probe's base), and the options of its runs."""

    label: str
    knob: str
    x: float | None
    options: BenchOptions


@dataclass(frozen=True)
class Plan:
    """Points, the order of their runs, and whether one server serves all (``host_options``) or each has its own."""

    kind: str
    knob: str
    settings: tuple[Setting, ...]
    order: tuple[int, ...]
    host_options: BenchOptions | None


def there_and_back(points: int, repeats: int) -> tuple[int, ...]:
    """Indices of the points, ``repeats`` times, every second time backwards.

    >>> there_and_back(3, 2)
    (0, 1, 2, 2, 1, 0)
    """
    up = tuple(range(points))
    return tuple(i for k in range(repeats) for i in (up if k % 2 == 0 else up[::-1]))


def sweep_plan(options: BenchOptions, text: str, repeats: int = DEFAULT_REPEATS, point_s: float | None = None) -> Plan:
    """The plan of ``--sweep knob=v1,v2,…``. Raises InputError for a knob or value that cannot be."""
    knob, _, listed = text.partition("=")
    if knob not in KNOBS or not listed:
        raise InputError(f"--sweep {text!r}: write one of {', '.join(KNOBS)} and values, e.g. concurrency=1,2,4,8")
    values = [_value(knob, word) for word in listed.split(",")]
    if len(values) < 2 or len(set(values)) < len(values):
        raise InputError(f"--sweep {text!r}: give at least two values, each once")
    plain = _point(options, point_s, repeats)
    settings = tuple(Setting(f"{knob}={v:g}", knob, v, _with(plain, knob, v)) for v in values)
    largest = _with(plain, knob, max(values))
    return Plan("sweep", knob, settings, there_and_back(len(values), repeats), replace(largest, out=None))


def probe_plan(options: BenchOptions, repeats: int = DEFAULT_REPEATS, point_s: float | None = None) -> Plan:
    """The plan of ``--probe``: the run as it is, with twice the load, the slots, and other threads, each alone."""
    if options.url is not None:
        raise InputError(
            "--probe restarts the server with other settings, so it needs the embedded one: leave out --url"
        )
    if not options.closed_loop:
        raise InputError("--probe needs a closed loop: give --concurrency instead of --rate or --trace")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load, threads = options.at_once, options.threads or cpus
    slots = options.slots or load
    base = replace(_point(options, point_s, repeats), concurrency=load, slots=slots, threads=threads)
    other = threads * 2 if threads * 2 <= cpus else threads // 2
    settings = [
        Setting("base", "base", None, base),
        Setting(f"load {load} to {load * 2}", "load", 2.0, replace(base, concurrency=load * 2)),
        Setting(f"slots {slots} to {slots * 2}", "slots", 2.0, replace(base, slots=slots * 2)),
    ]
    if other:
        changed = replace(base, threads=other)
        settings.append(Setting(f"threads {threads} to {other}", "threads", other / threads, changed))
    return Plan("probe", "setting", tuple(settings), there_and_back(len(settings), repeats), None)


def _value(knob: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise InputError(f"--sweep {knob}: {word!r} is not a number") from None
    if not 0 < value < 1e9 or (knob != "rate" and value != int(value)):
        raise InputError(
            f"--sweep {knob}: {word!r} must be {'more than 0' if knob == 'rate' else 'a whole number from 1'}"
        )
    return value


def _point(options: BenchOptions, point_s: float | None, repeats: int) -> BenchOptions:
    """What all points share: their length, and no quality set, which would be asked again at each."""
    if options.trace is not None:
        raise InputError("--trace has one load only; leave it out of a sweep")
    if repeats < 1:
        raise InputError(f"--repeats must be at least 1, not {repeats}")
    return replace(options, duration_s=point_s or options.duration_s or DEFAULT_POINT_S, quality=None, out=None)


def _with(options: BenchOptions, knob: str, value: float) -> BenchOptions:
    if knob == "concurrency":
        return replace(options, concurrency=int(value), rate_req_s=None)
    if knob == "rate":
        return replace(options, concurrency=None, rate_req_s=value)
    return replace(options, **{f"{knob}_tokens": str(int(value))})  # type: ignore[arg-type]


async def run_plan(
    plan: Plan, out: Path | None, teller: Teller | None = None, around: Surroundings | None = None
) -> Path:
    """Run ``plan`` and return its folder. An interrupted run ends it; what was measured before stays.

    Raises what the first run raises where not one run could be made.
    """
    folder = out or free_folder(Path("runs"), time.time())
    return await _Runs(plan, folder, teller or Silence(), around or Surroundings()).whole()


class _Runs:
    """The runs of a plan, with what is known of those that are done."""

    def __init__(self, plan: Plan, folder: Path, teller: Teller, around: Surroundings) -> None:
        self.plan, self.folder, self.teller, self.around = plan, folder, teller, around
        self.done: list[dict[str, Any]] = []
        self.noted: set[str] = set()

    async def whole(self) -> Path:
        if (self.folder / FILE).exists():
            raise InputError(f"{self.folder}: a sweep is there already; choose another --out")
        # Until the last run has ended, "interrupted" is the truth whatever happens.
        self._write("interrupted")
        async with AsyncExitStack() as stack:
            around = self.around
            if self.plan.host_options is not None:
                host = await stack.enter_async_context(hosted(self.plan.host_options, around.api_key))
                around = replace(around, host=host)
            for index in self.plan.order:
                if not await self._one(index, around):
                    return self.folder
        self._write("complete")
        return self.folder

    async def _one(self, index: int, around: Surroundings) -> bool:
        """One run; False where it was the last that can be made."""
        setting = self.plan.settings[index]
        count = len(self.done)
        name = f"{count + 1:02d}-{setting.label.replace(' ', '-').replace('=', '-')}"
        told = _Prefixed(self.teller, f"{count + 1}/{len(self.plan.order)} {setting.label}", self.noted)
        try:
            path = await measure(replace(setting.options, out=self.folder / name), told, around)
        except JoulemillError as fault:
            if not self.done:
                raise
            self.teller.note(f"{setting.label}: {fault}")
            return False
        status = read_run(path).status
        self.done.append({"point": index, "folder": name, "status": status})
        self._write("interrupted")
        return status != "interrupted"

    def _write(self, status: str) -> None:
        points = [{"label": s.label, "knob": s.knob, "x": s.x} for s in self.plan.settings]
        document = {
            "schema_version": SCHEMA_VERSION, "kind": self.plan.kind, "knob": self.plan.knob, "status": status,
            "points": points, "order": list(self.plan.order), "runs": self.done,
        }  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f"{FILE}.part"
            part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            part.replace(self.folder / FILE)
        except OSError as fault:
            raise MachineError(f"{self.folder}: cannot be written ({fault.strerror}); choose another --out") from fault


class _Prefixed:
    """A teller that says which run of the sweep it is, and each note once for all runs (``noted``)."""

    def __init__(self, teller: Teller, prefix: str, noted: set[str]) -> None:
        self.teller, self.prefix, self.noted = teller, prefix, noted

    def phase(self, name: str, total_s: float | None) -> None:
        """Told with the prefix."""
        self.teller.phase(f"{self.prefix}: {name}", total_s)

    def advance(self, elapsed_s: float, text: str = "") -> None:
        """Handed on."""
        self.teller.advance(elapsed_s, text)

    def note(self, text: str) -> None:
        """Told once."""
        if text not in self.noted:
            self.noted.add(text)
            self.teller.note(text)


def read_sweep(folder: Path) -> dict[str, Any]:
    """``sweep.json`` of ``folder``. Raises InputError where there is none or it is not one."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise InputError(f"{folder}: no sweep can be read there ({fault}); give the folder of bench --sweep") from fault
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{folder / FILE}: is not a sweep of this version of Joulemill")
    return found


def runs_of(document: dict[str, Any], point: int) -> Sequence[str]:
    """Folders of the runs of one point that were completed."""
    return [str(r["folder"]) for r in document["runs"] if r["point"] == point and r["status"] == "complete"]
