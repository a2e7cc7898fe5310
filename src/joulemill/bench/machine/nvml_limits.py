"""Power limit and clock of NVIDIA boards: what they are, lowering them, putting them back. Needs root to change.

Must live here: the NVML calls and their units. Must not: when a limit is changed, and who makes sure that it is put
back (:mod:`.power_limits`). A power limit is put back to what it was. NVML does not tell whether clocks were
locked already, so "back" means unlocked; ``--board clock`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from joulemill.errors import InputError, MachineError
from joulemill.meters.local.nvml import find_boards
from joulemill.meters.meter import MeterContext, parse_spec

KNOBS = ("power", "clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardLimit:
    """One board as it was found: its power limit, the range that it may be set to, its default; its highest SM clock.

    ``clock_hz`` is None where the board does not tell it.
    """

    uuid: str
    name: str
    power_limit_w: float
    least_w: float
    greatest_w: float
    default_w: float
    clock_hz: float | None


class Boards:
    """The boards ``uuids`` (none: all) of an NVML that is open until ``close``."""

    def __init__(self, context: MeterContext, uuids: Sequence[str] = ()) -> None:
        """Raises MachineError where there is no driver, no board, or not one of ``uuids``."""
        try:
            self.library = context.library("pynvml")
            self.library.nvmlInit()
        except Exception as error:  # NVMLError has no fixed class where the library itself did not load
            raise MachineError(f"no NVIDIA board to probe here ({error}): 'nvidia-smi' must work") from error
        board_of_uuid = {b.uuid: b for b in find_boards(self.library)}
        missing = [u for u in uuids if u not in board_of_uuid]
        if missing or not board_of_uuid:
            self.close()
            raise MachineError(f"NVML shows no board {', '.join(missing)}; see 'nvidia-smi -L'".replace("  ", " "))
        self.boards = {u: board_of_uuid[u] for u in uuids or board_of_uuid}

    def close(self) -> None:
        """Let go of the driver."""
        with suppress(Exception):
            self.library.nvmlShutdown()

    def current_limits(self) -> tuple[BoardLimit, ...]:
        """Every board's limits now. Raises MachineError where a board does not tell its power limit."""
        return tuple(self.limit(uuid) for uuid in self.boards)

    def limit(self, uuid: str) -> BoardLimit:
        """One board's limits now."""
        lib, board = self.library, self.boards[uuid]
        try:
            limit_w = lib.nvmlDeviceGetPowerManagementLimit(board.handle) * 1e-3
            least, greatest = lib.nvmlDeviceGetPowerManagementLimitConstraints(board.handle)
            default_w = lib.nvmlDeviceGetPowerManagementDefaultLimit(board.handle) * 1e-3
        except Exception as error:
            raise MachineError(f"{board.name} ({uuid}) does not tell its power limit: {error}") from error
        clock_hz: float | None = None
        with suppress(Exception):
            clock_hz = lib.nvmlDeviceGetMaxClockInfo(board.handle, lib.NVML_CLOCK_SM) * 1e6
        return BoardLimit(
            uuid=uuid,
            name=board.name,
            power_limit_w=limit_w,
            least_w=least * 1e-3,
            greatest_w=greatest * 1e-3,
            default_w=default_w,
            clock_hz=clock_hz,
        )

    def serves(self, uuid: str) -> bool:
        """Whether a process computes on the board, as far as NVML tells; True where it does not."""
        try:
            return bool(self.library.nvmlDeviceGetComputeRunningProcesses(self.boards[uuid].handle))
        except Exception:  # a board or driver that does not say
            return True

    def set_power(self, uuid: str, power_w: float) -> None:
        """Set the power limit. Raises MachineError with the exact step where it may not be."""
        handle = self.boards[uuid].handle
        self._change("power limit", uuid, lambda: self.library.nvmlDeviceSetPowerManagementLimit(handle, _mw(power_w)))

    def lock_clock(self, uuid: str, clock_hz: float) -> None:
        """Let the SM clock not rise above ``clock_hz``. Raises MachineError with the exact step where it may not be."""
        handle, mhz = self.boards[uuid].handle, round(clock_hz * 1e-6)
        self._change("clock", uuid, lambda: self.library.nvmlDeviceSetGpuLockedClocks(handle, 0, mhz))

    def unlock_clock(self, uuid: str) -> None:
        """Let the clock go where the driver wants it."""
        handle = self.boards[uuid].handle
        self._change("clock", uuid, lambda: self.library.nvmlDeviceResetGpuLockedClocks(handle))

    def _change(self, what: str, uuid: str, change: Callable[[], object]) -> None:
        try:
            change()
        except Exception as error:
            if getattr(error, "value", None) == self.library.NVML_ERROR_NO_PERMISSION:
                why = "only root may: run the same command with sudo -E (in a container: as root, --cap-add SYS_ADMIN)"
            else:
                why = f"{error}; some boards, and all slices of a shared one, do not allow it"
            raise MachineError(f"the {what} of {self.boards[uuid].name} ({uuid}) cannot be changed: {why}") from error


def _mw(power_w: float) -> int:
    return round(power_w * 1e3)


def put_back(boards: Boards, limits_before: Sequence[BoardLimit], touched: Mapping[str, Sequence[str]]) -> list[str]:
    """Put back what ``touched`` names (board → knobs), each by itself; what could not be, as commands to do by hand."""
    left: list[str] = []
    for board in limits_before:
        for knob in touched.get(board.uuid, ()):
            try:
                if knob == "power":
                    boards.set_power(board.uuid, board.power_limit_w)
                else:
                    boards.unlock_clock(board.uuid)
            except MachineError:
                left.append(by_hand(board, knob))
    return left


def by_hand(board: BoardLimit, knob: str) -> str:
    """The command that puts one thing back."""
    what = f"-pl {board.power_limit_w:g}" if knob == "power" else "-rgc"
    return f"sudo nvidia-smi -i {board.uuid} {what}"


def lowered(board: BoardLimit, knob: str, share: float) -> float | None:
    """The value that ``share`` of the present limit comes to [W or Hz]; None where the board goes no lower."""
    if knob == "power":
        value_w = max(share * board.power_limit_w, board.least_w)
        return value_w if value_w < 0.97 * board.power_limit_w else None
    return None if board.clock_hz is None else share * board.clock_hz


def below_default(context: MeterContext) -> list[str]:
    """A sentence for each board of this machine whose power limit is not its default; none where there is no NVML.

    A probe that was killed may have left it so; the operator's own cap looks the same, so it is told, not changed.
    """
    try:
        boards = Boards(context)
    except MachineError:
        return []
    texts = []
    for uuid in boards.boards:
        with suppress(MachineError):
            b = boards.limit(uuid)
            if b.power_limit_w < 0.99 * b.default_w:
                texts.append(
                    f"{b.name} ({uuid}) has a power limit of {b.power_limit_w:g} W, {b.default_w:g} W is its default: "
                    f"unless this is intended, run sudo nvidia-smi -i {uuid} -pl {b.default_w:g}"
                )
    boards.close()
    return texts


def metered_boards(context: MeterContext, specs: Sequence[str]) -> tuple[str, ...]:
    """UUIDs of the boards that the meters' SPECs name (``nvml:gpus=0+1``); of all where none is named."""
    chosen = [w for s in map(parse_spec, specs) if s.name == "nvml" for w in s.option("gpus", "").split("+") if w]
    boards = Boards(context)
    try:
        chosen_boards = [b for b in boards.boards.values() if not chosen or {str(b.index), b.uuid} & set(chosen)]
    finally:
        boards.close()
    if not chosen_boards:
        raise InputError(f"no board {'+'.join(chosen)} to probe; see 'nvidia-smi -L'")
    return tuple(b.uuid for b in chosen_boards)
