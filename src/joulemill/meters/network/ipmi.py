"""A server's BMC by IPMI, through the program ``ipmitool``: DCMI power reading, or a named sensor in watts.

A BMC sees the whole node: fans, conversion, network cards. It is slow and coarse (whole watts, seconds of averaging),
so it serves long windows and cross-checks. The password comes from the environment; ``ipmitool -E`` reads it there.

SPEC: ``ipmi[:HOST][,sensor=NAME][,interface=lanplus|lan][,cipher=3]``; without HOST this machine's own BMC.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.probe import Probe, ProbeMeter

TIMEOUT_S = 20.0
#: A reading starts a program and a session: no more often than this.
ASK_EVERY_S = 5.0
#: Assumed half width at 95 % of a BMC's power figure.
REL_ERROR = 0.05
_DCMI = re.compile(r"Instantaneous power reading:\s*(-?\d{1,15})\s*Watts", re.IGNORECASE | re.ASCII)
_PERIOD = re.compile(r"Sampling period:\s*0*(\d{1,9})\s*(Milliseconds|Seconds)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
#: A BMC's name or address; it never begins with "-", which programs take for an option.
_HOST = re.compile(r"[\w.][\w.-]*|[0-9a-fA-F:]+", re.ASCII)
_STATE = re.compile(r"Power reading state is:\s*(\S+)", re.IGNORECASE)


class IpmiError(OSError):
    """The BMC gave no power."""


def parse_dcmi(text: str) -> float:
    """Watts in what ``ipmitool dcmi power reading`` prints. Raises IpmiError where there are none."""
    match = _DCMI.search(text)
    if match is None:
        raise IpmiError(f"no power in the answer: {_last_line(text)}")
    state = _STATE.search(text)
    if state is not None and state.group(1).lower().startswith("deactiv"):
        raise IpmiError("the BMC's power measurement is switched off")
    return _credible(float(match.group(1)))


def _credible(power_w: float) -> float:
    """``power_w`` itself. Raises IpmiError where no server that answers can draw that."""
    fault = reading_fault(Quantity.POWER, power_w, scope=Scope.NODE)
    if fault is not None or power_w == 0.0:
        raise IpmiError(f"the BMC says {power_w:g} W, which means that it has no measurement")
    return power_w


def parse_period_s(text: str) -> float | None:
    """The sampling period that DCMI states, in seconds; None where it states none."""
    match = _PERIOD.search(text)
    if match is None or int(match.group(1)) == 0:
        return None
    return int(match.group(1)) * (1e-3 if match.group(2).lower().startswith("milli") else 1.0)


def parse_sensor(text: str, name: str) -> float:
    """Watts of sensor ``name`` in what ``ipmitool -c sdr get NAME`` prints: ``NAME,350,Watts,ok``."""
    for line in text.splitlines():
        cells = [c.strip() for c in line.split(",")]
        if len(cells) >= 4 and cells[0] == name:
            if cells[2].lower() not in ("watts", "w"):
                raise IpmiError(f"sensor {name} is in {cells[2] or 'no unit'}, not in watts")
            if not _NUMBER.fullmatch(cells[1]):
                raise IpmiError(f"sensor {name}: {(cells[3] or cells[1])[:60] or 'no value'}")
            return _credible(float(cells[1]))
    raise IpmiError(f"no sensor {name}; 'ipmitool sdr list' shows those there are")


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The BMC of ``spec``. Raises MachineError with what to do where it gives no power."""
    spec.only("sensor", "interface", "cipher")
    host, _, port = spec.target.rpartition(":") if spec.target.count(":") == 1 else (spec.target, "", "")
    sensor = spec.option("sensor", "")
    if (
        (spec.target and not _HOST.fullmatch(host))
        or (port and not (port.isascii() and port.isdigit()))
        or sensor.startswith("-")
    ):
        raise InputError(f"`meter` {spec.text}: {spec.target or sensor!r} is no HOST, HOST:PORT or name of a sensor")
    if shutil.which("ipmitool") is None:
        raise MachineError(f"`meter` {spec.text}: the program ipmitool is not installed (Debian: apt install ipmitool)")
    base = _command(spec, context)
    environment = _environment(context)

    def ask() -> str:
        arguments = ["-c", "sdr", "get", sensor] if sensor else ["dcmi", "power", "reading"]
        return _run([*base, *arguments], environment)

    def power_w() -> float:
        return parse_sensor(ask(), sensor) if sensor else parse_dcmi(ask())

    try:
        text = ask()
        _ = parse_sensor(text, sensor) if sensor else parse_dcmi(text)
    except IpmiError as error:
        raise MachineError(f"`meter` {spec.text}: no power from the BMC ({error}); {_hint(spec)}") from error
    host = spec.target or "node"
    channel = Channel(
        id=f"ipmi:{host}:power",
        meter=spec.text,
        device=host,
        scope=Scope.NODE,
        quantity=Quantity.POWER,
        basis=Basis.MEASURED,
        resolution=1.0,
        update_period_s=None if sensor else parse_period_s(text),
        rel_error=REL_ERROR,
        source=f"IPMI {'sensor ' + sensor if sensor else 'DCMI power reading'} through ipmitool; error assumed",
    )
    return ProbeMeter([Probe(channel, power_w, ASK_EVERY_S)], context)


def _command(spec: Spec, context: MeterContext) -> list[str]:
    if not spec.target:
        return ["ipmitool"]
    host, _, port = spec.target.partition(":")
    interface = spec.option("interface", "lanplus", ("lanplus", "lan"))
    user = context.environ.get("JOULEMILL_IPMI_USER", "")
    cipher = spec.option("cipher", "")  # stated, it spares asking the BMC for its ciphers, which some answer slowly
    stated = [("-p", port), ("-C", cipher), ("-U", user)]
    extra = [word for flag, value in stated if value for word in (flag, value)]
    return ["ipmitool", "-I", interface, "-H", host, *extra, "-E"]


def _environment(context: MeterContext) -> dict[str, str]:
    password = context.environ.get("JOULEMILL_IPMI_PASSWORD")
    return {**os.environ, **({} if password is None else {"IPMI_PASSWORD": password})}


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise IpmiError(f"ipmitool: {error}") from error
    if done.returncode:
        raise IpmiError(f"ipmitool: {_last_line(done.stderr or done.stdout)}")
    return done.stdout


def _last_line(text: str) -> str:
    """What a program said last; ipmitool's earlier lines are often about ciphers that it does without."""
    return next((line.strip()[:200] for line in reversed(text.splitlines()) if line.strip()), "nothing")


def _hint(spec: Spec) -> str:
    if spec.target:
        return (
            "set JOULEMILL_IPMI_USER and JOULEMILL_IPMI_PASSWORD, allow IPMI over LAN in the BMC, or, "
            "where it has no DCMI, name a sensor in watts with sensor=NAME"
        )
    return "it needs root and the modules ipmi_si and ipmi_devintf; or ask the BMC over the network: ipmi:HOST"
