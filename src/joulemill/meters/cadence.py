"""How often a counter really updates, inferred from its readings. Pure.

A counter that is read more often than it updates stands still between updates. Seen from outside that is the only
sign of a collect interval (dcgm-exporter's default is 30 s), and it bounds how short a window may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from joulemill.ledger.record import Reading

#: Changes needed before a period is claimed.
LEAST_CHANGES = 3


def infer_update_period(readings: Sequence[Reading]) -> float | None:
    """Seconds between updates of the one energy counter that ``readings`` (in time order) come from; None unknown.

    The median time between changes of value. Where every reading differs from the one before, the counter updates at
    least that often and the polling interval is returned: an upper bound. Only for counters of something that always
    draws power: a gauge that does not move may simply be steady.

    >>> fast = [Reading("c", t / 10, 0.0, float(t // 5)) for t in range(40)]
    >>> infer_update_period(fast)
    0.5
    """
    good = [(r.t_mono_s, r.value) for r in readings if r.value is not None]
    changes = [t for (_, before), (t, now) in pairwise(good) if now != before]
    gaps = [b - a for a, b in pairwise(changes)]
    return median(gaps) if len(gaps) >= LEAST_CHANGES - 1 else None
