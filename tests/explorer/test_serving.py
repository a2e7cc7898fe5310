"""The explorer as `joulemill explore` starts it: a process of its own, asked over real sockets by many at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")

import joulemill as jm
from joulemill.explorer.answering import answer
from joulemill.explorer.asking import arguments, asked
from tests.support.explorer import PLAIN, READ

CLIENTS, CONCURRENCIES = 200, 20


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    words = [sys.executable, "-m", "joulemill", "explore", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield int(line.rsplit(":", 1)[1].split()[0])
        process.terminate()
        assert process.wait(60) == 0


async def answers(port: int, paths: list[str]) -> list[tuple[int, Any]]:
    """Status and document of each path, each over a connection of its own; all are open before the first asks."""
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in paths))
    for (_, writer), path in zip(opened, paths, strict=True):
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n".encode())
    return await asyncio.gather(*(_answer(reader, writer) for reader, writer in opened))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, Any]:
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body)


def test_two_hundred_connections_at_once_each_get_their_answer(port: int) -> None:
    concurrencies = [1 + i % CONCURRENCIES for i in range(CLIENTS)]
    paths = [f"/api/prediction?{urlencode(PLAIN | {'concurrency': c})}" for c in concurrencies]
    shown = asyncio.run(answers(port, paths))
    expected = {c: jm.predict("Qwen/Qwen3-32B", "h100", devices=2, concurrency=c) for c in set(concurrencies)}
    for concurrency, (status, document) in zip(concurrencies, shown, strict=True):
        assert status == 200
        assert document["prediction"] == json.loads(json.dumps(expected[concurrency].to_dict()))


def cpu_s(work: Any, laps: int = 7) -> float:
    """Processor time of the best lap: what a busy machine adds is waiting, which does not count."""
    spent = []
    for _ in range(laps):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def test_an_answer_takes_little_more_than_the_prediction_in_it() -> None:
    """A slider's answer is to come within 100 ms (benchmarks/explore_speed.py measures it on a quiet machine)."""
    question = asked(PLAIN)
    stated = arguments(question, READ)
    plain_s = cpu_s(lambda: jm.predict(**stated).to_dict())
    answer_s = cpu_s(lambda: json.dumps(answer(question, arguments(question, READ)), allow_nan=False))
    assert answer_s < 3.0 * plain_s + 0.005
    assert answer_s < 0.1
