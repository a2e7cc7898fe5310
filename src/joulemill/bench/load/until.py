"""Stops a load when its token rate is known well enough: the 95 % interval is within a stated share of the rate.

Tokens are counted into seconds as requests end, so that looking costs the event loop nothing to speak of. What is
looked at is the load after the warm-up, less its last part, whose requests are still running; the bound is judged at
times that grow by a half, since a rule that looks at every moment stops too early by luck.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.statistics.ratio import ratio_interval

#: The first look comes after so many seconds, and each later one after half as much again (assumed).
FIRST_LOOK_S = 15.0
GROWTH_RATIO = 1.5
#: Sub-windows that the interval is taken over.
PARTS = 40
LEAST_S = 10


class NarrowEnough:
    """Whether the half width of the rate's interval is at most ``target_ratio`` of it. ``add`` hears each record."""

    def __init__(self, target_ratio: float, start_mono_s: float) -> None:
        self.target_ratio, self.start_s = target_ratio, start_mono_s
        self.half_ratio: float | None = None
        self._bins: defaultdict[int, float] = defaultdict(float)
        self._ended_s: list[float] = []
        self._look_s = FIRST_LOOK_S

    def add(self, record: RequestRecord) -> None:
        """One request has ended."""
        chunks = record.chunk_mono_s
        if record.outcome is not RequestOutcome.OK or not chunks or not record.output_tok:
            return
        each = record.output_tok / len(chunks)
        for second, count in zip(
            *np.unique(np.floor(np.array(chunks) - self.start_s), return_counts=True), strict=True
        ):
            self._bins[int(second)] += each * int(count)
        self._ended_s.append((record.end_mono_s or chunks[-1]) - chunks[0])

    def reached(self, now_mono_s: float) -> bool:
        """Whether the load may end; looked at only when a look is due."""
        elapsed_s = now_mono_s - self.start_s
        if elapsed_s < self._look_s:
            return False
        self._look_s = elapsed_s * GROWTH_RATIO
        # Requests that still run have not been counted: the last seconds would look like a fall.
        running_s = max(self._ended_s[-100:], default=0.0)
        whole = math.floor(elapsed_s - running_s)
        if whole < LEAST_S:
            return False
        self.half_ratio = self._half(whole)
        return self.half_ratio is not None and self.half_ratio <= self.target_ratio

    def _half(self, seconds: int) -> float | None:
        tokens = np.array([self._bins.get(s, 0.0) for s in range(seconds)])
        parts = np.array_split(tokens, min(PARTS, seconds))
        rate = ratio_interval(np.array([p.sum() for p in parts]), np.array([float(len(p)) for p in parts]))
        if rate is None or rate.low is None or rate.high is None or not rate.value:
            return None
        return (rate.high - rate.low) / 2.0 / rate.value
