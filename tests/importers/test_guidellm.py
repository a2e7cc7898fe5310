"""GuideLLM's report: a real recording with figures worked out by hand, and its traps."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.analysis.run import analyze
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.ledger.record import RequestOutcome
from tests.support import foreign_results
from tests.support.paths import RECORDINGS

RECORDED = RECORDINGS / "guidellm" / "benchmarks.json"


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are kept beside the project and are not here")
def test_real_recording() -> None:
    record = import_files([RECORDED], Choice())
    assert record.manifest.imported is not None and record.manifest.imported.tool_version == "0.8.1"
    assert [r.output_tok for r in record.requests] == [50] * 4
    assert [r.outcome for r in record.requests] == [RequestOutcome.OK] * 4
    first = record.requests[0]
    # From the file: request_start …45.780865, first token …45.884797, last …46.8644123.
    assert first.dispatched_mono_s == 0.0
    assert first.first_token_mono_s == pytest.approx(0.103932, abs=1e-6)
    assert first.last_token_mono_s == pytest.approx(1.0835473, abs=1e-6)
    report = analyze(record)
    # TPOT by hand for the first request: (1.0835473 - 0.103932) / 49 = 19.992 ms, GuideLLM's inter-token latency.
    assert report.latency.tpot_s.p50 == pytest.approx(0.02, rel=2e-3)
    assert report.tokens.output == 200
    assert report.energy.node_j_tok.value is None, "nothing in the file tells joules"
    stated = {s.name: s.figure for s in report.stated}
    assert stated["output.rate_tok_s"].value == pytest.approx(45.8688, abs=1e-4)
    assert stated["output.rate_tok_s"].basis is Basis.DECLARED
    # Its TPOT is the end-to-end time over the tokens: 1.08355 / 50 = 21.67 ms for the first; 21.65 ms on average.
    assert stated["guidellm.time_per_output_token_s.mean"].value == pytest.approx(21.645e-3, rel=1e-4)
    assert "includes the time to first token" in (stated["guidellm.time_per_output_token_s.mean"].reason or "")


def test_made_run_gives_its_known_figures(tmp_path: Path) -> None:
    report = analyze(import_files([foreign_results.write_json(tmp_path / "x", foreign_results.guidellm())], Choice()))
    assert report.latency.ttft_s.p50 == pytest.approx(0.1, abs=1e-6)
    assert report.latency.tpot_s.p50 == pytest.approx(0.02, abs=1e-6)
    assert report.latency.e2e_s.p99 == pytest.approx(0.5, abs=1e-6)
    assert report.requests.ok == foreign_results.REQUESTS


def test_a_sweep_must_be_chosen_from(tmp_path: Path) -> None:
    document = foreign_results.guidellm()
    document["benchmarks"] *= 2
    path = foreign_results.write_json(tmp_path / "sweep.json", document)
    with pytest.raises(InputError, match=r"holds 2 benchmarks; choose one with `part` .*synchronous, concurrency 1"):
        import_files([path], Choice())
    assert len(import_files([path], Choice(part=2)).requests) == foreign_results.REQUESTS
    with pytest.raises(InputError, match="`part` 3"):
        import_files([path], Choice(part=3))


def test_failed_requests_and_missing_counts_are_kept_and_do_not_count(tmp_path: Path) -> None:
    document = foreign_results.guidellm()
    groups = document["benchmarks"][0]["requests"]
    groups["errored"] = [groups["successful"].pop()]
    groups["errored"][0]["info"]["error"] = "Timeout while reading"
    groups["incomplete"] = [groups["successful"].pop()]
    groups["successful"][0]["output_tokens"] = None
    groups["successful"][1]["info"]["timings"]["first_token_iteration"] = (
        foreign_results.ORIGIN_S - 5
    )  # a negative TTFT
    record = import_files([foreign_results.write_json(tmp_path / "x", document)], Choice())
    assert [r.outcome for r in record.requests] == [
        RequestOutcome.NO_USAGE,
        RequestOutcome.CUT_SHORT,
        *[RequestOutcome.OK] * 4,
        RequestOutcome.CANCELLED,
        RequestOutcome.TIMEOUT,
    ]
    told = " ".join(record.manifest.warnings or ())
    assert "1 requests have times that are not in order" in told
    assert "1 requests carry no token count" in told


def test_another_report_version_is_refused(tmp_path: Path) -> None:
    path = foreign_results.write_json(
        tmp_path / "x", foreign_results.guidellm(metadata={"version": 1, "guidellm_version": "0.3"})
    )
    with pytest.raises(InputError, match="report version 1; version 2 can be read"):
        import_files([path], Choice())


def test_a_closed_loop_is_not_late_by_the_start_of_its_loop(tmp_path: Path) -> None:
    """GuideLLM targets the start of the whole loop for every request of a concurrent strategy."""
    document = foreign_results.guidellm()
    for run in document["benchmarks"]:
        for item in run["requests"]["successful"]:
            item["info"]["timings"]["targeted_start"] = foreign_results.ORIGIN_S
    report = analyze(import_files([foreign_results.write_json(tmp_path / "x", document)], Choice()))
    assert report.client.valid and report.binding.name != "client"
