"""The one rule of what a reading can be: every source of joules, watts, temperatures and tokens is held against it.

A reading that cannot be is unknown: never counted, never clamped. Who uses it:

    reading_fault(quantity, value, scope=…, limit_w=…)   one reading: the reason why it cannot be, or None
    reading_faults(quantity, values, …)                  the same for an array: [(reason, mask), …], masks disjoint
    rise_fault(energy_j, duration_s, scope=…, …)         joules of an interval, counters upwards included
    dead_sensor(energy_j, output_tok, duration_s, …)     joules against the tokens that were made with them
    token_fault(count_tok, duration_s, kind=…)           tokens of an interval, by a server's counter or usage
    most_w(scope, limit_w)                               the largest power believed of a board, node, server, site
    power_limits_w(channels, readings)                   boards' own power limits by device, to pass as ``limit_w``
    plausible_record(record)                             a run whose impossible readings have failed, for other readers

``limit_w`` is the power limit or TDP of *one* thing that the channel meters, from the device itself or its data sheet;
without it an absolute bound of its scope stands in. All are cheap enough to be called for every reading. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Channel, Quantity, Reading, RunRecord, Scope

Mask = NDArray[np.bool_]

#: A sensor may show this many times per board's power limit: limits hold on average, sensors overshoot. Assumed.
LIMIT_MARGIN_RATIO = 1.5
#: Without a limit: the largest power of one thing in a scope [W]. All assumed, several times the largest known:
#: an accelerator package of 3.6 kW, a CPU of 0.5 kW, a 72-device server of 0.13 MW, a rack of 0.6 MW, a site of 2 GW.
MOST_POWER_W: Mapping[Scope, float] = {
    Scope.DEVICE: 1e4,
    Scope.CPU: 4e3,
    Scope.MEMORY: 4e3,
    Scope.NODE: 3e5,
    Scope.RACK: 2e6,
    Scope.SITE: 1e10,
}
#: A sensor's share of its board's limit below which it is dead while tokens are made; idle boards draw 7 % and more
#: of theirs (H100 70 of 700 W, L4 12 of 72 W). Assumed.
DEAD_RATIO = 0.01
#: The least that a board or a node draws while it makes tokens [W]: the smallest boards that do draw two. Assumed.
LEAST_SERVING_W: Mapping[Scope, float] = {Scope.DEVICE: 1.0, Scope.NODE: 1.0}
#: Least and most that other quantities can be, in their SI unit. Assumed: silicon stops below 130 °C, no processor's
#: clock reaches 10 GHz; a utilization is rounded up by some exporters.
RANGES: Mapping[Quantity, tuple[float, float]] = {
    Quantity.TEMPERATURE: (-60.0, 150.0),
    Quantity.CLOCK: (0.0, 1e10),
    Quantity.UTILIZATION: (0.0, 1.05),
    Quantity.FOREIGN_USE: (0.0, 1.0),
    Quantity.HEAT_REMOVED: (-1e10, 1e10),
    Quantity.THROTTLE_POWER: (0.0, 1e11),
    Quantity.THROTTLE_THERMAL: (0.0, 1e11),
}
#: The largest sum of joules that a counter may show: a site of 10 GW for three years [J]. Assumed.
MOST_ENERGY_J = 1e18
#: Tokens a second of one server's address, which may be a router before thousands of devices [tok/s]: assumed, a
#: hundred times the largest published rates. Prompt tokens that come from a cache cost next to nothing.
MOST_RATE_TOK_S: Mapping[str, float] = {"output": 1e8, "prompt": 1e10}

#: What vendors' libraries write for "none": least and most of each, both included.
#: DCGM's dcgm_structs.h: BLANK … +15 of int32, int64 and fp64; NVML_VALUE_NOT_AVAILABLE (−1) unsigned; AMD SMI's
#: largest uint32 and uint64. Doubles near 2^63 and 2^64 are 1,024 apart, so these match with that slack.
BLANKS = (
    (2.0**31 - 16, 2.0**31 - 1),
    (2.0**32 - 1, 2.0**32 - 1),
    (2.0**47, 2.0**47 + 15),
    (2.0**63 - 2048, 2.0**63),
    (2.0**64 - 4096, 2.0**64),
)
#: 16-bit ones (AMD SMI's 65535, NVML's and IPMI's 32767): beyond any gauge, but a counter may pass through them.
SHORT_BLANKS = (2.0**15 - 1, 2.0**16 - 1)
#: Exporters scale before they look: a blank in mJ, µJ, mW, MHz or MJ stays one.
_SCALES = (1.0, 1e-3, 1e-6, 1e6)
_COUNTERS = (Quantity.ENERGY, Quantity.THROTTLE_POWER, Quantity.THROTTLE_THERMAL)
_SIGNED = (Quantity.TEMPERATURE, Quantity.HEAT_REMOVED)


def most_w(scope: Scope, limit_w: float | None = None) -> float:
    """The largest power believed of one thing in ``scope`` [W]: its own limit with margin, else the absolute bound."""
    if limit_w is None or not 0.0 < limit_w <= MOST_POWER_W[scope]:
        return MOST_POWER_W[scope]
    return LIMIT_MARGIN_RATIO * limit_w


def reading_fault(
    quantity: Quantity, value: float | None, *, scope: Scope = Scope.DEVICE, limit_w: float | None = None
) -> Reason | None:
    """Why ``value``, in SI, cannot be a reading of ``quantity``; None where it can. A missing value has failed."""
    if value is None:
        return Reason.READ_FAILED
    value = _number(value)
    if not math.isfinite(value):
        return Reason.NOT_FINITE
    if is_blank(value, counter=quantity in _COUNTERS):
        return Reason.BLANK
    if value < 0.0 and quantity not in _SIGNED:
        return Reason.NEGATIVE
    least, most = _bounds(quantity, scope, limit_w)
    return None if least <= value <= most else Reason.IMPLAUSIBLE


def numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    """``values`` as an array: NaN where there is none, infinite for an integer that no float holds."""
    return np.array([_number(v) for v in values], dtype=float)


def _number(value: float | None) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def reading_faults(
    quantity: Quantity, values: ArrayLike, *, scope: Scope = Scope.DEVICE, limit_w: float | None = None
) -> list[tuple[Reason, Mask]]:
    """``reading_fault`` of every one of ``values`` [n], NaN standing for a missing one: masks [n] by reason."""
    v = np.asarray(values, dtype=float)
    finite = np.isfinite(v)
    x = np.where(finite, v, 0.0)
    blank = finite & _blank(x, counter=quantity in _COUNTERS)
    negative = finite & ~blank & (x < 0.0) & (quantity not in _SIGNED)
    least, most = _bounds(quantity, scope, limit_w)
    beyond = finite & ~blank & ~negative & ((x < least) | (x > most))
    masks = [
        (Reason.NOT_FINITE, ~finite),
        (Reason.BLANK, blank),
        (Reason.NEGATIVE, negative),
        (Reason.IMPLAUSIBLE, beyond),
    ]
    return [(reason, mask) for reason, mask in masks if mask.any()]


def is_blank(value: float, *, counter: bool = False) -> bool:
    """Whether ``value`` is a vendor's number for "not available", as it stands or scaled to SI."""
    size = abs(value)
    if size in SHORT_BLANKS and not counter:
        return True
    return size > 2000.0 and any(
        low * k * (1.0 - 1e-15) <= size <= high * k * (1.0 + 1e-15) for low, high in BLANKS for k in _SCALES
    )


def _blank(v: NDArray[np.float64], *, counter: bool) -> Mask:
    size = np.abs(v)
    blank: Mask = np.zeros(v.shape, dtype=np.bool_) if counter else np.isin(size, SHORT_BLANKS)
    if size.size and size.max() > 2000.0:
        for low, high in BLANKS:
            for k in _SCALES:
                blank = blank | ((size >= low * k * (1.0 - 1e-15)) & (size <= high * k * (1.0 + 1e-15)))
    return blank


def _bounds(quantity: Quantity, scope: Scope, limit_w: float | None) -> tuple[float, float]:
    if quantity is Quantity.ENERGY:
        return 0.0, MOST_ENERGY_J
    if quantity is Quantity.POWER:
        return 0.0, most_w(scope, limit_w)
    if quantity is Quantity.POWER_LIMIT:
        return 0.0, MOST_POWER_W[scope]
    return RANGES[quantity]


def most_energy_j(
    duration_s: float, *, scope: Scope = Scope.DEVICE, limit_w: float | None = None, late_s: float = 0.0
) -> float:
    """The most that one thing can take in ``duration_s`` [J].

    late_s   how much longer than that the joules may have been gathered (a counter that shows its value late)
    """
    return most_w(scope, limit_w) * (max(duration_s, 0.0) + late_s)


def rise_fault(
    energy_j: float,
    duration_s: float,
    *,
    scope: Scope = Scope.DEVICE,
    limit_w: float | None = None,
    late_s: float = 0.0,
    step_j: float = 0.0,
) -> Reason | None:
    """Why ``energy_j`` cannot have been taken in ``duration_s``; None where it can. ``step_j``: a counter's step."""
    energy_j = _number(energy_j)
    if not math.isfinite(energy_j):
        return Reason.NOT_FINITE
    if energy_j < 0.0:
        return Reason.NEGATIVE
    most_j = most_energy_j(duration_s, scope=scope, limit_w=limit_w, late_s=late_s)
    return Reason.IMPLAUSIBLE if energy_j > most_j + step_j else None


def dead_sensor(
    energy_j: float,
    output_tok: float,
    duration_s: float,
    *,
    scope: Scope = Scope.DEVICE,
    limit_w: float | None = None,
    resolution_j: float = 0.0,
) -> bool:
    """Whether a sensor that says ``energy_j`` is dead, since its server made ``output_tok`` tokens meanwhile.

    Exactly 0 W, a counter that stands still, less than anything of its scope draws then, or less than ``DEAD_RATIO`` of
    the board's limit (a unit off by 1,000).
    """
    if output_tok <= 0.0 or duration_s <= 0.0:
        return False
    least_w = max(LEAST_SERVING_W.get(scope, 0.0), 0.0 if limit_w is None else DEAD_RATIO * limit_w)
    return energy_j <= 0.0 or energy_j + resolution_j < least_w * duration_s


def token_fault(
    count_tok: float, duration_s: float, *, kind: str = "output", most_tok_s: float | None = None
) -> Reason | None:
    """Why a server cannot have made ``count_tok`` in ``duration_s``; None where it can.

    kind        "output" or "prompt" (cached ones included)
    most_tok_s  what this server can do, where it is known; it is taken as it is
    """
    count_tok = _number(count_tok)
    if not math.isfinite(count_tok) or count_tok < 0.0:
        return Reason.IMPLAUSIBLE_TOKENS
    rate_tok_s = MOST_RATE_TOK_S[kind] if most_tok_s is None else most_tok_s
    return Reason.IMPLAUSIBLE_TOKENS if count_tok > rate_tok_s * max(duration_s, 1.0) else None


def plausible_record(record: RunRecord) -> RunRecord:
    """``record`` whose impossible readings have failed, with the reason as their error; the same one where none are.

    For those who look at readings themselves. ``ledger.account`` takes the record as it was written.
    """
    faults = _faults(record)
    if not faults:
        return record
    readings = (
        replace(r, value=None, error=f"{faults[i].value}: {_number(r.value):.6g}") if i in faults else r
        for i, r in enumerate(record.readings)
    )
    return replace(record, readings=tuple(readings))


def _faults(record: RunRecord) -> dict[int, Reason]:
    """Why readings of ``record`` cannot be, by place."""
    places: dict[str, list[int]] = {}
    for i, r in enumerate(record.readings):
        if r.value is not None:
            places.setdefault(r.channel, []).append(i)
    faults: dict[int, Reason] = {}
    for c in record.channels:
        where = places.get(c.id, [])
        for reason, mask in reading_faults(c.quantity, numbers(record.readings[i].value for i in where), scope=c.scope):
            faults |= {where[k]: reason for k in np.flatnonzero(mask)}
    return faults


def power_limits_w(channels: Iterable[Channel], readings: Iterable[Reading]) -> dict[str, float]:
    """The largest power limit that each device's own readings state [W], by device; impossible ones are left out."""
    device_of = {c.id: (c.device, c.scope) for c in channels if c.quantity is Quantity.POWER_LIMIT}
    limits: dict[str, float] = {}
    for r in readings if device_of else ():
        if r.channel not in device_of or r.value is None:
            continue
        device, scope = device_of[r.channel]
        if r.value > 0.0 and reading_fault(Quantity.POWER_LIMIT, r.value, scope=scope) is None:
            limits[device] = max(limits.get(device, 0.0), r.value)
    return limits
