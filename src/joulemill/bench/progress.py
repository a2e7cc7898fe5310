"""How a run tells people where it is: a small seam, and a silent fill."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Hears how a run goes on. Calls come from the event loop's thread, at most a few a second."""

    def phase(self, name: str, total_s: float | None) -> None:
        """A phase begins that takes about ``total_s`` seconds; None where nobody knows."""
        ...

    def advance(self, elapsed_s: float, text: str = "") -> None:
        """The phase has gone on to ``elapsed_s``; ``text`` says what has happened so far."""
        ...

    def note(self, text: str) -> None:
        """One line that the user must see."""
        ...

    def stopping(self, signal: str, folder: Path) -> None:
        """The run was told to stop by ``signal``; what was measured is kept in ``folder``."""
        ...


class NullProgress:
    """Tells nobody."""

    def phase(self, name: str, total_s: float | None) -> None:
        """Nothing."""

    def advance(self, elapsed_s: float, text: str = "") -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def stopping(self, signal: str, folder: Path) -> None:
        """Nothing."""
