"""Whose process serves a local URL: a real listener of another process, and trees of /proc made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.bench.machine.server_process import server_process
from joulemill.bench.options import BenchOptions
from joulemill.bench.run import run_measure
from joulemill.errors import InputError
from joulemill.ledger.manifest import document
from joulemill.recording.writer import read_run

TABLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def kernel(root: Path, sockets: dict[int, str], processes: dict[int, tuple[str, int, list[str]]]) -> Path:
    """A tree like /proc: listening ports with their inodes; processes with name, parent and inodes that they hold."""
    (root / "net").mkdir(parents=True)
    rows = [f"   0: 0100007F:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1\n" for port, inode in sockets.items()]
    (root / "net" / "tcp").write_text(TABLE + "".join(rows))
    for pid, (name, parent, held) in processes.items():
        (root / str(pid) / "fd").mkdir(parents=True)
        (root / str(pid) / "comm").write_text(name + "\n")
        (root / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
        for number, inode in enumerate(held):
            (root / str(pid) / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
    return root


def owner(root: Path, url: str = "http://127.0.0.1:8000") -> int | None:
    found = server_process(url, None, None, root)
    return None if found is None else found.pid


def test_the_listener_is_the_server_and_workers_come_from_it(tmp_path: Path) -> None:
    tree = {70: ("vllm", 1, ["55"]), 71: ("vllm", 70, ["55"]), 72: ("vllm", 70, []), 80: ("nginx", 1, ["99"])}
    root = kernel(tmp_path, {8000: "55", 8080: "99"}, tree)
    assert owner(root) == owner(root, "http://localhost:8000/v1") == 70
    assert owner(root, "http://127.0.0.1:8080") is None  # a proxy
    assert owner(root, "http://127.0.0.1:8001") is None  # nobody
    assert owner(root, "http://192.0.2.7:8000") is None  # another machine


def test_two_strangers_on_one_port_are_not_guessed_between(tmp_path: Path) -> None:
    tree = {70: ("a", 1, ["55"]), 71: ("b", 1, ["55"]), os.getpid(): ("pytest", 1, ["56"])}
    root = kernel(tmp_path, {8000: "55", 9000: "56"}, tree)
    assert owner(root) is None
    assert owner(root, "http://127.0.0.1:9000") is None  # this process itself: its time is the client's


def test_a_stated_process_is_taken_where_it_can_be(tmp_path: Path) -> None:
    root = kernel(tmp_path, {}, {70: ("vllm", 1, [])})
    stated = server_process("http://127.0.0.1:8000", None, 70, root)
    assert stated is not None and (stated.name, stated.known) == ("vllm", "--server-pid")
    with pytest.raises(InputError, match="no such process"):
        server_process("http://127.0.0.1:8000", None, 71, root)
    with pytest.raises(InputError, match="another machine"):
        server_process("http://192.0.2.7:8000", None, 70, root)


@pytest.mark.parametrize("meter", ["declared:idle=60W,busy=180W", "auto"])
def test_a_local_servers_time_is_its_own_in_a_run(meter: str, tmp_path: Path) -> None:
    with mock_process(MockPlan(ttft_s=0.01)) as url:
        options = BenchOptions(
            url=url,
            requests=20,
            warmup_s=0.0,
            idle_s=0.3,
            concurrency=2,
            input_tokens="32",
            output_tokens="4",
            meters=(meter,),
            quality=None,
            machine_period_s=0.1,
            out=tmp_path / "run",
        )
        record = read_run(run_measure(options))
    process = document(record.manifest)["server"]["process"]
    assert "python" in process["name"] and "listens on port" in process["known"]
    shares = [m.server_cpu_ratio for m in record.machine]
    assert any(s is not None for s in shares)
    sources = [str(c.source) for c in record.channels]
    if meter == "auto":  # what else such a server uses is not known, so no power model of this CPU is put on it
        assert not any("declared" in c.meter for c in record.channels)
    else:
        assert any(f"process {process['pid']}" in s for s in sources)
