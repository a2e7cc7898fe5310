"""Percentiles from buckets: by hand, against promtool's own histogram_quantile, and on pages through a restart."""

from __future__ import annotations

import asyncio
import math
import random
import shutil
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from joulemill.catalog.server_dialects import dialect, dialects
from joulemill.ledger.record import ServerSample
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.accounting.histograms import bucket_series, buckets, percentiles, quantile_s
from joulemill.monitor.config import TargetConfig
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import SiteFacts
from joulemill.monitor.target import WatchedTarget
from joulemill.servers.metrics import Scrape, canonical, parse_metrics
from tests.support.watched_server import watched

VLLM = dialect("vllm")
INF = math.inf


def test_by_hand() -> None:
    # 2 requests up to 0.1 s, 6 up to 0.5, 8 up to 1, and 2 beyond. p50: rank 5, the third of 4 in (0.1, 0.5].
    seen = {0.1: 2.0, 0.5: 6.0, 1.0: 8.0, INF: 10.0}
    assert quantile_s(seen, 0.5) == pytest.approx(0.1 + 0.4 * 3 / 4)
    assert quantile_s(seen, 0.1) == pytest.approx(0.05)  # the first bucket begins at 0
    assert quantile_s(seen, 0.8) == pytest.approx(1.0)
    assert quantile_s(seen, 0.9) is None  # more than 1 s, nobody knows how much
    assert quantile_s({INF: 10.0}, 0.5) is None and quantile_s({0.1: 1.0}, 0.5) is None
    assert quantile_s({0.1: 0.0, INF: 0.0}, 0.5) is None
    risen = percentiles({0.1: 5.0, INF: 9.0}, {0.1: 9.0, INF: 13.0})
    assert risen is not None and risen.requests_count == 4 and risen.p50_s == pytest.approx(0.05)
    assert percentiles(seen, seen) is None and percentiles({}, {}) is None


BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.25, 0.5, 1.0, 2.5)


@given(st.lists(st.integers(0, 50), min_size=11, max_size=11), st.floats(0.01, 0.99), st.floats(0.0, 0.5))
def test_quantiles_rise_and_lie_in_the_bucket_that_holds_the_rank(counts: list[int], q: float, more: float) -> None:
    cumulative = dict(zip((*BOUNDS, INF), map(float, accumulate(counts)), strict=True))
    found, higher = quantile_s(cumulative, q), quantile_s(cumulative, min(q + more, 0.995))
    if found is None:
        assert higher is None and (sum(counts) == 0 or sum(counts[:-1]) < q * sum(counts) * (1 + 1e-9))
        return
    assert higher is None or higher >= found - 1e-12
    i = next(i for i, b in enumerate(BOUNDS) if cumulative[b] >= q * cumulative[INF])
    assert (0.0 if i == 0 else BOUNDS[i - 1]) <= found <= BOUNDS[i] * (1 + 1e-12)


def test_promtool_computes_the_same(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    chance, series, asked = random.Random(7), [], []
    for n in range(12):
        counts = list(accumulate(chance.choice((0, 0, 1, 3, 40, 200)) for _ in BOUNDS))
        counts.append(counts[-1] + chance.choice((0, 0, 5)) + 1)
        cumulative = dict(zip((*BOUNDS, INF), map(float, counts), strict=True))
        for bound, count in cumulative.items():
            le = "+Inf" if bound == INF else str(bound)
            series.append({"series": f'x_bucket{{n="{n}",le="{le}"}}', "values": f"{count:g}"})
        for q in (0.5, 0.9, 0.99):
            ours = quantile_s(cumulative, q)
            theirs = BOUNDS[-1] if ours is None else ours  # where we know nothing, Prometheus gives the last bound
            expr = f'histogram_quantile({q}, x_bucket{{n="{n}"}})'
            asked.append(
                {"expr": expr, "eval_time": "0m", "exp_samples": [{"labels": f'{{n="{n}"}}', "value": theirs}]}
            )
    document = {"rule_files": [], "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    (tmp_path / "q.test.yml").write_text(yaml.safe_dump(document))
    told = subprocess.run([tool, "test", "rules", str(tmp_path / "q.test.yml")], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def page(counts: tuple[int, int, int], start_s: float = 0.0) -> str:
    """Requests by 0.1 s, by 1 s, and all, over two engines."""
    lines = [f"process_start_time_seconds {start_s}", 'vllm:generation_tokens_total{engine="0"} 5']
    for engine in (0, 1):
        for le, count in zip(("0.1", "1.0", "+Inf"), counts, strict=True):
            lines.append(f'vllm:time_to_first_token_seconds_bucket{{engine="{engine}",le="{le}"}} {count}')
    return "\n".join(lines)


def looked(text: str, at_s: float) -> Scrape:
    parsed = parse_metrics(text)
    return Scrape(ServerSample(at_s, 1e9 + at_s, canonical(parsed, VLLM)), parsed, VLLM)


def test_engines_add_up_and_a_restart_counts_what_came_since() -> None:
    target = WatchedTarget(
        TargetConfig(name="a", model="m", metrics_url="http://x/"), TargetMeters([], 1.0, 9.0), SiteFacts(site="s")
    )
    told = []
    for at, text in enumerate(
        (page((0, 0, 0)), page((5, 10, 10)), page((0, 4, 4), 1e9 + 1.5), page((0, 4, 4), 1e9 + 1.5))
    ):
        told += target.account(target.followed(looked(text, float(at))))
    first, restarted, quiet = (i.latency.get("ttft") for i in told[-3:])
    assert first is not None and first.requests_count == 20 and first.p50_s == pytest.approx(0.1)
    assert first.p90_s == pytest.approx(0.1 + 0.9 * 0.8)
    assert restarted is not None and restarted.requests_count == 8 and restarted.p50_s == pytest.approx(0.55)
    assert quiet is None


def test_every_dialect_with_a_histogram_names_its_buckets_and_llamacpp_has_none() -> None:
    named = {d.name: bucket_series(d, "ttft") for d in dialects()}
    assert named["vllm"] == named["sglang"] == ("time_to_first_token_seconds_bucket",)
    assert named["llamacpp"] == ()
    other = 'sglang:time_to_first_token_seconds_bucket{tp_rank="1",le="0.1"} 9\n'
    mine = 'sglang:time_to_first_token_seconds_bucket{tp_rank="0",le="0.1"} 2\nsglang:nothing 1'
    assert buckets(parse_metrics(other + mine), dialect("sglang"), "ttft") == {0.1: 2.0}
    rubbish = 'vllm:time_to_first_token_seconds_bucket{le="x"} 1\nvllm:time_to_first_token_seconds_bucket{le="NaN"} 1'
    assert buckets(parse_metrics(rubbish), VLLM, "ttft") == {}


def test_a_watched_server_s_percentiles_reach_snapshot_and_store(tmp_path: Path) -> None:
    from joulemill.monitor.history.writer import HistoryWriter

    class Slow:
        count = 0

        async def page(self, _: web.Request) -> web.Response:
            self.count += 1
            return web.Response(text=page((2 * self.count, 4 * self.count, 4 * self.count)))

    async def script(_: object) -> None:
        await asyncio.sleep(1.0)

    keeper = HistoryWriter(History.open(tmp_path / "h.db"))
    now = asyncio.run(watched(Slow(), script, keeper))  # type: ignore[arg-type]
    keeper.close()
    latest = now.targets[0].latest
    assert latest is not None and latest.latency["ttft"].p50_s == pytest.approx(0.1)
    assert latest.latency["ttft"].p90_s == pytest.approx(0.82)
    rows = Reader(tmp_path / "h.db").rows("SELECT what, p90_s, requests_count FROM interval_latency")
    assert len(rows) > 3 and all(row == ("ttft", pytest.approx(0.82), 8.0) for row in rows)
