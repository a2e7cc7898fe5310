"""The whole analysis on runs whose truth is known: hand-computed figures, closure, determinism."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from simulated.runs import BUSY_W, IDLE_W, steady_run

from joulemill.analysis.measurement import id_of
from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.analysis.serialization import from_json, to_json
from joulemill.decisions.diagnosis import CANDIDATES
from joulemill.figure import Basis
from joulemill.jsonable import plain
from joulemill.ledger.manifest import Manifest
from joulemill.ledger.record import QualityAnswer, RequestOutcome, RunRecord
from joulemill.reports.html.run import render
from tests.support.manifests import manifest_of, members_of


def run_with(**manifest: Any) -> RunRecord:
    record = steady_run()
    options = {"concurrency": 4, "threads": 2, **manifest.pop("options", {})}
    given = {**members_of(record), "options": options, "server": {"slots": 4, "embedded": True}, **manifest}
    return dataclasses.replace(record, manifest=manifest_of(given))


def ceiling(report: Report, name: str) -> Any:
    return next(c for c in report.ceilings if c.name == name)


def test_known_run_gives_its_known_joules() -> None:
    report = analyze(run_with())
    assert report.energy.node_j_tok.value == pytest.approx(BUSY_W / 80.0, rel=0.02)
    assert report.energy.above_idle_j_tok.value == pytest.approx((BUSY_W - IDLE_W) / 80.0, rel=0.02)
    assert report.output.rate_tok_s.value == pytest.approx(80.0, rel=0.02)
    assert report.energy.node_j_tok.low < report.energy.node_j_tok.value < report.energy.node_j_tok.high  # type: ignore[operator]
    assert report.latency.ttft_s.p50 == pytest.approx(0.1, rel=1e-6)
    assert report.latency.tpot_s.p50 == pytest.approx(0.9 / 19, rel=1e-6)


def test_pue_is_applied_once_and_unknown_stays_unknown() -> None:
    stated = analyze(run_with(site={"pue": 1.5}))
    assert stated.energy.site_j_tok.value == pytest.approx(1.5 * (stated.energy.node_j_tok.value or 0))
    assert stated.power.site_w.value == pytest.approx(1.5 * (stated.power.node_w.value or 0))
    silent = analyze(run_with())
    assert silent.energy.site_j_tok.value is None
    assert silent.site.at_reference, "the effect at a cited reference is shown, labelled"


def test_power_binds_when_the_site_delivers_less_than_the_run_drew() -> None:
    report = analyze(run_with(site={"pue": 1.2, "it_power_limit": "150 W"}))
    assert report.binding.name == "power" or report.binding.name == "undecided"
    assert ceiling(report, "power").rate_tok_s.value == pytest.approx(150.0 / (BUSY_W / 80.0), rel=0.03)


def test_full_load_and_utilisation_of_a_closed_loop() -> None:
    report = analyze(run_with())
    assert report.output.full_load_tok_s.value == report.output.rate_tok_s.value
    assert 0.9 < (report.utilization.value or 0) <= 1.0
    adjusted = report.output.utilization_adjusted_tok_s
    assert adjusted.value == pytest.approx((report.utilization.value or 0) * (report.output.full_load_tok_s.value or 0))


def test_idle_slots_mean_full_load_is_unknown() -> None:
    report = analyze(run_with(server={"slots": 16}))
    assert report.output.full_load_tok_s.value is None
    assert "slots were in use" in (report.output.full_load_tok_s.reason or "")


def test_ceilings_of_a_known_model_on_a_known_device_by_hand() -> None:
    report = analyze(run_with(model={"name": "Qwen/Qwen3-8B"}, device={"name": "h100", "count": 1}))
    # 8.19e9 parameters less the input embedding, two FLOP each; 5 prompt tokens an output token pass all but the head.
    by_hand = 2 * 7.57e9 + 5 * 2 * (7.57e9 - 0.62e9)
    assert ceiling(report, "compute").intensity.value == pytest.approx(by_hand, rel=0.02)
    slots, demand = ceiling(report, "kv_capacity").rate_tok_s.value, ceiling(report, "demand").rate_tok_s.value
    assert slots == demand, "four slots, four requests in flight"
    # One sequence reads 15.1 GB of weights a token, and once more for its prefill, at 3.35 TB/s.
    assert slots == pytest.approx(4 * 3.35e12 / (15.1e9 * (1 + 1 / 20)), rel=0.05)
    least = min(c.rate_tok_s.value for c in report.ceilings if c.rate_tok_s.value)
    assert least == ceiling(report, "memory_bandwidth").rate_tok_s.value, (
        "few sequences: weights are read for each step"
    )
    assert report.phi.value == pytest.approx(80 / least, rel=0.02)


def test_a_meter_is_reported_with_all_that_its_channel_says() -> None:
    record = run_with()
    for channel, meter in zip(record.channels, analyze(record).meters, strict=True):
        assert {f.name: getattr(meter, f.name) for f in dataclasses.fields(channel)} == dataclasses.asdict(channel)


def test_attribution_closes() -> None:
    told = analyze(run_with()).energy.attribution
    for rule in ("output_token_share", "work_weighted"):
        part = getattr(told, rule)
        assert part.requests_j + part.unattributed_idle_j == pytest.approx(part.total_j, rel=1e-9)


def test_same_run_same_bytes_and_reads_back() -> None:
    record = run_with(site={"pue": 1.1})
    text = to_json(analyze(record))
    assert to_json(analyze(record)) == text
    assert to_json(from_json(text)) == text
    assert id_of(record) != id_of(dataclasses.replace(record, readings=record.readings[:-1]))


def test_every_number_of_the_contract_is_there() -> None:
    document = json.loads(to_json(analyze(run_with())))
    paths = """energy.node_j_tok.value energy.node_j_tok.low energy.node_j_tok.high energy.node_j_tok.basis
        energy.site_j_tok binding.name ceilings phi utilization output.utilization_adjusted_tok_s power.node_w
        power.site_w quality.accuracy latency.ttft_s.p50 latency.tpot_s.p99 tokens.output client.valid schema_version"""
    for path in paths.split():
        at: Any = document
        for key in path.split("."):
            at = at[key]
    assert document["tokens"]["output"] > 0


def test_no_meter_is_unknown_never_zero() -> None:
    record = dataclasses.replace(run_with(), channels=(), readings=())
    report = analyze(record)
    assert report.energy.node_j_tok.value is None and report.energy.node_j_tok.reason
    assert any("unknown" in w for w in report.warnings)
    render(report)


def test_stated_power_model_is_never_shown_as_measured() -> None:
    record = run_with()
    channels = tuple(dataclasses.replace(c, basis=Basis.DECLARED, rel_error=0.3) for c in record.channels)
    report = analyze(dataclasses.replace(record, channels=channels))
    assert report.energy.node_j_tok.basis in (Basis.DECLARED, Basis.MODELLED)
    assert report.energy.node_j_tok.low <= 0.75 * (report.energy.node_j_tok.value or 0)  # type: ignore[operator]
    assert any("not a measurement" in w for w in report.warnings)


def test_a_rate_above_what_the_stated_hardware_can_do_is_told() -> None:
    told = {"device": {"name": "h100", "count": 1}, "model": {"name": "meta-llama/Llama-3.1-405B"}}
    report = analyze(run_with(**told))
    broken = [w for w in report.warnings if "which is impossible: the device, the model or the precision" in w]
    assert len(broken) == 1 and "times the ceiling of memory bandwidth" in broken[0]
    assert "the achieved rate is above the lowest, so that one is stated too low" in report.binding.explanation
    fits = analyze(run_with(**{**told, "model": {"name": "Qwen/Qwen3-8B"}}))
    assert not any("which is impossible" in w for w in fits.warnings)


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_broken_runs_are_told_and_render(status: str) -> None:
    record = dataclasses.replace(run_with(), status=status, status_reason="Ctrl-C", requests=run_with().requests[:3])
    report = analyze(record)
    assert status in report.warnings[0]
    assert "Ctrl-C" in render(report)


def test_empty_record_has_no_figures_and_still_renders() -> None:
    report = analyze(RunRecord(manifest=Manifest()))
    figures = [v for v in plain(report.energy).values() if isinstance(v, dict) and "value" in v]
    assert figures and all(f["value"] is None for f in figures)
    render(report)


def test_quality_counts_unanswered_apart() -> None:
    answers = tuple(
        QualityAnswer(
            request_id=f"q{i}", task="sum", question_id=str(i), scorer="exact", expected="1", answer="1", score=s
        )
        for i, s in enumerate((1.0, 1.0, 0.0, None))
    )
    report = analyze(dataclasses.replace(run_with(), quality=answers))
    assert report.quality.accuracy.value == pytest.approx(2 / 3)
    assert report.quality.questions == 3
    assert "1 questions went unanswered" in (report.quality.accuracy.reason or "")


def test_failed_requests_are_told() -> None:
    record = run_with()
    lost = dataclasses.replace(record.requests[-1], outcome=RequestOutcome.TIMEOUT, output_tok=None)
    report = analyze(dataclasses.replace(record, requests=(*record.requests[:-1], lost)))
    assert report.requests.by_outcome["timeout"] == 1
    assert any("1 timeout" in w for w in report.warnings)


def test_the_document_lists_every_candidate_and_what_would_overturn_it() -> None:
    report = analyze(run_with())
    shares = [c.probability_ratio for c in report.candidates]
    assert {c.name for c in report.candidates} == set(CANDIDATES)
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.0 + 1e-9
    assert all(c.overturned_by for c in report.candidates)
    assert from_json(to_json(report)).candidates == report.candidates


@pytest.mark.parametrize(("cpu_s", "told"), [(0.5, False), (3.0, True)])
def test_metering_that_takes_more_than_a_hundredth_of_a_core_is_told(cpu_s: float, told: bool) -> None:
    event = {"kind": "metering", "cpu_s": cpu_s, "elapsed_s": 100.0, "reads": 10, "missed": 0}
    report = analyze(dataclasses.replace(run_with(), events=(event,)))
    assert any("Metering itself took 3.0 % of one core" in w for w in report.warnings) is told
