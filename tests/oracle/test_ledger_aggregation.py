"""InferenceX's rules for joules from boards' readings, as a table of readings → verdict in our own words.

InferenceX (SemiAnalysisAI/InferenceX, Apache-2.0) validates the power of a run before it publishes it: boards told
apart and as many as the deployment has, readings around both ends of the window, no gap above 3 s, no reading of the
window that failed, the counter held against the power. Its tests state what readings give what verdict; the facts of
those that our ledger can express stand here. Ours must be the same, or stricter ("stricter" says where).

No counterpart: the package contract of its multi-node producer (hashes, paths, schema, exit codes, equal rows, order
of rows), its file names and its command line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
from simulated.readings import channel, reading
from simulated.runs import steady_run

from joulemill.ledger.account import account
from joulemill.ledger.energy import EnergyResult, window_energy
from joulemill.ledger.findings import Reason
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Channel, Quantity, Reading, RequestOutcome, RunRecord, Scope
from joulemill.ledger.scopes import compose, scope_energy
from joulemill.ledger.trace import traces

Rows = list[tuple[float, str, float | None]]


def power(board: str, **facts: object) -> Channel:
    """A board's power as nvidia-smi logs it: a one-second average, within 5 %."""
    given = {"update_period_s": 1.0, "rel_error": 0.05, "meter": "file", "device": board, "quantity": Quantity.POWER}
    return channel(f"file:{board}:power", **{**given, **facts})


def energy(board: str) -> Channel:
    return channel(f"file:{board}:energy", meter="file", device=board, update_period_s=0.1, rel_error=0.05)


def every_second(boards: Iterable[str], watts: float, start: int = -1, end: int = 12) -> Rows:
    return [(float(t), b, watts) for t in range(start, end) for b in boards]


def metered(rows: Rows, more: Iterable[tuple[Channel, list[Reading]]] = ()) -> tuple[list[Channel], list[Reading]]:
    boards = [power(b) for b in dict.fromkeys(b for _, b, _ in rows)]
    readings = [reading(power(b).id, t, w) for t, b, w in rows]
    beside = list(more)
    return [*boards, *(c for c, _ in beside)], [*readings, *(r for _, raw in beside for r in raw)]


def judged(
    channels: list[Channel], readings: list[Reading], expected: int | None, start: float = 0.0, end: float = 10.0
) -> EnergyResult:
    made = traces(channels, readings)
    results = {i: window_energy(t, start, end) for i, t in made.items()}
    refusals = {i: tuple(f for f in r.findings if f.fatal) for i, r in results.items() if r.energy_j is None}
    wanted = None if expected is None else {Scope.DEVICE: expected}
    return scope_energy(
        compose([t.channel for t in made.values()], refusals, wanted)[Scope.DEVICE], results, (start, end)
    )


@dataclass(frozen=True)
class Case:
    """Readings, how many boards there are, and the verdict: joules, or the reason that refuses.

    theirs   what InferenceX says: joules, or None where it refuses
    """

    name: str
    rows: Rows
    expected: int | None
    theirs: float | None
    ours: float | Reason
    window: tuple[float, float] = (0.0, 10.0)


EIGHT = [str(i) for i in range(8)]
RAMP_0 = [(-1, 100), (1, 140), (3.5, 190), (6, 240), (8.5, 290), (11, 340)]
NODES = {"GPU-node-d-0": 300.0, "GPU-node-d-1": 300.0, "GPU-node-p-0": 400.0, "GPU-node-p-1": 400.0}


def two_nodes(
    watts: Callable[[str, float], float | None], skip: Callable[[str, int], bool] = lambda b, t: False
) -> Rows:
    return [(float(t), b, watts(b, t)) for t in range(-2, 63) for b in NODES if not skip(b, t)]


def anonymous(apart_s: float) -> Rows:
    """Four boards a poll that nothing tells apart."""
    return [(t + apart_s * n, "GPU", 500.0) for t, _, _ in every_second(["GPU"], 500.0) for n in range(4)]


def one_uuid(t: float, board: str, watts: float | None) -> tuple[float, str, float | None]:
    """The second board of a node, logged under the first one's UUID a moment later."""
    return (t + 0.01, "GPU-node-d-0", watts) if board == "GPU-node-d-1" else (t, board, watts)


def slow(times: Iterable[float], board: str = "0", watts: float = 500.0) -> Rows:
    return [(float(t), board, watts) for t in times]


def holed(value: float | None, at: float = 5.0) -> Rows:
    return [(t, b, value if t == at else w) for t, b, w in every_second(["0"], 500.0)]


CASES = [
    Case("one board, three readings", [(1, "0", 400), (2, "0", 410), (3, "0", 420)], 1, 820.0, 820.0, (1.0, 3.0)),
    Case("eight boards of 500 W", every_second(EIGHT, 500.0), 8, 40_000.0, 40_000.0),
    Case("eight boards, nobody said how many", every_second(EIGHT, 500.0), None, 40_000.0, 40_000.0),
    Case(
        "readings before and after do not count",
        [*slow(range(-30, -4), watts=100.0), *every_second(["0"], 500.0), *slow(range(15, 40), watts=100.0)],
        1,
        5_000.0,
        5_000.0,
    ),
    Case("four readings in 100 s [stricter]", slow([0, 50, 60, 100]), 1, 25_000.0, Reason.GAP, (10.0, 60.0)),
    Case(
        "two AMD boards",
        [(t, b, 350.0 + 10 * t + 5 * int(b)) for t in (0, 1, 2) for b in "01"],
        2,
        725.0 * 2,
        725.0 * 2,
        (0.0, 2.0),
    ),
    Case(
        "no identity, four rows a poll",
        [(t, "GPU", w) for t, _, w in every_second("0123", 500.0)],
        4,
        None,
        Reason.NO_IDENTITY,
    ),
    Case(
        "a product's name for identity",
        [(t, "NVIDIA H200", w) for t, _, w in every_second("01", 500.0)],
        2,
        None,
        Reason.NO_IDENTITY,
    ),
    Case("no identity, four rows at one time, one board stated", anonymous(0.0), 1, None, Reason.NO_IDENTITY),
    Case("no identity, four rows 2 ms apart, one board stated", anonymous(0.002), 1, None, Reason.NO_IDENTITY),
    Case("no identity, one row a poll, one board stated", every_second(["GPU"], 500.0), 1, 5_000.0, 5_000.0),
    Case("nothing was logged", [], 1, None, Reason.MISSING_DEVICE),
    Case("nothing in the window", slow([0.0, 1.0, 2.0]), 1, None, Reason.NOT_BRACKETED, (-100.0, -50.0)),
    Case("a single reading", slow([5.0]), 1, None, Reason.TOO_FEW_READINGS),
    Case(
        "uneven readings, linear in time",
        [(t, b, w + 100 * int(b)) for t, w in RAMP_0 for b in "01"],
        2,
        5_400.0,
        5_400.0,
    ),
    Case("two boards where four are expected", every_second("01", 500.0), 4, None, Reason.MISSING_DEVICE),
    Case("eight boards where four are expected", every_second(EIGHT, 500.0), 4, None, Reason.UNEXPECTED_DEVICE),
    Case(
        "one board begins late", [*slow(range(-1, 12, 2)), *slow(range(1, 12, 2), "1")], 2, None, Reason.NOT_BRACKETED
    ),
    Case(
        "one board ends early",
        [*every_second("0", 500.0), *every_second("1", 500.0, end=9)],
        2,
        None,
        Reason.NOT_BRACKETED,
    ),
    Case("8 s without a reading, else every 2 s", slow([-1, 1, 9, 11]), 1, None, Reason.GAP),
    Case(
        "4 s without a reading, else every second",
        [r for r in every_second("0", 500.0) if r[0] not in (4, 5, 6)],
        1,
        None,
        Reason.GAP,
    ),
    Case(
        "3 s without a reading are allowed",
        [r for r in every_second("0", 500.0) if r[0] not in (4, 5)],
        1,
        5_000.0,
        5_000.0,
    ),
    Case(
        "3 s at an uneven pace",
        [*slow([20, 21, 24, 25], "0", 400), *slow([20, 21, 24, 25], "1", 600)],
        2,
        3_000.0,
        3_000.0,
        (21.0, 24.0),
    ),
    Case("40 s without a reading", slow([-1, 0, 40, 41]), 1, None, Reason.GAP, (0.0, 40.0)),
    Case(
        "a bad reading long before and equal ones long after",
        [(-100.0, "0", -1.0), *every_second("0", 500.0), (100.0, "0", 100.0), (100.0, "0", 100.0)],
        1,
        5_000.0,
        5_000.0,
    ),
    Case(
        "two values at one time, long after [stricter]",
        [*every_second("0", 500.0), (100.0, "0", 100.0), (100.0, "0", 200.0)],
        1,
        5_000.0,
        Reason.CONFLICT,
    ),
    Case(
        "two values at one time [stricter]", [*every_second("0", 500.0), (5.0, "0", 300.0)], 1, 4_800.0, Reason.CONFLICT
    ),
    Case("[N/A] once in ten seconds", holed(None), 1, None, Reason.READ_FAILED),
    Case("−300 W once in ten seconds", holed(-300.0), 1, None, Reason.NEGATIVE),
    Case("infinite watts once", holed(math.inf), 1, None, Reason.NOT_FINITE),
    Case("no number once", holed(math.nan), 1, None, Reason.NOT_FINITE),
    Case("DCGM's blank once [stricter]", holed(140737488355328.0), 1, 7e14, Reason.BLANK),
    Case("a megawatt once [stricter]", holed(1e6), 1, 1e6, Reason.IMPLAUSIBLE),
    Case(
        "every second reading is [N/A]",
        [(t, b, None if t % 2 else w) for t, b, w in every_second("0", 500.0)],
        1,
        None,
        Reason.READ_FAILED,
    ),
    Case(
        "every second reading is −300 W",
        [(t, b, -300.0 if t % 2 else w) for t, b, w in every_second("0", 500.0)],
        1,
        None,
        Reason.NEGATIVE,
    ),
    Case(
        "a reading without a time",
        [(math.nan if t == 5 else t, b, w) for t, b, w in every_second("0", 500.0)],
        1,
        None,
        Reason.NOT_FINITE,
    ),
    Case(
        "a board that shows nothing beside one that works",
        [*every_second("0", 500.0), *((t, "1", None) for t in range(-1, 12))],
        2,
        None,
        Reason.NO_READINGS,
    ),
    Case("rows in any order", [(t, b, w) for t, b, w in reversed(every_second("01", 500.0))], 2, 10_000.0, 10_000.0),
    Case("one row twice", [*every_second("0", 500.0), (5.0, "0", 500.0)], 1, 5_000.0, 5_000.0),
    Case("four boards of two nodes by UUID", two_nodes(lambda b, t: NODES[b]), 4, 84_000.0, 84_000.0, (0.0, 60.0)),
    Case(
        "one of them ramps",
        two_nodes(lambda b, t: 302.0 + t if b == "GPU-node-d-0" else NODES[b]),
        4,
        85_920.0,
        85_920.0,
        (0.0, 60.0),
    ),
    Case(
        "one UUID for two boards",
        [one_uuid(t, b, w) for t, b, w in two_nodes(lambda b, t: NODES[b])],
        4,
        None,
        Reason.MISSING_DEVICE,
        (0.0, 60.0),
    ),
    Case(
        "6 s without one board's readings [stricter]",
        two_nodes(lambda b, t: NODES[b], lambda b, t: b == "GPU-node-p-0" and 18 <= t < 23),
        4,
        84_000.0,
        Reason.GAP,
        (0.0, 60.0),
    ),
    Case(
        "one of four boards begins late",
        two_nodes(lambda b, t: NODES[b], lambda b, t: b == "GPU-node-d-0" and t <= 0),
        4,
        None,
        Reason.NOT_BRACKETED,
        (0.0, 60.0),
    ),
    Case("watts that add up to infinity", two_nodes(lambda b, t: 9e307), 4, None, Reason.NO_READINGS, (0.0, 60.0)),
    Case(
        "six boards in the plan, four metered",
        two_nodes(lambda b, t: NODES[b]),
        6,
        None,
        Reason.MISSING_DEVICE,
        (0.0, 60.0),
    ),
    Case(
        "eight boards in the plan, four metered",
        two_nodes(lambda b, t: NODES[b]),
        8,
        None,
        Reason.MISSING_DEVICE,
        (0.0, 60.0),
    ),
]


@pytest.mark.finding("F12")
@pytest.mark.finding("F13")
@pytest.mark.finding("F27")
@pytest.mark.finding("F28")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_readings_to_verdict(case: Case) -> None:
    found = judged(*metered(case.rows), case.expected, *case.window)
    if isinstance(case.ours, Reason):
        assert found.energy_j is None and found.low_j is None and found.high_j is None
        assert case.ours in {f.code for f in found.findings if f.fatal}
    else:
        assert found.energy_j == pytest.approx(case.ours, rel=1e-9)
        assert found.low_j <= case.ours <= found.high_j


def test_ours_agree_or_are_stricter() -> None:
    assert len({c.name for c in CASES}) == len(CASES)
    for case in CASES:
        refuses = isinstance(case.ours, Reason)
        stricter = refuses and case.theirs is not None
        assert ("[stricter]" in case.name) is stricter
        assert refuses or (case.theirs is not None and math.isclose(case.ours, case.theirs))


def snapshots(board: str, first_j: float | None, last_j: float | None) -> tuple[Channel, list[Reading]]:
    """A counter that is read before and after, as ``amd-smi metric -E`` is."""
    c = energy(board)
    times = [(-1.0, first_j), (11.0, last_j)]
    return replace(c, update_period_s=None), [reading(c.id, t, j) for t, j in times if j is not None]


def counter(board: str, watts: float) -> tuple[Channel, list[Reading]]:
    return energy(board), [reading(energy(board).id, t, 1e6 + watts * (t + 1)) for t in range(-1, 12)]


@pytest.mark.finding("F9")
@pytest.mark.parametrize(
    ("stream_w", "counter_w", "verdict"),
    [
        (500.0, 500.0, "agree"),
        (500.0, 512.0, "agree"),
        (400.0, 500.0, "wider"),
        (500.0, 8.3, "refused"),
        (500.0, 50.0, "refused"),
        (500.0, 250.0, "refused"),
        (500.0, 1000.0, "refused"),
        (500.0, 5000.0, "refused"),
        (500.0, 500_000.0, "the power stands in"),
        (500.0, 0.5, "refused"),
    ],
)
def test_the_counter_is_held_against_the_power(stream_w: float, counter_w: float, verdict: str) -> None:
    """InferenceX flags what parts by more than 5 % and publishes the power; we widen, or refuse."""
    found = judged(*metered(every_second("01", stream_w), [counter("0", counter_w), counter("1", counter_w)]), 2)
    told = {f.code for f in found.findings}
    if verdict == "refused":
        assert found.energy_j is None
        return
    assert (Reason.DISAGREEMENT in told) is (verdict == "wider")
    if verdict == "the power stands in":  # no board draws half a megawatt
        assert found.energy_j == pytest.approx(20 * stream_w) and Reason.FELL_BACK in told
        return
    assert found.low_j <= 20 * stream_w <= found.high_j and found.low_j <= 20 * counter_w <= found.high_j


@pytest.mark.parametrize(
    ("first_j", "last_j"),
    [(1e6, None), (None, None), (1e6, 1e6), (2e6, 1_999_000.0)],
    ids=["no end", "nothing", "no rise", "a fall"],
)
def test_a_counter_that_tells_nothing_leaves_the_power(first_j: float | None, last_j: float | None) -> None:
    found = judged(*metered(every_second("0", 500.0), [snapshots("0", first_j, last_j)]), 1)
    assert found.energy_j == pytest.approx(5_000.0)
    assert found.kind == "integrated" and Reason.FELL_BACK in {f.code for f in found.findings}


def test_a_board_with_a_counter_and_one_without_are_two_boards() -> None:
    found = judged(*metered(every_second("01", 500.0), [counter("0", 500.0)]), 2)
    assert found.energy_j == pytest.approx(10_000.0) and found.kind == "mixed"


def run_of(**facts: object) -> RunRecord:
    board = channel("file:0:energy", meter="file", device="0", update_period_s=0.01)
    return replace(steady_run(channels=(board,), manifest={"expected": {"device": 1}}), server=(), **facts)


def test_joules_are_divided_by_the_tokens_of_the_window() -> None:
    run = account(run_of())
    device = run.scopes[Scope.DEVICE]
    assert device.j_tok.value == pytest.approx(3.75, rel=0.01)
    assert device.j_tok.value == pytest.approx(device.energy.value / run.tokens.output_tok)


@pytest.mark.parametrize(
    ("facts", "unknown"),
    [
        ({"requests": ()}, ("output_rate", "request_j")),
        ({"readings": ()}, ("request_j", "good_j_tok")),
    ],
    ids=["no window", "no telemetry"],
)
def test_a_run_without_a_window_or_telemetry_has_no_joules(facts: dict, unknown: tuple[str, ...]) -> None:
    run = account(run_of(**facts))
    for name in unknown:
        figure = getattr(run, name)
        assert figure.value is None and figure.reason


def test_a_run_that_made_no_tokens_or_ended_no_request_has_no_ratio() -> None:
    run = run_of()
    silent = account(replace(run, requests=tuple(replace(r, output_tok=0) for r in run.requests)))
    assert silent.scopes[Scope.DEVICE].j_tok.value is None and silent.scopes[Scope.DEVICE].j_tok.reason
    failed = account(replace(run, requests=tuple(replace(r, outcome=RequestOutcome.CUT_SHORT) for r in run.requests)))
    assert failed.request_j.value is None and failed.scopes[Scope.DEVICE].j_tok.value is None


def test_requests_of_the_warm_up_alone_are_no_load() -> None:
    run = run_of()
    warm = account(replace(run, requests=tuple(replace(r, phase="warmup") for r in run.requests)))
    assert warm.window is None and warm.output_rate.value is None


def test_tokens_that_nobody_counted_are_told() -> None:
    run = run_of()
    some = tuple(replace(r, output_tok=None) if n % 4 == 0 else r for n, r in enumerate(run.requests))
    found = account(replace(run, requests=some))
    assert Reason.UNCOUNTED_TOKENS in {f.code for f in found.findings}


@pytest.mark.parametrize(
    ("value", "reason"),
    [(math.nan, Reason.NOT_FINITE), (1.01 * 1.1, Reason.IMPLAUSIBLE), (-0.1, Reason.NEGATIVE), (0.755, None)],
)
def test_a_utilization_is_a_share(value: float, reason: Reason | None) -> None:
    assert reading_fault(Quantity.UTILIZATION, value) is reason


def test_a_window_without_length_is_no_window() -> None:
    made = traces(*metered(every_second("0", 500.0)))
    for start, end in ((100.0, 100.0), (200.0, 100.0)):
        with pytest.raises(ValueError, match="length"):
            window_energy(made["file:0:power"], start, end)
