"""What became of each request. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from joulemill.arrays import Array
from joulemill.simulation.columns import Flags, Whole, flags, put, real, whole

#: A time at which nothing happened.
NEVER_NS = -1
#: Why a request was not served; ``Outcomes.rejected_for`` counts from here. "" is served, or cut off by the end.
REASONS = (
    "",
    "longer than the KV cache holds",
    "longer than the model's context",
    "shed by a control",
    "no replica on",
    "longer than a step's budget",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """One entry a request, in the order of the traffic.

    arrival_ns       when it came: that of the traffic, or later where it waited for a preceding turn; −1: its turn
                     never came
    admitted_ns, first_token_ns, finish_ns   first step with any of its prompt begins; first token out; last token out;
                     −1: never
    cached_tok       of its prompt, from the prefix cache, when first admitted
    generated_tok    tokens of the answer
    preemptions_count   times that it lost its KV cache and was computed again
    rejected, rejected_for   refused, and why: an index of ``REASONS``
    replica          that served it, −1: none
    energy_j         its share of the active energy of devices: prefill and decode
    """

    arrival_ns: Whole
    admitted_ns: Whole
    first_token_ns: Whole
    finish_ns: Whole
    cached_tok: Whole
    generated_tok: Whole
    preemptions_count: Whole
    rejected: Flags
    rejected_for: Whole
    replica: Whole
    energy_j: Array

    def __post_init__(self) -> None:
        n = np.asarray(self.arrival_ns).size
        counted = [f.name for f in fields(self) if f.name not in ("rejected", "energy_j")]
        floor = {"cached_tok": 0, "generated_tok": 0, "preemptions_count": 0, "rejected_for": 0}
        put(self, **{name: whole(getattr(self, name), name, n, floor.get(name, -1)) for name in counted})
        put(self, rejected=flags(self.rejected, "rejected", n), energy_j=real(self.energy_j, "energy_j", n, 0.0))

    @property
    def completed(self) -> Flags:
        """Requests whose last token came."""
        return self.finish_ns >= 0
