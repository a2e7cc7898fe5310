from __future__ import annotations

import os
from pathlib import Path

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Scope
from joulemill.meters.meter import MeterContext
from joulemill.meters.network.ipmi import IpmiError, parse_dcmi, parse_period_s, parse_sensor
from joulemill.meters.opening import open_meters
from tests.support.counterparts import SECRETS

#: The layout of ``ipmitool dcmi power reading`` (ipmitool 1.8.19, lib/ipmi_dcmi.c), with numbers of ours.
DCMI = """
    Instantaneous power reading:                   350 Watts
    Minimum during sampling period:                208 Watts
    Maximum during sampling period:                612 Watts
    Average power reading over sample period:      340 Watts
    IPMI timestamp:                           Sat Jan 31 12:00:00 2026
    Sampling period:                          00000005 Seconds.
    Power reading state is:                   activated

"""


def test_dcmi() -> None:
    assert parse_dcmi(DCMI) == 350.0
    assert parse_period_s(DCMI) == 5.0
    assert parse_period_s(DCMI.replace("00000005 Seconds", "00001000 Milliseconds")) == 1.0
    assert parse_period_s(DCMI.replace("00000005", "00000000")) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DCMI.replace("350", "0"), "has no measurement"),
        (DCMI.replace("350", "-1"), "has no measurement"),
        (DCMI.replace(" activated", " deactivated"), "switched off"),
        ("", "no power in the answer: nothing"),
    ],
)
def test_no_power_is_never_zero_watts(text: str, says: str) -> None:
    with pytest.raises(IpmiError, match=says):
        parse_dcmi(text)


def test_a_named_sensor() -> None:
    assert parse_sensor("Pwr Consumption,350,Watts,ok,21.1,x\n", "Pwr Consumption") == 350.0
    with pytest.raises(IpmiError, match="not in watts"):
        parse_sensor("Fan,5400,RPM,ok\n", "Fan")
    with pytest.raises(IpmiError, match="Pwr: ns"):
        parse_sensor("Pwr,,Watts,ns\n", "Pwr")
    with pytest.raises(IpmiError, match="no sensor Pwr"):
        parse_sensor("Fan,5400,RPM,ok\n", "Pwr")


def program(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``ipmitool`` that prints ``text`` and keeps how it was called."""
    (folder / "reply").write_text(text)
    script = folder / "ipmitool"
    script.write_text(f'#!/bin/sh\necho "$*|$IPMI_PASSWORD" >>{folder}/calls\ncat {folder}/reply\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "calls"


def test_a_recorded_reply_becomes_a_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = program(tmp_path, DCMI, monkeypatch)
    secrets = {"JOULEMILL_IPMI_USER": "meter", "JOULEMILL_IPMI_PASSWORD": "s3cret"}
    meter = open_meters(["ipmi:bmc7:6230"], MeterContext(environ=secrets))[0]
    (channel,) = meter.channels()
    assert (channel.id, channel.scope, channel.update_period_s) == ("ipmi:bmc7:6230:power", Scope.NODE, 5.0)
    assert [r.value for r in meter.read()] == [350.0]
    assert meter.read() == ()  # not due
    call, password = calls.read_text().splitlines()[0].split("|")
    assert call == "-I lanplus -H bmc7 -p 6230 -U meter -E dcmi power reading"
    assert password == "s3cret" and "s3cret" not in call


def test_a_bmc_that_fails_later_is_an_error_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, DCMI, monkeypatch)
    meter = open_meters(["ipmi"], MeterContext(environ={}))[0]
    (tmp_path / "reply").write_text("oops")
    (reading,) = meter.read()
    assert reading.value is None and "no power in the answer: oops" in (reading.error or "")


def test_without_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="apt install ipmitool"):
        open_meters(["ipmi"], MeterContext())


# --- against ipmi_sim, OpenIPMI's simulated BMC ------------------------------------------------------------------


def test_a_sensor_of_a_simulated_bmc(bmc: str) -> None:
    """Raw 175 with M = 2 is 350 W, by the BMC's own sensor record and the real ipmitool."""
    meter = open_meters([f"ipmi:{bmc},cipher=3,sensor=Pwr Consumption"], MeterContext(environ=SECRETS))[0]
    assert [(r.value, r.error) for r in meter.read()] == [(350.0, None)]


def test_a_bmc_without_dcmi_says_what_to_do(bmc: str) -> None:
    with pytest.raises(MachineError, match=r"DCMI request failed.*sensor=NAME"):
        open_meters([f"ipmi:{bmc},cipher=3"], MeterContext(environ=SECRETS))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DCMI.replace("350", "32767"), "has no measurement"),
        (DCMI.replace("350", "65535"), "has no measurement"),
        (DCMI.replace("350", "999999999"), "has no measurement"),
        (DCMI.replace("350", "9" * 400), "no power in the answer"),
    ],
)
def test_watts_that_no_server_draws_are_no_measurement(text: str, says: str) -> None:
    with pytest.raises(IpmiError, match=says):
        parse_dcmi(text)


@pytest.mark.parametrize("cell", ["nan", "inf", "1.2.3", "0x10", "", "-5", "0", "32767", "1e9", "9" * 400])
def test_a_sensor_that_gives_no_watts(cell: str) -> None:
    with pytest.raises(IpmiError):
        parse_sensor(f"Pwr,{cell},Watts,ok\n", "Pwr")


@pytest.mark.parametrize("spec", ["ipmi:-X", "ipmi:h h", "ipmi:h:x", "ipmi:sensor=-v", "ipmi:h;reboot", "ipmi:h:1:2x"])
def test_a_target_is_a_host_and_nothing_else(spec: str) -> None:
    with pytest.raises(InputError, match="no HOST"):
        open_meters([spec], MeterContext())


def test_a_bmc_without_a_power_sensor_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reply in ("", "Fan1,5400,RPM,ok\n", "Pwr,,Watts,ns\n", "Pwr,350,RPM,ok\n"):
        program(tmp_path, reply, monkeypatch)
        for spec in ("ipmi", "ipmi:bmc,sensor=Pwr"):
            with pytest.raises(MachineError, match="no power from the BMC"):
                open_meters([spec], MeterContext())
