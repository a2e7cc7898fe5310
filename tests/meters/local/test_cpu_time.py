from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from joulemill.meters.local.cpu_time import ProcessTime, cpu_count, machine_cpu_s
from tests.support.surroundings import HandClock, busy_ticks, proc_tree, process_stat

PROC = Path("/proc")
TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def test_steal_is_not_busy(tmp_path: Path) -> None:
    proc_tree(tmp_path)
    busy_ticks(tmp_path, 250, steal=10_000)
    assert machine_cpu_s(tmp_path) == pytest.approx(250 * TICK)
    assert cpu_count(tmp_path) == 4


def test_children_count_and_their_time_survives_them(tmp_path: Path) -> None:
    hand = HandClock()
    process_stat(tmp_path, 10, 1, (100, 20, 0, 0))
    process_stat(tmp_path, 11, 10, (30, 0, 0, 0))
    process_stat(tmp_path, 12, 11, (5, 0, 0, 0))
    process_stat(tmp_path, 99, 1, (9999, 0, 0, 0))
    tree = ProcessTime(tmp_path, 10, hand.mono)
    assert tree.cpu_s() == pytest.approx(155 * TICK)
    for pid in (12, 11):
        (tmp_path / str(pid) / "stat").unlink()
    process_stat(tmp_path, 10, 1, (100, 20, 36, 0))  # the kernel moved 30 + 5 (+1 since) to the parent
    assert tree.cpu_s() == pytest.approx(156 * TICK)


def test_it_never_goes_down_when_a_child_leaves_the_tree(tmp_path: Path) -> None:
    process_stat(tmp_path, 10, 1, (100, 0, 0, 0))
    process_stat(tmp_path, 11, 10, (50, 0, 0, 0))
    tree = ProcessTime(tmp_path, 10, HandClock().mono)
    assert tree.cpu_s() == pytest.approx(150 * TICK)
    (tmp_path / "11" / "stat").unlink()
    assert tree.cpu_s() == pytest.approx(150 * TICK)


def test_an_ended_or_replaced_process_is_told(tmp_path: Path) -> None:
    process_stat(tmp_path, 10, 1, (1, 0, 0, 0), start=5)
    tree = ProcessTime(tmp_path, 10, HandClock().mono)
    process_stat(tmp_path, 10, 1, (1, 0, 0, 0), start=6)
    with pytest.raises(ProcessLookupError, match="another process's"):
        tree.cpu_s()
    (tmp_path / "10" / "stat").unlink()
    with pytest.raises(ProcessLookupError, match="has ended"):
        tree.cpu_s()


@pytest.mark.skipif(not PROC.joinpath("self/stat").exists(), reason="needs Linux's /proc")
def test_against_the_kernels_own_account_of_a_real_process() -> None:
    code = "import time\nend=time.process_time()+0.3\nwhile time.process_time()<end: pass\nprint(flush=True);input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        tree = ProcessTime(PROC, os.getpid(), time.monotonic)
        assert child.stdout is not None
        child.stdout.readline()
        with_child = tree.cpu_s()
        child.communicate(b"\n")
    own = os.times()
    assert with_child <= own.user + own.system + own.children_user + own.children_system + 3 * TICK
    assert with_child >= own.user + own.system + 0.3 - 0.2
    assert tree.cpu_s() == pytest.approx(sum(os.times()[:4]), abs=4 * TICK)
