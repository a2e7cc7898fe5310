"""A scripted day in minutes: how much a monitor of many targets costs, and how late it is.

    python benchmarks/monitor_scale.py [--targets 1000] [--period 10] [--seconds 120] [--days 90] [--json]

Fake vLLM servers run in a process of their own (``monitor_targets.py``); the monitor, its history and its page run in
this one. Then ``--days`` of history are made for one target in ten and asked for one model's J/token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from joulemill.monitor.config import MonitorConfig, TargetConfig
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.store import History
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import Interval, ScopeEnergy, TargetFacts, TokenKind
from monitor_targets import rate_tok_s


def rss_byte() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def watch(monitor: Monitor, seconds: float, warm_s: float) -> dict[str, float]:
    """Watch and look at each target's lag every second, after all have been scraped once."""
    stop, lags = asyncio.Event(), []
    running = asyncio.ensure_future(monitor.run(stop))
    await asyncio.sleep(warm_s)
    began, cpu = time.monotonic(), cpu_s()
    while time.monotonic() - began < seconds:
        await asyncio.sleep(1.0)
        lags += [t.lag_s for t in monitor.snapshot().targets if t.lag_s is not None]
    cores = (cpu_s() - cpu) / (time.monotonic() - began)
    rss = rss_byte()
    stop.set()
    await running
    lag = np.quantile(lags, [0.5, 0.99, 1.0])
    return {"lag_p50_s": lag[0], "lag_p99_s": lag[1], "lag_most_s": lag[2], "cores": cores, "rss_byte": rss}


def truth(monitor: Monitor, count: int) -> float:
    """Largest relative error of a steady target's tokens against what its fake made while it was observed."""
    worst = 0.0
    for n, t in enumerate(monitor.snapshot().targets[:count]):
        if n % 97 == 96 or n % 89 == 88 or n % 83 == 82 or not rate_tok_s(n) or t.latest is None:
            continue
        seconds = t.latest.end_s - t.since_s - t.unobserved_s
        made = t.tokens.get(TokenKind.OUTPUT, 0.0)
        if seconds > 0:
            worst = max(worst, abs(made / seconds / rate_tok_s(n) - 1.0))
    return worst


def long_history(path: Path, days: int, targets: int) -> dict[str, float]:
    """``days`` of hourly sums of ``targets`` targets of 20 models; how long one model's J/token takes."""
    kept = History.open(path, raw_days=0.5)
    now = time.time() // 3600 * 3600
    began = time.perf_counter()
    for hour in range(days * 24):
        start = now - (days * 24 - hour) * 3600
        rows = [
            Interval(
                target=f"t{n}",
                start_s=start,
                end_s=start + 3600,
                observed=True,
                reason=None,
                tokens={TokenKind.OUTPUT: 1e6},
                energy={"node": ScopeEnergy("node", 2e6, 5e4, "measured", 1.0)},
            )
            for n in range(targets)
        ]
        kept.append(rows, {f"t{n}": TargetFacts(f"t{n}", f"m{n % 20}", "hall") for n in range(targets)})
    kept.prune()
    written_s = time.perf_counter() - began
    size = kept.size_byte()
    kept.close()
    reader = Reader(path)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        found = reader.series(model="m7", start_s=now - days * 86_400, end_s=now, step_s=3600.0)
        took.append(time.perf_counter() - began)
    if not any(found.energy_j["node", "measured"]):
        raise SystemExit("the long history answered nothing")
    return {"made_in_s": written_s, "size_byte": float(size), "query_s": float(np.median(took))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--period", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    fakes = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("monitor_targets.py")), "0"], stdout=subprocess.PIPE, text=True
    )
    port = int(fakes.stdout.readline() if fakes.stdout else 0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(args, port, Path(folder))
    finally:
        fakes.kill()
    if args.json:
        print(json.dumps(found))
        return
    for line in told(args, found):
        print(line)


def told(args: argparse.Namespace, found: dict[str, float]) -> list[str]:
    lags = [found[f"lag_{x}_s"] for x in ("p50", "p99", "most")]
    many = args.targets // 10
    return [
        f"{args.targets} targets every {args.period:g} s, watched for {args.seconds:g} s",
        f"scrape lag       p50 {lags[0]:.3f} s, p99 {lags[1]:.3f} s (bar 2 s), most {lags[2]:.3f} s",
        f"processor        {found['cores']:.2f} cores (bar 1)",
        f"memory           {found['rss_byte'] / 1e6:.0f} MB (bar 500)",
        f"tokens           within {found['token_error_ratio']:.2%} of what was made while observed",
        f"history          {found['kept_byte'] / found['kept_count']:.0f} byte per interval with its sums",
        f"{args.days} days, hourly    {found['size_byte'] / 1e6:.0f} MB for {many} targets of 20 models; "
        f"one model's J/token in {1e3 * found['query_s']:.0f} ms (bar 200)",
    ]


def measured(args: argparse.Namespace, port: int, folder: Path) -> dict[str, float]:
    targets = tuple(
        TargetConfig(name=f"t{n}", model=f"m{n % 20}", metrics_url=f"http://127.0.0.1:{port}/{n}/metrics")
        for n in range(args.targets)
    )
    config = MonitorConfig(period_s=args.period, timeout_s=min(5.0, args.period / 2), target=targets)
    history = History.open(folder / "scale.db")
    keeper = HistoryWriter(history)
    monitor = Monitor(config, keeper)
    found = asyncio.run(watch(monitor, args.seconds, 1.5 * args.period))
    keeper.close()
    count = history._db.execute("SELECT count(*) FROM interval").fetchone()[0]
    found |= {
        "token_error_ratio": truth(monitor, args.targets),
        "kept_count": float(count),
        "kept_byte": float(history.size_byte()),
    }
    history.close()
    return found | long_history(folder / "long.db", args.days, max(args.targets // 10, 20))


if __name__ == "__main__":
    main()
