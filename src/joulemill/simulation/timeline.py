"""What each replica did from start to end, as intervals without gap. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.columns import Whole, put, real, whole


class ReplicaState(IntEnum):
    """What the devices of a replica are in; the code in ``Timeline.state``."""

    OFF = 0
    BARE = 1
    CONTEXT = 2
    SLEEP_1 = 3
    SLEEP_2 = 4
    LOADED_IDLE = 5
    ACTIVE = 6
    TRANSITION = 7

    @property
    def label(self) -> str:
        """The state's name: ``loaded_idle``."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Intervals of all replicas, sorted by replica and start; those of one replica leave no gap.

    start_ns, end_ns   of the interval;  state  see ``ReplicaState``
    decode_req, waiting_req, kv_tok   sequences that decode, requests that wait, tokens that the KV cache holds for
                       them: means over the interval
    prefill_tok, cached_tok, output_tok   prompt tokens computed, prompt tokens that the prefix cache served, tokens of
                       answers: sums over the interval
    prefill_j, decode_j, idle_j, transition_j   device energy by what it was spent on, all devices of the replica:
                       their sum is the device energy
    """

    replica: Whole
    start_ns: Whole
    end_ns: Whole
    state: Whole
    decode_req: Array
    waiting_req: Array
    kv_tok: Array
    prefill_tok: Whole
    cached_tok: Whole
    output_tok: Whole
    prefill_j: Array
    decode_j: Array
    idle_j: Array
    transition_j: Array

    def __post_init__(self) -> None:
        n = np.asarray(self.replica).size
        for f in fields(self):
            column = getattr(self, f.name)
            put(self, **{f.name: (whole if f.type == "Whole" else real)(column, f.name, n, 0)})
        if n and self.state.max() > max(ReplicaState):
            raise InputError(f"state: {self.state.max()} is no state of a replica")
        if np.any(self.end_ns <= self.start_ns):
            raise InputError("end_ns: an interval must end after it starts")
        same = self.replica[1:] == self.replica[:-1]
        if np.any(self.replica[1:] < self.replica[:-1]) or np.any(self.start_ns[1:][same] != self.end_ns[:-1][same]):
            raise InputError("start_ns: intervals must be sorted by replica and start, each where the last one ended")

    @property
    def device_j(self) -> Array:
        """Energy of the devices in each interval [J]."""
        return self.prefill_j + self.decode_j + self.idle_j + self.transition_j

    @property
    def duration_s(self) -> Array:
        """Length of each interval [s]."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def device_power_w(self) -> Array:
        """Mean power of the devices in each interval [W]."""
        return self.device_j / self.duration_s
