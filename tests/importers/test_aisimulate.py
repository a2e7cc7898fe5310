"""NVIDIA AISimulate's predictions: what they state, what they withhold, and a table with a run of anybody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.api.comparing import compare
from joulemill.api.runs import import_run
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from tests.support.foreign_results import aisimulate, guidellm, write_json, write_lines


def requests() -> list[dict[str, Any]]:
    """Ten requests, one every 0.1 s: 11 tokens each, the first after 0.05 s, then one every 0.01 s; one is rejected."""
    rows = []
    for n in range(10):
        at = 100.0 * n
        done = n != 9
        rows.append(
            {
                "uuid": f"u{n}",
                "arrival_time_ms": at,
                "first_token_ms": at + 50.0 if done else None,
                "last_token_ms": at + 150.0 if done else None,
                "input_length": 64,
                "reused_input_tokens": 16,
                "output_length": 11 if done else 0,
                "terminal_status": "completed" if done else "rejected",
            }
        )
    return rows


def imported(path: Path, document: Any) -> tuple[Report, dict[str, float | None]]:
    report = analyze(import_files([write_json(path / "prediction.json", document)], Choice()))
    return report, {s.name: s.figure.value for s in report.stated}


@pytest.mark.parametrize("nested", [False, True])
def test_what_the_report_states(tmp_path: Path, nested: bool) -> None:
    report, stated = imported(tmp_path, {"summary": aisimulate()} if nested else aisimulate())
    assert stated["output.rate_tok_s"] == 200.0 and stated["latency.ttft_s.p50"] == pytest.approx(0.09)
    assert stated["latency.tpot_s.mean"] == pytest.approx(0.01) and stated["latency.e2e_s.mean"] == pytest.approx(1.09)
    assert stated["aisimulate.active_power_device_w"] == 487.5
    assert "energy.device_j_tok" not in stated and report.energy.device_j_tok.value is None
    told = " ".join(report.warnings)
    assert "nothing in it was measured" in told and "no idle time" in told and "1 of 5 requests" in told


@pytest.mark.parametrize(
    ("power", "says"),
    [
        ({"power_w": None, "power_coverage": 0.42}, "withholds its watts: 42 %"),
        ({"power_w": 500.0, "power_coverage": 0.899}, "withholds"),
        ({"power_w": None, "power_coverage": None}, "no energy of this deployment"),
    ],
)
def test_watts_without_coverage_do_not_stand(tmp_path: Path, power: dict[str, Any], says: str) -> None:
    report, stated = imported(tmp_path, aisimulate(**power))
    assert "aisimulate.active_power_device_w" not in stated
    assert any(says in w for w in report.warnings)


def test_a_latency_without_samples_is_none(tmp_path: Path) -> None:
    _, stated = imported(tmp_path, aisimulate(num_tpot_samples=0, mean_tpot_ms=0.0, median_tpot_ms=0.0))
    assert "latency.tpot_s.mean" not in stated and "latency.ttft_s.mean" in stated


def test_requests_give_a_report_of_their_own_and_none_of_it_is_measured(tmp_path: Path) -> None:
    paths = [write_json(tmp_path / "prediction.json", aisimulate()), write_lines(tmp_path / "r.jsonl", requests())]
    report = analyze(import_files(paths, Choice()))
    assert report.requests.ok == 9
    assert report.latency.ttft_s.p50 == pytest.approx(0.05) and report.latency.tpot_s.p50 == pytest.approx(0.01)
    assert report.latency.ttft_s.basis == "modelled"
    assert report.output.rate_tok_s.basis == "modelled"


def test_a_prediction_and_a_run_of_anybody_stand_in_one_table(tmp_path: Path) -> None:
    theirs = import_run(write_json(tmp_path / "prediction.json", aisimulate()), out=tmp_path / "a")
    ours = import_run(write_json(tmp_path / "g.json", guidellm()), out=tmp_path / "b")
    comparison = compare(theirs, ours)
    rate = next(r for r in comparison.comparison.rows if r.name == "output rate")
    assert rate.figures[0].value == 200.0 and rate.figures[0].basis == "declared"
    assert rate.figures[1].value and rate.shifts[0].ratio is not None
    latencies = dict(comparison.comparison.latencies)
    assert latencies["TTFT"][0][0] == "90.0" and latencies["TTFT"][1][0] == "100"
    assert "declared" in comparison.text()
