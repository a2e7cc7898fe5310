"""What tells boards apart, and whether all that should be metered are: one rule for bench, import and monitor.

Boards are told apart by UUID (or PCI address, serial number), else by index or a label that the meter gives each of
them, else not at all. A product name is no identity: eight boards share it. The rule:

    identity_of(device)                    what a channel's ``device`` says of it
    count_findings(scope, devices, expected)   which are there, and how many are missing or too many: both refuse
    unnamed_findings(scope, devices, expected) readings without identity that may be of several boards: refused
    known_apart(a, b)                      whether two meters' names are sure to be of different things
    interleaved(t_s)                       whether readings of one name come from several things read in turn

``devices`` are names as in ``Channel.device``; ``expected`` is how many there should be (``--devices``, NAME:N,
``devices_count``), None where nobody said. Findings that are fatal refuse the sum. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from joulemill.ledger.findings import Finding, Reason

#: Names listed in a finding; the rest are counted.
LISTED = 8
#: Readings of one thing come at its cadence. Of several things they come in bursts: this share of the times between
#: them, or more, are below this share of the long ones. Assumed.
BURST_SHARE = 0.3
BURST_RATIO = 0.2


class Identity(StrEnum):
    """How a device is told apart from its neighbors, best first."""

    UUID = "uuid"
    PCI = "pci"
    INDEX = "index"
    LABEL = "label"
    NONE = "none"


#: NVIDIA's begin with GPU- or MIG-, in capitals; others are plain.
_UUID = re.compile(r"^(?:GPU|MIG)-[0-9A-Za-z-]+$|(?i:^(?:[a-z]+-)?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$)")
_SERIAL = re.compile(r"(?i)^(?:0x)?[0-9a-f]{12,32}$")
_PCI = re.compile(r"(?i)^(?:pci[-:]?)?(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?$")
_INDEX = re.compile(r"(?i)^[a-z]*[-_ :/]?\d{1,4}$")
_GENERIC = frozenset(
    ("", "gpu", "gpus", "device", "devices", "card", "board", "accelerator", "npu", "tpu", "none", "n/a", "unknown")
)
_PRODUCT = re.compile(
    r"(?i)^(?:nvidia|tesla|geforce|quadro|rtx|gtx|amd|instinct|radeon|intel|gaudi|habana|graphics|google)\b"
)
_PRODUCT_NUMBER = re.compile(r"(?i)^(?:[abhlvtp]\d{1,3}s?|g[bh]\d{3}|mi\d{3}x?|rtx ?\d{4})(?:[-_ ].*)?$")


def identity_of(device: str) -> Identity:
    """What ``device`` (a ``Channel.device``, with or without ``HOST/`` before it) says of which board it is."""
    name = device.rsplit("/", 1)[-1].strip()
    if name.lower() in _GENERIC:
        return Identity.NONE
    if _UUID.match(name) or (_SERIAL.match(name) and not name.isdigit()):
        return Identity.UUID
    if _PCI.match(name):
        return Identity.PCI
    if _INDEX.match(name) and not _PRODUCT_NUMBER.match(name):
        return Identity.INDEX
    return Identity.NONE if _PRODUCT.match(name) or _PRODUCT_NUMBER.match(name) else Identity.LABEL


def count_findings(scope: str, devices: Collection[str], expected: int | None) -> list[Finding]:
    """Whether as many are metered as expected. Fewer or more refuse the sum and name those that are there."""
    have = len(set(devices))
    if expected is None or have == expected:
        return []
    there = listed(devices)
    if have < expected:
        detail = f"{have} of {expected} expected are metered ({there}); {expected - have} missing"
        return [Finding(Reason.MISSING_DEVICE, scope, detail, fatal=True)]
    detail = f"{have} are metered ({there}) where {expected} were expected: say which are meant, or state {have}"
    return [Finding(Reason.UNEXPECTED_DEVICE, scope, detail, fatal=True)]


def unnamed_findings(scope: str, devices: Collection[str], expected: int | None) -> list[Finding]:
    """Readings that do not say which board they are of, unless there is only one by what the user stated."""
    unnamed = sorted({d for d in devices if identity_of(d) is Identity.NONE})
    if not unnamed or expected == 1:
        return []
    detail = (
        f"readings of {listed(unnamed)} do not say which board they are of, and may be of several: log the UUID or the "
        "index with them; if there is one board only, state it (--device NAME:1)"
    )
    return [Finding(Reason.NO_IDENTITY, scope, detail, fatal=True)]


def known_apart(one: Collection[str], other: Collection[str]) -> bool:
    """Whether names of two meters that differ are sure to be of different things.

    UUIDs are the same everywhere. Any other identity holds on its host alone: names are then of different things only
    where both say which host they are of (``HOST/NAME``), and no host is common.
    """
    if all(identity_of(d) is Identity.UUID for d in (*one, *other)):
        return not set(one) & set(other)
    hosts = [{_host(d) for d in side} for side in (one, other)]
    return None not in hosts[0] | hosts[1] and not hosts[0] & hosts[1]


def _host(device: str) -> str | None:
    """The host that ``device`` names, without its port; None where it names none."""
    host, slash, _ = device.rpartition("/")
    return re.sub(r":\d+$", "", host).lower() if slash and host else None


def local(device: str) -> bool:
    """Whether ``device`` is a number that another host's meter may use too."""
    return identity_of(device) in (Identity.INDEX, Identity.NONE) and _host(device) is None


def listed(devices: Collection[str]) -> str:
    """``devices`` in order, the first few by name."""
    names = sorted(set(devices), key=_in_order)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _in_order(name: str) -> tuple[str, int, str]:
    digits = re.search(r"\d+$", name)
    return (name[: digits.start()], int(digits.group()[-18:]), name) if digits else (name, -1, name)


def interleaved(t_s: ArrayLike) -> bool:
    """Whether readings at ``t_s`` [n] come in bursts, as those of several boards that one poll writes row by row."""
    apart = np.diff(np.sort(np.asarray(t_s, dtype=float)))
    if len(apart) < 4:
        return False
    long_s = float(np.quantile(apart, 0.95))
    return long_s > 0.0 and float(np.mean(apart < BURST_RATIO * long_s)) >= BURST_SHARE
