"""Several runs that belong together: a sweep of the load over one server, or a probe of one setting at a time.

Each run has its folder under the sweep's; ``sweep.json`` is rewritten after each, so that Ctrl-C or a failing server
leave all that was measured, and the same command on the same folder goes on where it was left.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from joulemill.bench.host import hosted
from joulemill.bench.machine.power_limits import Limits
from joulemill.bench.progress import NullProgress, Progress
from joulemill.bench.quality import asker
from joulemill.bench.run import RunContext, measure
from joulemill.bench.series.plan import Plan
from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.recording.private import private_folder, write_private
from joulemill.recording.reader import read_run
from joulemill.recording.sweeps import FILE, SCHEMA_VERSION, read_sweep
from joulemill.recording.writer import free_folder


async def run_plan(
    plan: Plan,
    out: Path | None,
    display: Progress | None = None,
    around: RunContext | None = None,
    *,
    limits: Limits | None = None,
    after: Callable[[Path], None] | None = None,
) -> Path:
    """Run ``plan`` and return its folder. An interrupted run ends it; what was measured before stays.

    ``out`` may hold the same plan, interrupted: what was measured there is kept, and the rest is run. ``limits`` holds
    the boards of a probe, ``after`` hears of each run's folder when it has ended. Raises InputError where another sweep
    is in ``out``, and what the first run raises where not one run could be made.
    """
    folder = out or free_folder(Path("runs"), time.time())
    runs = _Runs(plan, folder, display or NullProgress(), around or RunContext())
    runs.limits, runs.after = limits, after
    with _termination_heard():
        return await runs.whole()


@contextmanager
def _termination_heard() -> Iterator[None]:
    """SIGTERM between two runs ends as Ctrl-C does: what is open is closed, what was changed is put back."""
    before: Any = None
    with suppress(ValueError):  # not in the main thread: the caller's business
        before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


class _Runs:
    """The runs of a plan, with what is known of those that are done."""

    def __init__(self, plan: Plan, folder: Path, display: Progress, around: RunContext) -> None:
        self.plan, self.folder, self.display, self.around = plan, folder, display, around
        self.limits: Limits | None = None
        self.after: Callable[[Path], None] | None = None
        self.done: list[dict[str, Any]] = []
        self.noted: set[str] = set()

    async def whole(self) -> Path:
        self._take_up()
        # Until the last run has ended, "interrupted" is the truth whatever happens.
        self._write("interrupted")
        async with AsyncExitStack() as stack:
            around = self.around
            if self.plan.host_options is not None:
                host = await stack.enter_async_context(hosted(self.plan.host_options, around.api_key))
                around = replace(around, host=host)
            for position in range(self._ended(), len(self.plan.order)):
                with suppress(ValueError):
                    signal.signal(signal.SIGTERM, _stop)  # a run takes the signal for itself, and leaves the default
                if not await self._one(position, around):
                    return self.folder
        self._write("complete")
        return self.folder

    def _take_up(self) -> None:
        """What an interrupted sweep of the same plan left in the folder."""
        if not (self.folder / FILE).exists():
            return
        sweep_document = read_sweep(self.folder)
        if sweep_document["status"] == "complete":
            raise InputError(f"{self.folder}: a sweep is there already; choose another `out`")
        ours = json.loads(json.dumps(self._document("interrupted"), default=str))
        if any(sweep_document.get(name) != ours[name] for name in ("kind", "knob", "points", "order")):
            raise InputError(
                f"{self.folder}: an interrupted sweep of other points or options is there; the command that started it "
                "resumes it, or choose another `out`"
            )
        self.done = list(sweep_document["runs"])
        self.display.note(f"resuming after {self._ended()} of {len(self.plan.order)} runs in {self.folder}")

    def _ended(self) -> int:
        return sum(r["status"] != "interrupted" for r in self.done)

    async def _one(self, position: int, around: RunContext) -> bool:
        """One run; False where it was the last that can be made."""
        index = self.plan.order[position]
        setting = self.plan.settings[index]
        progress = _Prefixed(self.display, f"{position + 1}/{len(self.plan.order)} {setting.label}", self.noted)
        out = self._free(f"{position + 1:02d}-{setting.label.replace(' ', '-').replace('=', '-').replace('/', '-')}")
        try:
            with self.limits.at(setting.change) if self.limits is not None else nullcontext():
                asks = replace(around, ask_quality=asker(setting.options))
                path = await measure(replace(setting.options, out=out), progress, asks)
            status = read_run(path).status
            self.done.append({"point": index, "folder": path.name, "status": status})
            self._write("interrupted")
            if self.after is not None:
                await asyncio.to_thread(self.after, path)
        except JoulemillError as fault:
            if not self.done:
                raise
            self.display.note(f"{setting.label}: {fault}")
            return False
        return status != "interrupted"

    def _free(self, name: str) -> Path:
        """A folder for a run: a run of that place that was interrupted keeps its own."""
        again = (self.folder / (name if k == 1 else f"{name}-{k}") for k in range(1, 1000))
        return next(path for path in again if not path.exists())

    def _document(self, status: str) -> dict[str, Any]:
        points = [
            {"label": s.label, "knob": s.knob, "x": s.x, "options": s.options.manifest()} for s in self.plan.settings
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.plan.kind,
            "knob": self.plan.knob,
            "status": status,
            "points": points,
            "order": list(self.plan.order),
            "runs": self.done,
            "absent": dict(self.plan.absent),
        }

    def _write(self, status: str) -> None:
        try:
            private_folder(self.folder)
            part = self.folder / f"{FILE}.part"
            write_private(part, json.dumps(self._document(status), indent=2, default=str) + "\n")
            part.replace(self.folder / FILE)
        except OSError as fault:
            raise MachineError(f"{self.folder}: cannot be written ({fault.strerror}); choose another `out`") from fault


class _Prefixed:
    """A display that says which run of the sweep it is, and each note once for all runs (``noted``)."""

    def __init__(self, display: Progress, prefix: str, noted: set[str]) -> None:
        self.display, self.prefix, self.noted = display, prefix, noted

    def phase(self, name: str, total_s: float | None) -> None:
        """Told with the prefix."""
        self.display.phase(f"{self.prefix}: {name}", total_s)

    def advance(self, elapsed_s: float, text: str = "") -> None:
        """Handed on."""
        self.display.advance(elapsed_s, text)

    def note(self, text: str) -> None:
        """Told once."""
        if text not in self.noted:
            self.noted.add(text)
            self.display.note(text)

    def stopping(self, signal: str, folder: Path) -> None:
        """Handed on."""
        self.display.stopping(signal, folder)
