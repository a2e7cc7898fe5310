from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from tests.support.fake_nvml import FakeBoard, FakeNvml
from tests.support.surroundings import HandClock, put


def foreign(board: FakeBoard, told: list[str], **context: object) -> float | None:
    surroundings = MeterContext(
        libraries={"pynvml": FakeNvml(board)}, clock=HandClock().clock, environ={}, notice=told.append, **context
    )
    meter = open_meters(["nvml"], surroundings)[0]
    return next(r.value for r in meter.read() if r.channel.endswith(":foreign-use"))


def process(proc: Path, pid: int, parent: int) -> None:
    put(proc / str(pid) / "stat", f"{pid} (a server) S {parent} " + "0 " * 40)


def test_a_board_of_its_own_is_shared_with_nobody() -> None:
    told: list[str] = []
    assert foreign(FakeBoard(use={100: 90}), told) == 0.0
    assert foreign(FakeBoard(processes=0), told) == 0.0
    assert told == []


def test_other_processes_are_told_at_opening_and_their_share_is_read(tmp_path: Path) -> None:
    process(tmp_path, 7, 1)
    process(tmp_path, 101, 7)  # a worker of the server
    process(tmp_path, 100, 1)
    told: list[str] = []
    board = FakeBoard(processes=2, use={100: 20, 101: 60}, memory={100: 9 << 30, 101: 1 << 30})
    assert foreign(board, told, server_pid=7, proc=tmp_path) == pytest.approx(0.25)
    assert len(told) == 1 and "process 100 also uses it" in told[0]


def test_where_the_server_is_unknown_the_largest_process_is_taken_for_it() -> None:
    board = FakeBoard(processes=2, use={100: 20, 101: 60}, memory={100: 9 << 30, 101: 1 << 30})
    assert foreign(board, []) == pytest.approx(0.75)
    assert foreign(board, [], server_pid=4242) == pytest.approx(0.75)  # hidden by a container


def test_what_is_not_told_may_be_everything_and_an_idle_board_is_nobodys() -> None:
    assert foreign(FakeBoard(processes=2, use=None), []) == 1.0
    assert foreign(FakeBoard(processes=2, use={}), []) == 0.0
