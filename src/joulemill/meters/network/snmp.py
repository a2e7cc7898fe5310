"""Power distribution units by SNMP.

Version 2c is spoken here (it is a hundred lines); version 3, with its ciphers, goes through Net-SNMP's ``snmpget``,
which takes its secrets from the user's ``~/.snmp/snmp.conf``. A community is a password: it comes from the environment.

SPEC: ``snmp:HOST[:PORT],pdu=apc|raritan|raritan-px|servertech[,outlet=4+12 | ,inlet=1 | ,unit=1][,scope=node|rack]``
``[,via=snmpget]``. Several outlets of one server (two power supplies) are summed.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from joulemill.catalog.pdus import Pdu, PduObject, pdu_named
from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.formats.snmp import SnmpError, get_request, get_response
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec

TIMEOUT_S = 2.0
RETRIES = 2
#: PDUs refresh their measurements every second or slower, and their processors are small.
ASK_EVERY_S = 1.0
COMMUNITY = "JOULEMILL_SNMP_COMMUNITY"
Get = Callable[[Sequence[str]], Mapping[str, int | str]]
_LINE = re.compile(r"^\.?([\d.]{1,500}) = (?:[A-Za-z0-9]+: )?(?:[A-Za-z]*\()?(-?\d{1,20})\b", re.ASCII)
#: HOST, HOST:PORT, [IPv6]:PORT; a name never begins with "-", which programs take for an option.
_TARGET = re.compile(
    r"^(?:\[(?P<v6>[0-9a-fA-F:.]+(?:%[\w.]+)?)\]|(?P<host>[\w.][\w.-]*))(?::(?P<port>\d{1,5}))?$", re.ASCII
)
_INDEX = re.compile(r"^\d{1,9}(?:\.\d{1,9}){0,5}$", re.ASCII)
#: Decimal digits that a PDU may state for a value.
MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Read:
    """One channel: which identifier, and the raw integer's factor to SI."""

    channel: Channel
    oid: str
    factor: float


class PduMeter:
    """All channels in one question."""

    def __init__(self, reads: Sequence[_Read], get: Get, context: MeterContext) -> None:
        self._reads, self._get, self._context = tuple(reads), get, context
        self._due_s = float("-inf")

    def channels(self) -> tuple[Channel, ...]:
        """One an object and part."""
        return tuple(r.channel for r in self._reads)

    def read(self) -> tuple[Reading, ...]:
        """Raw values times their factor, stamped with the middle of the exchange."""
        clock = self._context.clock
        began_s = clock.mono()
        if began_s < self._due_s:
            return ()
        self._due_s = began_s + 0.9 * ASK_EVERY_S
        try:
            values: Mapping[str, int | str] = self._get([r.oid for r in self._reads])
            failure = "the agent left it out"
        except OSError as error:
            values, failure = {}, str(error)
        half_s = (clock.mono() - began_s) / 2
        return tuple(
            self._reading(r, values.get(r.oid, failure), began_s + half_s, clock.wall() - half_s) for r in self._reads
        )

    def close(self) -> None:
        """Nothing is held open."""

    @staticmethod
    def _reading(read: _Read, raw: int | str, mono: float, wall: float) -> Reading:
        if isinstance(raw, str):
            return Reading(read.channel.id, mono, wall, None, raw)
        value = raw * read.factor
        fault = reading_fault(read.channel.quantity, value, scope=read.channel.scope)
        if fault is not None:
            return Reading(read.channel.id, mono, wall, None, f"{fault.value}: the agent says {raw}")
        return Reading(read.channel.id, mono, wall, value)


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The PDU of ``spec``. Raises MachineError where it does not answer or lacks what is asked."""
    spec.only("pdu", "outlet", "inlet", "unit", "scope", "via")
    if not spec.target or "pdu" not in spec.options:
        raise InputError(f"`meter` {spec.text}: say snmp:HOST,pdu=apc (or raritan, raritan-px, servertech)")
    pdu = pdu_named(spec.options["pdu"])
    host, port = address(spec)
    get = _by_snmpget(spec, host, port) if spec.option("via", "", ("", "snmpget")) else _by_wire(host, port, context)
    try:
        reads = [r for part, which in _parts(spec, pdu) for r in _reads_of(spec, pdu, part, which, get)]
    except (OSError, ValueError) as error:
        raise MachineError(
            f"`meter` {spec.text}: {error}; is SNMP switched on there, for this machine, and is {COMMUNITY} its "
            "community (default public)? For version 3 put the secrets into ~/.snmp/snmp.conf and say via=snmpget"
        ) from error
    return PduMeter(reads, get, context)


def address(spec: Spec) -> tuple[str, int]:
    """Host and port of ``spec``. Raises InputError for what is none."""
    match = _TARGET.match(spec.target)
    port = int(match["port"] or 161) if match is not None else 0
    if match is None or not 0 < port < 65536:
        raise InputError(f"`meter` {spec.text}: {spec.target!r} is no HOST, HOST:PORT or [IPv6]:PORT")
    return match["v6"] or match["host"], port


def _parts(spec: Spec, pdu: Pdu) -> list[tuple[str, str]]:
    """What to meter: (kind, index) pairs, e.g. ("outlet", "4")."""
    asked = [(p, i) for p in ("outlet", "inlet") for i in spec.several(p)]
    odd = [i for i in (*(i for _, i in asked), spec.option("unit", "1")) if not _INDEX.match(i)]
    if odd:
        raise InputError(f"`meter` {spec.text}: {odd[0]!r} is no number of an outlet, inlet or unit")
    wrong = [p for p, _ in asked if p not in pdu.parts]
    if wrong:
        raise InputError(f"`meter` {spec.text}: a {pdu.name} PDU has no {wrong[0]} here; it has {', '.join(pdu.parts)}")
    if asked:
        return asked
    if "unit" in pdu.parts:
        return [("unit", spec.option("unit", "1"))]
    raise InputError(f"`meter` {spec.text}: say which {' or '.join(pdu.parts)}, e.g. {pdu.parts[0]}=4")


def _reads_of(spec: Spec, pdu: Pdu, part: str, which: str, get: Get) -> list[_Read]:
    """The objects of one part that the PDU really has, with their decimal digits."""
    names = {"unit": spec.option("unit", "1"), part: which}
    objects = [o for o in pdu.objects if o.part == part]
    digits = [o.digits.format(**names) for o in objects if o.digits]
    values = get([o.oid.format(**names) for o in objects] + digits)
    there = [o for o in objects if isinstance(values.get(o.oid.format(**names)), int)]
    if not there:
        why = values.get(objects[0].oid.format(**names), "no answer")
        raise MachineError(f"`meter` {spec.text}: {pdu.name} {part} {which}: {why}; does the number exist there?")
    return [_read(spec, pdu, o, names, values, [x.name for x in there]) for o in there]


def _read(
    spec: Spec, pdu: Pdu, o: PduObject, names: Mapping[str, str], values: Mapping[str, int | str], there: list[str]
) -> _Read:
    decimals = values.get(o.digits.format(**names), "no answer") if o.digits else 0
    if not isinstance(decimals, int) or not 0 <= decimals <= MAX_DIGITS:
        # a value without its decimal digits is anything up to a thousand times too much
        raise SnmpError(f"{pdu.name} {o.part} {names[o.part]}: its number of decimal digits is {str(decimals)[:60]}")
    factor = o.factor * 10.0**-decimals
    scope = Scope(spec.option("scope", "node" if o.part == "outlet" else "rack", ("node", "rack", "site")))
    device = f"{spec.target}/{o.part}-{names[o.part]}"
    inside = tuple(f"snmp:{device}:power" for _ in [0] if o.name == "energy" and "power" in there)
    channel = Channel(
        id=f"snmp:{device}:{o.name}",
        meter=spec.text,
        device=device,
        scope=scope,
        quantity=Quantity(o.quantity),
        basis=Basis.MEASURED,
        resolution=factor,
        rel_error=pdu.rel_error,
        clock_skew_s=TIMEOUT_S / 2,
        includes=inside,
        source=f"{o.oid.format(**names)} × {factor:g}; {pdu.source}",
    )
    return _Read(channel, o.oid.format(**names), factor)


def _by_wire(host: str, port: int, context: MeterContext) -> Get:
    community = context.environ.get(COMMUNITY, "public")
    numbers = count(1)

    def get(oids: Sequence[str]) -> Mapping[str, int | str]:
        number = next(numbers)
        packet = get_request(community, number, oids)
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as s:
            s.settimeout(TIMEOUT_S / (RETRIES + 1))
            s.connect(where)
            for _ in range(RETRIES + 1):
                s.send(packet)
                try:
                    return get_response(s.recv(65535), number)
                except TimeoutError:
                    continue
        raise SnmpError(f"{host} did not answer within {TIMEOUT_S:g} s")

    return get


def _by_snmpget(spec: Spec, host: str, port: int) -> Get:
    if shutil.which("snmpget") is None:
        raise MachineError(f"`meter` {spec.text}: the program snmpget is not installed (Debian: apt install snmp)")
    where = f"udp6:[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def get(oids: Sequence[str]) -> Mapping[str, int | str]:
        command = ["snmpget", "-On", "-t", str(TIMEOUT_S / (RETRIES + 1)), "-r", str(RETRIES), where, *oids]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=4 * TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise SnmpError(f"snmpget {host} did not end in time") from error
        output = (done.stderr or done.stdout).decode("utf-8", "replace")
        if done.returncode:
            raise SnmpError(f"snmpget {host}: {_first_line(output)}")
        return parse_snmpget(done.stdout.decode("utf-8", "replace"))

    return get


def _first_line(text: str) -> str:
    """What a program said first; a program may fail without a word."""
    return next((line.strip()[:200] for line in text.split("\n") if line.strip()), "it failed and said nothing")


def parse_snmpget(text: str) -> dict[str, int | str]:
    """Numbers by identifier in what ``snmpget -On`` prints; a text where there is none."""
    values: dict[str, int | str] = {}
    for line in text.split("\n"):
        match = _LINE.match(line)
        if match:
            values[match.group(1)] = int(match.group(2))
        elif " = " in line:
            oid, _, rest = line.partition(" = ")
            values[oid.strip().lstrip(".")[:500]] = rest.strip()[:200]
    return values
