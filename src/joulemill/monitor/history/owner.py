"""Who writes a history: one monitor at a time, since two would count every joule and token twice.

The owner's row holds a beat that goes up while it lives. Whoever comes next looks at the beat, not at clocks: it waits
``SILENT_S`` for it to move, and refuses where it does; where the owner is a process of this machine that has ended,
nobody waits. Each transaction of the owner makes sure that it still is the owner, so that one that was only stopped for
a while writes nothing after another has taken over.
"""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from joulemill.errors import InputError, MachineError

#: The owner's beat goes up at least this often [s]; where it stands for so long, its owner is gone [s] (assumed).
BEAT_S, SILENT_S = 2.0, 8.0
LOOK_S = 0.25
OWNER_SCHEMA = """
CREATE TABLE IF NOT EXISTS owner (
    one INTEGER PRIMARY KEY CHECK (one = 1), instance TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
    process TEXT NOT NULL, beat INTEGER NOT NULL
);
"""


class HistoryTakenOverError(MachineError):
    """Another monitor writes this history now."""


@dataclass(frozen=True, slots=True)
class _OwnerRow:
    instance: str
    host: str
    pid: int
    process: str
    beat: int


class Owner:
    """This process as a history's owner."""

    def __init__(self, db: sqlite3.Connection, path: Path, wait: Callable[[float], None] = time.sleep) -> None:
        self._db, self._path, self._wait = db, path, wait
        self.instance = secrets.token_hex(8)

    def claim(self, *, takeover: bool = False) -> None:
        """Become the owner. Raises InputError where another monitor is, and it lives; ``takeover``: nobody is asked."""
        known = self._row()
        if known is not None and not takeover and not _ended(known) and self._beats(known):
            raise InputError(
                f"{self._path}: another monitor keeps its history there (process {known.pid} on {known.host}), and two "
                "would count everything twice; end it, give each a --store of its own, or let this one take it over "
                "with --takeover (the other one then keeps nothing)"
            )
        self._db.execute(
            "INSERT OR REPLACE INTO owner VALUES (1, ?, ?, ?, ?, 0)",
            (self.instance, socket.gethostname(), os.getpid(), _process(os.getpid())),
        )

    def beat(self) -> None:
        """Refresh the ownership mark; in a transaction, check it as well. Raises HistoryTakenOverError."""
        if self._db.execute("UPDATE owner SET beat = beat + 1 WHERE instance = ?", (self.instance,)).rowcount != 1:
            raise HistoryTakenOverError(
                f"{self._path}: another monitor has taken the history over; this one keeps no more"
            )

    def release(self) -> None:
        """Be the owner no longer."""
        self._db.execute("DELETE FROM owner WHERE instance = ?", (self.instance,))

    def _row(self) -> _OwnerRow | None:
        row = self._db.execute("SELECT instance, host, pid, process, beat FROM owner").fetchone()
        return None if row is None else _OwnerRow(*row)

    def _beats(self, known: _OwnerRow) -> bool:
        """Whether the owner's beat moves within ``SILENT_S``, or its row goes (then nobody owns it)."""
        for _ in range(int(SILENT_S / LOOK_S)):
            self._wait(LOOK_S)
            now = self._row()
            if now is None:
                return False
            if (now.instance, now.beat) != (known.instance, known.beat):
                return True
        return False


def _process(pid: int) -> str:
    """A process as nobody else can be: boot, namespace of process numbers, and when it began; "" where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {began}"
    except (OSError, IndexError):
        return ""


def _ended(known: _OwnerRow) -> bool:
    """Whether the owner was a process of this machine, as seen from here, and is no more."""
    mine = _process(os.getpid())
    same_machine = bool(mine) and known.process.split(" ")[:2] == mine.split(" ")[:2]
    return same_machine and _process(known.pid) != known.process
