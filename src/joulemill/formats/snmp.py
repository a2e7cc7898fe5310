"""SNMP version 2c GET on the wire: bytes of a request, values of an answer. Pure (RFC 3416; BER, X.690).

Only what a meter needs: integers of every application type, and the three ways of saying "no such object".
"""

from __future__ import annotations

from collections.abc import Sequence

_INTEGER, _OCTETS, _NULL, _OID, _SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
_GET, _RESPONSE = 0xA0, 0xA2
_UNSIGNED = {0x41: "Counter32", 0x42: "Gauge32", 0x43: "TimeTicks", 0x46: "Counter64"}
#: A Counter64 has eight, and one more for its sign.
_MAX_BYTES = 9
_ABSENT = {0x80: "no such object", 0x81: "no such instance", 0x82: "end of view", _NULL: "null"}
_ERRORS = ("no error", "too big", "no such name", "bad value", "read only", "general error")


class SnmpError(OSError):
    """The agent answered with an error, or with what is no answer to the question."""


def get_request(community: str, request_id: int, oids: Sequence[str]) -> bytes:
    """A GetRequest for ``oids``. Raises ValueError for an identifier that is none."""
    bindings = b"".join(_tlv(_SEQUENCE, _oid(o) + _tlv(_NULL, b"")) for o in oids)
    pdu = _tlv(_GET, _integer(request_id) + _integer(0) + _integer(0) + _tlv(_SEQUENCE, bindings))
    return _tlv(_SEQUENCE, _integer(1) + _tlv(_OCTETS, community.encode()) + pdu)


def get_response(packet: bytes, request_id: int) -> dict[str, int | str]:
    """Values by identifier; a text says why there is none. Raises SnmpError where it answers something else."""
    try:
        _, message, _ = _split(packet, 0)
        _, _, at = _split(message, 0)
        _, _, at = _split(message, at)
        kind, pdu, _ = _split(message, at)
        if kind != _RESPONSE:
            raise SnmpError(f"the answer has type 0x{kind:02x}, not a response")
        _, theirs, at = _split(pdu, 0)
        _, status, at = _split(pdu, at)
        _, _, at = _split(pdu, at)
        _, bindings, _ = _split(pdu, at)
        code = int.from_bytes(status, "big")
        if code:
            raise SnmpError(f"the agent says: {_ERRORS[code] if code < len(_ERRORS) else 'an error of no known kind'}")
        if int.from_bytes(theirs, "big", signed=True) != request_id:
            raise SnmpError("the answer is to another question")
        return _values(bindings)
    except (IndexError, ValueError) as error:
        raise SnmpError(f"the answer cannot be read: {error}") from error


def _values(bindings: bytes) -> dict[str, int | str]:
    values: dict[str, int | str] = {}
    at = 0
    while at < len(bindings):
        _, binding, at = _split(bindings, at)
        _, name, after = _split(binding, 0)
        kind, raw, _ = _split(binding, after)
        values[_oid_text(name)] = _value(kind, raw)
    return values


def _value(kind: int, raw: bytes) -> int | str:
    if (kind == _INTEGER or kind in _UNSIGNED) and not 0 < len(raw) <= _MAX_BYTES:
        return f"an integer of {len(raw)} bytes"
    if kind == _INTEGER:
        return int.from_bytes(raw, "big", signed=True)
    if kind in _UNSIGNED:
        return int.from_bytes(raw, "big")
    return _ABSENT.get(kind, f"a value of type 0x{kind:02x}, not a number")


def _split(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the element at ``at``."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if size > 4:
            raise ValueError("a length of more than four bytes")
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if at + length > len(data):
        raise ValueError("it is cut short")
    return tag, data[at : at + length], at + length


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _oid(text: str) -> bytes:
    parts = [int(p) for p in text.strip(".").split(".")]
    if len(parts) < 2 or min(parts) < 0:
        raise ValueError(f"{text!r} is no object identifier")
    return _tlv(_OID, b"".join(_base128(p) for p in (parts[0] * 40 + parts[1], *parts[2:])))


def _base128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _oid_text(raw: bytes) -> str:
    numbers, current = [], 0
    for byte in raw:
        current = current << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(current)
            current = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(n) for n in (first, numbers[0] - 40 * first, *numbers[1:]))
