from __future__ import annotations

import io

from rich.console import Console

from joulemill.bench.progress import NullProgress, Progress
from joulemill.commands.progress import MOST_BARS, ProgressBar


def told(terminal: bool) -> str:
    out = io.StringIO()
    with ProgressBar(Console(file=out, force_terminal=terminal, width=100)) as bar:
        bar.phase("idle", 5.0)
        bar.advance(2.5)
        bar.phase("load", None)
        bar.advance(1.0, "3 of 4 requests done")
        bar.note("no [energy] sensor")
    return out.getvalue()


def test_without_a_terminal_a_line_a_phase() -> None:
    assert told(terminal=False).splitlines() == ["idle, about 5 s …", "load …", "no [energy] sensor"]


def test_on_a_terminal_bars_with_what_happened() -> None:
    shown = told(terminal=True)
    assert "idle" in shown
    assert "3 of 4 requests done" in shown
    assert "no [energy] sensor" in shown


def test_both_fill_the_seam() -> None:
    for display in (NullProgress(), ProgressBar(Console(file=io.StringIO()))):
        seam: Progress = display
        seam.phase("x", None)
        seam.advance(1.0)
        seam.note("y")


def test_a_long_sweep_keeps_the_phase_that_goes_on_on_the_screen() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=12)
    with ProgressBar(console) as bar:
        for run in range(1, 9):
            for phase in ("start", "idle", "load", "drain"):
                bar.phase(f"{run}/8 c=4: {phase}", 1.0)
                bar.advance(0.5)
        shown = [t.description for t in bar._bars.tasks]
    assert len(shown) == MOST_BARS < 12 and shown[-1] == "8/8 c=4: drain"
