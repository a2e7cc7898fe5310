"""What a replica draws while it has nothing to do, and what it costs to bring it back. Pure values, and their use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.simulation.intervals import Intervals
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import NS_IN_S


@dataclass(frozen=True, kw_only=True)
class RestState:
    """A state of the idle ladder, of one device: watts, and the seconds and joules until it serves again."""

    power_w: float
    wake_s: float = 0.0
    wake_j: float = 0.0

    def __post_init__(self) -> None:
        if min(self.power_w, self.wake_s, self.wake_j) < 0.0:
            raise InputError(f"watts, seconds and joules of a state of rest must be 0 or more: {self}")


@dataclass(frozen=True, kw_only=True)
class RestPolicy:
    """What an idle replica does: after how long it goes to which state, and where one goes that is not to serve.

    states      what is known of each state that is used
    ladder      (seconds of idleness, state) from 0 on, rising
    inactive    state of a replica that is scaled away
    """

    states: Mapping[ReplicaState, RestState]
    ladder: tuple[tuple[float, ReplicaState], ...] = ((0.0, ReplicaState.LOADED_IDLE),)
    inactive: ReplicaState = ReplicaState.OFF

    def __post_init__(self) -> None:
        after = [seconds for seconds, _ in self.ladder]
        if not after or after[0] != 0.0 or sorted(set(after)) != after:
            raise InputError("the ladder of rest must start at 0 s and rise")
        missing = {state for _, state in self.ladder} - self.states.keys()
        if missing:
            raise InputError(f"watts of {', '.join(s.label for s in sorted(missing))} are not stated")

    def state_after(self, idle_ns: int) -> ReplicaState:
        """The state after so long."""
        return [state for seconds, state in self.ladder if seconds * NS_IN_S <= idle_ns][-1]

    def write(self, intervals: Intervals, end_ns: int, devices_count: int, active: bool, waiting_req: int = 0) -> None:
        """Write what a replica does from where ``intervals`` end until ``end_ns``."""
        start_ns = intervals.end_ns
        bounds = [start_ns + round(seconds * NS_IN_S) for seconds, _ in self.ladder[1:]] if active else []
        names = [state for _, state in self.ladder] if active else [self.inactive]
        for state, until_ns in zip(names, [*bounds, end_ns], strict=True):
            stop_ns = min(until_ns, end_ns)
            spent_j = self.states[state].power_w * devices_count * (stop_ns - intervals.end_ns) / NS_IN_S
            intervals.rest(stop_ns, state, spent_j, waiting_req)


def always_loaded(power_w: float) -> RestPolicy:
    """A replica that stays loaded whatever happens, at ``power_w`` a device; one scaled away draws nothing."""
    states = {ReplicaState.LOADED_IDLE: RestState(power_w=power_w), ReplicaState.OFF: RestState(power_w=0.0)}
    return RestPolicy(states=states)
