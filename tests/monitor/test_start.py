"""How the verb starts: the page before the meters, a used port before anything, two scrapes for --once."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")

from joulemill.cli import main
from tests.support.fleet import Fleet, Replica, served

pytestmark = pytest.mark.apart

TARGET = """[[target]]
name = "{name}"
model = "Qwen/Qwen3-8B"
site = "hall"
device = "h100"
devices_count = 8
metrics_url = "{url}/vllm/a?for={name}"
meters = ["prometheus:{url}/node/{node},via=scrape"]
"""


def config(path: Path, url: str, nodes: int, period_s: float = 0.5) -> str:
    text = f'period_s = {period_s}\nmeter_period_s = 0.2\n[[site]]\nname = "hall"\npue_ratio = 1.3\n'
    text += "".join(TARGET.format(name=f"chat-{i}", url=url, node=f"n{i}") for i in range(nodes))
    (path / "c.toml").write_text(text)
    return str(path / "c.toml")


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "joulemill", "monitor", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def asked(url: str, since_s: float) -> tuple[dict[str, Any], float]:
    """The page's data and how long after ``since_s`` it came."""
    while True:
        try:
            with urllib.request.urlopen(f"{url}/api/snapshot", timeout=10) as answer:
                return json.load(answer), time.monotonic() - since_s
        except OSError:
            assert time.monotonic() - since_s < 120, "no page"
            time.sleep(0.02)


def test_the_page_answers_while_a_hundred_slow_meters_are_being_opened(tmp_path: Path) -> None:
    fleet = Fleet({f"n{i}": [300.0] * 8 for i in range(100)}, {"a": Replica(500.0)}, delay_s=30.0)
    with served(fleet) as url:
        alone_s = page_after_s(tmp_path, url, 1)
        took_s = page_after_s(tmp_path, url, 100)
    assert took_s < max(2.0, 4.0 * alone_s)  # 2 s on a quiet machine; beside neighbors, as one target's page or so


def page_after_s(folder: Path, url: str, nodes: int) -> float:
    """From what is said once the modules are loaded until the page answers, all of its meters still being opened."""
    port = free_port()
    process = started(config(folder, url, nodes, 5.0), "--listen", f"127.0.0.1:{port}")
    try:
        line = process.stderr.readline()  # a busy machine loads modules slowly: the same for any number of targets
        began_s = time.monotonic()
        now, took_s = asked(f"http://127.0.0.1:{port}", began_s)
        assert line == f"opening {nodes} meter SPECs of {nodes} targets …\n"
        assert {m["state"] for m in now["meters"]} == {"opening"} and len(now["targets"]) == nodes
        assert now["alerts"] == []
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert time.monotonic() - began_s < 30.0, "it waits for no meter that is being opened"
    finally:
        process.kill()
        process.communicate()
    return took_s


def test_what_only_an_answer_needs_is_not_loaded_before_the_page_is_up() -> None:
    modules = ", ".join(
        f"joulemill.{m}" for m in ("monitor.loop", "monitor.history.writer", "monitor.web.app", "commands.monitor")
    )
    heavy = ("scipy", "joulemill.decisions.levers", "joulemill.analysis.run")
    assert all(importlib.util.find_spec(m) for m in heavy), "a name that is no module is never loaded"
    command = [sys.executable, "-c", f"import sys, {modules}; print([m for m in {heavy!r} if m in sys.modules])"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_sigterm_with_open_streams_ends_without_a_word(tmp_path: Path) -> None:
    with served(Fleet({"n0": [500.0] * 8}, {"a": Replica(1000.0)})) as url:
        port = free_port()
        process = started(config(tmp_path, url, 1), "--listen", f"127.0.0.1:{port}")
        try:
            asked(f"http://127.0.0.1:{port}", time.monotonic())
            streams = [urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=90) for _ in range(3)]
            assert all(s.readline().startswith(b"data: {") for s in streams)
            process.send_signal(signal.SIGTERM)
            for stream in streams:
                stream.read()  # ends as a whole answer does: no IncompleteRead
                stream.close()
            _, told = process.communicate(timeout=90)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode in (0, 1), told  # 1: no target was scraped yet
    assert "Traceback" not in told and "Cancelled" not in told and "exceeded" not in told


def test_a_used_port_is_told_before_a_meter_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["monitor", config(tmp_path, "http://127.0.0.1:9", 3), "--listen", where]) == 2
    shown = capsys.readouterr()
    assert "choose another port" in shown.err and "page:" not in shown.err and "opening" not in shown.err


def test_once_waits_for_two_scrapes_and_shows_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(Fleet({"n0": [500.0] * 8}, {"a": Replica(1000.0)})) as url:
        assert main(["monitor", config(tmp_path, url, 1), "--once"]) == 0
    shown = capsys.readouterr().out
    assert " tok/s, " in shown and " W node, " in shown and "J node (modelled)" in shown and "(measured)" in shown


def test_a_dead_meter_is_listed_and_the_rest_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(Fleet({"n0": [500.0] * 8}, {"a": Replica(1000.0)})) as url:
        assert main(["monitor", config(tmp_path, url, 2), "--once", "--json"]) == 0
    now = json.loads(capsys.readouterr().out)
    dead = [m for m in now["meters"] if m["state"] == "not_open"]
    assert [m["target"] for m in dead] == ["chat-1"] and "404" in dead[0]["detail"]
    first, second = now["targets"]
    assert first["latest"]["energy"]["node"]["basis"] == "modelled" and second["latest"]["energy"] == {}


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--store-max", "1", "at least 1 MB"),
        ("--store-max", "1 B", "at least 1 MB"),
        ("--raw-days", "nan", "days"),
        ("--raw-days", "inf", "days"),
        ("--raw-days", "0", "days"),
    ],
)
def test_bounds_that_cannot_be_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, says: str
) -> None:
    given = [config(tmp_path, "http://127.0.0.1:9", 1), "--store", str(tmp_path / "s.db"), option, value]
    assert main(["monitor", *given]) == 2
    shown = capsys.readouterr().err
    assert option in shown and (says in shown or "unit" in shown)
    assert not (tmp_path / "s.db").exists()


def test_check_names_what_is_dead_and_ends_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(Fleet({"n0": [500.0] * 8}, {"a": Replica(1000.0)})) as url:
        assert main(["monitor", "check", config(tmp_path, url, 1)]) == 0
        assert "1 targets, 1 meter SPECs, 1 sites: every one answers" in capsys.readouterr().out
        path = Path(config(tmp_path, url, 2))
        path.write_text(path.read_text().replace("/vllm/a", "/vllm/none", 1))
        assert main(["monitor", "check", str(path)]) == 2
    shown = capsys.readouterr().out
    assert "target 'chat-0': http" in shown and "404" in shown and "target 'chat-1': meter prometheus" in shown


def test_check_reads_each_meter_once_and_names_boards_that_are_blank_or_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class OneBlank(Fleet):
        def boards(self, node: str) -> str:
            """DCGM's blanks for all that board 7 of n1 has."""
            page = super().boards(node)
            return re.sub(r"(?m)^(DCGM.*GPU-n1-7.*) \S+$", r"\1 9223372036854775794", page)

    fleet = OneBlank({"n0": [500.0] * 8, "n1": [500.0] * 8, "n2": [500.0] * 6}, {"a": Replica(1000.0)})
    with served(fleet) as url:
        assert main(["monitor", "check", config(tmp_path, url, 3)]) == 2
    lines = capsys.readouterr().out.splitlines()
    blank = [line for line in lines if line.startswith("target 'chat-1'")]
    missing = [line for line in lines if line.startswith("target 'chat-2'")]
    assert blank and all("GPU-n1-7" in line for line in blank) and any("vendor_blank" in line for line in blank)
    assert missing and any("6 of 8 expected are metered" in line and "2 missing" in line for line in missing)
    assert not any(line.startswith("target 'chat-0'") for line in lines)
