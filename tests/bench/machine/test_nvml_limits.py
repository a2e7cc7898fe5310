"""Power limits and clocks of boards: units, ranges, what may not be changed, and the way back."""

from __future__ import annotations

import pytest

from joulemill.bench.machine.nvml_limits import Boards, below_default, by_hand, lowered, metered_boards, put_back
from joulemill.errors import InputError, MachineError
from joulemill.meters.meter import MeterContext
from tests.support.fake_nvml import FakeBoard, FakeNvml


def context(fake: FakeNvml) -> MeterContext:
    return MeterContext(libraries={"pynvml": fake})


def test_limits_are_in_watts_and_hertz() -> None:
    (found,) = Boards(context(FakeNvml(FakeBoard(limit_mw=650_000)))).current_limits()
    assert (found.power_limit_w, found.least_w, found.greatest_w, found.default_w) == (650.0, 200.0, 700.0, 700.0)
    assert found.clock_hz == 1.98e9


def test_a_limit_is_set_in_milliwatts_and_a_clock_in_megahertz() -> None:
    board = FakeBoard()
    boards = Boards(context(FakeNvml(board)))
    boards.set_power(board.uuid, 489.9996)
    boards.lock_clock(board.uuid, 1.386e9)
    assert board.limit_mw == 490_000 and board.locked_mhz == (0, 1386)
    boards.unlock_clock(board.uuid)
    assert board.locked_mhz is None


def test_putting_back_undoes_each_by_itself() -> None:
    one, two = FakeBoard(uuid="GPU-1", limit_mw=600_000), FakeBoard(uuid="GPU-2")
    boards = Boards(context(FakeNvml(one, two)))
    found = boards.current_limits()
    boards.set_power("GPU-1", 300.0)
    boards.set_power("GPU-2", 300.0)
    boards.lock_clock("GPU-2", 1e9)
    one.lost = True  # fell off the bus in the middle: the other one is put back all the same
    left = put_back(boards, found, {"GPU-1": ["power"], "GPU-2": ["power", "clock"]})
    assert two.limit_mw == 700_000 and two.locked_mhz is None
    assert left == ["sudo nvidia-smi -i GPU-1 -pl 600"]


def test_without_root_the_step_is_named_and_nothing_changes() -> None:
    board = FakeBoard()
    boards = Boards(context(FakeNvml(board, root=False)))
    for change in (lambda: boards.set_power(board.uuid, 300.0), lambda: boards.lock_clock(board.uuid, 1e9)):
        with pytest.raises(MachineError, match="sudo -E"):
            change()
    assert board.limit_mw == 700_000 and board.locked_mhz is None


def test_a_limit_beyond_the_boards_range_is_told() -> None:
    board = FakeBoard()
    with pytest.raises(MachineError, match="Invalid Argument"):
        Boards(context(FakeNvml(board))).set_power(board.uuid, 50.0)


@pytest.mark.parametrize(
    ("board", "power_w", "clock_hz"),
    [
        (FakeBoard(), 490.0, 0.7 * 1.98e9),
        (FakeBoard(limit_mw=250_000), 200.0, 0.7 * 1.98e9),  # 175 W would be below its least
        (FakeBoard(limit_mw=200_000), None, 0.7 * 1.98e9),
    ],
)
def test_how_low_a_board_goes(board: FakeBoard, power_w: float | None, clock_hz: float) -> None:
    (found,) = Boards(context(FakeNvml(board))).current_limits()
    assert lowered(found, "power", 0.7) == pytest.approx(power_w)
    assert lowered(found, "clock", 0.7) == pytest.approx(clock_hz)


def test_the_boards_that_the_meter_counts_are_the_ones_that_are_probed() -> None:
    fake = FakeNvml(FakeBoard(uuid="GPU-1"), FakeBoard(uuid="GPU-2"))
    assert metered_boards(context(fake), ["auto"]) == ("GPU-1", "GPU-2")
    assert metered_boards(context(fake), ["nvml:gpus=1", "rapl"]) == ("GPU-2",)
    assert metered_boards(context(fake), ["nvml:gpus=GPU-1"]) == ("GPU-1",)
    with pytest.raises(InputError, match="no board 7"):
        metered_boards(context(fake), ["nvml:gpus=7"])
    assert fake.open == 0


def test_a_limit_below_its_default_is_told_with_the_command() -> None:
    fake = FakeNvml(FakeBoard(uuid="GPU-1", limit_mw=490_000), FakeBoard(uuid="GPU-2"))
    (told,) = below_default(context(fake))
    assert "490 W" in told and "sudo nvidia-smi -i GPU-1 -pl 700" in told
    assert below_default(context(FakeNvml(driver=False))) == [] and fake.open == 0


def test_a_board_that_is_not_there_is_no_board() -> None:
    fake = FakeNvml(FakeBoard())
    with pytest.raises(MachineError, match="GPU-9"):
        Boards(context(fake), ["GPU-9"])
    with pytest.raises(MachineError, match="no NVIDIA board"):
        Boards(context(FakeNvml(driver=False)))
    assert fake.open == 0


def test_commands_by_hand() -> None:
    (found,) = Boards(context(FakeNvml(FakeBoard()))).current_limits()
    assert by_hand(found, "power").endswith("-pl 700") and by_hand(found, "clock").endswith("-rgc")


def test_whether_a_process_computes_on_a_board() -> None:
    fake = FakeNvml(FakeBoard(uuid="GPU-1", processes=0), FakeBoard(uuid="GPU-2", lost=False))
    boards = Boards(context(fake))
    assert not boards.serves("GPU-1") and boards.serves("GPU-2")
    fake.boards[0].lost = True
    assert boards.serves("GPU-1"), "what NVML does not tell is not held against the user"
