"""inference-perf's lifecycle reports: requests by the server's usage, summaries as stated."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.analysis.run import analyze
from joulemill.errors import InputError
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.ledger.manifest import document
from joulemill.ledger.record import RequestOutcome
from tests.support import foreign_results
from tests.support.foreign_results import requests, summary


def test_requests_and_summary_are_one_run(tmp_path: Path) -> None:
    paths = [
        foreign_results.write_json(tmp_path / "r", requests()),
        foreign_results.write_json(tmp_path / "s", summary()),
    ]
    record = import_files(paths, Choice())
    assert document(record.manifest.asked) == {"rate": 2.0}
    assert [r.output_tok for r in record.requests] == [21] * 8
    report = analyze(record)
    assert report.latency.tpot_s.p50 == pytest.approx(0.02)
    stated = {s.name: s.figure for s in report.stated}
    assert stated["latency.ttft_s.p50"].value == 0.1
    assert stated["inference_perf.normalized_time_per_output_token_s.mean"].reason == "includes the first token"


def test_usage_that_is_missing_and_requests_that_failed(tmp_path: Path) -> None:
    rows = requests(usage=None)
    rows[0]["error"] = {"error_type": "TimeoutError", "error_msg": "timed out"}
    path = foreign_results.write_json(tmp_path / "r", rows)
    record = import_files([path], Choice())
    assert [r.outcome for r in record.requests] == [RequestOutcome.TIMEOUT, *[RequestOutcome.NO_USAGE] * 7]
    assert import_files([path], Choice(client_tokens=True)).requests[1].output_tok == 30


def test_summary_alone_and_two_of_a_kind(tmp_path: Path) -> None:
    path = foreign_results.write_json(tmp_path / "s", summary())
    report = analyze(import_files([path], Choice()))
    assert report.output.rate_tok_s.value is None and report.stated
    with pytest.raises(InputError, match="two inference-perf files of one kind"):
        import_files([path, path], Choice())
