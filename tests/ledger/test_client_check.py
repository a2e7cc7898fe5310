from __future__ import annotations

from dataclasses import replace

import pytest

from joulemill.ledger.client_check import client_verdict, quiet_verdict
from joulemill.ledger.record import MachineSample, RequestOutcome, RequestRecord

CALM = MachineSample(
    t_mono_s=0.0,
    t_wall_s=0.0,
    load1=0.5,
    cpu_busy_ratio=0.9,
    steal_ratio=0.0,
    own_cpu_ratio=0.88,
    server_cpu_ratio=0.85,
    psi_some_ratio=0.0,
    loop_lag_s=0.002,
    client_cpu_ratio=0.10,
)


def request(lag_s: float = 0.001, ttft_s: float = 0.1) -> RequestRecord:
    return RequestRecord(
        id="r",
        phase="load",
        scheduled_mono_s=10.0,
        dispatched_mono_s=10.0 + lag_s,
        first_byte_mono_s=None,
        first_token_mono_s=10.0 + lag_s + ttft_s,
        last_token_mono_s=11.0,
        end_mono_s=11.0,
        outcome=RequestOutcome.OK,
    )


def test_a_calm_client_is_valid_with_its_figures() -> None:
    verdict = client_verdict([request(0.001)] * 99 + [request(0.009)], [CALM] * 10)
    assert verdict.valid
    assert verdict.reasons == ()
    assert verdict.dispatch_lag_p99_s == pytest.approx(0.001, abs=1e-3)
    assert (verdict.loop_lag_p99_s, verdict.cpu_ratio) == (0.002, pytest.approx(0.10))


def test_late_dispatch_is_a_reason_only_beside_short_latencies() -> None:
    late = [request(0.030)] * 50
    assert "left late" in client_verdict(late, [CALM]).reasons[0]
    slow = [request(0.030, ttft_s=1.0)] * 50  # 30 ms of 1 s is below 5 %
    assert client_verdict(slow, [CALM]).valid


def test_a_lagging_loop_and_a_full_core_are_reasons() -> None:
    lagging = replace(CALM, loop_lag_s=0.050)
    full = replace(CALM, client_cpu_ratio=0.95)
    assert "event loop" in client_verdict([request()], [lagging] * 3).reasons[0]
    assert "one core" in client_verdict([request()], [full] * 3).reasons[0]
    # One sample of many that lagged is not the run.
    assert client_verdict([request()], [lagging, *[CALM] * 9]).valid


def test_without_signals_no_claim_is_made() -> None:
    verdict = client_verdict([], [])
    assert verdict.valid
    assert (verdict.dispatch_lag_p99_s, verdict.loop_lag_p99_s, verdict.cpu_ratio) == (None, None, None)
    assert quiet_verdict([], loaded=True).quiet is None


def test_a_neighbour_is_busy_time_that_is_not_ours() -> None:
    idle = replace(CALM, cpu_busy_ratio=0.02, own_cpu_ratio=0.01, server_cpu_ratio=0.0)
    assert quiet_verdict([idle] * 5, loaded=False).quiet is True
    crowded = replace(idle, cpu_busy_ratio=0.51)
    verdict = quiet_verdict([crowded] * 5, loaded=False)
    assert verdict.quiet is False
    assert verdict.others_ratio == pytest.approx(0.5)
    assert "50 %" in verdict.notes[0]
    assert quiet_verdict([CALM] * 5, loaded=True).quiet is True  # our own 88 % is no neighbour


def test_steal_and_pressure() -> None:
    stolen = replace(CALM, steal_ratio=0.08)
    assert "hypervisor" in quiet_verdict([stolen], loaded=True).notes[0]
    pressed = replace(CALM, psi_some_ratio=0.4)
    assert quiet_verdict([pressed], loaded=True).quiet is True  # our own threads wait for each other
    assert quiet_verdict([pressed], loaded=False).quiet is False


def test_a_server_that_is_not_ours_is_not_taken_for_a_neighbour() -> None:
    elsewhere = replace(CALM, own_cpu_ratio=0.05, server_cpu_ratio=None)
    verdict = quiet_verdict([elsewhere], loaded=True)
    assert verdict.others_ratio is None
    assert verdict.quiet is True  # steal was seen, and there was none


def row(lag_s: float, n: int = 0, whole_s: float = 1.0, gap_s: float = 0.5) -> RequestRecord:
    at = 10.0 + n * gap_s
    return RequestRecord(
        id=f"r{n}",
        phase="load",
        scheduled_mono_s=at,
        dispatched_mono_s=at + lag_s,
        first_byte_mono_s=None,
        first_token_mono_s=at + lag_s + whole_s / 10,
        last_token_mono_s=at + whole_s,
        end_mono_s=at + whole_s,
        outcome=RequestOutcome.OK,
    )


def test_one_late_request_decides_nothing() -> None:
    assert client_verdict([row(0.001, n) for n in range(12)] + [row(0.033, 13)], [CALM]).valid


def test_lateness_of_little_of_a_requests_time_biases_latencies_and_does_not_bind() -> None:
    verdict = client_verdict([row(0.030, n, whole_s=1.5) for n in range(20)], [CALM] * 3)
    assert not verdict.valid and not verdict.binds
    assert verdict.lateness_ratio == pytest.approx((0.030 + 0.002) / 1.5)


def test_lateness_that_is_a_share_of_a_requests_time_binds_a_closed_loop() -> None:
    verdict = client_verdict([row(0.2, n) for n in range(20)], [CALM] * 3)
    assert not verdict.valid and verdict.binds


def test_an_open_loop_is_held_up_only_by_lateness_that_grows() -> None:
    constant = client_verdict([row(0.2, n) for n in range(20)], [CALM] * 3, closed=False)
    assert not constant.valid and not constant.binds and constant.lateness_ratio == pytest.approx(0.0, abs=1e-9)
    growing = client_verdict([row(0.1 * n, n) for n in range(20)], [CALM] * 3, closed=False)
    assert growing.binds and growing.lateness_ratio == pytest.approx(0.1 / 0.6, rel=0.01)
    assert client_verdict([row(0.2, n) for n in range(3)], [CALM], closed=False).lateness_ratio is None
