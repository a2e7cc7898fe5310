"""Loads beyond one length and one rate: scaled traces, conversations, stopping by itself, searching for a rate."""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated.mock_server import MockPlan, MockServer, mock_process
from simulated.runs import request

from joulemill.bench.load.arrivals import Arrival, read_trace
from joulemill.bench.load.replay import clipped, replayed
from joulemill.bench.load.until import NarrowEnough
from joulemill.bench.options import BenchOptions
from joulemill.bench.run import measure, run_measure
from joulemill.bench.series.find_rate import RateSearch, check_search
from joulemill.cli import main
from joulemill.commands.flags import in_flags
from joulemill.errors import InputError
from joulemill.ledger.account import account
from joulemill.ledger.record import RequestOutcome, RunRecord
from joulemill.recording.writer import read_run

pytestmark = pytest.mark.apart

QUICK: dict[str, Any] = {
    "warmup_s": 0.0,
    "idle_s": 0.1,
    "input_tokens": "32",
    "output_tokens": "4",
    "quality": None,
    "meters": ("declared:idle=60W,busy=180W",),
}


def trace_file(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "trace.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return file


def test_a_trace_is_replayed_faster_and_with_other_lengths(tmp_path: Path) -> None:
    file = trace_file(tmp_path, *({"time_s": t, "input_tokens": 100, "output_tokens": 3} for t in (5, 7, 9)))
    options = BenchOptions(trace=file, trace_speed_ratio=2.0, trace_input_scale_ratio=0.5, trace_output_scale_ratio=0.1)
    assert replayed(options) == (Arrival(0.0, 50, 1), Arrival(1.0, 50, 1), Arrival(2.0, 50, 1))
    assert read_trace(file)[2] == Arrival(4.0, 100, 3)


def test_requests_longer_than_the_context_are_shortened_and_counted() -> None:
    asked = (Arrival(0.0, 100, 20), Arrival(1.0, 5000, 100), Arrival(2.0, 10, 9000))
    fitted, shortened = clipped(asked, 2048)
    assert shortened == 2 and fitted[0] == asked[0]
    assert all((a.input_tok or 0) + (a.output_tok or 0) <= 2048 for a in fitted)
    assert fitted[1].output_tok == 100 and (fitted[1].input_tok or 0) > 1800
    assert clipped(asked, None) == (asked, 0)


def test_a_run_tells_how_many_were_shortened(tmp_path: Path) -> None:
    rows = [{"time_s": 0.05 * i, "input_tokens": 9000 if i % 2 else 30, "output_tokens": 4} for i in range(6)]
    with mock_process(MockPlan(ttft_s=0.01)) as url:
        record = read_run(
            run_measure(BenchOptions(url=url, trace=trace_file(tmp_path, *rows), out=tmp_path / "r", **QUICK))
        )
    assert any("3 of 6 requests of the trace" in e.get("text", "") for e in record.events)
    assert max(r.prompt_tok or 0 for r in record.requests) < 8192


def test_a_run_tells_that_its_trace_ends_within_a_line(tmp_path: Path) -> None:
    file = trace_file(tmp_path, *({"time_s": 0.05 * i, "input_tokens": 30, "output_tokens": 4} for i in range(4)))
    file.write_text(file.read_text().rstrip()[:-9])
    with mock_process(MockPlan(ttft_s=0.01)) as url:
        record = read_run(run_measure(BenchOptions(url=url, trace=file, out=tmp_path / "r", **QUICK)))
    assert any("line 4: the file ends within this line" in e.get("text", "") for e in record.events)
    assert sum(r.phase == "load" for r in record.requests) == 3


def talks(bodies: list[dict[str, Any]]) -> dict[str, list[list[str]]]:
    """Roles of each request's messages by the first words of its conversation."""
    found: dict[str, list[list[str]]] = defaultdict(list)
    for body in bodies:
        found[body["messages"][0]["content"][:20]].append([m["role"] for m in body["messages"]])
    return found


def conversed(tmp_path: Path, **given: Any) -> tuple[RunRecord, dict[str, list[list[str]]], list[dict[str, Any]]]:
    async def run() -> tuple[RunRecord, list[dict[str, Any]]]:
        async with MockServer(MockPlan(ttft_s=0.01)) as server:
            options = BenchOptions(url=server.url, out=tmp_path / "run", **{**QUICK, **given})
            return read_run(await measure(options)), server.truth.bodies[3:]

    record, bodies = asyncio.run(run())
    return record, talks(bodies), bodies


def test_turns_send_all_that_was_said_before_and_their_history_is_explained(tmp_path: Path) -> None:
    record, said, bodies = conversed(tmp_path, concurrency=2, requests=12, turns=3, think_s=0.05)
    assert sorted(len(t) for t in said.values()) in ([3, 3, 3, 3], [1, 2, 3, 3, 3], [2, 2, 2, 3, 3])
    for turns in said.values():
        assert turns == [["user", *["assistant", "user"] * k] for k in range(len(turns))]
    load = [r for r in record.requests if r.phase == "load"]
    assert {r.outcome for r in load} == {RequestOutcome.OK}
    later = [r for r in load if r.history_tok]
    assert len(later) >= 7 and all((r.asked_prompt_tok or 0) == (r.history_tok or 0) + 32 for r in later)
    third = next(b for b in bodies if len(b["messages"]) == 5)
    assert third["messages"][1]["content"] == " w0 w1 w2 w3"
    assert account(record).tokens.caching.unexplained_tok == 0.0


def test_thinking_lies_between_an_answer_and_the_next_turn(tmp_path: Path) -> None:
    record, _, _ = conversed(tmp_path, concurrency=1, requests=4, turns=4, think_s=0.2)
    load = sorted((r for r in record.requests if r.phase == "load"), key=lambda r: r.dispatched_mono_s or 0.0)
    for before, after in pairwise(load):
        assert (after.dispatched_mono_s or 0.0) - (before.end_mono_s or 0.0) >= 0.199
        assert after.scheduled_mono_s - (before.end_mono_s or 0.0) == pytest.approx(0.2, abs=0.01)


def test_sessions_of_a_trace_keep_their_order(tmp_path: Path) -> None:
    rows = [{"time_s": 0.01 * i, "input_tokens": 30, "output_tokens": 4, "session": "ab"[i % 2]} for i in range(6)]
    record, said, _ = conversed(tmp_path, concurrency=None, trace=trace_file(tmp_path, *rows))
    assert sorted(len(t) for t in said.values()) == [3, 3]
    for turns in said.values():
        assert [len(t) for t in turns] == [1, 3, 5]
    assert all(r.outcome is RequestOutcome.OK for r in record.requests)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"turns": 0}, "--turns"),
        ({"turns": 10**9}, "--turns"),
        ({"turns": 2, "rate_req_s": 1.0}, "closed loop"),
        ({"think_s": 1.0}, "--think"),
        ({"until_ratio": 0.9}, "--until"),
        ({"until_ratio": 0.0001}, "--until"),
        ({"until_ratio": 0.03, "requests": 5}, "--until"),
        ({"trace_speed_ratio": 2.0}, "--trace"),
        ({"seed": -1}, "--seed"),
        ({"trace_input_scale_ratio": 0.0, "trace": Path("t")}, "--input-scale"),
    ],
)
def test_shapes_that_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as refused:
        BenchOptions(**given)
    assert says in in_flags(str(refused.value))


def fed(noise_ratio: float, target_ratio: float, most_s: float = 900.0) -> float:
    """How long a load of one token a chunk at about 100 tok/s lasts until its rate is known."""
    rng, enough, at_s, number = np.random.default_rng(3), NarrowEnough(target_ratio, 0.0), 0.0, 0
    while at_s < most_s:
        lasts_s = float(np.clip(rng.normal(1.0, noise_ratio), 0.3, 3.0))
        enough.add(request(number, at_s, at_s + 0.01, at_s + lasts_s, output_tok=100))
        at_s, number = at_s + lasts_s, number + 1
        if enough.reached(at_s):
            assert (enough.half_ratio or 1.0) <= target_ratio
            return at_s
    return math.inf


def test_a_steady_load_ends_early_and_a_noisy_one_lasts() -> None:
    assert fed(0.01, 0.03) < 40.0
    assert fed(0.4, 0.03) > 2 * fed(0.1, 0.03)
    assert fed(0.4, 0.002) == math.inf


def test_a_run_ends_when_its_rate_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("joulemill.bench.load.until"), "FIRST_LOOK_S", 2.0)
    monkeypatch.setattr(import_module("joulemill.bench.load.until"), "LEAST_S", 1)
    with mock_process(MockPlan(ttft_s=0.02, itl_s=0.002)) as url:
        given = {**QUICK, "output_tokens": "20"}
        record = read_run(run_measure(BenchOptions(url=url, until_ratio=0.5, out=tmp_path / "run", **given)))
    assert any("its rate was known to" in e.get("text", "") for e in record.events)
    load = record.phase("load")
    assert load is not None and (load.end_mono_s or 0.0) - load.start_mono_s < 60.0


@pytest.mark.parametrize("limit", [0.013, 0.9, 1.0, 7.3, 900.0])
def test_the_search_ends_within_a_tenth_of_the_truth(limit: float) -> None:
    search = RateSearch()
    while (rate := search.next_req_s()) is not None:
        search.hear(rate, met=rate <= limit)
    assert search.met_req_s is not None and search.missed_req_s is not None
    assert search.met_req_s <= limit < search.missed_req_s <= 1.1 * search.met_req_s * 1.001 or limit == 900.0


def test_a_search_needs_targets_and_an_open_load() -> None:
    with pytest.raises(InputError, match="`slo_ttft_s`"):
        check_search(BenchOptions())
    with pytest.raises(InputError, match="`concurrency`"):
        check_search(BenchOptions(slo_ttft_s=1.0, concurrency=4))


def test_the_command_finds_the_rate_that_one_slot_can_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slot that takes 0.25 s an answer serves 4 req/s; a queue breaks a TTFT of 0.6 s well below 8."""
    monkeypatch.setattr(import_module("joulemill.bench.series.find_rate"), "PRECISION_RATIO", 4.1)
    with mock_process(MockPlan(ttft_s=0.05, itl_s=0.05, slots=1)) as url:
        words = ["find-rate", "--url", url, "--slo-ttft", "600ms", "--rate", "2", "--duration", "3s"]
        words += ["--warmup", "0s", "--idle", "0.1s", "--input-tokens", "32", "--output-tokens", "5", "--json"]
        code = main([*words, "--meter", "declared:idle=60W,busy=180W", "--out", str(tmp_path / "s")])
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and 0.5 <= found["highest_rate_req_s"] <= 5.0 < found["lowest_missed_rate_req_s"] * 4
    assert len(found["trials"]) == len(list((tmp_path / "s").glob("*/run.json")))
    assert main(["report", str(tmp_path / "s")]) == 0
