"""One tree of errors. Each message says what to do next.

    JoulemillError
    ├── InputError      your input: a flag, a file, a table, a combination that can't be      → exit 2
    ├── ServerError     their server: unreachable, refused, broken in the middle of a run     → exit 1
    │                   (``usage=True``: it never answered as asked: wrong URL, model or key  → exit 2)
    └── MachineError    this machine cannot: no sensor, no permission, disk full              → exit 2

This file knows nothing of argument parsers, logging or terminals.
"""

from __future__ import annotations

#: Exit code of a run that Ctrl-C or SIGTERM ended (128 + SIGINT, as shells have it); what was measured is kept.
EXIT_INTERRUPTED = 130


class JoulemillError(Exception):
    """Base of everything that Joulemill raises on purpose."""

    exit_code = 2


class InputError(JoulemillError):
    """What the user gave cannot be used. The message names the input and what would do."""


class ServerError(JoulemillError):
    """The LLM server failed.

    ``usage`` is true when the server was never usable as asked (wrong address, model, key): that is the
    user's to mend, exit 2. A server that worked and then failed exits 1.
    """

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage
        self.exit_code = 2 if usage else 1


class MachineError(JoulemillError):
    """This machine cannot do it: a sensor, a permission, a package or disk space is missing."""
