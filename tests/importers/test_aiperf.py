"""AIPerf's exports: a real recording whose tokenizer was wrong by two, energy in mJ, telemetry as a meter."""

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

RECORDED = RECORDINGS / "aiperf"
recorded = pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are kept beside the project, not here")


@recorded
def test_real_recording_counts_by_the_servers_usage() -> None:
    record = import_files([RECORDED / "profile_export.jsonl", RECORDED / "profile_export_aiperf.json"], Choice())
    assert [r.output_tok for r in record.requests] == [50] * 4
    first = record.requests[0]
    # From the file: TTFT 119.149274 ms, latency 1095.519934 ms, 49 gaps between 50 chunks.
    assert first.first_token_mono_s == pytest.approx(0.119149274, abs=1e-9)
    assert len(first.chunk_mono_s) == 50
    assert first.last_token_mono_s == pytest.approx(1.095519934, abs=1e-6)
    report = analyze(record)
    # (1095.52 - 119.15) / 49 = 19.926 ms for the first; AIPerf itself says 9.86 ms, over its 100 tokens.
    assert report.latency.tpot_s.p50 == pytest.approx(0.01999, rel=2e-3)
    assert report.tokens.output == 200
    assert any("400 output tokens" in w and "the server says 200 (2 times)" in w for w in report.warnings)
    stated = {s.name: s.figure for s in report.stated}
    assert stated["latency.tpot_s.mean"].value == pytest.approx(9.889e-3, rel=1e-3)
    assert "tokenizer" in (stated["latency.tpot_s.mean"].reason or "")
    assert report.conditions.model["name"] == "mock"


@recorded
def test_real_summary_alone_states_and_computes_nothing() -> None:
    report = analyze(import_files([RECORDED / "profile_export_aiperf.json"], Choice()))
    assert report.energy.node_j_tok.value is None and report.output.rate_tok_s.value is None
    assert {s.name for s in report.stated} >= {"output.rate_tok_s", "latency.ttft_s.p99", "tokens.output_by_server"}
    assert any("give profile_export.jsonl" in w for w in report.warnings)


def test_energy_is_told_in_joules_and_as_declared(tmp_path: Path) -> None:
    report = analyze(
        import_files([foreign_results.write_json(tmp_path / "s", foreign_results.aiperf_summary())], Choice())
    )
    stated = {s.name: s.figure for s in report.stated}
    assert stated["energy.device_j_tok"].value == pytest.approx(336.0 / 168.0)
    assert stated["energy.device_j_tok"].unit == "J/tok" and stated["energy.device_j_tok"].basis is Basis.DECLARED
    assert stated["power.device_w"].value == pytest.approx(84.0)
    assert report.energy.device_j_tok.value is None


def test_unknown_units_are_refused(tmp_path: Path) -> None:
    odd = foreign_results.aiperf_summary(nvidia_energy_per_output_token={"unit": "kJ/token", "avg": 1.0})
    with pytest.raises(InputError, match=r"nvidia_energy_per_output_token\.unit: must be mJ/token or J/token"):
        import_files([foreign_results.write_json(tmp_path / "s", odd)], Choice())


def test_without_usage_tokens_are_unknown_unless_the_user_takes_the_tools(tmp_path: Path) -> None:
    path = foreign_results.write_lines(tmp_path / "x", foreign_results.aiperf_lines(usage=False))
    strict = import_files([path], Choice())
    assert {r.outcome for r in strict.requests} == {RequestOutcome.NO_USAGE}
    assert any("--client-tokens" in w for w in strict.manifest.warnings or ())
    lenient = import_files([path], Choice(client_tokens=True))
    assert [r.output_tok for r in lenient.requests] == [foreign_results.TOKENS] * foreign_results.REQUESTS


def test_errors_cancellations_and_warm_up(tmp_path: Path) -> None:
    rows = foreign_results.aiperf_lines()
    rows[0]["metadata"]["benchmark_phase"] = "warmup"
    rows[1].update(metrics={}, error={"code": 503, "type": "HTTPError", "message": "busy"})
    rows[2]["metadata"]["was_cancelled"] = True
    record = import_files([foreign_results.write_lines(tmp_path / "x", rows)], Choice())
    assert [r.phase for r in record.requests][:2] == ["warmup", "load"]
    assert [r.outcome for r in record.requests][1:3] == [RequestOutcome.HTTP_ERROR, RequestOutcome.CANCELLED]
    assert record.requests[1].error == "busy"


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    paths = [foreign_results.write_lines(tmp_path / n, foreign_results.aiperf_lines()) for n in ("a", "b")]
    with pytest.raises(InputError, match="two AIPerf files of one kind"):
        import_files(paths, Choice())


def test_telemetry_beside_the_requests_becomes_the_meter(tmp_path: Path) -> None:
    """A board at 84 W over a load of 42 tok/s: 2 J a token."""
    rows = [
        {
            "timestamp_ns": int((foreign_results.ORIGIN_S + n / 10 - 1) * 1e9),
            "dcgm_url": "u",
            "gpu_uuid": "GPU-1",
            "telemetry_data": {"gpu_power_usage": 84.0},
        }
        for n in range(80)
    ]
    requests = foreign_results.write_lines(tmp_path / "r", foreign_results.aiperf_lines())
    telemetry = foreign_results.write_lines(tmp_path / "t", rows)
    report = analyze(import_files([requests, telemetry], Choice()))
    assert report.energy.device_j_tok.value == pytest.approx(2.0, rel=0.03)
    assert report.energy.device_j_tok.basis is Basis.MEASURED
    with pytest.raises(InputError, match="is a meter's file"):
        import_files([telemetry], Choice())


def test_a_file_that_counted_by_the_servers_usage_is_not_called_the_clients(tmp_path: Path) -> None:
    document = foreign_results.aiperf_summary()
    document["input_config"]["endpoint"]["use_server_token_count"] = True
    record = import_files([foreign_results.write_json(tmp_path / "profile_export_aiperf.json", document)], Choice())
    reasons = {s.name: s.reason for s in record.manifest.stated or ()}
    assert "use_server_token_count" in reasons["output.rate_tok_s"]
    assert not any("own tokenizer" in str(r) for r in reasons.values())
    assert not any("own tokenizer" in w for w in record.manifest.warnings or ())
