from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from simulated.readings import channel
from simulated.runs import BUSY_W, IDLE_W, steady_run

from joulemill.analysis.metering_overhead import metering_j
from joulemill.figure import Basis
from joulemill.ledger.account import account
from joulemill.ledger.record import MachineSample, RunRecord, Scope
from tests.support.manifests import manifest_of, members_of

CPUS = 10


def looked(t_s: float, busy: float) -> MachineSample:
    return MachineSample(
        t_mono_s=t_s,
        t_wall_s=t_s,
        load1=None,
        cpu_busy_ratio=busy,
        steal_ratio=None,
        own_cpu_ratio=None,
        server_cpu_ratio=None,
        psi_some_ratio=None,
        loop_lag_s=None,
        client_cpu_ratio=None,
    )


def metered(scope: Scope = Scope.CPU, **facts: Any) -> RunRecord:
    """Metering takes 0.02 cores; the load makes five of ten CPUs busier than idle."""
    record = steady_run(channels=(channel("rapl:a:energy", meter="rapl", scope=scope, update_period_s=0.01),))
    manifest = manifest_of({**members_of(record), "machine": {"cpus": CPUS}, "server": {"embedded": True}})
    machine = tuple(looked(float(t), 0.1 if t < 22 else 0.6) for t in range(1, 90))
    event = {"kind": "metering", "cpu_s": 1.8, "elapsed_s": 90.0}
    return dataclasses.replace(record, **{"manifest": manifest, "machine": machine, "events": (event,), **facts})


def test_a_core_second_costs_what_the_load_made_it_cost() -> None:
    record = metered()
    counted = account(record)
    assert counted.window is not None
    found = metering_j(record, counted)
    assert found.value == pytest.approx(0.02 * counted.window.duration_s * (BUSY_W - IDLE_W) / 5, rel=0.02)
    assert found.basis is Basis.MODELLED
    assert found.low == pytest.approx(found.value / 2) and found.high == pytest.approx(found.value * 2)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"events": ()}, "not recorded"),
        ({"machine": ()}, "no difference in CPU"),
        ({"manifest": manifest_of({"machine": {"cpus": CPUS}, "server": {"embedded": False}})}, "may run on another"),
        ({"channels": (), "readings": ()}, "not known"),
    ],
)
def test_unknown_says_why_and_is_never_zero(facts: dict[str, Any], reason: str) -> None:
    record = metered(**facts)
    found = metering_j(record, account(record))
    assert found.value is None and found.reason is not None and reason in found.reason


@pytest.mark.parametrize(
    ("own_idle", "own_load", "known"), [(0.02, 0.52, True), (0.02, 0.95, False), (0.1, 0.2, False)]
)
def test_other_work_that_came_or_went_hides_what_a_core_second_cost(
    own_idle: float, own_load: float, known: bool
) -> None:
    """0.1 of all CPUs are busy idle, 0.6 under load: where the server's own share rose otherwise, others' changed."""
    machine = tuple(
        dataclasses.replace(m, own_cpu_ratio=own_idle if m.t_mono_s < 22 else own_load) for m in metered().machine
    )
    record = metered(machine=machine)
    found = metering_j(record, account(record))
    assert (found.value is not None) is known
    assert known or "other work" in (found.reason or "")


def test_boards_inside_the_node_say_nothing_of_its_cpu() -> None:
    record = metered(Scope.DEVICE)
    assert metering_j(record, account(record)).value is None
