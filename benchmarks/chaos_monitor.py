"""One monitor among everything that goes wrong: prints what was done, what came of it, and whether that holds.

    python benchmarks/chaos_monitor.py            all of it (some minutes)
    python benchmarks/chaos_monitor.py --quick    a tenth of it
    python benchmarks/chaos_monitor.py loris kill only these

Fake servers count 10 tokens a look; what the monitor says is held against what they counted. Exit code 1 where a line
does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from joulemill.monitor import loop
from joulemill.monitor import target as watched
from joulemill.monitor.accounting import totals as accounting
from joulemill.monitor.config import MonitorConfig
from joulemill.monitor.history.store import History
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.loop import Monitor

ROOT = Path(__file__).parent.parent
TOKEN = "chaos-token"
FAILED: list[str] = []


def told(what: str, holds: bool, result: str) -> None:
    print(f"{'holds ' if holds else 'FAILS '} {what:34s} {result}", flush=True)
    if not holds:
        FAILED.append(what)


class Servers:
    """Pages of model servers and of an exporter, on one port."""

    def __init__(self) -> None:
        self.made: dict[str, int] = {}
        self.energy_mj, self.frozen, self.began = 0.0, False, time.monotonic()

    async def page(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.made[name] = self.made.get(name, 1000) + 10
        return web.Response(text=f"vllm:generation_tokens_total {self.made[name]}\nvllm:num_requests_running 1\n")

    async def exporter(self, _: web.Request) -> web.Response:
        if not self.frozen:
            self.energy_mj = max(self.energy_mj, 1000 * 300.0 * (time.monotonic() - self.began))
        labels = '{gpu="0",UUID="GPU-1",device="nvidia0",modelName="NVIDIA H100"}'
        return web.Response(text=f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{labels} {self.energy_mj:.0f}\n")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        app = web.Application()
        app.router.add_get("/exporter/metrics", self.exporter)
        app.router.add_get("/{name}/metrics", self.page)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Process:
    """``joulemill monitor`` as one runs it."""

    def __init__(
        self, folder: Path, port: int, targets: int = 5, *, files: int | None = None, more: tuple[str, ...] = ()
    ) -> None:
        self.listen, self.store = free_port(), folder / "h.db"
        config = folder / f"c{self.listen}.toml"
        config.write_text(
            "period_s = 0.5\n"
            + "".join(
                f'[[target]]\nname = "t{n}"\nmodel = "m"\nmetrics_url = "http://127.0.0.1:{port}/t{n}/metrics"\n'
                for n in range(targets)
            )
        )
        command = [
            sys.executable,
            "-m",
            "joulemill",
            "monitor",
            str(config),
            "--listen",
            f"127.0.0.1:{self.listen}",
            "--token-env",
            "CHAOS",
            "--store",
            str(self.store),
            *more,
        ]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "CHAOS": TOKEN},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=limit,
        )

    async def answer_s(self, session: aiohttp.ClientSession, path: str = "/api/snapshot") -> tuple[float, Any]:
        began = time.monotonic()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.get(f"http://127.0.0.1:{self.listen}{path}", headers=headers) as answer:
            text = await answer.text()
            return time.monotonic() - began, (json.loads(text) if answer.status == 200 else None)

    async def up(self, session: aiohttp.ClientSession) -> None:
        for _ in range(600):
            with contextlib.suppress(aiohttp.ClientError, OSError):
                _, now = await self.answer_s(session)
                if now and all(t["up"] for t in now["targets"]):
                    return
            await asyncio.sleep(0.1)
        raise SystemExit("the monitor did not come up")

    async def slowest_s(self, session: aiohttp.ClientSession, asks: int = 8) -> tuple[float, int]:
        """The slowest of some answers, and how many targets were up in the last."""
        slowest, up = 0.0, 0
        for _ in range(asks):
            took, now = await self.answer_s(session)
            slowest, up = max(slowest, took), sum(t["up"] for t in now["targets"]) if now else 0
            await asyncio.sleep(0.2)
        return slowest, up

    def end(self, number: int = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        return self.process.communicate(timeout=30)[1]


async def loris(scale: float) -> None:
    count = int(2000 * scale)
    await _standing(count, f"slow-loris × {count}, nofile 1024", 1024)
    await _standing(count, f"slow-loris × {count}", None)


async def _standing(count: int, what: str, files: int | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with Servers().serving() as port, aiohttp.ClientSession() as session:
            monitor = Process(Path(name), port, files=files)
            await monitor.up(session)
            standing = []
            for _ in range(count):
                with contextlib.suppress(OSError):
                    pair = await asyncio.open_connection("127.0.0.1", monitor.listen)
                    pair[1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                    standing.append(pair)
            slowest, up = await monitor.slowest_s(session)
            told(what, slowest < 2 and up == 5, f"{len(standing)} opened; slowest answer {slowest:.2f} s; {up} of 5 up")
            for _, writer in standing:
                writer.close()
            monitor.end()


async def streams(scale: float) -> None:
    count = int(1000 * scale)
    with tempfile.TemporaryDirectory() as name:
        connector = aiohttp.TCPConnector(limit=0)
        async with Servers().serving() as port, aiohttp.ClientSession(connector=connector) as session:
            monitor = Process(Path(name), port)
            await monitor.up(session)
            statuses: list[int] = []
            opened = []
            for _ in range(count):
                answer = await session.get(
                    f"http://127.0.0.1:{monitor.listen}/events", headers={"Authorization": f"Bearer {TOKEN}"}
                )
                statuses.append(answer.status)
                opened.append(answer)
            slowest, up = await monitor.slowest_s(session)
            taken, refused = statuses.count(200), statuses.count(429)
            result = f"{taken} taken, {refused} refused; slowest answer {slowest:.2f} s; {up} of 5 up"
            told(f"event streams × {count}", slowest < 2 and up == 5, result)
            for answer in opened:
                answer.close()
            monitor.end()


async def kill(scale: float) -> None:
    count = max(int(20 * scale), 2)
    with tempfile.TemporaryDirectory() as name:
        servers = Servers()
        async with servers.serving() as port, aiohttp.ClientSession() as session:
            before, fell = 0.0, 0
            for _ in range(count):
                monitor = Process(Path(name), port)
                await monitor.up(session)
                await asyncio.sleep(2.0)
                monitor.end(signal.SIGKILL)
                tokens = _kept(monitor.store)
                fell += tokens < before
                before = tokens
            db = sqlite3.connect(monitor.store)
            whole = db.execute("PRAGMA integrity_check").fetchone()[0]
            raw, buckets = (
                db.execute(q).fetchone()[0]
                for q in (
                    "SELECT sum(output_tok) FROM interval",
                    "SELECT sum(output_tok) FROM bucket WHERE length_s = 300 AND of > 0",
                )
            )
            db.close()
        true = sum(made - 1010 for made in servers.made.values())
        right = whole == "ok" and not fell and abs(raw - buckets) < 1 and abs(raw - before) < 1 and 0 < before <= true
        told(
            f"kill -9 × {count}",
            right,
            f"integrity {whole}; totals fell {fell} times; kept {before:.0f} of {true} tokens",
        )


def _kept(store: Path) -> float:
    db = sqlite3.connect(store)
    try:
        return float(db.execute("SELECT sum(output_tok) FROM total").fetchone()[0] or 0.0)
    finally:
        db.close()


async def two(scale: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with Servers().serving() as port, aiohttp.ClientSession() as session:
            first = Process(Path(name), port)
            await first.up(session)
            second = Process(Path(name), port)
            text = (await asyncio.to_thread(second.process.communicate))[1]
            told(
                "two monitors on one store", second.process.returncode == 2 and "--takeover" in text, text.strip()[:90]
            )
            third = Process(Path(name), port, more=("--takeover",))
            await third.up(session)
            await asyncio.sleep(4.0)
            _, now = await first.answer_s(session)
            says = "; ".join(a["text"] for a in now["alerts"] if a["kind"] == "history")
            told("--takeover", "taken the history over" in says, f"the first says: {says[:80]}")
            first.end()
            third.end()


async def disk(scale: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode:
            print("skips  full disk: a small disk cannot be mounted here (needs root)")
            return
        try:
            servers = Servers()
            async with servers.serving() as port, aiohttp.ClientSession() as session:
                monitor = Process(Path(name), port, targets=20)
                says = ""
                for _ in range(240):
                    await asyncio.sleep(0.5)
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        _, now = await monitor.answer_s(session)
                        says = "; ".join(a["text"] for a in (now or {}).get("alerts", ()) if a["kind"] == "history")
                        if says:
                            break
                slowest, up = await monitor.slowest_s(session, 4)
                told("full disk", bool(says) and slowest < 2 and up == 20, f"says {says[:60]!r}; {up} of 20 up")
                subprocess.run(["mount", "-o", "remount,size=60m", name], check=True)
                await asyncio.sleep(6.0)
                _, now = await monitor.answer_s(session)
                error = [a["text"] for a in now["alerts"] if a["kind"] == "history"]
                monitor.end()
            db = sqlite3.connect(monitor.store)
            lost = (
                sum(made - 1010 for made in servers.made.values())
                - db.execute("SELECT sum(output_tok) FROM total").fetchone()[0]
            )
            whole = db.execute("PRAGMA integrity_check").fetchone()[0]
            db.close()
            told(
                "room again",
                not error and whole == "ok" and abs(lost) <= 20 * 20,
                f"integrity {whole}; {lost:.0f} tokens not kept",
            )
        finally:
            subprocess.run(["umount", "-l", name], check=False)


class Clock:
    """``time`` with a wall clock that steps."""

    ahead_s = 0.0
    monotonic, thread_time = staticmethod(time.monotonic), staticmethod(time.thread_time)

    @staticmethod
    def time() -> float:
        return time.time() + Clock.ahead_s


async def clocks(scale: float) -> None:
    """One monitor in this process, whose wall clock steps; the fake servers' counts are the truth."""
    for step_s, what in (
        (3600.0, "+1 h"),
        (-7200.0, "-2 h"),
        (86_400.0 - time.time(), "1970"),
        (500 * 86_400.0, "+500 days"),
    ):
        with tempfile.TemporaryDirectory() as name:
            servers = Servers()
            modules: list[Any] = [loop, watched, accounting, __import__("joulemill.servers.metrics", fromlist=["x"])]
            for module in modules:
                if hasattr(module, "time"):
                    module.time = Clock
            async with servers.serving() as port:
                target = {"name": "t", "model": "m", "metrics_url": f"http://127.0.0.1:{port}/t/metrics"}
                history = History.open(Path(name) / "h.db")
                keeper = HistoryWriter(history)
                monitor = Monitor(MonitorConfig.model_validate({"period_s": 0.2, "target": [target]}), keeper)
                stop = asyncio.Event()
                running = asyncio.ensure_future(monitor.run(stop))
                for ahead in (0.0, step_s, 0.0):
                    Clock.ahead_s = ahead
                    await asyncio.sleep(3.0 * max(scale, 0.3))
                stop.set()
                await running
                state = monitor.snapshot().targets[0]
                keeper.close()
                history.prune()
                kept = history.totals()["t"]
                rows = history._db.execute("SELECT count(*) FROM bucket").fetchone()[0]
                history.close()
            for module in modules:
                if hasattr(module, "time"):
                    module.time = time
            # The page is looked at once for its dialect before it is counted from; a look in flight at the end is none.
            shown, true = sum(state.tokens.values()), servers.made["t"] - 1020
            right = (
                abs(shown - true) <= 10
                and abs(sum(kept.tokens.values()) - shown) < 1
                and state.unobserved_s < 2
                and rows < 100
            )
            told(
                f"clock {what} and back",
                right,
                f"{shown:.0f} of {true} tokens; unobserved {state.unobserved_s:.2f} s; {rows} sums",
            )


async def meter(scale: float) -> None:
    servers = Servers()
    async with servers.serving() as port:
        target = {
            "name": "t",
            "model": "m",
            "metrics_url": f"http://127.0.0.1:{port}/t/metrics",
            "meters": [f"prometheus:http://127.0.0.1:{port}/exporter/metrics"],
        }
        config = {"period_s": 0.5, "meter_period_s": 0.2, "target": [target]}
        monitor = await asyncio.to_thread(Monitor, MonitorConfig.model_validate(config))
        stop = asyncio.Event()
        running = asyncio.ensure_future(monitor.run(stop))
        began = time.monotonic()
        await asyncio.sleep(8.0)
        servers.energy_mj += 3.6e12
        await asyncio.sleep(8.0)
        servers.frozen = True
        await asyncio.sleep(8.0)
        stop.set()
        await running
        state = monitor.snapshot().targets[0]
        most_j = 300.0 * (time.monotonic() - began) * 1.1
        joules = sum(j for (scope, _, _), j in state.energy_j.items() if scope == "device")
        told(
            "meter jumps by 3.6 GJ and freezes",
            0 < joules <= most_j,
            f"{joules:.0f} J counted, at most {most_j:.0f} could be",
        )


PARTS: dict[str, Callable[[float], Any]] = {
    "loris": loris,
    "streams": streams,
    "kill": kill,
    "two": two,
    "clocks": clocks,
    "meter": meter,
    "disk": disk,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    for name in asked.parts or PARTS:
        asyncio.run(PARTS[name](0.1 if asked.quick else 1.0))
    print(f"{len(FAILED)} lines do not hold" if FAILED else "all holds")
    return 1 if FAILED else 0


if __name__ == "__main__":
    raise SystemExit(main())
