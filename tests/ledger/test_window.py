from __future__ import annotations

import numpy as np
import pytest
from simulated.runs import closed_loop, request

from joulemill.ledger.findings import Reason
from joulemill.ledger.manifest import Manifest, RunOptions, part_of
from joulemill.ledger.record import Phase, RequestOutcome, RunRecord
from joulemill.ledger.window import (
    LoadShape,
    Loop,
    Window,
    find_window,
    load_shape,
    steadiness,
    sub_window_edges_s,
)

CLOSED4 = LoadShape(Loop.CLOSED, 4)


def run(requests, phases=()) -> RunRecord:
    return RunRecord(manifest=Manifest(), requests=tuple(requests), phases=tuple(phases))


def test_closed_loop_from_all_slots_busy_to_the_first_that_stays_empty() -> None:
    w = find_window(run(closed_loop(4, 10, 0.0)), CLOSED4, None)
    assert (w.start_s, w.end_s) == pytest.approx((0.15 + 0.1, 10.0))
    assert "all 4 slots" in w.rule and not w.findings


def test_the_stated_warm_up_is_left_out_too() -> None:
    assert find_window(run(closed_loop(4, 10, 0.0)), LoadShape(Loop.CLOSED, 4, 3.0), None).start_s == pytest.approx(3.0)


def test_slots_are_inferred_where_the_manifest_is_silent() -> None:
    w = find_window(run(closed_loop(4, 10, 0.0)), LoadShape(Loop.CLOSED), None)
    assert w.start_s == pytest.approx(0.25)


def test_fewer_requests_than_slots_have_no_steady_state() -> None:
    w = find_window(run(closed_loop(4, 1, 0.0)), LoadShape(Loop.CLOSED, 16), None)
    assert (w.start_s, w.end_s) == pytest.approx((0.0, 1.15))
    assert [f.code for f in w.findings] == [Reason.NOT_STEADY]


def test_a_failed_request_still_fills_its_slot() -> None:
    requests = [
        *closed_loop(1, 10, 0.0),
        request(90, 0.0, 0.2, 5.0, outcome=RequestOutcome.HTTP_ERROR, output_tok=None),
        request(91, 5.0, 5.2, 9.5),
    ]
    assert find_window(run(requests), LoadShape(Loop.CLOSED, 2), None).end_s == pytest.approx(9.5)


def test_open_loop_is_the_load_phase_less_its_ramp() -> None:
    requests = [request(i, 100 + 0.5 * i, 100.2 + 0.5 * i, 102 + 0.5 * i) for i in range(100)]
    w = find_window(run(requests, [Phase("load", 100.0, 0.0, 151.0)]), LoadShape(Loop.OPEN), None)
    assert (w.start_s, w.end_s) == pytest.approx((102.0, 150.0))  # one median request in; one spacing after the last
    w = find_window(run(requests, [Phase("load", 100.0, 0.0, 151.0)]), LoadShape(Loop.OPEN, None, 10.0), None)
    assert w.start_s == pytest.approx(110.0)
    w = find_window(run(requests, [Phase("load", 100.0, 0.0, None)]), LoadShape(Loop.OPEN, None, 49.0), None)
    assert w.start_s == pytest.approx(100.0) and w.findings


def test_no_request_no_window() -> None:
    assert find_window(run([]), CLOSED4, None) is None
    warm = [request(0, 0.0, 0.1, 1.0, phase="warmup")]
    assert find_window(run(warm), CLOSED4, None) is None
    unsent = [request(0, 0.0, 0.1, 1.0, dispatched_mono_s=None, outcome=RequestOutcome.CANCELLED)]
    assert find_window(run(unsent), CLOSED4, None) is None


def test_readings_cut_the_window_but_never_to_a_sliver() -> None:
    requests = closed_loop(4, 10, 0.0)
    w = find_window(run(requests), CLOSED4, (1.0, 9.0))
    assert (w.start_s, w.end_s) == (1.0, 9.0) and "cut to the readings by 1.75 s" in w.rule
    assert find_window(run(requests), CLOSED4, (1.0, 2.0)).end_s == pytest.approx(10.0)


def test_the_plan_is_read_from_the_manifest() -> None:
    assert load_shape(part_of(RunOptions, {"concurrency": 8})) == LoadShape(Loop.CLOSED, 8, None)
    assert load_shape(part_of(RunOptions, {"rate": 2.0, "warmup_s": 5.0})) == LoadShape(Loop.OPEN, None, 5.0)
    assert load_shape(part_of(RunOptions, {"trace": "azure.csv", "concurrency": None})).loop is Loop.OPEN
    assert load_shape(RunOptions()) == LoadShape(Loop.CLOSED, None, None)


def test_sub_windows_hold_enough_updates() -> None:
    w = Window(0.0, 60.0, "")
    assert len(sub_window_edges_s(w, 0.1)) == 121
    assert len(sub_window_edges_s(w, 1.0)) == 13
    assert len(sub_window_edges_s(w, 2.0)) == 9  # five updates would make six windows; two each make eight
    assert len(sub_window_edges_s(w, 30.0)) == 5
    assert len(sub_window_edges_s(w, 0.0)) == 121


@pytest.mark.parametrize(
    ("rate", "steady"),
    [
        (lambda x: 100 + 0 * x, True),
        (lambda x: 100 + np.tile([5.0, -5.0], len(x) // 2), True),
        (lambda x: 60 + 80 * x, False),
        (lambda x: np.where(x < 0.7, 100.0, 40.0), False),
        (lambda x: 0 * x, False),
    ],
)
def test_steadiness(rate, steady: bool) -> None:
    x = np.linspace(0, 1, 40)
    found, told = steadiness(rate(x) * 0.5, np.linspace(0, 20, 41))
    assert found is steady and told


def test_a_warm_up_before_the_load_is_not_left_out_twice() -> None:
    requests = [request(i, 100 + 0.5 * i, 100.2 + 0.5 * i, 102 + 0.5 * i) for i in range(100)]
    phases = [Phase("warmup", 80.0, 0.0, 99.0), Phase("load", 100.0, 0.0, 151.0)]
    assert find_window(run(requests, phases), LoadShape(Loop.OPEN, None, 8.0), None).start_s == pytest.approx(102.0)
