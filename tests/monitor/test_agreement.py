"""The monitor beside `joulemill bench` on the same real server: their totals agree to 1 %."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.ledger.account import account
from joulemill.ledger.record import Scope
from joulemill.monitor.config import MonitorConfig, TargetConfig
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import TokenKind
from joulemill.recording.writer import read_run
from joulemill.servers.embedded import EmbeddedOptions, EmbeddedServer

METER = "declared:idle=50W,busy=50W"  # of known power, so that both must say the same joules


@pytest.mark.embedded
@pytest.mark.usefixtures("short_calibration")
@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the embedded server is not installed")
def test_totals_agree_with_bench_over_the_same_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with EmbeddedServer(EmbeddedOptions(threads=1)) as server:
        target = TargetConfig(
            name="a", model="m", metrics_url=f"{server.url}/metrics", meters=(METER,), here=True, server_pid=server.pid
        )
        monitor = Monitor(MonitorConfig(period_s=0.5, meter_period_s=0.2, target=(target,)))

        async def scenario() -> int:
            stop = asyncio.Event()
            running = asyncio.ensure_future(monitor.run(stop))
            await asyncio.sleep(1.5)
            code = await asyncio.to_thread(bench)
            await asyncio.sleep(1.5)
            stop.set()
            await running
            return code

        def bench() -> int:
            asked = [
                "bench",
                "--url",
                server.url,
                "--concurrency",
                "2",
                "--duration",
                "4s",
                "--warmup",
                "1s",
                "--idle",
                "1s",
            ]
            asked += ["--input-tokens", "24", "--output-tokens", "12", "--quality", "none", "--meter", METER]
            return main([*asked, "--out", str(run), "--json"])

        assert threading.current_thread() is threading.main_thread()
        assert asyncio.run(scenario()) == 0
    report = json.loads(capsys.readouterr().out)
    record, (watched,) = read_run(run), monitor.snapshot().targets
    served = sum(r.output_tok or 0 for r in record.requests)
    assert watched.tokens[TokenKind.OUTPUT] == pytest.approx(served, rel=0.01)
    prompts = sum(r.prompt_tok or 0 for r in record.requests)
    assert watched.tokens[TokenKind.PROMPT] == pytest.approx(prompts, rel=0.01)
    # Joules: both metered 50 W, over their own windows.
    node = account(record).scopes[Scope.NODE]
    assert node.power.value == pytest.approx(50.0, rel=0.01) and report["energy"]["node_j_tok"]["value"] is not None
    joules = sum(watched.energy_j.values())
    seen_s = watched.latest.end_s - watched.since_s - watched.unobserved_s
    assert joules / seen_s == pytest.approx(node.power.value, rel=0.01)
