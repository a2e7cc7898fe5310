from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.record import Scope
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from tests.support.surroundings import HandClock, busy_ticks, proc_tree, process_stat

HZ = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, hand: HandClock, told: list[str]) -> MeterContext:
    proc_tree(tmp_path, cpus=4)
    return MeterContext(proc=tmp_path, sysfs=tmp_path / "sys", clock=hand.clock, notice=told.append)


def test_by_hand_idle_60_busy_180_at_half_load(context: MeterContext, hand: HandClock) -> None:
    """10 s with 2 of 4 CPUs busy: 60 · 10 + (180 − 60) · 20/4 = 1200 J."""
    meter = open_meters(["declared:idle=60W,busy=0.18kW"], context)[0]
    hand.pass_s(10.0)
    busy_ticks(context.proc, 20 * HZ)
    assert meter.read()[0].value == pytest.approx(1200.0)
    channel = meter.channels()[0]
    assert (channel.basis, channel.scope, channel.rel_error) == (Basis.DECLARED, Scope.NODE, 0.3)
    assert channel.resolution == pytest.approx(120.0 / HZ / 4)


@settings(max_examples=30)
@given(idle=st.floats(0, 500), extra=st.floats(0.1, 500), share=st.floats(0, 1), k=st.floats(0.1, 10))
def test_energy_lies_between_idle_and_busy_and_scales(
    tmp_path_factory: pytest.TempPathFactory, idle: float, extra: float, share: float, k: float
) -> None:
    proc = proc_tree(tmp_path_factory.mktemp("proc"))
    hand = HandClock()
    context = MeterContext(proc=proc, clock=hand.clock)
    specs = [f"declared:idle={idle * f}W,busy={(idle + extra) * f}W" for f in (1.0, k)]
    one, many = (open_meters([s], context)[0] for s in specs)
    hand.pass_s(10.0)
    busy_ticks(proc, int(40 * HZ * share))
    energy = one.read()[0].value or 0.0
    assert idle * 10 - 1e-6 <= energy <= (idle + extra) * 10 + 1e-6
    assert many.read()[0].value == pytest.approx(k * energy, rel=1e-9, abs=1e-9)


def test_the_servers_own_share_where_it_is_known(context: MeterContext, hand: HandClock) -> None:
    process_stat(context.proc, 10, 1, (5 * HZ, 0, 0, 0))
    meter = open_meters(["declared:idle=60W,busy=180W"], replace(context, server_pid=10))[0]
    hand.pass_s(10.0)
    process_stat(context.proc, 10, 1, (25 * HZ, 0, 0, 0))
    busy_ticks(context.proc, 40 * HZ)
    assert meter.read()[0].value == pytest.approx(1200.0)
    assert "process 10" in (meter.channels()[0].source or "")
    (context.proc / "10" / "stat").unlink()
    ended = meter.read()[0]
    assert ended.value is None and "has ended" in (ended.error or "")


def test_a_listed_processor_is_modelled_from_its_datasheet(context: MeterContext) -> None:
    """Xeon 8480+: 350 W a socket of 112 threads; 4 threads are visible: 12.5 W TDP, × 1.5 busy, × 0.35 of it idle."""
    channel = open_meters(["declared"], context)[0].channels()[0]
    assert channel.basis is Basis.MODELLED
    assert channel.rel_error == 0.5
    assert "6.562 W idle, 18.75 W busy" in (channel.source or "")
    assert "350 W" in (channel.source or "") and "(assumed)" in (channel.source or "")


def test_an_unlisted_processor_is_generic_and_wider(context: MeterContext) -> None:
    proc_tree(context.proc, "Imaginary 9000")
    channel = open_meters(["declared"], context)[0].channels()[0]
    assert channel.rel_error == 0.7
    assert "generic" in (channel.source or "")


def test_in_a_virtual_machine_the_share_of_the_host_is_said_to_be_assumed(
    context: MeterContext, told: list[str]
) -> None:
    proc_tree(context.proc, flags="fpu hypervisor sse")
    open_meters(["declared"], context)
    assert len(told) == 1 and "share of the host's power (assumed)" in told[0]


def test_a_named_processor_and_a_stated_error(context: MeterContext) -> None:
    channel = open_meters(["declared:cpu=epyc-7763,error=20%"], context)[0].channels()[0]
    assert channel.rel_error == pytest.approx(0.2)
    assert "280 W" in (channel.source or "")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("declared:idle=60W", "give both"),
        ("declared:idle=60W,busy=180W,cpu=epyc-7763", "give both"),
        ("declared:idle=180W,busy=60W", "0 ≤ idle ≤ busy"),
        ("declared:idle=-1W,busy=60W", "idle=-1W must be a number from 0"),
        ("declared:idle=1W,busy=1e999W", "busy: '1e999W' is an implausibly large"),
        ("declared:idle=60W,busy=180J", "needs W"),
        ("declared:cpu=z80", "no processor 'z80' in the catalog; there are epyc-7742"),
        ("declared:idle=1W,busy=2W,error=-5%", "must be a number from 0"),
        ("declared:idle=1W,busy=2W,error=1000%", "must be a share"),
        ("declared:idle=1W,busy=2W,share=process", "needs a server that runs here"),
        ("declared:idle=1W,busy=2W,scope=rack", "use one of node, cpu"),
    ],
)
def test_bad_input(context: MeterContext, spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_meters([spec], context)


def test_without_proc_it_says_so(context: MeterContext) -> None:
    with pytest.raises(MachineError, match="CPU time cannot be read"):
        open_meters(["declared:idle=1W,busy=2W"], replace(context, proc=context.proc / "none"))
