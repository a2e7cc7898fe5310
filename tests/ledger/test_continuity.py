"""Restarts, outages and silences of the server under a load, from its counters and from what arrived."""

from __future__ import annotations

from dataclasses import replace

from simulated.readings import EPOCH_S
from simulated.runs import request, steady_run

from joulemill.analysis.run import analyze
from joulemill.ledger.continuity import outages
from joulemill.ledger.record import RequestOutcome, ServerSample


def looks(values: dict[int, float | None]) -> tuple[ServerSample, ...]:
    return tuple(
        ServerSample(t, EPOCH_S + t, {} if v is None else {"output_tok_total": v}, "refused" if v is None else None)
        for t, v in values.items()
    )


def run(samples=(), requests=None):
    whole = steady_run()
    return replace(whole, server=tuple(samples), requests=whole.requests if requests is None else tuple(requests))


def test_an_undisturbed_server_has_none() -> None:
    assert outages(run(looks({t: 80.0 * t for t in range(20, 90)}))) == ()
    assert outages(run()) == ()


def test_a_restart_and_the_time_away_are_found_and_told_first() -> None:
    values = {t: 80.0 * t if t < 40 else None if t < 52 else 80.0 * (t - 52) for t in range(20, 90)}
    found = outages(run(looks(values)))
    assert [(o.kind, round(o.start_s), round(o.end_s)) for o in found] == [
        ("restarted", 14, 27),
        ("unreachable", 15, 27),
    ]
    first = analyze(run(looks(values))).warnings[0]
    assert "restarted before 27 s" in first and "did not answer for 12 s from 15 s" in first


def test_one_slow_look_and_a_server_without_counters_are_no_outage() -> None:
    assert outages(run(looks({t: None if t in (40, 41) else 80.0 * t for t in range(20, 90)}))) == ()
    assert outages(run(looks(dict.fromkeys(range(20, 90))))) == ()


def test_an_outage_to_the_end_says_so() -> None:
    found = outages(run(looks({t: 80.0 * t if t < 70 else None for t in range(20, 90)})))
    assert [(o.kind, o.whole) for o in found] == [("unreachable", True)] and "until its end" in found[0].text


def test_a_server_that_hangs_without_counters_is_silent() -> None:
    good = [request(n, 25.0 + n, 25.1 + n, 25.9 + n) for n in range(20)]
    hung = request(99, 45.0, 90.0, 90.5, outcome=RequestOutcome.CANCELLED, output_tok=None)
    hung = replace(hung, first_byte_mono_s=None, first_token_mono_s=None, last_token_mono_s=None, chunk_mono_s=())
    (found,) = outages(run(requests=[*good, hung]))
    assert (found.kind, round(found.start_s), round(found.end_s)) == ("silent", 20, 66)


def test_a_slow_first_token_is_no_silence_and_a_pause_without_requests_is_none() -> None:
    slow = [request(n, 25.0 + 30.0 * n, 54.0 + 30.0 * n, 55.0 + 30.0 * n) for n in range(5)]
    assert outages(run(requests=slow)) == ()
    apart = [request(n, 25.0 + 40.0 * n, 25.1 + 40.0 * n, 26.0 + 40.0 * n) for n in range(5)]
    assert outages(run(requests=apart)) == ()
