"""Room, restarts and overload, by hand; room from vLLM's and SGLang's own pages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated.runs import request, steady_run

from joulemill.analysis.run import analyze
from joulemill.catalog.server_dialects import dialect
from joulemill.ledger.account import account
from joulemill.ledger.record import RunRecord, ServerSample
from joulemill.ledger.serving_state import overload, room, waiting_ratio
from joulemill.ledger.window import Window
from joulemill.servers.metrics import canonical, parse_metrics
from tests.support.manifests import manifest_of, members_of
from tests.support.paths import SHARED

RECORDED = SHARED / "data" / "recordings" / "vllm_metrics.txt"
VLLM = 'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="27.0"} 1.0\n'
TWO_ENGINES = VLLM.replace("27.0", "20") + VLLM.replace("27.0", "7").replace('engine="0"', 'engine="1"')
SGLANG = 'sglang:max_total_num_tokens{model_name="m",tp_rank="0",pp_rank="0"} 432.0\n'


def paged(text: str, name: str, **more: float) -> RunRecord:
    """The steady run (4 in flight of 100 + 20 tokens), its server's page as ``text`` at every look."""
    values = {**canonical(parse_metrics(text), dialect(name)), **more}
    looks = tuple(ServerSample(25.0 + n, 0.0, values) for n in range(60))
    run = steady_run()
    return replace(run, server=looks)


@pytest.mark.parametrize(("text", "name"), [(VLLM, "vllm"), (TWO_ENGINES, "vllm"), (SGLANG, "sglang")])
def test_a_cache_in_tokens_is_room_for_sequences(text: str, name: str) -> None:
    """432 tokens at 100 + 20/2 tokens a sequence hold 3.93 sequences, of which 4 were kept in flight: full load."""
    run = paged(text, name)
    held = room(run, account(run).window)
    assert held is not None and held.sequences_count == pytest.approx(432 / 110)
    assert "432 tokens of cache" in held.source
    report = analyze(run)
    assert report.output.full_load_tok_s.value == pytest.approx(80.0, rel=0.01)
    assert report.utilization.value is not None and report.output.utilization_adjusted_tok_s.known
    ceiling = next(c for c in report.ceilings if c.name == "kv_capacity")
    assert ceiling.capacity is not None and ceiling.capacity.value == pytest.approx(432 / 110)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are kept beside the project, not here")
def test_a_recorded_page_of_vllm_says_its_room() -> None:
    run = paged(RECORDED.read_text(), "vllm")
    held = room(run, account(run).window)
    assert held is not None and held.sequences_count == pytest.approx(728 * 128 / 110)
    reason = analyze(run).output.full_load_tok_s.reason or ""
    assert "0 % of 847 sequences" in reason and "93,184 tokens" in reason


def test_slots_come_before_the_cache_and_a_page_without_either_says_nothing() -> None:
    run = paged(VLLM, "vllm")
    slots = replace(run, manifest=manifest_of({**members_of(run), "server": {"slots": 4}}))
    assert room(slots, account(slots).window).sequences_count == 4.0  # type: ignore[union-attr]
    assert room(steady_run(), account(steady_run()).window) is None
    assert room(paged("vllm:num_requests_running 1\n", "vllm"), account(run).window) is None


def test_requests_that_always_wait_are_full_load_whatever_the_cache() -> None:
    run = paged(VLLM.replace("27.0", "2700"), "vllm", waiting_req=3.0)
    assert waiting_ratio(run, account(run).window) == 1.0  # type: ignore[arg-type]
    assert analyze(run).output.full_load_tok_s.known
    calm = paged(VLLM.replace("27.0", "2700"), "vllm", waiting_req=0.0)
    assert "only 1 % of 393 sequences" in (analyze(calm).output.full_load_tok_s.reason or "")


# --- restarts ------------------------------------------------------------------------------------------------------
def looked(counts: list[float | None]) -> RunRecord:
    """The steady run with a look a second from its load's start; None: the look failed."""
    looks = [
        ServerSample(25.0 + n, 0.0, {} if c is None else {"output_tok_total": c}, "refused" if c is None else None)
        for n, c in enumerate(counts)
    ]
    return replace(steady_run(), server=tuple(looks))


def test_a_restart_fails_the_run_and_is_told_first() -> None:
    run = looked([*(5000.0 + 80 * n for n in range(20)), *([None] * 8), *(80.0 * n for n in range(20))])
    report = analyze(run)
    assert report.status == "failed" and "restarted before 28 s" in (report.status_reason or "")
    assert report.warnings[0].startswith("The run failed: the server failed: it was restarted")


def test_pages_that_take_turns_and_a_look_that_failed_are_no_failure() -> None:
    turns = looked([5000.0, 4600.0, 5080.0, 4680.0, 5160.0, 4760.0, 5240.0, 4840.0])  # of two servers
    assert analyze(turns).status == "complete"
    assert analyze(looked([5000.0, None, 5080.0])).status == "complete"


def test_a_silent_page_is_told_and_the_run_stands_where_tokens_came() -> None:
    report = analyze(looked([5000.0, *([None] * 12), 6000.0]))
    assert report.status == "complete" and "did not answer" in report.warnings[0]


# --- overload ------------------------------------------------------------------------------------------------------
def open_run(every_s: float, served_s: float) -> RunRecord:
    """A request due each ``every_s`` for 60 s, and one served after another, each in ``served_s``."""
    rows, free_s = [], 25.0
    for n in range(int(60 / every_s)):
        due = 25.0 + n * every_s
        start = max(due, free_s)
        free_s = start + served_s
        rows.append(request(n, due, start + 0.1 * served_s, free_s))
    run = steady_run()
    options = {"rate_req_s": 1 / every_s, "input_tokens": "100", "output_tokens": "20"}
    phase = replace(run.phase("load"), end_mono_s=85.0)  # type: ignore[type-var]
    manifest = manifest_of({"options": options})
    return replace(run, requests=tuple(rows), manifest=manifest, phases=(*run.phases[:2], phase), server=())


def test_overload_is_called_so_and_shows_the_full_load() -> None:
    report = analyze(open_run(1.0, 2.0))
    assert report.output.full_load_tok_s.value == pytest.approx(10.0, rel=0.1)
    assert any("were due and 0." in w and "overloaded" in w for w in report.warnings)
    assert "below saturation" not in str(report)
    assert report.conditions.load["text"] == "open loop, 1 req/s, input 100, output 20 tokens"


def test_a_load_that_is_kept_up_with_is_no_overload() -> None:
    run = open_run(1.0, 0.5)
    assert overload(run, account(run).window) is None
    assert "keeps up with" in (analyze(run).output.full_load_tok_s.reason or "")
    assert overload(steady_run(), Window(30.0, 60.0, "")) is None
