"""Lowers boards' power limit or clock for one run of a probe, and makes sure that it is put back.

However the probe ends: it is put back when the run ends, by whatever exception, Ctrl-C or SIGTERM. A process of its own
(``python -m joulemill.bench.machine.power_limits NOTE``) waits beside the probe; if the probe is killed, it puts back
what ``limits.json`` in the probe's folder says was changed. Should that be killed too, the file stays and tells: the
next probe, and `joulemill doctor`, name the commands.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from joulemill.bench.machine.nvml_limits import KNOBS, BoardLimit, Boards, by_hand, lowered, put_back
from joulemill.errors import InputError, MachineError
from joulemill.meters.meter import MeterContext
from joulemill.recording.private import open_private, private_folder

NOTE = "limits.json"
SCHEMA_VERSION = 1
#: A limit is lowered to this share: enough to show whether it binds, little enough for any board's range (assumed).
SHARE = 0.7
GUARD_END_S = 20.0


@dataclass(frozen=True)
class LimitChange:
    """What a probe does to boards: ``values`` by UUID in W or Hz; ``x`` is the factor against what they had."""

    knob: str
    label: str
    x: float
    values: Mapping[str, float]


class Limits:
    """Boards whose limits may be changed for a while; use it with ``with``, and ``at`` inside."""

    def __init__(self, context: MeterContext, uuids: Sequence[str], knobs: Sequence[str], folder: Path) -> None:
        """Finds what may be changed: ``changes``. What may not is told by ``context.notice``, with the step."""
        unknown = [k for k in knobs if k not in KNOBS]
        if unknown:
            raise InputError(f"`board`: {unknown[0]!r} is not known; use {' or '.join(KNOBS)}, or power,clock")
        self.folder, self.context = folder, context
        self.boards = Boards(context, uuids)
        try:
            self.initial_limits = self.boards.current_limits()
            self.changes = tuple(c for c in (self._change(k) for k in knobs) if c is not None)
        except BaseException:
            self.boards.close()
            raise
        self._guard: subprocess.Popen[bytes] | None = None
        self._touched: dict[str, list[str]] = {b.uuid: [] for b in self.initial_limits}

    def _change(self, knob: str) -> LimitChange | None:
        """The change of one knob on all boards; None, and a notice, where one of them does not allow it."""
        values = {b.uuid: lowered(b, knob, SHARE) for b in self.initial_limits}
        known = {uuid: v for uuid, v in values.items() if v is not None}
        name = "power limit" if knob == "power" else "clock"
        if len(known) < len(values):
            self.context.notice(f"the {name} is not probed: the board is already at its lowest, or does not report it")
            return None
        try:
            for board in self.initial_limits:  # what it has already, so that nothing changes where it is allowed
                if knob == "power":
                    self.boards.set_power(board.uuid, board.power_limit_w)
                else:
                    self.boards.unlock_clock(board.uuid)
        except MachineError as fault:
            self.context.notice(f"the {name} is not probed: {fault}")
            return None
        before = {b.uuid: b.power_limit_w if knob == "power" else b.clock_hz or 0.0 for b in self.initial_limits}
        share = math.exp(sum(math.log(v / before[u]) for u, v in known.items()) / len(known))
        return LimitChange(knob, f"{name} {_knob_text(knob, before)} to {_knob_text(knob, known)}", share, known)

    def __enter__(self) -> Limits:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(GUARD_END_S)
        self.boards.close()

    @contextmanager
    def at(self, change: LimitChange | None) -> Iterator[None]:
        """Hold ``change`` for the body; None changes nothing. The note is on the disk before the first change."""
        if change is None:
            yield
            return
        self._watched()
        for uuid in change.values:
            self._touched[uuid].append(change.knob)
        write_note(self.folder, self.initial_limits, self._touched, "changed")
        try:
            for uuid, value in change.values.items():
                (self.boards.set_power if change.knob == "power" else self.boards.lock_clock)(uuid, value)
            yield
        finally:
            self._put_back(change)

    def _put_back(self, change: LimitChange) -> None:
        left = put_back(self.boards, self.initial_limits, dict.fromkeys(change.values, (change.knob,)))
        if left:
            self.context.notice(f"could not be restored; restore it by hand: {'; '.join(left)}")
        else:
            for uuid in change.values:
                self._touched[uuid].remove(change.knob)
        write_note(
            self.folder, self.initial_limits, self._touched, "changed" if any(self._touched.values()) else "restored"
        )

    def _watched(self) -> None:
        """Start the guard, which outlives this process by as long as putting back takes."""
        if self._guard is not None and self._guard.poll() is None:
            return
        command = [sys.executable, "-m", "joulemill.bench.machine.power_limits", str((self.folder / NOTE).resolve())]
        private_folder(self.folder)
        # A session of its own: neither Ctrl-C nor the terminal's end reaches it.
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/")


def _knob_text(knob: str, values: Mapping[str, float]) -> str:
    """The values of all boards, each once."""
    unit, scale = ("W", 1.0) if knob == "power" else ("MHz", 1e-6)
    return "/".join(f"{v * scale:.0f}" for v in sorted(set(values.values()))) + f" {unit}"


def open_limits(
    url: str | None, here: bool, context: MeterContext, uuids: Callable[[], Sequence[str]], knobs: str, folder: Path
) -> Limits:
    """The limits that ``--board`` asks for. Raises InputError where no board of this machine serves ``url``."""
    if url is None:
        raise InputError(
            "`board` changes GPU boards, and the embedded server computes on the CPU: give `url` of a server on "
            "this machine's boards"
        )
    if not here:
        raise InputError(f"`board`: {url} is another machine, whose boards are not touched; run the probe there")
    limits = Limits(context, uuids(), [k for k in knobs.split(",") if k], folder)
    if limits.changes and not any(limits.boards.serves(b.uuid) for b in limits.initial_limits):
        context.notice(
            "NVML shows no process on the boards that are probed: where the server runs elsewhere (a tunnel), their "
            "points prove nothing"
        )
    return limits


def write_note(
    folder: Path, limits_before: Sequence[BoardLimit], touched: Mapping[str, Sequence[str]], status: str
) -> None:
    """``limits.json``, on the disk when this returns. ``status``: changed, restored."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boards": [asdict(b) for b in limits_before],
        "touched": {u: list(k) for u, k in touched.items()},
    }
    try:
        private_folder(folder)
        part = folder / f"{NOTE}.part"
        with open_private(part, "w") as file:
            json.dump(document, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / NOTE)
    except OSError as fault:
        raise MachineError(f"{folder / NOTE}: cannot be written ({fault.strerror}); no limit is changed") from fault


def read_note(path: Path) -> tuple[str, tuple[BoardLimit, ...], dict[str, list[str]]] | None:
    """Status, boards as they were, what was touched; None where there is no such note, or of another machine."""
    try:
        note_table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if note_table["host"] != socket.gethostname():
            return None
        return (
            str(note_table["status"]),
            tuple(BoardLimit(**b) for b in note_table["boards"]),
            dict(note_table["touched"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def left_behind(root: Path) -> list[str]:
    """A sentence for each probe in a folder of ``root`` that ended without putting back what it changed."""
    texts = []
    for path in sorted(root.glob(f"*/{NOTE}")):
        note = read_note(path)
        if note is None or note[0] == "restored":
            continue
        steps = [by_hand(b, knob) for b in note[1] for knob in note[2].get(b.uuid, ())]
        texts.append(f"{path.parent}: a probe was killed with limits changed; unless done since: {'; '.join(steps)}")
    return texts


def repair(path: Path, context: MeterContext) -> None:
    """Put back what the note at ``path`` says is changed; nothing where it says restored."""
    note = read_note(path)
    if note is None or note[0] == "restored":
        return
    _, limits_before, touched = note
    boards = Boards(context, [b.uuid for b in limits_before])
    try:
        left = put_back(boards, limits_before, touched)
    finally:
        boards.close()
    write_note(path.parent, limits_before, touched, "changed" if left else "restored")


if __name__ == "__main__":
    sys.stdin.buffer.read()  # until the probe ends, however it does
    with suppress(MachineError):  # the note stays, and tells
        repair(Path(sys.argv[1]), MeterContext())
