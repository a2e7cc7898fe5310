"""inference-perf's lifecycle reports: requests by the server's usage, summaries as stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.run import analyse
from joulemill.errors import InputError
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.ledger.record import Outcome
from tests.importers import samples


def requests(usage: int | None = 21) -> list[dict[str, Any]]:
    """Eight requests one after the other on a monotonic clock; the client's tokenizer counts 30 where usage says 21."""
    made: list[dict[str, Any]] = []
    for n in range(8):
        start = 900.0 + n / 2
        answer: dict[str, Any] = {
            "output_tokens": 30,
            "output_token_times": [start + 0.1 + 0.02 * k for k in range(21)],
        }
        if usage is not None:
            answer["server_usage"] = {"prompt_tokens": 10, "completion_tokens": usage}
        info = {"response_metrics": answer, "input_tokens": 10}
        made.append(
            {"scheduled_time": start, "start_time": start, "end_time": start + 0.5, "info": info, "error": None}
        )
    return made


def summary() -> dict[str, Any]:
    latency = {
        "time_to_first_token": {"mean": 0.11, "median": 0.1, "p99": 0.2},
        "normalized_time_per_output_token": {"mean": 0.024},
    }
    rates = {"output_tokens_per_sec": 42.0, "requests_per_sec": 2.0}
    return {
        "load_summary": {"count": 8, "requested_rate": 2.0},
        "successes": {"count": 8, "latency": latency, "throughput": rates, "output_len": {"mean": 21.0}},
        "failures": {"count": 0},
    }


def test_requests_and_summary_are_one_run(tmp_path: Path) -> None:
    paths = [samples.write_json(tmp_path / "r", requests()), samples.write_json(tmp_path / "s", summary())]
    record = import_files(paths, Choice())
    assert record.manifest["options"] == {"rate": 2.0}
    assert [r.output_tok for r in record.requests] == [21] * 8
    report = analyse(record)
    assert report.latency.tpot_s.p50 == pytest.approx(0.02)
    stated = {s.name: s.figure for s in report.stated}
    assert stated["latency.ttft_s.p50"].value == 0.1
    assert stated["inference_perf.normalized_time_per_output_token_s.mean"].reason == "includes the first token"


def test_usage_that_is_missing_and_requests_that_failed(tmp_path: Path) -> None:
    rows = requests(usage=None)
    rows[0]["error"] = {"error_type": "TimeoutError", "error_msg": "timed out"}
    path = samples.write_json(tmp_path / "r", rows)
    record = import_files([path], Choice())
    assert [r.outcome for r in record.requests] == [Outcome.TIMEOUT, *[Outcome.NO_USAGE] * 7]
    assert import_files([path], Choice(client_tokens=True)).requests[1].output_tok == 30


def test_summary_alone_and_two_of_a_kind(tmp_path: Path) -> None:
    path = samples.write_json(tmp_path / "s", summary())
    report = analyse(import_files([path], Choice()))
    assert report.output.rate_tok_s.value is None and report.stated
    with pytest.raises(InputError, match="two inference-perf files of one kind"):
        import_files([path, path], Choice())
