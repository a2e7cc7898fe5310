"""How a series of phases is shown to people: rich's bars on stderr; without a terminal a line a phase."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from joulemill.commands import ending
from joulemill.streams import progress_console

#: Bars that stay on the screen: the phases of one run and a little of the one before it.
MOST_BARS = 8


class ProgressBar:
    """A bar a phase on stderr, the last ones staying; without a terminal a line a phase. Use it with ``with``."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or progress_console()
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._finish()
        self._bars.stop()

    def phase(self, name: str, total_s: float | None) -> None:
        """A new bar; the last one is full."""
        self._finish()
        if not self.console.is_terminal:
            self.console.print(f"{name} …" if total_s is None else f"{name}, about {total_s:.0f} s …")
        while len(self._bars.task_ids) >= MOST_BARS:  # a sweep has more phases than a terminal has lines
            self._bars.remove_task(self._bars.task_ids[0])
        self._task = self._bars.add_task(name, total=total_s, text="")

    def advance(self, elapsed_s: float, text: str = "") -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=elapsed_s, text=text)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stopping(self, signal: str, folder: Path) -> None:
        """SIGTERM leaves little time, and a report of many meters may take longer."""
        if signal == "SIGTERM":
            ending.begin(f"stopped by SIGTERM; what was measured is kept in {folder}: joulemill report {folder}")

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[-1]
            self._bars.update(self._task, total=task.completed or 1, completed=task.completed or 1)
            self._task = None
