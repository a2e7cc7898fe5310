"""Which constraint bound a run: cases whose truth is known by construction, and the algebra of the answer to load."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.constraints import CASES, LONG, drawn_cases, known, made, run_of
from simulated.deployments import answered, drawn_runs
from simulated.readings import channel, reading
from simulated.runs import steady_run

from joulemill.catalog.server_dialects import dialect
from joulemill.decisions.diagnosis import CANDIDATES, diagnose
from joulemill.decisions.evidence import (
    Evidence,
    Sharing,
    _empty,
    _refused,
    _served,
    answer_to_load_ratio,
    gather,
    load_elasticity,
)
from joulemill.decisions.next_measurement import OVERTURNED_BY, would_decide
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import account
from joulemill.ledger.record import Quantity, RequestOutcome
from joulemill.ledger.window import Window, load_requests
from joulemill.physics.production.ceilings import CeilingValue
from joulemill.servers.metrics import canonical, parse_metrics
from tests.support.lone_requests import with_lone
from tests.support.manifests import manifest_of, members_of
from tests.support.paths import SHARED

pytestmark = pytest.mark.apart


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_constructed_cases(case: made) -> None:
    found = diagnose(case.evidence)
    assert found.name in (case.truth, *case.may), found.explanation
    if found.name == "undecided":
        assert found.would_decide


@pytest.mark.parametrize(("clear", "right", "wrong"), [(True, 0.95, 0.01), (False, 0.0, 0.15)])
def test_devices_drawn_at_random(clear: bool, right: float, wrong: float) -> None:
    """Truth by the derivative of each device's own rate, evidence with noise (another seed than the docs' table)."""
    cases = drawn_cases(300, 7, clear=clear)
    found = [(c.truth, diagnose(c.evidence).name) for c in cases]
    assert sum(t == a for t, a in found) >= right * len(cases)
    assert sum(a not in (t, "undecided") for t, a in found) <= wrong * len(cases)


def test_probabilities_are_ranked_and_leave_room_for_the_unseen() -> None:
    found = diagnose(CASES[0].evidence)
    shares = [c.probability_ratio for c in found.candidates]
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) < 1.0
    assert {c.name for c in found.candidates} == set(CANDIDATES) == set(OVERTURNED_BY)
    assert all(c.overturned_by for c in found.candidates)


def test_nothing_seen_is_undecided_with_a_measurement() -> None:
    found = diagnose(Evidence(achieved_tok_s=known(100.0)))
    assert found.name == "undecided" and found.would_decide
    silent = diagnose(Evidence(achieved_tok_s=unknown("tok/s", "no load was sent")))
    assert silent.name == "undecided" and "no load was sent" in silent.explanation


def test_a_late_client_comes_before_everything() -> None:
    for case in CASES:
        assert diagnose(replace(case.evidence, client_reasons=("requests left late",))).name == "client"


def test_ceilings_that_overlap_do_not_decide() -> None:
    near = (CeilingValue("compute", known(100.0)), CeilingValue("memory_bandwidth", known(103.0)))
    found = diagnose(
        Evidence(achieved_tok_s=known(80.0), ceilings=near, load_elasticity=Figure(0.02, "1", Basis.MEASURED))
    )
    assert found.name == "undecided"
    assert {found.candidates[0].name, found.candidates[1].name} == {"compute", "memory_bandwidth"}


@given(st.floats(0.0, 1.0), st.floats(1.6, 256.0))
def test_answer_to_load_is_the_slope_of_its_model(alone_share: float, count: float) -> None:
    """t(B) = a + b·B with a + b = 1: the closed form against a numerical derivative of ln(B/t(B))."""
    a, b = alone_share, 1.0 - alone_share
    step = 1e-5

    def log_rate(n: float) -> float:
        return float(np.log(n / (a + b * n)))

    slope = (log_rate(count * (1 + step)) - log_rate(count * (1 - step))) / (2 * step)
    assert answer_to_load_ratio(a + b * count, count) == pytest.approx(slope, abs=1e-4)


def test_preemption_and_refusals_weigh_as_far_as_the_rate_answers_to_load() -> None:
    """Ten sequences fit where sixteen are offered, and 1.6 times as many give 15 % more: the machine has the rest."""
    slow = Figure(0.3, "1", Basis.MEASURED, low=0.2, high=0.4)
    base = Evidence(
        achieved_tok_s=known(50.0), preemptions_count=13.0, kv_use_ratio=0.97, waiting_ratio=0.9, load_elasticity=slow
    )
    found = diagnose(base)
    kv = next(c for c in found.candidates if c.name == "kv_capacity")
    assert found.name != "kv_capacity" and kv.probability_ratio < 0.5
    assert any("13 sequences were preempted" in t and "0.30 % more tokens" in t for t in kv.seen_for)
    hungry = replace(base, load_elasticity=Figure(0.8, "1", Basis.MEASURED, low=0.7, high=0.9))
    assert diagnose(hungry).name == "kv_capacity"
    refused = Evidence(
        achieved_tok_s=known(50.0), closed=False, served_ratio=0.3, refused_ratio=0.4, load_elasticity=slow
    )
    assert diagnose(refused).name != "kv_capacity"
    light = replace(refused, served_ratio=0.6)
    assert diagnose(light).name == "kv_capacity", "all that it took it served: the refused wanted room alone"


def test_refusals_are_a_share_of_what_is_under_way_not_of_what_ends() -> None:
    """On an overloaded server the refused end at once and the others do not end in the window."""
    record = steady_run()
    rows = [
        replace(r, end_mono_s=None, last_token_mono_s=None, outcome=RequestOutcome.CANCELLED)
        if i % 8
        else replace(r, outcome=RequestOutcome.HTTP_ERROR, http_status=429, output_tok=None)
        for i, r in enumerate(record.requests)
    ]
    window = Window(40.0, 60.0, "")
    assert _refused(rows, window) == pytest.approx(1 / 8, abs=0.08)


@pytest.mark.parametrize(("tpot_s", "expected"), [(0.9 / 19, 1.0), (0.9 / 19 / 3.6, 0.0)])
def test_the_run_itself_shows_how_it_answers_to_load(tpot_s: float, expected: float) -> None:
    """3.6 sequences decode at once in the run of four slots (0.9 of each second)."""
    record = with_lone(tpot_s)
    seen = gather(record, account(record), (), unknown("1", "no model"))
    assert seen.decoding_count == pytest.approx(3.6, rel=0.01)
    assert seen.load_elasticity.value == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("factors", "why"), [((1, 3, 9), "differ too much"), ((10, 10, 10), "were slower than")])
def test_lone_requests_that_something_else_held_up_tell_nothing(factors: tuple[int, ...], why: str) -> None:
    """Seen on a real machine: a stall in the calibration made every load look as if more of it would ride along."""
    record = with_lone(0.9 / 19)
    slow = [
        replace(r, last_token_mono_s=(r.first_token_mono_s or 0.0) + 0.9 * k, end_mono_s=r.end_mono_s + 9.0)
        for r, k in zip(record.requests, factors, strict=False)
    ]
    record = replace(record, requests=(*slow, *record.requests[3:]))
    seen = gather(record, account(record), (), unknown("1", "no model"))
    assert not seen.load_elasticity.known and diagnose(seen).name == "undecided"
    shown = load_elasticity(record.requests, load_requests(record), account(record).window)  # type: ignore[arg-type]
    assert why in (shown.reason or "")


def test_counters_of_a_record_by_hand() -> None:
    record = steady_run()
    t = np.arange(0.0, 95.0, 0.5)
    throttle = channel("m:throttle", quantity=Quantity.THROTTLE_POWER)
    limit = channel("m:limit", quantity=Quantity.POWER_LIMIT)
    rows = [*(reading("m:throttle", x, 0.4 * x) for x in t), *(reading("m:limit", x, 320.0) for x in t)]
    record = replace(record, channels=(*record.channels, throttle, limit), readings=(*record.readings, *rows))
    seen = gather(record, account(record), (), unknown("1", "no model"))
    assert seen.throttle_power_ratio == pytest.approx(0.4, rel=1e-6)
    assert seen.limit_use_ratio == pytest.approx(300.0 / 320.0, rel=0.01)
    assert seen.throttle_thermal_ratio is None and seen.waiting_ratio is None
    assert diagnose(seen).name == "power"


def test_cut_answers_and_preemptions_by_hand() -> None:
    record = steady_run()
    cut = [
        replace(r, asked_output_tok=40, finish_reason="length" if i % 2 else "stop")
        for i, r in enumerate(record.requests)
    ]
    server = tuple(
        replace(record.server[0], t_mono_s=30.0 + i, values={"preemptions_total": 5.0 + i, "waiting_req": float(i % 2)})
        for i in range(20)
    )
    record = replace(record, requests=tuple(cut), server=server)
    seen = gather(record, account(record), (), unknown("1", "no model"))
    assert seen.cut_ratio == pytest.approx(0.5, abs=0.02)
    assert seen.preemptions_count == 19.0
    assert seen.waiting_ratio == pytest.approx(0.5)
    assert diagnose(seen).name == "kv_capacity"


@pytest.mark.parametrize(
    ("status", "error", "refused"),
    [
        (400, "request (298 tokens) exceeds the available context size (256 tokens)", True),  # llama.cpp
        (400, "This model's maximum context length is 2048 tokens. However, you requested 3000", True),  # vLLM
        (422, "`inputs` must have less than 1024 tokens. Given: 1500", True),  # TGI
        (503, "no slot is available", True),
        (429, "too many requests", True),
        (400, "unknown field 'top_q'", False),
        (500, "context canceled", False),  # a fault of the server, whatever its words
    ],
)
def test_refused_requests_by_hand(status: int, error: str, refused: bool) -> None:
    record = steady_run()
    half = [
        replace(r, outcome=RequestOutcome.HTTP_ERROR, http_status=status, error=error, output_tok=None) if i % 2 else r
        for i, r in enumerate(record.requests)
    ]
    options = {"rate_req_s": 4.0, "concurrency": None, "loop": "open"}
    manifest = manifest_of({**members_of(record), "options": options})
    record = replace(record, requests=tuple(half), manifest=manifest)
    seen = gather(record, account(record), (), unknown("1", "no model"))
    assert seen.refused_ratio == pytest.approx(0.5 if refused else 0.0, abs=0.03)
    assert seen.served_ratio == pytest.approx(0.5, abs=0.05), "what failed was not served"
    found = diagnose(seen)
    assert found.name == "kv_capacity" if refused else found.name != "demand"


def test_a_failed_request_is_no_evidence_of_speed() -> None:
    record = with_lone(0.01)
    failed = tuple(replace(r, outcome=RequestOutcome.TIMEOUT) if r.phase == "calibrate" else r for r in record.requests)
    assert gather(record, account(record), (), unknown("1", "no")).load_elasticity.known
    assert not gather(replace(record, requests=failed), account(record), (), unknown("1", "no")).load_elasticity.known


def test_the_measurement_names_both_sides() -> None:
    assert "sweep" in would_decide("demand", "kv_capacity") or "load" in would_decide("demand", "kv_capacity")
    assert would_decide("compute", "memory_bandwidth").count("ceilings") == 1


# --- recorded pages of a real vLLM ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("gauges", "truth"),
    [
        ({"num_requests_waiting": 12.0, "num_requests_running": 20.0, "kv_cache_usage_perc": 0.97}, "kv_capacity"),
        ({"num_requests_waiting": 0.0, "num_requests_running": 4.0, "kv_cache_usage_perc": 0.05}, "demand"),
    ],
)
def test_a_recorded_vllm_page(gauges: dict[str, float], truth: str) -> None:
    """The page as vLLM wrote it, with the gauges of a full and of an idle cache."""
    path = SHARED / "data" / "recordings" / "vllm_metrics.txt"
    if not path.exists():
        pytest.skip("the recorded pages are not beside the project")
    text = path.read_text()
    for name, value in gauges.items():
        text, count = re.subn(rf"(?m)^(vllm:{name}(?:\{{.*\}})?) .*$", rf"\g<1> {value}", text)
        assert count == 1, name
    values = canonical(parse_metrics(text), dialect("vllm"))
    record = with_lone(0.9 / 19)
    server = tuple(replace(record.server[0], t_mono_s=30.0 + i, values=values) for i in range(20))
    seen = gather(replace(record, server=server), account(record), (), unknown("1", "no model"))
    assert diagnose(seen).name == truth, seen


# --- whole records, as the production function would make them -----------------------------------------------------
def test_predicted_runs_by_the_predictions_own_derivatives() -> None:
    """Another seed than the docs' table. What crosses links is not metered: there undecided is all there is."""
    runs = [(m, answered(m)) for m in drawn_runs(60, 11)]
    clear = [(m.truth, a.name) for m, a in runs if m.truth is not None]
    wrong = [pair for pair in clear if pair[1] not in (pair[0], "undecided")]
    assert len(wrong) <= 0.03 * len(clear), wrong
    seen = [pair for pair in clear if pair[0] != "interconnect"]
    assert sum(t == a for t, a in seen) >= 0.85 * len(seen)
    assert {a for t, a in clear if t == "interconnect"} == {"undecided"}
    for m, a in runs:  # a ceiling that is exceeded is none
        uses = {c.name: c.use.value for c in a.candidates if c.name in ("compute", "memory_bandwidth")}
        assert all(u is None or u < 1.05 for u in uses.values()), (m.label, uses)


def test_a_draw_of_records_depends_on_no_other_draw() -> None:
    """So that a change of the physics leaves the deployments of the tables; a driver takes every drawn limit."""
    few, more = list(drawn_runs(4, 3)), list(drawn_runs(8, 3))
    assert [m.record for m in few] == [m.record for m in more][: len(few)]
    assert len(more) >= 7


def test_truths_of_records_are_the_largest_elasticity() -> None:
    """Counters count where a limit holds the clock down. Watts that would give more leave no truth to sequences."""
    for m in drawn_runs(40, 5):
        power = m.elasticity["power"]
        if m.truth == "power":
            assert power > max(m.elasticity["memory_bandwidth"], m.elasticity["interconnect"])
        elif m.truth is not None:
            assert power < 0.3
        throttled_s = max(r.value or 0.0 for r in m.record.readings if r.channel.endswith(":throttle"))
        load_s = max(r.end_mono_s or 0.0 for r in m.record.requests) - 25.0
        assert throttled_s == 0.0 or throttled_s == pytest.approx(load_s, abs=2.0)
        assert throttled_s > 0.0 or power < 0.05


@pytest.mark.parametrize(("throttled_ratio", "answer"), [(None, "power"), (0.9, "power"), (0.0, "compute")])
def test_a_limit_that_is_drawn_and_never_throttles_costs_no_rate(throttled_ratio: float | None, answer: str) -> None:
    """The counter is direct; the draw is a sign, where no counter is. A compute-bound board draws nearly its limit."""
    ceilings = (CeilingValue("compute", known(200.0)), CeilingValue("memory_bandwidth", known(1000.0)))
    flat = Figure(0.02, "1", Basis.MEASURED)
    seen = Evidence(achieved_tok_s=known(100.0), ceilings=ceilings, load_elasticity=flat, limit_use_ratio=0.968)
    found = diagnose(replace(seen, throttle_power_ratio=throttled_ratio))
    assert found.name == answer, found.explanation
    power = next(c for c in found.candidates if c.name == "power")
    assert any("never lowered its clock" in t for t in power.seen_against) == (throttled_ratio == 0.0)


@pytest.mark.parametrize(("phi", "answer"), [(0.11, "power"), (0.02, "host_cpu")])
def test_the_lower_clock_itself_puts_ceilings_farther(phi: float, answer: str) -> None:
    """A limit that halves the clock halves the share of a ceiling that is reached: a tenth is near; 2 % is not."""
    ceilings = (CeilingValue("compute", known(100.0 / phi)), CeilingValue("memory_bandwidth", known(300.0 / phi)))
    flat = Figure(0.02, "1", Basis.MEASURED)
    seen = Evidence(
        achieved_tok_s=known(100.0),
        ceilings=ceilings,
        load_elasticity=flat,
        limit_use_ratio=0.99,
        throttle_power_ratio=0.9,
    )
    assert diagnose(seen).name == answer


@given(st.floats(0.0, 1.0), st.floats(2.0, 200.0), st.floats(8.0, 256.0))
def test_answer_to_load_where_more_sequences_touch_more_experts(
    alone_share: float, count: float, experts: float
) -> None:
    """t(B) = a·φ(B) + b·B with φ the experts that B sequences touch, against a numerical derivative."""

    def grown(n: float) -> float:
        return (1.0 - (1.0 - 1.0 / experts) ** n) * experts

    def log_rate(n: float) -> float:
        return float(np.log(n / (alone_share * grown(n) + (1.0 - alone_share) * n)))

    step = 1e-5
    up, down = count * (1 + step), count * (1 - step)
    sharing = Sharing(grown(count), (grown(up) - grown(down)) / (2 * step))
    slope = (log_rate(up) - log_rate(down)) / (2 * step)
    slower = alone_share * grown(count) + (1.0 - alone_share) * count
    if grown(count) < 0.99 * count:  # beyond, no step is shared and every share fits
        assert answer_to_load_ratio(slower, count, sharing) == pytest.approx(slope, abs=1e-3)


def test_a_device_at_its_limit_wants_sequences_where_the_rate_answers_to_them() -> None:
    """Memory-bound decode draws the limit and hardly slows: a limit that is active is not yet one that binds."""
    base = Evidence(
        achieved_tok_s=known(100.0), slots_count=64.0, waiting_ratio=0.0, limit_use_ratio=0.99, throttle_power_ratio=0.9
    )
    answers = {e: diagnose(replace(base, load_elasticity=Figure(e, "1", Basis.MEASURED))).name for e in (0.02, 0.9)}
    assert answers == {0.02: "power", 0.9: "demand"}


def test_devices_that_wait_for_each_other_or_for_the_host_are_undecided() -> None:
    far = (CeilingValue("compute", known(5000.0)), CeilingValue("memory_bandwidth", known(8000.0)))
    flat = Figure(0.02, "1", Basis.MEASURED)
    found = diagnose(Evidence(achieved_tok_s=known(100.0), ceilings=far, load_elasticity=flat, devices_count=8.0))
    assert found.name == "undecided" and "links" in (found.would_decide or "")
    assert (
        diagnose(Evidence(achieved_tok_s=known(100.0), ceilings=far, load_elasticity=flat, devices_count=1.0)).name
        == "host_cpu"
    )


def test_an_answer_by_the_architecture_is_open_far_below_the_ceilings() -> None:
    """Seen on a CPU: one slot, requests waiting, a fifth of every ceiling; twice the slots gave no more tokens."""
    said = Figure(0.95, "1", Basis.MODELLED, low=0.7, high=1.0)
    waits = {"slots_count": 1.0, "running_count": 1.0, "waiting_ratio": 1.0, "in_flight_count": 4.0}
    ceilings = (CeilingValue("compute", known(1000.0)), CeilingValue("memory_bandwidth", known(1000.0)))
    seen = Evidence(achieved_tok_s=known(900.0), ceilings=ceilings, load_elasticity=said, **waits)  # type: ignore[arg-type]
    assert diagnose(seen).name == "kv_capacity"
    far = diagnose(replace(seen, achieved_tok_s=known(150.0)))
    assert far.name == "undecided" and "twice the slots" in (far.would_decide or "")
    measured = replace(seen, achieved_tok_s=known(150.0), load_elasticity=replace(said, basis=Basis.MEASURED))
    assert diagnose(measured).name == "kv_capacity"


def test_a_request_that_was_due_just_before_the_end_is_not_held_against_the_server() -> None:
    """Two requests, the second at the window's very end: a server that keeps up has served all that could be served."""
    record = steady_run()
    first = record.requests[0]
    second = replace(
        first,
        id="b",
        **{
            f: getattr(first, f) + 3.0
            for f in (
                "scheduled_mono_s",
                "dispatched_mono_s",
                "first_byte_mono_s",
                "first_token_mono_s",
                "last_token_mono_s",
                "end_mono_s",
            )
        },
        chunk_mono_s=tuple(t + 3.0 for t in first.chunk_mono_s),
    )
    start = first.scheduled_mono_s - 0.5
    window = Window(start, second.scheduled_mono_s + 0.1, "by hand")
    assert _served([first, second], window) == pytest.approx(1.0)
    late = replace(second, scheduled_mono_s=second.scheduled_mono_s - 2.5)  # due long before, and not served in time
    assert _served([first, late], window) == pytest.approx(0.5)


#: An embedded server on two CPUs at 0.3 requests a second: of the two that were due in the window one had ended, and
#: 3 % of the bandwidth's ceiling was reached.
SPARSE = Evidence(
    achieved_tok_s=known(3.0),
    ceilings=(CeilingValue("compute", known(4000.0)), CeilingValue("memory_bandwidth", known(100.0))),
    closed=False,
    served_ratio=0.5,
    due_count=2.0,
    slots_count=4.0,
    in_flight_count=0.4,
    decoding_count=0.3,
    server_cpu_ratio=0.4,
    threads_count=2.0,
    cpus_count=2.0,
    others_ratio=0.05,
    load_elasticity=Figure(0.95, "1", Basis.MODELLED, low=0.7, high=1.0),
)


def test_a_server_that_stands_empty_waits_for_its_load() -> None:
    """While nothing is in flight only a request can raise the rate: not bandwidth, not the CPUs of neighbours."""
    for others in (0.0, 0.3, 0.6):
        found = diagnose(replace(SPARSE, empty_ratio=0.6, others_ratio=others))
        assert found.name == "demand" and "no request was in flight 60 % of the time" in found.explanation
    for empty in (None, 0.0, 0.04):
        assert diagnose(replace(SPARSE, empty_ratio=empty)).name == "undecided"
    closed = replace(SPARSE, empty_ratio=0.6, closed=True)
    assert all("no request was in flight" not in t for c in diagnose(closed).candidates for t in c.seen_for)


@given(reached=st.floats(0.001, 0.05), elastic=st.floats(0.0, 0.2), batch=st.sampled_from([1.0, 8.0, 64.0]))
def test_a_few_per_cent_of_a_ceiling_do_not_make_it_bind(reached: float, elastic: float, batch: float) -> None:
    """On a device something without a ceiling binds then; on a CPU nothing that is listed."""
    slow = Figure(elastic, "1", Basis.MEASURED, low=max(elastic - 0.1, 0.0), high=elastic + 0.1)
    seen = run_of(LONG, batch, reached, load_elasticity=slow)
    for facts in ({}, {"threads_count": 2.0, "cpus_count": 2.0, "server_cpu_ratio": 0.98}):
        found = diagnose(replace(seen, **facts))
        assert found.name not in ("compute", "memory_bandwidth", "interconnect"), found.explanation
    # … while the same CPU at half of its ceiling is bound by it
    half = replace(seen, achieved_tok_s=run_of(LONG, batch, 0.5).achieved_tok_s, **facts)  # type: ignore[arg-type]
    assert diagnose(half).name == "memory_bandwidth"


def test_one_request_that_is_under_way_is_no_backlog() -> None:
    """One of two that were due had not ended: that shows neither that the server keeps up nor that it does not."""
    fast = replace(SPARSE, achieved_tok_s=known(60.0), load_elasticity=Figure(0.05, "1", Basis.MEASURED))
    assert diagnose(fast).name == "undecided"
    assert diagnose(replace(fast, due_count=40.0)).name == "memory_bandwidth"  # twenty that did not: a backlog
    assert diagnose(replace(fast, due_count=40.0, served_ratio=0.975)).name == "demand"


def test_the_share_of_the_window_that_was_empty_by_hand() -> None:
    """Window 10 to 20 s. In flight 8 to 11, 12 to 14, 13 to 15, 19 to an end that nobody saw: empty for 5 of 10 s."""
    base = steady_run().requests[0]
    spans = [(8.0, 11.0), (12.0, 14.0), (13.0, 15.0), (19.0, None)]
    rows = [replace(base, dispatched_mono_s=a, end_mono_s=b) for a, b in spans]
    window = Window(10.0, 20.0, "by hand")
    assert _empty(rows, window) == pytest.approx(0.5)
    never_sent = replace(base, dispatched_mono_s=None, end_mono_s=None)
    assert _empty([*rows, never_sent], window) == pytest.approx(0.5)
    assert _empty([*rows, replace(base, dispatched_mono_s=None)], window) is None  # when it was sent is not known
    assert _empty([], window) is None
