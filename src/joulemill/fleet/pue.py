"""A site's facility power over its IT power, from the PUE that its table states."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from joulemill.errors import InputError
from joulemill.fleet.tables import SiteTable


def facility_lines(s: SiteTable) -> Sequence[tuple[float, float]]:
    """(slope, base [W]) of lines of which the highest counts. InputError for a curve that cannot be."""
    if s.pue_curve is None:
        return ((s.pue or 1.0, 0.0),)
    limit = s.it_power_limit
    if limit is None:
        raise InputError("pue_curve is over shares of it_power_limit, which is not stated")
    points = sorted((share * limit, share * limit * pue) for share, pue in s.pue_curve)
    if len(points) < 2 or any(pue < 1.0 or not 0.0 < share <= 1.5 for share, pue in s.pue_curve):
        raise InputError("pue_curve takes at least two [share of it_power_limit, PUE], the PUE at least 1")
    lines = []
    for (x0, y0), (x1, y1) in pairwise(points):
        slope = (y1 - y0) / (x1 - x0) if x1 > x0 else np.inf
        lines.append((slope, y0 - slope * x0))
    slopes = [slope for slope, _ in lines]
    if any(b < a - 1e-9 for a, b in pairwise(slopes)) or slopes[0] < 1.0 or lines[0][1] < 0.0:
        raise InputError(
            "pue_curve: facility power must grow at least as fast as IT power, and no slower at higher load; "
            "a PUE that falls with load has a fixed part and a constant slope"
        )
    return lines
