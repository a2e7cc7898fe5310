"""``vllm bench serve``: arrays of requests and summaries, with figures by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.run import analyze
from joulemill.errors import InputError
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.ledger.manifest import document
from joulemill.ledger.record import RequestOutcome
from tests.support import foreign_results
from tests.support.foreign_results import detail, result


def test_detailed_results_give_their_known_figures(tmp_path: Path) -> None:
    record = import_files([foreign_results.write_json(tmp_path / "v", detail())], Choice())
    assert document(record.manifest.asked) == {"concurrency": 1}
    report = analyze(record)
    assert report.latency.ttft_s.p50 == pytest.approx(0.1)
    assert report.latency.tpot_s.p99 == pytest.approx(0.02)
    assert report.latency.e2e_s.p50 == pytest.approx(0.5)
    # The window is from the first token at 0.1 s to the end at 4.0 s; all 168 tokens fall in it.
    assert report.output.rate_tok_s.value == pytest.approx(168 / 3.9, rel=0.02)
    assert report.energy.node_j_tok.value is None
    assert any("monotonic clock" in w for w in report.warnings)


def test_a_meter_cannot_be_joined_to_monotonic_times(tmp_path: Path) -> None:
    meter = tmp_path / "m.csv"
    meter.write_text(foreign_results.power_csv())
    with pytest.raises(InputError, match="no wall-clock times"):
        import_files([foreign_results.write_json(tmp_path / "v", detail())], Choice(), f"{meter},value=watts,unit=W")


def test_a_summary_states_only(tmp_path: Path) -> None:
    report = analyze(import_files([foreign_results.write_json(tmp_path / "v", result(request_rate=2.5))], Choice()))
    stated = {s.name: s.figure.value for s in report.stated}
    assert stated["output.rate_tok_s"] == 42.0
    assert stated["latency.ttft_s.mean"] == pytest.approx(0.1) and stated["latency.tpot_s.p50"] == pytest.approx(0.02)
    assert report.output.rate_tok_s.value is None
    assert any("--save-detailed" in w for w in report.warnings)


def test_errors_and_arrays_that_do_not_fit(tmp_path: Path) -> None:
    errors = ["", "503: busy, status"] + [""] * 6
    record = import_files(
        [foreign_results.write_json(tmp_path / "a", detail(errors=errors, ttfts=[0.1, 0.0] + [0.1] * 6))], Choice()
    )
    assert record.requests[1].outcome is RequestOutcome.HTTP_ERROR
    assert record.requests[1].first_token_mono_s is None, "vLLM writes 0 for the time to a first token that never came"
    with pytest.raises(InputError, match="as long as the other arrays"):
        import_files([foreign_results.write_json(tmp_path / "b", detail(ttfts=[0.1]))], Choice())
    old = detail()
    del old["start_times"]
    record = import_files([foreign_results.write_json(tmp_path / "c", old)], Choice())
    assert not record.requests and any("no start times" in w for w in record.manifest.warnings or ())


def queued(**more: Any) -> dict[str, Any]:
    """Eight requests behind a semaphore of one: all due at 0, so the last waited 3.5 s at the tool's own limit."""
    return detail(queue_times=[n / 2 for n in range(8)], **more)


def test_a_wait_at_the_tools_own_limit_is_no_lateness(tmp_path: Path) -> None:
    report = analyze(import_files([foreign_results.write_json(tmp_path / "v", queued())], Choice()))
    assert report.client.valid and not report.client.late and report.binding.name != "client"
    assert report.latency.ttft_from_schedule_s.p99 == pytest.approx(0.1)
    assert not any("late" in w for w in report.warnings)


def test_a_rate_with_a_limit_beside_keeps_its_schedule_and_blames_no_client(tmp_path: Path) -> None:
    record = import_files([foreign_results.write_json(tmp_path / "v", queued(request_rate=8.0))], Choice())
    report = analyze(record)
    assert document(record.manifest.asked) == {"rate": 8.0, "max_concurrency": 1}
    assert report.latency.ttft_from_schedule_s.p99 > 3.0  # what a user of that schedule would have waited
    assert report.client.valid and report.binding.name != "client"


def test_without_a_limit_the_load_is_all_at_once(tmp_path: Path) -> None:
    record = import_files([foreign_results.write_json(tmp_path / "v", detail(max_concurrency=None))], Choice())
    text = analyze(record).conditions.load["text"]
    assert text.startswith("8 requests at once") and "None" not in text
