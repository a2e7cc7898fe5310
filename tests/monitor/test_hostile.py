"""A whole monitor among hostile pages, slow meters and broken parts: each is its own failure, the others go on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from joulemill.errors import InputError
from joulemill.meters.meter import MeterContext
from joulemill.monitor import opening
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.config import MonitorConfig, load_config
from joulemill.monitor.history.store import History
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import TargetState, TokenKind
from joulemill.monitor.target import WatchedTarget
from joulemill.monitor.watching import _reload

Script = Callable[[Monitor], Awaitable[Any]]


class PageDelta:
    """``/good`` counts 10 tokens a look; every other path answers what it is told."""

    def __init__(self, **pages: str | Callable[[], str]) -> None:
        self.pages, self.made = pages, 1000

    async def answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "good":
            self.made += 10
            return web.Response(text=f"vllm:generation_tokens_total {self.made}\nvllm:num_requests_running 1\n")
        page = self.pages[name]
        return web.Response(text=page if isinstance(page, str) else page())


async def among(pages: PageDelta, script: Script, history: HistoryWriter | None = None, **config: Any) -> Monitor:
    app = web.Application()
    app.router.add_get("/{name}", pages.answer)
    server = TestServer(app)
    await server.start_server()
    targets = [{"name": n, "model": "m", "metrics_url": str(server.make_url(f"/{n}"))} for n in ("good", *pages.pages)]
    monitor = Monitor(MonitorConfig.model_validate({"period_s": 0.1, "target": targets, **config}), history)
    stop = asyncio.Event()
    running = asyncio.ensure_future(monitor.run(stop))
    try:
        await script(monitor)
        assert not running.done(), "the monitor ended"
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await running
        await server.close()
    return monitor


def state(monitor: Monitor, name: str) -> TargetState:
    return next(t for t in monitor.snapshot().targets if t.facts.target == name)


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


def out(monitor: Monitor, name: str) -> float:
    return state(monitor, name).tokens.get(TokenKind.OUTPUT, 0.0)


HUGE = 'vllm:generation_tokens_total{a="1"} 1.7e308\nvllm:generation_tokens_total{a="2"} 1.7e308\n'
LABELS = ",".join(f'l{n}="v"' for n in range(7000))


@pytest.mark.finding("F2")
@pytest.mark.finding("F19")
def test_hostile_pages_fail_alone_and_the_loop_goes_on() -> None:
    pages = PageDelta(
        huge=HUGE,
        series="".join(f'vllm:generation_tokens_total{{x="{n}"}} 1\n' for n in range(120_000)),
        labels=f"vllm:generation_tokens_total{{{LABELS}}} 1\n" * 100,
        lines="\n" * 2_000_000,
        nothing="",
        odd="\x00\ud7ff\u202e{{{{",
        inf="vllm:generation_tokens_total +Inf\n",
    )
    latest = [0.0]

    async def script(monitor: Monitor) -> None:
        at = time.process_time()  # of all threads: a busy machine does not count

        async def ticks() -> None:
            nonlocal at
            while True:
                await asyncio.sleep(0.01)
                latest[0], at = max(latest[0], time.process_time() - at), time.process_time()

        ticking = asyncio.ensure_future(ticks())
        await until(
            lambda: (
                out(monitor, "good") >= 50 and all(state(monitor, n).reason != "not scraped yet" for n in pages.pages)
            ),
            120,
        )
        ticking.cancel()
        for name in pages.pages:
            assert not state(monitor, name).up and state(monitor, name).tokens == {}, name
        assert state(monitor, "good").up

    asyncio.run(among(pages, script))
    assert latest[0] < 8.0, (
        "the loop stood still"
    )  # parsed on the loop, these pages hold it for 10 s on a quiet machine


@pytest.mark.finding("F5")
def test_a_page_cannot_write_what_no_server_makes_into_the_totals(tmp_path: Path) -> None:
    values = iter([0.0, 1e15, 0.0, 1.7e308, 0.0, 9e15] + [1000.0 + 10 * n for n in range(1000)])
    start = iter(range(2_000_000_000, 0, -1000))
    pages = PageDelta(
        evil=lambda: f"vllm:generation_tokens_total {next(values)}\nprocess_start_time_seconds {next(start)}\n"
    )
    history = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(history)

    async def script(monitor: Monitor) -> None:
        await until(lambda: next(values) > 1050)
        await asyncio.sleep(0.3)

    monitor = asyncio.run(among(pages, script, keeper))
    keeper.close()
    assert 0 <= out(monitor, "evil") < 1e5 and out(monitor, "good") > 0
    kept = history.totals()["evil"]
    assert all(0 <= v < 1e5 for v in kept.tokens.values()) and keeper.refused_count == 0
    history.close()


@pytest.mark.finding("F3")
def test_whatever_breaks_in_one_target_is_a_gap_of_that_target(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[BaseException] = [
        OverflowError("x"),
        KeyError("k"),
        RecursionError("deep"),
        MemoryError(),
        AssertionError(),
    ]
    followed, account, health = WatchedTarget.followed, WatchedTarget.account, TargetMeters.health

    def breaks(method: Any) -> Any:
        def broken(self: WatchedTarget, *given: Any) -> Any:
            if self.config.name == "bad" and faults:
                raise faults.pop()
            return method(self, *given)

        return broken

    def sick(self: TargetMeters, target: str | None, site: str) -> Any:
        if target == "bad":
            raise ZeroDivisionError
        return health(self, target, site)

    monkeypatch.setattr(WatchedTarget, "followed", breaks(followed))
    monkeypatch.setattr(WatchedTarget, "account", breaks(account))
    monkeypatch.setattr(TargetMeters, "health", sick)
    pages = PageDelta(bad=lambda: f"vllm:generation_tokens_total {time.monotonic()}\n")

    async def script(monitor: Monitor) -> None:
        await until(lambda: not faults and state(monitor, "bad").up and out(monitor, "good") > 50)
        assert [h.state for h in monitor.snapshot().meters] == ["read_failed"]

    monitor = asyncio.run(among(pages, script))
    assert state(monitor, "bad").unobserved_s > 0


# --- meters -----------------------------------------------------------------------------------------------------
class Dripping:
    """A server that sends a byte now and then and never ends, on a port of its own."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._ending = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        held = []
        self._socket.settimeout(0.05)
        while not self._ending.is_set():
            try:
                held.append(self._socket.accept()[0])
                held[-1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            except TimeoutError:
                pass
            for one in held:
                with contextlib.suppress(OSError):
                    one.send(b"x")
        for one in held:
            one.close()
        self._socket.close()

    def close(self) -> None:
        self._ending.set()


@pytest.mark.finding("F7")
def test_a_meter_that_never_opens_costs_its_own_target_its_joules_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "OPEN_S", 0.5)
    slow = Dripping()
    spec = f"prometheus:http://127.0.0.1:{slow.port}/metrics"

    async def script(monitor: Monitor) -> None:
        started = time.monotonic()
        await until(lambda: out(monitor, "good") > 50)
        config = monitor._config
        metered = config.target[1].model_copy(update={"meters": (spec,)})
        late = asyncio.ensure_future(monitor.reload(config.model_copy(update={"target": (config.target[0], metered)})))
        before = out(monitor, "good")
        await until(lambda: late.done())
        await late
        assert out(monitor, "good") > before, "scrapes go on while meters open"
        await until(
            lambda: any(h.state == "not_open" and "0.5 s" in (h.detail or "") for h in monitor.snapshot().meters)
        )
        assert time.monotonic() - started < 60, "the meter would never open"

    try:
        asyncio.run(among(PageDelta(other="vllm:generation_tokens_total 5\n"), script))
    finally:
        slow.close()


@pytest.mark.finding("F7")
def test_opening_is_bounded_and_what_comes_late_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()
    let_through = threading.Event()

    class JobTimeoutError:
        def channels(self) -> tuple[()]:
            return ()

        def close(self) -> None:
            closed.set()
            raise OSError("and it does not even close well")

    def opens(specs: Any, context: Any) -> list[Any]:
        let_through.wait(30)
        return [JobTimeoutError()]

    monkeypatch.setattr(opening, "OPEN_S", 0.1)
    monkeypatch.setattr(opening, "open_meters", opens)
    started = time.monotonic()
    with pytest.raises(Exception, match=r"did not open within 0.1 s"):
        opening.open_within(["x"], MeterContext(server_here=False))
    assert time.monotonic() - started < 25, "the meter would open after 30 s"
    let_through.set()
    assert closed.wait(60)

    def raises(specs: Any, context: Any) -> list[Any]:
        raise RecursionError("odd")

    monkeypatch.setattr(opening, "open_meters", raises)
    with pytest.raises(Exception, match="RecursionError"):
        opening.open_within(["x"], MeterContext(server_here=False))


# --- configuration ----------------------------------------------------------------------------------------------
@pytest.mark.finding("F34")
@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "{b=" * 20_000, "[" * 50_000])
def test_a_configuration_that_is_nested_too_deep_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError) as fault:
        load_config(tmp_path / "c.toml")
    assert "c.toml" in str(fault.value) and len(str(fault.value)) < 400


@pytest.mark.finding("F34")
def test_a_hangup_with_a_hostile_configuration_changes_nothing_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("a = " + "[" * 100_000)

    heard: list[str] = []

    async def script(monitor: Monitor) -> None:
        await _reload(monitor, lambda: load_config(tmp_path / "c.toml"), heard.append)
        assert "c.toml" in (monitor.config_error or "")
        await until(lambda: out(monitor, "good") > 30)
        await _reload(monitor, lambda: monitor._config, heard.append)
        assert monitor.config_error is None

    asyncio.run(among(PageDelta(), script))
    assert "the previous configuration stays in use" in heard[0] and heard[1:] == ["configuration read again"]
