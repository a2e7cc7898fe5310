from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.catalog.pdus import pdus
from joulemill.errors import InputError, MachineError
from joulemill.formats.snmp import SnmpError, get_request, get_response
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.meter import Meter, parse_spec
from joulemill.meters.network.snmp import address, parse_snmpget
from tests.support.counterparts import opened, values
from tests.support.programs import free_port
from tests.support.surroundings import HandClock

# --- the wire ----------------------------------------------------------------------------------------------------

#: A GET of 1.3.6.1.2.1.1.3.0, community "public", request 1, laid out by hand after RFC 3416 and X.690.
BY_HAND = bytes.fromhex("302602010104067075626c6963a019020101020100020100300e300c06082b060102010103000500")


def test_a_request_is_what_the_standard_says() -> None:
    assert get_request("public", 1, ["1.3.6.1.2.1.1.3.0"]) == BY_HAND


def response(request_id: int, *values: tuple[str, int, bytes], status: int = 0) -> bytes:
    """A response built from a request: its PDU type, error status and values replaced."""

    def tlv(tag: int, content: bytes) -> bytes:
        return (
            bytes((tag, len(content))) + content if len(content) < 128 else bytes((tag, 0x81, len(content))) + content
        )

    def oid(text: str) -> bytes:  # taken out of our own request, which the test above holds to the standard
        packet = get_request("c", 1, [text])
        at = packet.rindex(b"\x06", 0, packet.rindex(b"\x05\x00"))
        start = packet.index(b"\x30", packet.index(b"\x02\x01\x00\x02\x01\x00") + 6) + 4
        return packet[min(start, at) : -2]

    bindings = b"".join(tlv(0x30, oid(name) + tlv(tag, raw)) for name, tag, raw in values)
    number = tlv(2, request_id.to_bytes(4, "big", signed=True))
    pdu = tlv(0xA2, number + tlv(2, bytes([status])) + tlv(2, b"\0") + tlv(0x30, bindings))
    return tlv(0x30, tlv(2, b"\1") + tlv(4, b"c") + pdu)


def test_every_kind_of_number_and_of_absence() -> None:
    packet = response(
        7,
        ("1.3.6.1.4.1.318.1", 0x02, b"\xff\x38"),
        ("1.3.6.1.4.1.318.2", 0x42, b"\x00\xff\xff\xff\xff"),
        ("1.3.6.1.4.1.318.3", 0x46, b"\x01\x00\x00\x00\x00"),
        ("1.3.6.1.4.1.318.4", 0x81, b""),
        ("1.3.6.1.4.1.318.5", 0x04, b"text"),
    )
    values = get_response(packet, 7)
    assert values["1.3.6.1.4.1.318.1"] == -200
    assert values["1.3.6.1.4.1.318.2"] == 2**32 - 1
    assert values["1.3.6.1.4.1.318.3"] == 2**32
    assert values["1.3.6.1.4.1.318.4"] == "no such instance"
    assert "not a number" in str(values["1.3.6.1.4.1.318.5"])


def test_errors_and_answers_to_other_questions_are_refused() -> None:
    with pytest.raises(SnmpError, match="no such name"):
        get_response(response(1, status=2), 1)
    with pytest.raises(SnmpError, match="another question"):
        get_response(response(2), 1)
    with pytest.raises(SnmpError, match="not a response"):
        get_response(BY_HAND, 1)


@given(data=st.binary(max_size=80))
def test_rubbish_is_an_snmp_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(SnmpError):
        get_response(data, 1)


@given(cut=st.integers(0, 60))
def test_a_packet_cut_short_is_refused(cut: int) -> None:
    packet = response(7, ("1.3.6.1.4.1.318.1", 0x02, b"\x05"))
    with pytest.raises(SnmpError):
        get_response(packet[: min(cut, len(packet) - 1)], 7)


def test_what_snmpget_prints() -> None:
    text = (
        ".1.3.6.1.4.1.318.1.5.1 = INTEGER: 137\n.1.3.6.1.4.1.318.1.9.1 = Gauge32: 45678\n"
        ".1.3.6.1.2.1.1.3.0 = Timeticks: (123456) 0:20:34.56\n.1.3.6.1.9 = INTEGER: on(1)\n"
        ".1.3.6.1.4.1.318.1.9.2 = No Such Instance currently exists at this OID\n"
    )
    assert parse_snmpget(text) == {
        "1.3.6.1.4.1.318.1.5.1": 137,
        "1.3.6.1.4.1.318.1.9.1": 45678,
        "1.3.6.1.2.1.1.3.0": 123456,
        "1.3.6.1.9": 1,
        "1.3.6.1.4.1.318.1.9.2": "No Such Instance currently exists at this OID",
    }


# --- the catalogue -----------------------------------------------------------------------------------------------


def test_every_pdu_is_cited_and_in_si() -> None:
    for pdu in pdus():
        assert pdu.source and 0 < pdu.rel_error < 1
        for o in pdu.objects:
            assert Quantity(o.quantity) in (Quantity.ENERGY, Quantity.POWER) and o.factor > 0
            assert "{" + o.part + "}" in o.oid


# --- against snmpsim ---------------------------------------------------------------------------------------------


def test_apc_hundredths_of_kw_and_tenths_of_kwh(agent: str) -> None:
    meter = opened(f"snmp:{agent},pdu=apc")
    assert values(meter) == {"unit-1:power": 1370.0, "unit-1:energy": pytest.approx(4567.8 * 3.6e6)}
    power, energy = meter.channels()
    assert (power.scope, power.resolution, energy.resolution) == (Scope.RACK, 10.0, 3.6e5)
    assert energy.includes == (power.id,)


def test_servertech_outlets_of_two_supplies(agent: str) -> None:
    meter = opened(f"snmp:{agent},pdu=servertech,outlet=1.1.4+1.1.12")
    assert values(meter) == {
        "outlet-1.1.4:power": 212.0,
        "outlet-1.1.4:energy": 3.6e6,
        "outlet-1.1.12:power": 218.0,
        "outlet-1.1.12:energy": pytest.approx(1100 * 3600),
    }
    assert {c.scope for c in meter.channels()} == {Scope.NODE}


def test_raritans_decimal_digits(agent: str) -> None:
    assert values(opened(f"snmp:{agent},pdu=raritan,outlet=7")) == {
        "outlet-7:power": pytest.approx(345.5),
        "outlet-7:energy": pytest.approx(98765 * 3600.0),
    }
    inlet = opened(f"snmp:{agent},pdu=raritan,inlet=1")
    assert values(inlet) == {"inlet-1:power": 4200.0}
    assert inlet.channels()[0].scope is Scope.RACK


@pytest.mark.skipif(shutil.which("snmpget") is None, reason="needs Debian's snmp (snmpget)")
def test_snmpget_says_the_same(agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snmp.conf").write_text("defVersion 2c\ndefCommunity s3cret\n")
    monkeypatch.setenv("SNMPCONFPATH", str(tmp_path))
    ours, theirs = opened(f"snmp:{agent},pdu=apc"), opened(f"snmp:{agent},pdu=apc,via=snmpget")
    assert values(ours) == values(theirs)


def test_an_outlet_that_is_not_there(agent: str) -> None:
    with pytest.raises(MachineError, match="outlet 99: no such"):
        opened(f"snmp:{agent},pdu=raritan,outlet=99")


def test_it_is_not_asked_more_than_once_a_second(agent: str) -> None:
    hand = HandClock()
    meter = opened(f"snmp:{agent},pdu=apc", clock=hand.clock)
    counts = []
    for _ in range(11):
        counts.append(len(meter.read()))
        hand.pass_s(0.25)
    assert counts == [2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0]


def test_a_pdu_that_falls_silent_is_error_readings(agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.meters.network.snmp.TIMEOUT_S", 0.09)
    silent = opened(f"snmp:{agent},pdu=apc")
    monkeypatch.setattr("joulemill.meters.network.snmp.get_request", lambda *_: b"rubbish that no agent answers")
    readings = silent.read()
    assert len(readings) == 2 and all(r.value is None and "did not answer" in (r.error or "") for r in readings)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("snmp:h", InputError, "say snmp:HOST,pdu="),
        ("snmp:h,pdu=acme", InputError, "one of apc, servertech"),
        ("snmp:h,pdu=apc,outlet=3", InputError, "has no outlet here; it has unit"),
        ("snmp:h,pdu=servertech", InputError, "say which outlet"),
        ("snmp:h,pdu=apc,outlets=3", InputError, "no option outlets"),
    ],
)
def test_bad_input(spec: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        opened(spec)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.meters.network.snmp.TIMEOUT_S", 0.09)
    with pytest.raises(MachineError, match="JOULEMILL_SNMP_COMMUNITY"):
        opened(f"snmp:127.0.0.1:{free_port(socket.SOCK_DGRAM)},pdu=apc")


# --- what an agent, a program or a SPEC may get wrong -------------------------------------------------------------


@pytest.mark.finding("F46")
@pytest.mark.parametrize(
    "target", ["-X", "-v3:161", "", "a b", "h:99999", "h:x", "::1", "[::1", "h;reboot", "h:0", "\u0663:161", "h\n-X"]
)
def test_a_target_is_a_host_and_nothing_else(target: str) -> None:
    with pytest.raises(InputError, match=r"is no HOST|say snmp:HOST"):
        opened(f"snmp:{target},pdu=apc,via=snmpget")


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("pdu-1.site", ("pdu-1.site", 161)),
        ("10.0.0.1:1161", ("10.0.0.1", 1161)),
        ("[fe80::1%eth0]:9", ("fe80::1%eth0", 9)),
    ],
)
def test_hosts_ports_and_ipv6(target: str, where: tuple[str, int]) -> None:
    assert address(parse_spec(f"snmp:{target},pdu=apc")) == where


def fake_snmpget(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "snmpget"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.finding("F46")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 0", "apc unit 1: no answer"),
        ("exit 1", "it failed and said nothing"),
        ("echo >&2; echo '  ' >&2; exit 2", "it failed and said nothing"),
        ("echo Timeout: No Response from h >&2; exit 1", "Timeout: No Response"),
        ("printf '\\377\\376' >&2; exit 1", "snmpget h: "),
        ("echo .1.3.6.1.4.1.318.1.1.26.4.3.1.5.1 = ", "apc unit 1: "),
    ],
)
def test_a_program_without_an_answer_is_a_meter_that_offers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    fake_snmpget(tmp_path, monkeypatch, script)
    with pytest.raises(MachineError, match=says):
        opened("snmp:h,pdu=apc,via=snmpget")


def test_a_value_that_no_rack_draws_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oid = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
    fake_snmpget(tmp_path, monkeypatch, f"cat {tmp_path}/reply")
    (tmp_path / "reply").write_text(f".{oid} = INTEGER: 137\n")
    meter = opened("snmp:h,pdu=apc,via=snmpget", clock=HandClock().clock)
    assert values(meter) == {"unit-1:power": 1370.0}
    for raw in ("2147483647", "-1", "9" * 400, "none"):
        (tmp_path / "reply").write_text(f".{oid} = INTEGER: {raw}\n")
        meter = opened_again(meter)
        assert [r.value for r in meter.read()] == [None]


def opened_again(meter: Meter) -> Meter:
    meter._due_s = float("-inf")  # type: ignore[attr-defined]
    return meter


@pytest.mark.parametrize("digits", ["", " = No Such Object", " = INTEGER: -300", " = INTEGER: 400", " = INTEGER: 99"])
def test_a_value_without_its_decimal_digits_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: str
) -> None:
    objects = next(p for p in pdus() if p.name == "raritan").objects
    power = next(o for o in objects if o.part == "outlet" and o.name == "power")
    oid, digits_oid = power.oid.format(outlet="7", unit="1"), power.digits.format(outlet="7", unit="1")
    fake_snmpget(tmp_path, monkeypatch, f"cat {tmp_path}/reply")
    (tmp_path / "reply").write_text(f".{oid} = INTEGER: 3455\n" + (f".{digits_oid}{digits}\n" if digits else ""))
    with pytest.raises(MachineError, match="its number of decimal digits is"):
        opened("snmp:h,pdu=raritan,outlet=7,via=snmpget")


@pytest.mark.parametrize("outlet", ["x", "-1", "1;2", "1 2", "1..2", "9" * 12])
def test_an_outlet_is_a_number(outlet: str) -> None:
    with pytest.raises(InputError, match="is no number of an outlet"):
        opened(f"snmp:h,pdu=raritan,outlet={outlet}")


def test_an_integer_of_a_thousand_bytes_is_no_number() -> None:
    packet = response(1, ("1.3.6.1.4.1.318.1", 0x46, b"\x7f" * 100))
    assert get_response(packet, 1) == {"1.3.6.1.4.1.318.1": "an integer of 100 bytes"}
