from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated.readings import channel, reading
from simulated.runs import BUSY_W, IDLE_W, request, steady_run

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.account import account
from joulemill.ledger.attribution import Rule
from joulemill.ledger.findings import Reason
from joulemill.ledger.manifest import Manifest
from joulemill.ledger.record import Quantity, RequestOutcome, RunRecord, Scope
from tests.support.manifests import manifest_of


def test_a_steady_run_is_its_closed_form() -> None:
    a = account(steady_run())
    assert a.window is not None and a.window.steady
    assert a.window.start_s == pytest.approx(25.25) and a.window.end_s == pytest.approx(85.0)
    node = a.scopes[Scope.NODE]
    assert node.power.value == pytest.approx(BUSY_W) and node.idle_power.value == pytest.approx(IDLE_W)
    assert node.energy.value == pytest.approx(BUSY_W * a.window.duration_s)
    assert node.idle_energy.value == pytest.approx(IDLE_W * a.window.duration_s)
    assert node.j_tok.value == pytest.approx(300.0 / 80.0, rel=0.01)
    assert node.above_idle_j_tok.value == pytest.approx(220.0 / 80.0, rel=0.01)
    assert node.j_tok.low < 3.75 < node.j_tok.high and node.j_tok.basis is Basis.MEASURED
    assert a.output_rate.value == pytest.approx(80.0, rel=0.01)
    assert a.request_rate.value == pytest.approx(4.0, rel=0.02)
    assert a.request_j.value == pytest.approx(75.0, rel=0.02)
    assert a.good_j_tok.value == pytest.approx(node.j_tok.value)
    assert a.latency.ttft.p50_s == pytest.approx(0.1) and a.latency.attained_ratio == 1.0
    assert a.load_latency.sent == 240 and a.tokens.mismatch_ratio == pytest.approx(0.0)
    assert a.scopes[Scope.SITE].j_tok.value is None


def test_the_same_record_twice_is_the_same_account() -> None:
    assert account(steady_run()) == account(steady_run())


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 1000.0), st.floats(-1e4, 1e4))
def test_joules_scale_the_figures_and_the_clock_does_not(factor: float, shift: float) -> None:
    one, other = account(steady_run()), account(steady_run(factor=factor, shift_s=shift))
    a, b = one.scopes[Scope.NODE].j_tok, other.scopes[Scope.NODE].j_tok
    assert b.value == pytest.approx(factor * a.value, rel=2e-3)
    assert b.high == pytest.approx(factor * a.high, rel=2e-2)
    assert other.latency.ttft.p50_s == pytest.approx(one.latency.ttft.p50_s)


def test_joules_scale_exactly_with_the_clock_fixed() -> None:
    one, other = account(steady_run()), account(steady_run(factor=3.0))
    a, b = one.scopes[Scope.NODE].j_tok, other.scopes[Scope.NODE].j_tok
    assert (b.value, b.low, b.high) == pytest.approx((3 * a.value, 3 * a.low, 3 * a.high), rel=1e-9)


def test_attribution_closes_by_both_rules() -> None:
    a = account(steady_run())
    assert set(a.attribution) == set(Rule)
    for rows in a.attribution.values():
        assert sum(rows.energy_j) + rows.unattributed_idle_j == pytest.approx(
            a.scopes[Scope.NODE].energy.value, rel=1e-9
        )
        assert abs(rows.closure_ratio) < 1e-12


def test_a_steady_mix_of_prompt_and_output_cannot_be_told_apart() -> None:
    a = account(steady_run())
    assert a.prefill_j_tok.value is None and a.prefill_j_tok.reason


def test_no_meter_is_not_zero_joules() -> None:
    a = account(steady_run(channels=()))
    for scope in Scope:
        assert a.scopes[scope].j_tok.value is None and Reason.NO_METER in a.scopes[scope].j_tok.reason
    assert a.output_rate.value == pytest.approx(80.0, rel=0.01)
    assert a.attribution == {} and a.main is None and a.request_j.value is None


def test_a_meter_without_readings_says_so() -> None:
    a = account(steady_run(readings=()))
    assert a.scopes[Scope.NODE].energy.value is None and "no_readings" in a.scopes[Scope.NODE].energy.reason


def test_a_meter_that_died_half_way_refuses_joules_and_keeps_the_rest() -> None:
    run = steady_run()
    a = account(replace(run, readings=tuple(r for r in run.readings if r.t_mono_s < 40.0)))
    assert a.scopes[Scope.NODE].energy.value is None
    assert Reason.NOT_BRACKETED.value in a.scopes[Scope.NODE].energy.reason
    assert a.output_rate.value is not None
    late = account(replace(run, readings=tuple(r for r in run.readings if r.t_mono_s < 70.0)))
    assert late.scopes[Scope.NODE].power.value == pytest.approx(BUSY_W) and "cut to the readings" in late.window.rule


def test_an_interrupted_run_is_accounted_as_far_as_it_goes() -> None:
    run = steady_run()
    cut = 50.5
    requests = []
    for r in run.requests:
        if r.dispatched_mono_s < cut:
            cancelled = r.end_mono_s > cut
            lost = {
                "outcome": RequestOutcome.CANCELLED,
                "end_mono_s": cut,
                "last_token_mono_s": None,
                "output_tok": None,
            }
            requests.append(replace(r, **lost, chunk_mono_s=()) if cancelled else r)
    phases = (*run.phases[:2], replace(run.phases[2], end_mono_s=None))
    readings = tuple(r for r in run.readings if r.t_mono_s <= cut)
    a = account(replace(run, requests=tuple(requests), phases=phases, readings=readings, status="interrupted"))
    assert a.status == "interrupted" and a.window.end_s <= cut
    assert a.scopes[Scope.NODE].j_tok.value == pytest.approx(3.75, rel=0.03)
    assert a.load_latency.by_outcome["cancelled"] == 4 and a.load_latency.failed == 4


def test_a_run_without_load_or_tokens() -> None:
    nothing = account(RunRecord(manifest=Manifest()))
    assert nothing.window is None and nothing.good_j_tok.value is None and Reason.NO_LOAD in nothing.good_j_tok.reason
    run = steady_run()
    failed = tuple(
        replace(r, outcome=RequestOutcome.HTTP_ERROR, output_tok=None, chunk_mono_s=()) for r in run.requests
    )
    a = account(replace(run, requests=failed))
    assert a.scopes[Scope.NODE].energy.value is not None
    assert a.scopes[Scope.NODE].j_tok.value is None and Reason.NO_TOKENS in a.scopes[Scope.NODE].j_tok.reason
    assert a.latency.attained_ratio == 0.0


def test_no_idle_phase_no_above_idle_figure() -> None:
    run = steady_run()
    a = account(replace(run, phases=run.phases[1:]))
    node = a.scopes[Scope.NODE]
    assert node.j_tok.value is not None and node.above_idle_j_tok.value is None
    assert Reason.NO_IDLE in node.above_idle_j_tok.reason and Reason.NO_IDLE in a.prefill_j_tok.reason


def test_expected_devices_come_from_the_manifest() -> None:
    run = steady_run(manifest={"options": {"concurrency": 4}, "expected": {"device": 2}})
    a = account(run)
    assert a.scopes[Scope.DEVICE].energy.value is None and "missing_device" in a.scopes[Scope.DEVICE].energy.reason
    with pytest.raises(InputError, match="expected"):
        account(replace(run, manifest=manifest_of({"expected": {"gpus": 2}})))


def test_a_relative_error_is_not_averaged_away_and_a_model_stays_a_model() -> None:
    model = channel("declared:node", meter="declared", scope=Scope.NODE, basis=Basis.DECLARED, rel_error=0.3)
    a = account(steady_run(channels=(model,)))
    f = a.scopes[Scope.NODE].j_tok
    assert f.basis is Basis.DECLARED
    assert (f.high - f.value) / f.value == pytest.approx(0.3, rel=0.02)


def test_phases_are_found_in_bursty_work() -> None:
    """Prompts of two sizes in an open loop: 0.5 J a prompt token, 2 J an output token above idle."""
    rng = np.random.default_rng(3)
    run = steady_run()
    requests = []
    for i, r in enumerate(run.requests):
        big = rng.random() < 0.3
        tok = int(rng.integers(5, 30))
        chunks = tuple(float(x) for x in np.linspace(r.first_token_mono_s, r.end_mono_s, tok))
        requests.append(replace(r, id=f"q{i}", prompt_tok=900 if big else 20, output_tok=tok, chunk_mono_s=chunks))
    t = np.arange(0.0, 95.01, 0.05)
    joules = IDLE_W * t
    for r in requests:
        joules += 0.5 * r.prompt_tok * (t >= r.first_token_mono_s)
        joules += 2.0 * np.searchsorted(r.chunk_mono_s, t, side="right")
    c = run.channels[0]
    readings = tuple(reading(c.id, x, y) for x, y in zip(t, joules, strict=True))
    a = account(replace(run, requests=tuple(requests), readings=readings))
    assert a.prefill_j_tok.value == pytest.approx(0.5, rel=0.05)
    assert a.decode_j_tok.low < 2.0 < a.decode_j_tok.high
    rows = a.attribution[Rule.WORK_WEIGHTED]
    assert "fitted" in rows.source
    by_id = dict(zip(rows.ids, rows.energy_j, strict=True))
    share = dict(zip(rows.ids, a.attribution[Rule.OUTPUT_TOKEN_SHARE].energy_j, strict=True))
    inner = [r for r in requests if 30 < r.dispatched_mono_s < 80]
    big, small = [r for r in inner if r.prompt_tok == 900], [r for r in inner if r.prompt_tok == 20]
    assert np.mean([by_id[r.id] for r in big]) > 3 * np.mean([by_id[r.id] for r in small])
    assert np.mean([share[r.id] for r in big]) < 2 * np.mean([share[r.id] for r in small])


def test_a_request_of_another_phase_that_is_served_in_the_window_counts() -> None:
    run = steady_run()
    stray = replace(request(999, 24.5, 30.0, 31.0, output_tok=400), phase="warmup")
    plain, a = account(run), account(replace(run, requests=(*run.requests, stray)))
    assert a.tokens.output_tok - plain.tokens.output_tok == pytest.approx(400.0)
    assert stray.id in a.attribution[Rule.OUTPUT_TOKEN_SHARE].ids
    assert a.load_latency.sent == plain.load_latency.sent


def test_a_gain_error_does_not_make_energy_above_idle_negative() -> None:
    record = steady_run()
    sure = replace(record, channels=tuple(replace(c, rel_error=0.7) for c in record.channels))
    node = account(sure).scopes[Scope.NODE]
    # A meter that reads 70 % high reads the idle part 70 % high too: the difference keeps its sign and the same 70 %.
    above = node.above_idle_j_tok
    assert above.value is not None and above.low is not None and above.high is not None
    assert 0 < above.low < 0.4 * above.value
    assert above.high == pytest.approx(1.7 * above.value, rel=0.05)


def test_chunks_that_no_usage_counts_make_no_rate_of_zero() -> None:
    """Every request was cut off before its usage: tokens came, and how many is unknown."""
    run = steady_run()
    cut = tuple(
        replace(
            r,
            outcome=RequestOutcome.CANCELLED,
            output_tok=None,
            chunk_mono_s=tuple(np.linspace(r.first_token_mono_s or 0.0, r.end_mono_s or 0.0, 5)),
        )
        for r in run.requests
    )
    a = account(replace(run, requests=cut, server=()))
    assert not a.output_rate.known and "without usage" in (a.output_rate.reason or "")
    assert not a.good_rate.known


@pytest.mark.parametrize(("idle_w", "told"), [(300.0, True), (299.9, False)])
def test_a_gauge_that_shows_under_load_what_it_showed_idle_is_told(idle_w: float, told: bool) -> None:
    gauge = channel("psu:n:power", meter="redfish", scope=Scope.NODE, quantity=Quantity.POWER, update_period_s=1.0)
    readings = tuple(reading(gauge.id, float(t), idle_w if t < 22 else 300.0) for t in range(95))
    node = account(replace(steady_run(), channels=(gauge,), readings=readings)).scopes[Scope.NODE]
    assert node.power.value == pytest.approx(300.0, rel=1e-3)
    frozen = [f for f in node.findings if f.code is Reason.DEAD_SENSOR]
    assert bool(frozen) is told and all("may be frozen" in (f.detail or "") for f in frozen)
