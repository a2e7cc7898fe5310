"""Limits of boards are put back however a probe ends: in order, by an exception, by a signal, killed outright."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.bench.machine.power_limits import NOTE, Limits, left_behind, open_limits, read_note, repair, write_note
from joulemill.cli import main
from joulemill.errors import InputError, MachineError
from joulemill.meters.meter import MeterContext
from tests.support.fake_nvml import FakeBoard, FakeNvml
from tests.support.filed_nvml import installed, limits

pytestmark = pytest.mark.apart

NORMAL = (700_000, None)


def opened(fake: FakeNvml, folder: Path, knobs: tuple[str, ...] = ("power", "clock"), **facts: Any) -> Limits:
    return Limits(MeterContext(libraries={"pynvml": fake}, **facts), (), knobs, folder)


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def test_a_change_is_held_and_undone(tmp_path: Path) -> None:
    board = FakeBoard()
    with opened(FakeNvml(board), tmp_path / "p") as found:
        power, clock = found.changes
        assert (power.label, power.x) == ("power limit 700 W to 490 W", pytest.approx(0.7))
        assert clock.label == "clock 1980 MHz to 1386 MHz"
        with found.at(power):
            assert board.limit_mw == 490_000
            note = read_note(tmp_path / "p" / NOTE)
            assert note is not None and note[0] == "changed" and note[1][0].power_limit_w == 700.0
            assert len(left_behind(tmp_path)) == 1
        assert board.limit_mw == 700_000
        with found.at(clock):
            assert board.locked_mhz == (0, 1386)
        assert board.locked_mhz is None
        with found.at(None):
            assert board.limit_mw == 700_000
    assert left_behind(tmp_path) == []


def test_an_exception_in_the_run_puts_it_back(tmp_path: Path) -> None:
    board = FakeBoard()
    with pytest.raises(KeyboardInterrupt), opened(FakeNvml(board), tmp_path / "p") as found, found.at(found.changes[0]):
        raise KeyboardInterrupt
    assert board.limit_mw == 700_000


def test_what_may_not_be_changed_is_told_and_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    board = FakeBoard()
    with opened(FakeNvml(board, root=False), tmp_path, notice=told.append) as found:
        assert found.changes == ()
    assert len(told) == 2 and all("sudo -E" in t for t in told)
    assert not (tmp_path / "p" / NOTE).exists(), "nothing was changed, so nothing is noted"
    with opened(FakeNvml(FakeBoard(limit_mw=200_000)), tmp_path, notice=told.append) as found:
        assert [c.knob for c in found.changes] == ["clock"]
    assert "at its lowest" in told[-1]


def test_one_board_that_refuses_in_the_middle_leaves_none_changed(tmp_path: Path) -> None:
    one, two = FakeBoard(uuid="GPU-1"), FakeBoard(uuid="GPU-2")
    with opened(FakeNvml(one, two), tmp_path) as found:
        two.greatest_mw = 480_000  # somebody changed its range meanwhile
        with pytest.raises(MachineError, match="GPU-2"), found.at(found.changes[0]):
            pytest.fail("the body must not run where the change failed")
        two.greatest_mw = 700_000
    assert one.limit_mw == 700_000


def test_what_cannot_be_put_back_is_named_with_its_command(tmp_path: Path) -> None:
    told: list[str] = []
    board = FakeBoard()
    with opened(FakeNvml(board), tmp_path / "p", notice=told.append) as found, found.at(found.changes[0]):
        board.lost = True
    assert "sudo nvidia-smi -i GPU-3f5c -pl 700" in told[-1]
    assert "-pl 700" in left_behind(tmp_path)[0]
    board.lost = False
    repair(tmp_path / "p" / NOTE, MeterContext(libraries={"pynvml": FakeNvml(board)}))
    assert board.limit_mw == 700_000 and left_behind(tmp_path) == []


def test_a_note_of_another_machine_or_a_torn_one_is_no_note(tmp_path: Path) -> None:
    with opened(FakeNvml(FakeBoard()), tmp_path / "p") as found:
        write_note(tmp_path / "p", found.initial_limits, {"GPU-3f5c": ["power"]}, "changed")
    told = json.loads((tmp_path / "p" / NOTE).read_text())
    (tmp_path / "p" / NOTE).write_text(json.dumps({**told, "host": "elsewhere"}))
    assert read_note(tmp_path / "p" / NOTE) is None and left_behind(tmp_path) == []
    (tmp_path / "p" / NOTE).write_text('{"status": ')
    assert read_note(tmp_path / "p" / NOTE) is None
    repair(tmp_path / "p" / NOTE, MeterContext(libraries={"pynvml": FakeNvml(driver=False)}))


def test_boards_are_asked_for_only_where_they_serve(tmp_path: Path) -> None:
    told: list[str] = []
    context = MeterContext(libraries={"pynvml": FakeNvml(FakeBoard(processes=0))}, notice=told.append)

    def never() -> tuple[str, ...]:
        pytest.fail("no board may be touched for a server elsewhere")

    with pytest.raises(InputError, match="embedded server computes on the CPU"):
        open_limits(None, False, context, never, "power", tmp_path)
    with pytest.raises(InputError, match="another machine"):
        open_limits("http://10.0.0.5:8000", False, context, never, "power", tmp_path)
    with pytest.raises(InputError, match="'fan' is not known"):
        open_limits("http://localhost:8000", True, context, tuple, "fan", tmp_path)
    with open_limits("http://localhost:8000", True, context, tuple, "power", tmp_path) as found:
        assert [c.knob for c in found.changes] == ["power"]
    assert "no process on the boards" in told[-1]


PROBE = """
import signal, sys, time
from pathlib import Path
from joulemill.bench.machine.power_limits import Limits
from joulemill.meters.meter import MeterContext
# What tests may run under hands down that these are ignored: nohup, and a shell's background.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
with Limits(MeterContext(), (), ("power", "clock"), Path(sys.argv[1])) as found:
    with found.at(found.changes[0]), found.at(found.changes[1]):
        print("lowered", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_probe_that_is_killed_is_undone_by_its_guard(number: signal.Signals, tmp_path: Path) -> None:
    variables, state = installed(tmp_path)
    command = [sys.executable, "-c", PROBE, str(tmp_path / "probe")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **variables}
    ) as probe:
        assert probe.stdout is not None and probe.stdout.readline() == b"lowered\n"
        assert limits(state) == (490_000, [0, 1386])
        probe.send_signal(number)
        probe.wait(120)
    assert within(120, lambda: limits(state) == NORMAL), limits(state)
    assert within(120, lambda: left_behind(tmp_path) == [])


@pytest.mark.slow
@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM])
def test_a_probe_of_a_server_on_this_machines_board(number: signal.Signals | None, tmp_path: Path) -> None:
    """The whole command; a signal comes in the run with the lowered limit."""
    variables, state = installed(tmp_path)
    with mock_process(MockPlan(itl_s=0.01)) as url:
        command = [sys.executable, "-m", "joulemill", "probe", "--board", "power", "--url", url]
        command += ["--concurrency", "2", "--repeats", "1", "--duration", "1s" if number is None else "20s"]
        command += ["--warmup", "0.5s", "--idle", "0.2s", "--input-tokens", "16", "--output-tokens", "16", "--json"]
        command += ["--meter", "declared:idle=60W,busy=180W", "--out", str(tmp_path / "p")]
        if number is not None:
            command[command.index("--duration") + 1] = "3s"
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
        ) as process:
            assert within(240, lambda: limits(state) == (490_000, None) or process.poll() is not None)
            if number is not None:
                time.sleep(0.5)
                process.send_signal(number)
            out, err = process.communicate(timeout=240)
    assert limits(state) == NORMAL
    assert process.returncode == (0 if number is None else 130), err
    assert "power limit 700 W to 490 W for one run at a time" in err
    found = json.loads(out)
    assert [p["label"] for p in found["points"]] == ["base", "load 2 to 4", "power limit 700 W to 490 W"]
    if number is None:
        changed = found["points"][2]
        assert abs(changed["elasticity"]["value"]) < 0.5, "a mock server does not feel a power limit"
        assert changed["energy_elasticity"]["value"] is not None
    else:
        assert found["status"] == "interrupted" and "resume" in err


def test_doctor_tells_of_a_probe_that_left_limits_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(FakeNvml(FakeBoard()), tmp_path) as found:
        write_note(tmp_path / "runs" / "p", found.initial_limits, {"GPU-3f5c": ["power", "clock"]}, "changed")
    monkeypatch.chdir(tmp_path)
    main(["doctor", "--meter", "declared:idle=60W,busy=180W", "--duration", "0.3s"])
    told = capsys.readouterr().out
    assert "sudo nvidia-smi -i GPU-3f5c -pl 700; sudo nvidia-smi -i GPU-3f5c -rgc" in told
