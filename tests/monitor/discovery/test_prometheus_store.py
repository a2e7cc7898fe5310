"""Reading from a store: the parser by hand, and a real Prometheus that scrapes, goes away, and comes back."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from joulemill.errors import InputError
from joulemill.monitor.config import MonitorConfig, StoreConfig
from joulemill.monitor.discovery.prometheus_store import StoreReader, scraped, selector
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import TargetState, TokenKind

pytestmark = pytest.mark.apart


def answer(*series: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}


def line(name: str, values: list[tuple[float, str]], **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": name, "instance": "h:1", "job": "j", **labels}, "values": [list(v) for v in values]}


def test_raw_samples_become_pages_and_what_was_read_is_not_read_again() -> None:
    told = answer(
        line("vllm:generation_tokens_total", [(10.0, "5"), (20.0, "9")], model_name="m"),
        line("vllm:num_requests_running", [(10.0, "1"), (20.0, "2")], model_name="m"),
    )
    (found,) = scraped(told, {}).targets
    assert (found.instance, found.model) == ("h:1", "m") and [t for t, _ in found.pages] == [10.0, 20.0]
    assert {s.name: s.value for s in found.pages[1][1].samples} == {
        "vllm:generation_tokens_total": 9.0,
        "vllm:num_requests_running": 2.0,
    }
    assert [t for t, _ in scraped(told, {"h:1": 10.0}).targets[0].pages] == [20.0]
    for faulty in ({"status": "error"}, [], {"status": "success", "data": {"resultType": "vector"}}):
        with pytest.raises(InputError, match="not answer with a range"):
            scraped(faulty, {})


def test_the_selector_asks_for_the_servers_names_alone() -> None:
    text = selector('job="vllm"')
    assert text.startswith('{__name__=~"') and text.endswith(',job="vllm"}') and "generation_tokens" in text


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Store:
    """Debian's Prometheus on a folder that outlives it."""

    def __init__(self, folder: Path, target: str) -> None:
        self.port, self.folder = free_port(), folder
        jobs = [{"job_name": "vllm", "scrape_interval": "500ms", "static_configs": [{"targets": [target]}]}]
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(90)


async def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.1)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus")
def test_a_real_prometheus_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """Tokens rise by 100 a second. What Prometheus missed is a gap of that length; nothing is counted twice."""

    async def scenario() -> None:
        began = time.monotonic()

        async def page(_: web.Request) -> web.Response:
            made = 100.0 * (time.monotonic() - began)
            text = "# TYPE vllm:generation_tokens_total counter\n"
            text += f'vllm:generation_tokens_total{{model_name="m"}} {made:.3f}\n'
            return web.Response(text=text + 'vllm:num_requests_running{model_name="m"} 1\n')

        app = web.Application()
        app.router.add_get("/metrics", page)
        server = TestServer(app)
        await server.start_server()
        store = Store(tmp_path, f"127.0.0.1:{server.port}")
        store.start()
        monitor = Monitor(MonitorConfig(period_s=0.5, store=StoreConfig(url=store.url, match='job="vllm"')))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))

        def tokens() -> float:
            return sum(t.tokens.get(TokenKind.OUTPUT, 0.0) for t in monitor.snapshot().targets)

        await until(lambda: tokens() > 300)
        store.stop()
        await until(lambda: monitor.config_error is not None)
        away = tokens()
        await asyncio.sleep(4.0)
        assert tokens() - away < 150  # at most what had been kept before it went
        store.start()
        await until(lambda: monitor.config_error is None and tokens() > away + 300)
        (target,) = monitor.snapshot().targets
        assert target.facts.model == "m" and target.facts.target == f"127.0.0.1:{server.port}"
        assert target.latest is not None and target.unobserved_s > 3.0
        seen_s = target.latest.end_s - target.since_s - target.unobserved_s
        assert tokens() == pytest.approx(100.0 * seen_s, rel=0.15, abs=80)
        stop.set()
        await running
        store.stop()
        await server.close()

    asyncio.run(scenario())


def test_a_store_that_is_not_there_is_told_and_the_monitor_lives() -> None:
    async def scenario() -> None:
        monitor = Monitor(MonitorConfig(period_s=0.1, store=StoreConfig(url=f"http://127.0.0.1:{free_port()}")))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))
        await until(lambda: monitor.config_error is not None, 5.0)
        assert "127.0.0.1" in (monitor.config_error or "") and monitor.snapshot().targets == ()
        stop.set()
        await running

    asyncio.run(scenario())


HOUR_S, STEP_S, RATE_TOK_S = 3600.0, 10.0, 100.0


class KeptStore:
    """A store that holds two hours and a bit of a server at 100 tok/s, but for ``missing``; away for ``away`` asks."""

    def __init__(self, missing: tuple[float, float] | None = None, away: int = 0) -> None:
        self.end_s = time.time()
        self.begin_s, self.away = self.end_s - 2.2 * HOUR_S, away
        times = [self.begin_s + STEP_S * n for n in range(int(2.2 * HOUR_S / STEP_S) + 1)]
        self.kept = [t for t in times if missing is None or not missing[0] < t - self.begin_s < missing[1]]

    async def answer(self, request: web.Request) -> web.Response:
        if self.away:
            self.away -= 1
            return web.Response(status=503, text="not now")
        asked = await request.post()
        end_s, span_s = float(str(asked["time"])), int(str(asked["query"]).rsplit("[", 1)[1][:-3]) / 1000
        values = [(t, f"{RATE_TOK_S * (t - self.begin_s):.3f}") for t in self.kept if end_s - span_s < t <= end_s]
        running = [(t, "1") for t, _ in values]
        named = (("vllm:generation_tokens_total", values), ("vllm:num_requests_running", running))
        return web.json_response(answer(*(line(n, v, model_name="m") for n, v in named if v)))


def caught_up(store: KeptStore) -> TargetState:
    """The target once the monitor has read everything that ``store`` kept."""

    async def scenario() -> TargetState:
        app = web.Application()
        app.router.add_post("/api/v1/query", store.answer)
        server = TestServer(app)
        await server.start_server()
        asked = StoreConfig(url=f"http://127.0.0.1:{server.port}", lookback_s=2.2 * HOUR_S + 30)
        monitor = Monitor(MonitorConfig(period_s=0.1, store=asked))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))

        def read() -> bool:
            targets = monitor.snapshot().targets
            latest = targets[0].latest if targets else None
            return latest is not None and latest.end_s > store.kept[-1] - 2 * STEP_S

        await until(read)
        (target,) = monitor.snapshot().targets
        stop.set()
        await running
        await server.close()
        return target

    return asyncio.run(scenario())


def test_an_hour_that_the_store_never_scraped_is_a_gap_of_an_hour_and_its_tokens_are_nobodys() -> None:
    target = caught_up(KeptStore(missing=(0.5 * HOUR_S, 1.5 * HOUR_S)))
    assert target.unobserved_s == pytest.approx(HOUR_S, abs=2 * STEP_S)
    seen_s = 1.2 * HOUR_S
    assert target.tokens[TokenKind.OUTPUT] == pytest.approx(RATE_TOK_S * seen_s, abs=3 * STEP_S * RATE_TOK_S)


def test_hours_that_a_store_kept_while_it_could_not_be_reached_are_read_once_and_whole() -> None:
    target = caught_up(KeptStore(away=3))
    assert target.unobserved_s == pytest.approx(0.0, abs=2 * STEP_S)
    assert target.tokens[TokenKind.OUTPUT] == pytest.approx(RATE_TOK_S * 2.2 * HOUR_S, abs=2 * STEP_S * RATE_TOK_S)


# --- answers that are made to hurt ------------------------------------------------------------------------------
GOOD = line("vllm:generation_tokens_total", [(10.0, "5"), (20.0, "9")], model_name="m")
ODD = [
    {},
    {"metric": None},
    {"metric": {}, "values": []},
    {"metric": {"__name__": "x"}, "values": [[1, "1"]]},
    None,
    5,
    [],
    line("x", [(10.0, "x")]),
    {"metric": GOOD["metric"], "values": [[10.0]]},
    {"metric": GOOD["metric"], "values": 5},
    line("x", [(1e300, "1")]),
    line("x", [(1.7e12, "1")]),
    line("x", [(-5.0, "1")]),
    line("x", [(float("nan"), "1")]),
    line("vllm:generation_tokens_total", [(10.0, "1")], instance=""),
    line("x", [(10.0, "1")], instance="\ud800"),
    line("x", [(10.0, "1")], model_name="\x1b[2J"),
    line("x", [(10.0, "1")], instance="i" * 5000),
    {"metric": {"__name__": "x", "instance": ["a"]}, "values": [[10, "1"]]},
    {"metric": GOOD["metric"], "values": [[10, "9" * 400]]},
    {"metric": GOOD["metric"], "values": [[10**400, "1"]]},
]


@pytest.mark.finding("F3")
@pytest.mark.finding("F6")
@pytest.mark.parametrize("series", ODD, ids=range(len(ODD)))
def test_a_series_that_cannot_be_read_is_passed_over_and_told(series: Any) -> None:
    told = scraped(answer(GOOD, series, line("vllm:num_requests_running", [(10.0, "1")], instance="h:2")), {})
    assert [t.instance for t in told.targets][:2] == ["h:1", "h:2"] and len(told.targets[0].pages) == 2
    assert all(0 <= t <= 1e11 for target in told.targets for t, _ in target.pages)
    values = [s.value for t in told.targets for _, p in t.pages for s in p.samples]
    assert told.faults or "9" * 400 in str(series) or series in ({}, None)
    assert 5.0 in values and 9.0 in values


@pytest.mark.finding("F3")
@pytest.mark.parametrize(
    "document",
    [
        None,
        5,
        [],
        "x",
        {},
        {"status": "success"},
        {"status": "success", "data": []},
        {"status": "success", "data": {}},
        {"status": "success", "data": {"resultType": "matrix", "result": 5}},
        {"status": "success", "data": {"resultType": "matrix", "result": {"a": 1}}},
    ],
)
def test_what_is_no_answer_says_so(document: Any) -> None:
    with pytest.raises(InputError, match="the store did not answer"):
        scraped(document, {})


async def against(body: bytes | str, seconds: float = 0.5) -> tuple[Monitor, bool]:
    """A monitor that reads a store which answers ``body`` only; and whether it was still going."""

    async def query(_: web.Request) -> web.Response:
        return web.Response(body=body if isinstance(body, bytes) else body.encode())

    app = web.Application()
    app.router.add_post("/api/v1/query", query)
    server = TestServer(app)
    await server.start_server()
    monitor = Monitor(MonitorConfig(period_s=0.1, store=StoreConfig(url=str(server.make_url("/")), model="m")))
    stop = asyncio.Event()
    running = asyncio.ensure_future(monitor.run(stop))
    await until(lambda: monitor.config_error is not None or bool(monitor.snapshot().targets), 15.0)
    await asyncio.sleep(seconds)
    going = not running.done()
    stop.set()
    await running
    await server.close()
    return monitor, going


@pytest.mark.finding("F3")
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b"null",
        b"\xff",
        b'{"status":"success","data":{"resultType":"matrix","result":[null]}}',
        b'{"a":' * 100_000,
        b"[" + b"{}," * 9_000_000 + b"{}]",
    ],
    ids=range(6),
)
def test_a_hostile_store_is_told_and_ends_nothing(body: bytes) -> None:
    monitor, going = asyncio.run(against(body))
    assert going and "127.0.0.1" in (monitor.config_error or "")


@pytest.mark.finding("F6")
def test_a_store_of_far_times_is_told_and_the_rest_is_taken() -> None:
    now = time.time() - 5
    text = json.dumps(
        answer(
            line("vllm:generation_tokens_total", [(now, "5"), (now + 1, "9")]),
            line("vllm:generation_tokens_total", [(1e300, "5")], instance="far"),
            line("vllm:generation_tokens_total", [(1000 * now, "5")], instance="ms"),
        )
    )
    monitor, going = asyncio.run(against(text))
    assert going and "times that were not asked for" in (monitor.config_error or "")
    assert [t.facts.target for t in monitor.snapshot().targets] == ["h:1"]


@pytest.mark.finding("F7")
def test_a_stores_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.monitor.discovery.prometheus_store.MOST_BYTE", 10_000)
    monitor, going = asyncio.run(against(b" " * 20_000))
    assert going and "longer than 10000" in (monitor.config_error or "")


def test_our_clock_may_step_and_the_store_is_read_on() -> None:
    """+1 h for a while and back: what the store kept meanwhile is read, once."""
    true_s: list[int] = []

    class Fake(StoreReader):
        async def _ask(self, session: Any, given: Any) -> bytes:
            end_s = float(given["time"])
            span_s = float(given["query"].rpartition("[")[2].removesuffix("ms]")) / 1000
            times = [t for t in range(0, true_s[-1] + 1, 10) if end_s - span_s < t <= end_s]
            return json.dumps(answer(line("vllm:generation_tokens_total", [(t, str(t)) for t in times]))).encode()

    reader = Fake(StoreConfig(url="http://x", lookback_s=0))
    reader._since_s = reader._newest_s = 1000.0
    read: list[float] = []
    for now_s, shown_s in [(1010, 1010), (1020, 4620), (1030, 4630), (1040, 4640), (1050, 1050), (1060, 1060)]:
        true_s.append(now_s)
        targets = asyncio.run(reader.read(None, shown_s))  # type: ignore[arg-type]
        read += [t for target in targets for t, _ in target.pages]
    assert sorted(set(read)) == [1010, 1020, 1030, 1040, 1050, 1060] and len(read) == 6


@pytest.mark.finding("F15")
@pytest.mark.parametrize("padding", ["", "x" * 180])
def test_a_token_that_the_store_sends_back_is_not_told(padding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_TOKEN", "store-secret-1234567890")

    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=400, text=padding + request.headers["Authorization"])

    async def ask() -> str:
        app = web.Application()
        app.router.add_post("/api/v1/query", echo)
        async with TestServer(app) as server, ClientSession() as session:
            asked = StoreConfig(url=str(server.make_url("/")), token_env="STORE_TOKEN")
            with pytest.raises(InputError) as caught:
                await StoreReader(asked).read(session, time.time())
        return str(caught.value)

    told = asyncio.run(ask())
    assert "answered 400" in told and "store-sec" not in told
