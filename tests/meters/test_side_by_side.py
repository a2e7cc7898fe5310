from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Channel, Reading
from joulemill.meters import opening
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.opening import open_meters
from joulemill.meters.side_by_side import JobTimeoutError, folded, together


def test_results_and_faults_come_back_in_order() -> None:
    def fails() -> int:
        raise KeyError("x")

    jobs: dict[str, Callable[[], int]] = {"a": lambda: 1, "b": fails, "c": lambda: 3}
    outcomes = together(jobs, bound_s=60, too_late=lambda _: None)
    assert list(outcomes) == ["a", "b", "c"] and outcomes["a"] == 1 and outcomes["c"] == 3
    assert isinstance(outcomes["b"], KeyError)
    assert together({}, bound_s=1, too_late=lambda _: None) == {}


def test_all_go_on_at_once() -> None:
    met = threading.Barrier(20)  # nobody passes until all twenty are here
    jobs = {i: lambda: met.wait(timeout=60) >= 0 for i in range(20)}
    assert set(together(jobs, bound_s=60, too_late=lambda _: None).values()) == {True}


def test_one_that_hangs_is_given_up_and_let_go_when_it_comes_after_all() -> None:
    go, late = threading.Event(), []
    gone = threading.Event()

    def hangs() -> str:
        go.wait(60)
        return "late"

    def too_late(result: str) -> None:
        late.append(result)
        gone.set()

    outcomes = together({"slow": hangs, "quick": lambda: "now"}, bound_s=0.1, too_late=too_late, at_once=1)
    assert isinstance(outcomes["slow"], JobTimeoutError) and outcomes["quick"] == "now"
    go.set()
    assert gone.wait(60) and late == ["late"]


@pytest.mark.parametrize(
    ("notices", "lines"),
    [
        (["a:1: no value moved", "b:1: no value moved", "a:1: no value moved"], ["a:1, b:1: no value moved"]),
        ([f"h{i}: x" for i in range(7)], ["h0, h1, h2, h3 and 3 more: x"]),
        (["GPU a: x", "GPU b: x"], ["GPU a: x", "GPU b: x"]),
        (["plain", "plain"], ["plain"]),
        ([], []),
    ],
)
def test_notices_are_folded(notices: list[str], lines: list[str]) -> None:
    assert folded(notices) == lines


class Fake:
    def __init__(self) -> None:
        self.closed = threading.Event()

    def channels(self) -> tuple[Channel, ...]:
        return ()

    def read(self) -> tuple[Reading, ...]:
        return ()

    def close(self) -> None:
        self.closed.set()


def family(monkeypatch: pytest.MonkeyPatch, open_meter: Callable[[Spec, MeterContext], Meter]) -> None:
    class Module:
        pass

    module = Module()
    module.open_meter = open_meter  # type: ignore[attr-defined]
    monkeypatch.setattr(opening, "import_module", lambda _: module)


@pytest.mark.finding("F7")
def test_a_meter_that_never_opens_fails_in_time_and_the_others_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    go, good, slow = threading.Event(), Fake(), Fake()

    def open_meter(spec: Spec, _: MeterContext) -> Meter:
        if spec.target == "slow":
            go.wait(60)
            return slow
        return good

    family(monkeypatch, open_meter)
    with pytest.raises(MachineError, match=r"`meter` prometheus:slow did not open within 0\.2 s"):
        open_meters(["prometheus:good", "prometheus:slow"], MeterContext(), bound_s=0.2)
    assert good.closed.is_set()
    go.set()
    assert slow.closed.wait(60)


def test_whatever_a_meter_raises_is_one_line_of_that_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_meter(spec: Spec, _: MeterContext) -> Meter:
        raise ZeroDivisionError("a bug")

    family(monkeypatch, open_meter)
    with pytest.raises(MachineError, match="`meter` snmp:x: ZeroDivisionError: a bug; please report"):
        open_meters(["snmp:x"], MeterContext())


def test_notices_come_in_order_from_the_asking_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []

    def open_meter(spec: Spec, context: MeterContext) -> Meter:
        time.sleep(0.02 if spec.target == "a" else 0.0)
        context.notice(f"{spec.target}: slow exporter")
        context.notice(f"{spec.target}: {spec.target} has a word of its own")
        return Fake()

    family(monkeypatch, open_meter)
    context = MeterContext(notice=lambda text: told.append((text, threading.get_ident())))
    assert len(open_meters(["snmp:a", "snmp:b"], context)) == 2
    assert [t for t, _ in told] == ["a, b: slow exporter", "a: a has a word of its own", "b: b has a word of its own"]
    assert {i for _, i in told} == {threading.get_ident()}


def test_a_spec_that_cannot_be_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    family(monkeypatch, lambda *_: pytest.fail("opened"))
    with pytest.raises(InputError):
        open_meters(["snmp:a", ":"], MeterContext())


def test_what_a_meter_says_later_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Talkative(Fake):
        def __init__(self, context: MeterContext) -> None:
            super().__init__()
            self.context = context

        def read(self) -> tuple[Reading, ...]:
            self.context.notice("a line is left out")
            return ()

    family(monkeypatch, lambda _, context: Talkative(context))
    meter = open_meters(["snmp:a"], MeterContext(notice=told.append))[0]
    assert told == []
    meter.read()
    assert told == ["a line is left out"]
