"""Work of others on the metered devices: their joules are in ours, so J/token may be less, and is told so. Pure."""

from __future__ import annotations

import math
from statistics import fmean

from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.record import Quantity, RunRecord, Scope
from joulemill.wording import percent

#: Below this share of the devices' work others are not worth telling. Assumed.
TOLD_RATIO = 0.005


def foreign_use(record: RunRecord, start_s: float, end_s: float) -> tuple[float, tuple[Finding, ...]]:
    """The most of the devices' work in [start_s, end_s] that was others', 0–1, and a finding for each shared device.

    The mean over the devices that say so, each with its mean over the window. One that does not say counts as ours.
    """
    device_of = {c.id: c.device for c in record.channels if c.quantity is Quantity.FOREIGN_USE}
    values_of_device: dict[str, list[float]] = {device: [] for device in device_of.values()}
    for r in record.readings:
        known = r.channel in device_of and r.value is not None and math.isfinite(r.value)
        if known and start_s <= r.t_mono_s <= end_s:
            values_of_device[device_of[r.channel]].append(min(max(r.value or 0.0, 0.0), 1.0))
    shares = {device: fmean(values) if values else 0.0 for device, values in values_of_device.items()}
    findings = tuple(
        Finding(
            Reason.SHARED_DEVICE,
            Scope.DEVICE.value,
            f"up to {percent(share)} of the work on {device} was other processes'; their joules are in the figure, so "
            "J/token may be that much less: stop them and measure again",
        )
        for device, share in shares.items()
        if share >= TOLD_RATIO
    )
    return (fmean(shares.values()) if findings else 0.0), findings
