"""Operating points that no plan needs: those that another beats in every resource. Pure.

Per token a point takes devices, and watts above what its devices would draw unused. A point that takes no less of
either than a mixture of others of its pool and class is never better, whatever devices and power are worth. A plan with
whole replicas has replicas that are not full: there a point goes only where the same deployment makes more at no more
watts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.planning.problem import WAITING, DevicePool, Index, OperatingPoints

#: Share by which a point must be beaten: below the noise of any prediction.
TIE_RATIO = 1e-9


def efficient(points: OperatingPoints, pools: Sequence[DevicePool], *, whole: bool = False) -> Index:
    """Rows that are worth keeping, in order."""
    idle_w = np.array([p.least_idle_w for p in pools])[points.pool]
    rate = np.maximum(points.rate_tok_s, 1e-300)
    serving = points.demand != WAITING
    if whole:
        parts = _parts([points.pool, points.demand, points.group], serving)
        kept = [rows[on_front(-points.rate_tok_s[rows], points.power_w[rows])] for rows in parts]
        return np.sort(np.concatenate([np.flatnonzero(~serving), *kept]))
    devices = points.device_count / rate
    watts = (points.power_w - idle_w * points.device_count) / rate
    parts = _parts([points.pool, points.demand], serving)
    kept = [rows[on_hull(devices[rows], watts[rows])] for rows in parts]
    return np.sort(np.concatenate([np.empty(0, dtype=np.intp), *kept]))


def on_front(first: Array, second: Array) -> Index:
    """Indices of the points that no other beats in both (less is better), ordered by the first."""
    order = np.lexsort((second, first))
    best = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    return order[second[order] < best * (1.0 - TIE_RATIO * np.sign(best))] if first.size else order


def on_hull(first: Array, second: Array) -> Index:
    """Indices of the front's points that no mixture of two others beats: the lower left convex hull."""
    front = on_front(first, second)
    hull: list[int] = []
    for i in front.tolist():
        while len(hull) > 1 and _above(first, second, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return np.array(hull, dtype=np.intp)


def _above(x: Array, y: Array, a: int, b: int, c: int) -> bool:
    """Whether ``b`` lies on or above the line from ``a`` to ``c``."""
    return bool((x[b] - x[a]) * (y[c] - y[a]) <= (x[c] - x[a]) * (y[b] - y[a]))


def _parts(keys: Sequence[Index], wanted: NDArray[np.bool_]) -> Sequence[Index]:
    """Rows that agree in all keys."""
    rows = np.flatnonzero(wanted)
    if not rows.size:
        return []
    order = rows[np.lexsort(tuple(k[rows] for k in reversed(keys)))]
    changed = np.any([np.diff(k[order]) != 0 for k in keys], axis=0)
    return np.split(order, np.flatnonzero(changed) + 1)
