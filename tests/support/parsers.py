"""Every parser of the meters as a function of bytes that raises nothing but JoulemillError: what a fuzzer feeds.

``PARSERS`` maps a name to the function; ``SEEDS`` to inputs that it understands.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joulemill.catalog.pdus import pdus
from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.formats import snmp as wire
from joulemill.formats.json_text import loads
from joulemill.formats.prometheus_text import parse_exposition
from joulemill.formats.snmp import SnmpError, get_response
from joulemill.meters.files.logs import open_meter as open_file
from joulemill.meters.meter import Clock, MeterContext, parse_spec
from joulemill.meters.network import snmp
from joulemill.meters.network.exporter_spec import ExporterQuery, unknown_devices
from joulemill.meters.network.http import HttpReply, clock_ahead_s
from joulemill.meters.network.ipmi import IpmiError, parse_dcmi, parse_period_s, parse_sensor
from joulemill.meters.network.prometheus import PageMeter
from joulemill.meters.network.prometheus_server import ServerMeter, is_api
from joulemill.meters.network.redfish import RedfishMeter, find_parts
from joulemill.meters.network.redfish_session import Session
from joulemill.meters.network.snmp import parse_snmpget

WALL_S = 1769860800.0
_CLOCK = Clock(mono=lambda: 100.0, wall=lambda: WALL_S + 10, sleep=lambda _: None)
_CONTEXT = MeterContext(clock=_CLOCK, notice=lambda _: None, environ={})
Parser = Callable[[bytes], object]


def _read(meter: Any) -> object:
    for reading in (*meter.read(), *meter.read()):
        assert reading.value is None or abs(reading.value) < 1e19, reading
    return meter.channels()


def _file(data: bytes, options: str) -> object:
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        file.write(data)
        file.flush()
        return _read(open_file(parse_spec(f"file:{file.name}{options}"), _CONTEXT))


def nvidia_smi(data: bytes) -> object:
    """An nvidia-smi log."""
    return _file(data, ",format=nvidia-smi,tz=UTC")


def amd_smi(data: bytes) -> object:
    """An amd-smi log."""
    return _file(data, ",format=amd-smi")


def ptdaemon(data: bytes) -> object:
    """SPEC PTDaemon's spl.txt."""
    return _file(data, ",format=ptdaemon,tz=UTC")


def aiperf(data: bytes) -> object:
    """AIPerf's telemetry."""
    return _file(data, ",format=aiperf")


def declared_csv(data: bytes) -> object:
    """Any CSV with a column p in watts and a column t."""
    return _file(data, ",value=p,time=t,unit=W,tz=UTC")


def any_file(data: bytes) -> object:
    """A file whose kind is guessed."""
    return _file(data, "")


class _Source:
    """Stands in for an HTTP source: the same body for every question, or one by path."""

    host = shown = "h"
    path = "/metrics"

    def __init__(self, body: Callable[[str], bytes]) -> None:
        self._body = body
        self.headers: dict[str, str] = {}

    def get(self, path: str) -> HttpReply:
        return HttpReply(200, {}, self._body(path))

    def close(self) -> None: ...


def _opened(build: Callable[[], Any]) -> object:
    """As every opening does: what is wrong with the source's answer is one error."""
    try:
        meter = build()
    except (OSError, ValueError) as error:
        raise MachineError(str(error)) from error
    return _read(meter)


def exporter_page(data: bytes) -> object:
    """An exporter's page, opened and read."""
    source: Any = _Source(lambda _: data)
    asked = ExporterQuery.of(parse_spec("prometheus:http://h/metrics"), "h")
    return _opened(lambda: PageMeter(source, asked, _CONTEXT))


def exposition(data: bytes) -> object:
    """The text format alone."""
    try:
        return parse_exposition(data.decode("utf-8", "replace"))
    except ValueError as error:
        raise InputError(str(error)) from error


def prometheus_api(data: bytes) -> object:
    """A Prometheus server's answer to a range query, opened and read."""
    scalar = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [WALL_S, str(WALL_S)]}})
    source: Any = _Source(lambda path: scalar.encode() if "time%28%29" in path else data)
    asked = ExporterQuery.of(parse_spec("prometheus:http://h"), "h")
    is_api(data)
    return _opened(lambda: ServerMeter(source, asked, _CONTEXT, ""))


def redfish_tree(data: bytes) -> object:
    """A tree of resources, one JSON object by path, opened and read."""

    def body(path: str) -> bytes:
        tree = loads(data)
        key = path if isinstance(tree, dict) and path in tree else path.rstrip("/")
        if not isinstance(tree, dict) or key not in tree:
            raise OSError("HTTP 404")
        return json.dumps(tree[key]).encode()

    spec = parse_spec("redfish:http://h")

    def build() -> RedfishMeter:
        source: Any = _Source(body)
        session = Session(source, Any, "none")  # type: ignore[arg-type]
        return RedfishMeter(session, list(find_parts(session.get, spec)), spec, _CONTEXT)

    return _opened(build)


def snmp_packet(data: bytes) -> object:
    """An agent's answer on the wire."""
    try:
        return get_response(data, 1)
    except SnmpError as error:
        raise MachineError(str(error)) from error


def snmpget_text(data: bytes) -> object:
    """What snmpget prints, and the meter that is made of it."""
    values = parse_snmpget(data.decode("utf-8", "replace"))
    pdu = next(p for p in pdus() if p.name == "raritan")
    spec = parse_spec("snmp:h,pdu=raritan,outlet=7")
    get = lambda _: values  # noqa: E731
    try:
        return _read(snmp.PduMeter(snmp._reads_of(spec, pdu, "outlet", "7", get), get, _CONTEXT))
    except SnmpError as error:
        raise MachineError(str(error)) from error


def ipmitool_text(data: bytes) -> object:
    """What ipmitool prints."""
    text = data.decode("utf-8", "replace")
    try:
        parse_period_s(text)
        return parse_sensor(text, "Pwr") if "," in text else parse_dcmi(text)
    except IpmiError as error:
        raise MachineError(str(error)) from error


def http_date(data: bytes) -> object:
    """An HTTP Date."""
    return clock_ahead_s(HttpReply(200, {"date": data.decode("latin-1")}, b""), 0.0)


def spec(data: bytes) -> object:
    """A SPEC, with all that can be said of it without opening anything."""
    parsed = parse_spec(data.decode("utf-8", "replace"))
    parsed.count()
    parsed.quantity("skew", "s")
    if parsed.name == "snmp":
        return snmp.address(parsed)
    return unknown_devices(ExporterQuery.of(parsed, "h").select([]).values())


PARSERS: dict[str, Parser] = {
    f.__name__: f
    for f in (
        nvidia_smi,
        amd_smi,
        ptdaemon,
        aiperf,
        declared_csv,
        any_file,
        exporter_page,
        exposition,
        prometheus_api,
        redfish_tree,
        snmp_packet,
        snmpget_text,
        ipmitool_text,
        http_date,
        spec,
    )
}

_SMI = "timestamp, index, power.draw [W], utilization.gpu [%]\n" + "".join(
    f"2026/01/31 12:00:0{s}.100, {b}, 300.25 W, 97 %\n" for s in range(3) for b in range(2)
)
_AMD = (
    "timestamp,gpu,xcp,socket_power,vcn,total_energy_consumption\n"
    "1769860800,0,0,650,[N/A, 1],10.5\n1769860801,0,0,651,[1],20\n"
)
_BOARD = '{gpu="0",UUID="GPU-a",Hostname="n1"}'
_PAGE = (
    f"# TYPE x gauge\nDCGM_FI_DEV_POWER_USAGE{_BOARD} 300.5 {WALL_S * 1e3:.0f}\n"
    f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{_BOARD} 5e6\n"
)
_API = json.dumps(
    {
        "status": "success",
        "data": {
            "resultType": "matrix",
            "result": [
                {
                    "metric": {"__name__": "DCGM_FI_DEV_POWER_USAGE", "gpu": "0", "UUID": "GPU-a"},
                    "values": [[WALL_S + i, str(300 + i)] for i in range(4)],
                }
            ],
        },
    }
)
_AIPERF = "".join(
    json.dumps(
        {
            "timestamp_ns": int((WALL_S + i) * 1e9),
            "dcgm_url": "http://h:9400/metrics",
            "gpu_index": 0,
            "gpu_uuid": "GPU-a",
            "telemetry_data": {"gpu_power_usage": 300.0, "energy_consumption": 1.5},
        }
    )
    + "\n"
    for i in range(3)
)


def _at(path: str) -> dict[str, str]:
    return {"@odata.id": path}


_C = "/redfish/v1/Chassis"
_TREE = json.dumps(
    {
        "/redfish/v1": {"Chassis": _at(_C), "Systems": _at("/redfish/v1/Systems")},
        _C: {"Members": [_at(f"{_C}/1")]},
        f"{_C}/1": {
            "EnvironmentMetrics": _at(f"{_C}/1/E"),
            "PowerSubsystem": _at(f"{_C}/1/S"),
            "Power": _at(f"{_C}/1/P"),
            "Links": {"Contains": [_at(f"{_C}/2")], "ContainedBy": _at(f"{_C}/3")},
        },
        f"{_C}/1/E": {
            "PowerWatts": {"Reading": 620.5, "DataSourceUri": f"{_C}/1/X"},
            "EnergykWh": {"Reading": 10},
            "PowerLimitWatts": {"SetPoint": 900},
            "TemperatureCelsius": 24,
        },
        f"{_C}/1/X": {"Accuracy": 2.5, "SensingInterval": "PT1.5S"},
        f"{_C}/1/P": {
            "PowerControl": [{"PowerConsumedWatts": 600, "PowerMetrics": {"IntervalInMin": 1}}],
            "PowerSupplies": [{"PowerInputWatts": 700}],
        },
        f"{_C}/1/S": {"PowerSupplies": _at(f"{_C}/1/Q")},
        f"{_C}/1/Q": {"Members": [_at(f"{_C}/1/Q/0")]},
        f"{_C}/1/Q/0": {"Metrics": _at(f"{_C}/1/Q/0/M"), "Status": {"State": "Enabled"}},
        f"{_C}/1/Q/0/M": {"InputPowerWatts": {"Reading": 700}, "OutputPowerWatts": {"Reading": 640}},
        "/redfish/v1/Systems": {"Members": []},
    }
)
_SNMPGET = """\
.1.3.6.1.4.1.13742.6.5.4.3.1.4.1.7.5 = Gauge32: 3455
.1.3.6.1.4.1.13742.6.3.5.4.1.7.1.7.5 = INTEGER: 1
"""
_VALUE = wire._tlv(0x30, wire._oid("1.3.6.1.4.1.318.1") + wire._tlv(0x42, b"\x05\x0a"))
_PACKET = wire._tlv(
    0x30,
    wire._integer(1)
    + wire._tlv(4, b"public")
    + wire._tlv(0xA2, wire._integer(1) + wire._integer(0) * 2 + wire._tlv(0x30, _VALUE)),
)
_DCMI = "    Instantaneous power reading:                   350 Watts\n    Sampling period: 00000005 Seconds.\n"

SEEDS: dict[str, tuple[bytes, ...]] = {
    "nvidia_smi": (_SMI.encode(), _SMI.encode("utf-16"), _SMI.replace("300.25", "300,25").encode()),
    "amd_smi": (_AMD.encode(),),
    "ptdaemon": (b"Time,01-31-2026 12:00:00.500,Watts,40.5,Volts,230,Mark,x\n" * 2,),
    "aiperf": (_AIPERF.encode(),),
    "declared_csv": (f"t,p\n{WALL_S},1\n2026-01-31T12:00:01,2\n".encode(), f"t;p\n{WALL_S};1,5\n".encode()),
    "any_file": (_SMI.encode(), _AMD.encode(), _AIPERF.encode()),
    "exporter_page": (_PAGE.encode(),),
    "exposition": (_PAGE.encode(),),
    "prometheus_api": (_API.encode(),),
    "redfish_tree": (_TREE.encode(),),
    "snmp_packet": (_PACKET,),
    "snmpget_text": (_SNMPGET.encode(),),
    "ipmitool_text": (_DCMI.encode(), b"Pwr,350,Watts,ok\n"),
    "http_date": (b"Sat, 31 Jan 2026 12:00:00 GMT",),
    "spec": (
        b"prometheus:http://h:9400/metrics,where=gpu:0+gpu:1,gpus=0+1,count=2,skew=1s",
        b"snmp:[::1]:161,pdu=apc,unit=1",
    ),
}

#: Pieces that break what takes numbers, texts and lists for granted.
PIECES = (
    b"1" * 400,
    b"1e400",
    b"-1e400",
    b"NaN",
    b"-1",
    b"0",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'"x"',
    b"[" * 2000,
    b'{"a":' * 2000,
    b"\r",
    b"\n",
    b"\0",
    b"\x1b[2J",
    "\u2028".encode(),
    "\u202e".encode(),
    b"\xff\xfe",
    b",",
    b";",
    b'"',
    b"'",
    b"\\",
    b"{",
    b"}",
    b"140737488355328",
    b"9223372036854775792",
    b"32767",
    b"1970",
    b"99999999999",
    b"0x10",
    "\u0663".encode(),
    b"+",
    b"-",
    b".",
    b"=",
)


def mutated(seed: bytes, dice: Any) -> bytes:
    """``seed`` with one to four faults: cut, doubled, replaced, a bit turned, a piece put in, a number exchanged."""
    data = bytearray(seed)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.randint(0, 12))
        kind = dice.randrange(7)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data[at:at] = data[at : at + dice.randint(0, 80)]
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 3:
            data[at:end] = dice.choice(PIECES)
        elif kind == 4:
            data[at:at] = dice.choice(PIECES)
        elif kind == 5:
            del data[at:end]
        else:
            data = _another_value(data, dice)
    return bytes(data)


def _another_value(data: bytearray, dice: Any) -> bytearray:
    """A number or a quoted text of ``data`` exchanged for a piece."""
    import re

    values = list(re.finditer(rb'-?\d[\d.eE+-]*|"[^"]{0,60}"|\[[^\[\]]{0,60}\]|\{[^{}]{0,60}\}', bytes(data)))
    if not values:
        return data
    one = dice.choice(values)
    return bytearray(data[: one.start()] + dice.choice(PIECES) + data[one.end() :])


def outcome(name: str, data: bytes) -> tuple[str, float]:
    """What parser ``name`` makes of ``data`` ("read", "refused"), and its CPU time [s]. Raises what must not be."""
    begin_s = time.process_time()
    try:
        PARSERS[name](data)
    except JoulemillError as error:
        if not str(error).strip():
            raise RuntimeError("an error without a word") from error
        return "refused", time.process_time() - begin_s
    return "read", time.process_time() - begin_s
