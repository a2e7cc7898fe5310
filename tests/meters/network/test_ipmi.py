from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Scope
from joulemill.meters.meter import MeterContext
from joulemill.meters.network.ipmi import IpmiError, parse_dcmi, parse_period_s, parse_sensor
from joulemill.meters.opening import open_meters
from tests.meters.programs import eventually, free_port, running

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

LAN = """\
name "joulemill"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 2 true "meter" "s3cret" admin 10 none md2 md5 straight
"""


def sensor_record(name: bytes, watts_a_step: int) -> list[int]:
    """A full sensor record (IPMI 2.0, 43.1): unsigned watts, linear, M = ``watts_a_step``."""
    entity, kind, masks, units = [0x15, 1, 0x7F, 0x68], [0x0B, 0x01], [0] * 6, [0x00, 0x06, 0x00]
    linear = [0, watts_a_step, 0, 0, 0, 0, 0]
    ranges = [0, 0, 0, 0, 0xFF, 0, *[0] * 6, 0, 0, 0, 0, 0]
    body = [0x20, 0, 1, *entity, *kind, *masks, *units, *linear, *ranges, 0xC0 | len(name), *name]
    return [0, 0, 0x51, 0x01, len(body), *body]


@pytest.fixture(scope="module")
def bmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("ipmi_sim") is None or shutil.which("ipmitool") is None:
        pytest.skip("needs Debian's openipmi (ipmi_sim) and ipmitool")
    folder = tmp_path_factory.mktemp("bmc")
    (folder / "state").mkdir()
    port = free_port(socket.SOCK_DGRAM)
    (folder / "lan.conf").write_text(LAN.format(port=port))
    record = " ".join(f"0x{b:02x}" for b in sensor_record(b"Pwr Consumption", 2))
    (folder / "commands").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n"
        f"sensor_add 0x20 0 1 0x0b 0x01\nmain_sdr_add 0x20 {record}\nmc_enable 0x20\nsensor_set_value 0x20 0 1 175 0\n"
    )
    host = f"127.0.0.1:{port}"
    with running("ipmi_sim", "-c", "lan.conf", "-f", "commands", "-s", "state", "-n", cwd=str(folder)):
        raw = ["ipmitool", "-C", "3", "-I", "lanplus", "-H", "127.0.0.1", "-p", str(port), "-U", "meter", "-E",
                  "raw", "4"]  # fmt: skip
        environment = {**os.environ, "IPMI_PASSWORD": "s3cret"}

        def scan() -> None:
            """Switch the sensor's scanning on; the simulator does so and yet answers with an error."""
            subprocess.run([*raw, "0x28", "1", "0xc0", "0", "0", "0", "0"], env=environment, check=False, timeout=10)
            subprocess.run([*raw, "0x2d", "1"], env=environment, check=True, timeout=10)

        eventually(scan)
        yield host


SECRETS = {"JOULEMILL_IPMI_USER": "meter", "JOULEMILL_IPMI_PASSWORD": "s3cret"}


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
