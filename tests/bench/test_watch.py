"""What goes on beside the load ends when the run does; a run that was told to stop waits little for a meter."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from joulemill.bench.progress import NullProgress
from joulemill.bench.watch import Watch
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.recording.writer import RunWriter


def _channel() -> Channel:
    return Channel(
        id="bmc:w", meter="bmc", device="node", scope=Scope.NODE, quantity=Quantity.POWER, basis=Basis.MEASURED
    )


class Hangs:
    """A meter whose second reading, and whose closing, do not come back before the test is over."""

    def __init__(self) -> None:
        self.over, self.reads = threading.Event(), 0

    def channels(self) -> tuple[Channel, ...]:
        return (_channel(),)

    def read(self) -> tuple[Reading, ...]:
        self.reads += 1
        if self.reads > 1:
            self.over.wait()
        return ()

    def close(self) -> None:
        self.over.wait()


def test_a_run_that_is_told_to_stop_does_not_wait_for_a_meter_that_hangs(tmp_path: Path) -> None:
    meter, notes = Hangs(), []

    class Notes(NullProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    async def run() -> None:
        watch = Watch(RunWriter(tmp_path / "run"), Notes(), period_s=1.0, doing=str)
        watch.meter([meter], 0.01)
        while meter.reads < 2:
            await asyncio.sleep(0.01)
        watch.hurried = True
        await watch.close()

    try:
        asyncio.run(asyncio.wait_for(run(), 120.0))  # it would never come back
    finally:
        meter.over.set()
    assert notes == ["meters that did not answer at the end: bmc"]
