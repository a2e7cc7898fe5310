"""Replicas behind a router, played through traffic: one clock, events in order of time. Deterministic.

At one tick, steps end first, then requests come in, then settings change, then replicas begin their next step. A
stretch of steps that runs is cut at the first step that begins after what comes in, so that nothing is late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.autoscale import Autoscale, Scaler
from joulemill.simulation.controls import Controls, uncontrolled
from joulemill.simulation.cost import TICKS, StepCost
from joulemill.simulation.intervals import timeline_of
from joulemill.simulation.outcomes import REASONS, Outcomes
from joulemill.simulation.pools import DecodeReplica, PrefillReplica
from joulemill.simulation.replica import Replica
from joulemill.simulation.requests import RequestTable
from joulemill.simulation.resting import RestPolicy
from joulemill.simulation.routing import router_named
from joulemill.simulation.scheduler import EngineLimits
from joulemill.simulation.timeline import ReplicaState, Timeline
from joulemill.simulation.traffic import NS_IN_S, Traffic

_END, _ARRIVAL, _SETTING, _READY, _HANDED, _LOOK = range(6)
_SHED, _NONE_ON = REASONS.index("shed by a control"), REASONS.index("no replica on")


@dataclass(frozen=True, kw_only=True)
class PrefillPool:
    """Replicas that compute prompts for those of a fleet, which then decode; they count on behind them.

    kv_transfer_s, kv_transfer_tok_s   to move the KV cache: fixed, and a token;  kv_transfer_j_tok  joules of both ends
    """

    limits: EngineLimits
    cost_at: Callable[[float, float], StepCost]
    rest: RestPolicy
    replicas_count: int = 1
    devices_count: int = 1
    kv_transfer_s: float = 0.0
    kv_transfer_tok_s: float = 0.0
    kv_transfer_j_tok: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What plays the traffic.

    cost_at       step costs under a power cap [W] (NaN: the deployment's own) and a clock
    devices_count of one replica
    least_interval_ns   steps are put together in the timeline until they last so long
    fast_forward  whether alike steps are taken at once; the results are the same
    prefill       prompts are computed there (disaggregated serving); None: in the same steps
    autoscale     how many replicas serve, by their load; None: all that the controls let
    """

    limits: EngineLimits
    cost_at: Callable[[float, float], StepCost]
    rest: RestPolicy
    replicas_count: int = 1
    devices_count: int = 1
    router: str = "least-load"
    least_interval_ns: int = 100_000_000
    fast_forward: bool = True
    prefill: PrefillPool | None = None
    autoscale: Autoscale | None = None

    def __post_init__(self) -> None:
        if self.replicas_count < 1 or self.devices_count < 1:
            raise InputError("a fleet has at least one replica of at least one device")


@dataclass(frozen=True, kw_only=True)
class FleetRun:
    """What playing gives: outcomes of the requests, the replicas' timeline, and stretches of steps taken."""

    outcomes: Outcomes
    timeline: Timeline
    events_count: int


def play(traffic: Traffic, fleet: Fleet, controls: Controls | None = None, *, until_ns: int = 0) -> FleetRun:
    """Play ``traffic`` through ``fleet`` to the last token, and on to ``until_ns`` where that is later."""
    return _Play(traffic, fleet, controls or uncontrolled()).run(until_ns)


@dataclass
class _Rest:
    """How a replica stands when it does not work: scaled away or not, and from when on it can work; until ``joins`` it
    loads to serve again, and routers pass it by."""

    active: bool = True
    ready: int = 0
    joins: int = 0


class _Play:
    def __init__(self, traffic: Traffic, fleet: Fleet, controls: Controls) -> None:
        self.traffic, self.fleet, self.controls = traffic, fleet, controls
        self.table = RequestTable(traffic)
        self.route = router_named(fleet.router)
        self.plans: list[Fleet | PrefillPool] = [fleet] * fleet.replicas_count
        if fleet.prefill is not None:
            self.plans += [fleet.prefill] * fleet.prefill.replicas_count
        kinds = {id(plan): plan for plan in self.plans}
        self.costs = {(k, key): plan.cost_at(*key) for k, plan in kinds.items() for key in self._settings()}
        self.replicas = [self._replica(i) for i in range(len(self.plans))]
        self.rests = [_Rest() for _ in self.replicas]
        self.entrance = self.replicas[fleet.replicas_count if fleet.prefill is not None else 0 :]
        self.enter = router_named(fleet.router)
        self.events: list[tuple[int, int, int]] = []
        self.admission = 1.0
        self.credit = 0.0
        self.touched: list[int] = []
        self.after = self._following()
        self.scaler = None if fleet.autoscale is None else Scaler(fleet.autoscale, fleet.replicas_count)
        self.allowed = fleet.replicas_count
        self.coming = 0
        self.joined = 0  # tick from which on no replica loads to join

    def _replica(self, i: int) -> Replica:
        plan, fleet = self.plans[i], self.fleet
        cost = self.costs[id(plan), next(iter(self._settings()))]
        kind = Replica if fleet.prefill is None else DecodeReplica if plan is fleet else PrefillReplica
        return kind(
            i,
            self.table,
            plan.limits,
            cost,
            least_interval_ns=fleet.least_interval_ns,
            fast_forward=fleet.fast_forward,
        )

    def _settings(self) -> dict[tuple[float, float], None]:
        pairs = zip(self.controls.power_cap_w.tolist(), self.controls.clock_ratio.tolist(), strict=True)
        # NaN is not equal to itself: one object stands for all.
        return dict.fromkeys((cap if cap == cap else np.nan, clock) for cap, clock in pairs)

    def _following(self) -> dict[int, int]:
        """Request → the turn that waits for it."""
        if self.traffic.previous is None:
            return {}
        return {p: i for i, p in enumerate(self.traffic.previous.tolist()) if p >= 0}

    def _visible(self, i: int, arrival_ns: int) -> int:
        limits = self.fleet.limits
        wait_s = limits.ingest_s + limits.ingest_tok_s * self.table.input_tok[i]
        return (arrival_ns + round(wait_s * NS_IN_S)) * TICKS

    def run(self, until_ns: int) -> FleetRun:
        waits = set(self.after.values())
        first = sorted((self._visible(i, t), i) for i, t in enumerate(self.table.arrival_ns) if i not in waits)
        for i in waits:
            self.table.arrival_ns[i] = -1
        for k, at_ns in enumerate(self.controls.at_ns.tolist()):
            heappush(self.events, (at_ns * TICKS, _SETTING, k))
        if self.scaler is not None:
            heappush(self.events, (0, _LOOK, 0))
        self._loop(first)
        end_ns = max([until_ns, *(r.intervals.end_ns for r in self.replicas)])
        for r, rest in zip(self.replicas, self.rests, strict=True):
            r.intervals.flush()
            plan = self.plans[r.index]
            plan.rest.write(r.intervals, end_ns, plan.devices_count, rest.active)
        return FleetRun(
            outcomes=self.table.outcomes(),
            timeline=timeline_of([r.intervals for r in self.replicas]),
            events_count=sum(r.events_count for r in self.replicas),
        )

    def _loop(self, first: list[tuple[int, int]]) -> None:
        events, count, at = self.events, len(first), 0
        self.coming = count
        while events or at < count:
            tick = first[at][0] if at < count else events[0][0]
            if events and events[0][0] <= tick:
                tick = events[0][0]
                self._apply(tick)
            while at < count and first[at][0] == tick:
                self._arrive(first[at][1], tick)
                at += 1
                self.coming -= 1
            if events and events[0][0] == tick:
                self._apply(tick)
            if self.touched:
                self._begin(tick)

    def _apply(self, tick: int) -> None:
        """All events of this tick."""
        events = self.events
        while events and events[0][0] == tick:
            _, kind, index = heappop(events)
            if kind == _END:
                self._complete(index, tick)
            elif kind == _ARRIVAL:
                self._arrive(index, tick)
            elif kind == _SETTING:
                self._set(index, tick)
            elif kind == _HANDED:
                self._take_over(index, tick)
            elif kind == _LOOK:
                self._look(tick)
            else:
                self.touched.append(index)

    def _complete(self, index: int, tick: int) -> None:
        replica = self.replicas[index]
        if replica.end != tick:
            return
        replica.complete()
        self.touched.append(index)
        if isinstance(replica, PrefillReplica):
            self._hand_over(replica, tick)
        if not self.after:
            return
        for i in replica.finished:
            self._follow(i)

    def _hand_over(self, replica: PrefillReplica, tick: int) -> None:
        """Keys and values go on their way to who decodes."""
        pool = self.fleet.prefill
        if pool is None:
            return
        for i in replica.handed:
            wait_s = pool.kv_transfer_s + pool.kv_transfer_tok_s * self.table.target_tok[i]
            heappush(self.events, (tick + round(wait_s * NS_IN_S) * TICKS, _HANDED, i))

    def _take_over(self, i: int, tick: int) -> None:
        pool, decoders = self.fleet.prefill, self.replicas[: self.fleet.replicas_count]
        serving = self._serving(decoders, tick) or decoders[:1]
        replica = self.route(serving, i) if len(serving) > 1 else serving[0]
        if isinstance(replica, DecodeReplica) and pool is not None:
            end = replica.end
            replica.take_over(i, tick, pool.kv_transfer_j_tok * self.table.target_tok[i])
            self._woken(replica, end)

    def _woken(self, replica: Replica, end: int) -> None:
        """A replica that something came to: its stretch may end sooner than at ``end``, or it may begin."""
        if replica.end != end:
            heappush(self.events, (replica.end, _END, replica.index))
        elif end < 0:
            self.touched.append(replica.index)

    def _follow(self, i: int) -> None:
        """The turn that waited for request ``i`` comes after its think time."""
        turn = self.after.get(i)
        if turn is None or self.traffic.think_ns is None:
            return
        arrival_ns = max(self.table.finish_ns[i] + int(self.traffic.think_ns[turn]), int(self.traffic.arrival_ns[turn]))
        self.table.arrival_ns[turn] = arrival_ns
        heappush(self.events, (self._visible(turn, arrival_ns), _ARRIVAL, turn))

    def _arrive(self, i: int, tick: int) -> None:
        self.credit += self.admission
        if self.credit < 1.0 - 1e-9:
            self.table.rejected_for[i] = _SHED
            return
        self.credit -= 1.0
        serving = self._serving(self.entrance, tick)
        if not serving:
            self.table.rejected_for[i] = _NONE_ON
            return
        replica = self.enter(serving, i) if len(serving) > 1 else serving[0]
        lengths = (self.table.input_tok[i], self.table.output_tok[i])
        why = replica.limits.refusal(*lengths) or self.fleet.limits.refusal(*lengths)
        if why:
            self.table.rejected_for[i] = why
            return
        end = replica.end
        replica.accept(i, tick)
        self._woken(replica, end)

    def _serving(self, replicas: list[Replica], tick: int) -> list[Replica]:
        """Of ``replicas`` those that are to serve and have loaded; where none has, those that load."""
        active = [r for r in replicas if self.rests[r.index].active]
        if tick >= self.joined:
            return active
        return [r for r in active if tick >= self.rests[r.index].joins] or active

    def _set(self, k: int, tick: int) -> None:
        """Setting ``k`` of the controls holds from now on."""
        c = self.controls
        self.admission = float(c.admission_ratio[k])
        cap = float(c.power_cap_w[k])
        key = (cap if cap == cap else np.nan, float(c.clock_ratio[k]))
        active = int(c.replicas_active[k])
        self.allowed = self.fleet.replicas_count if active < 0 else active
        for r in self.replicas:
            end = r.end
            r.cut(tick)
            if r.end != end:
                heappush(self.events, (r.end, _END, r.index))
            plan = self.plans[r.index]
            r.cost = self.costs[id(plan), key]
            limit = int(c.max_running_req[k])
            r.max_running_req = plan.limits.max_num_seqs if limit < 0 else limit
            self.touched.append(r.index)
        self._scale(tick)

    def _look(self, tick: int) -> None:
        """The autoscaler looks, and looks again as long as anything is to come."""
        if self.scaler is None:
            return
        self.scaler.look(sum(r.load_req for r in self.replicas))
        self._scale(tick)
        if self.events or self.coming or any(r.load_req for r in self.replicas):
            next_tick = tick + round(self.scaler.rule.period_s * NS_IN_S) * TICKS
            heappush(self.events, (next_tick, _LOOK, 0))

    def _scale(self, tick: int) -> None:
        """As many replicas serve as the controls and the autoscaler let."""
        count = self.allowed if self.scaler is None else min(self.allowed, self.scaler.count)
        for r in self.replicas[: self.fleet.replicas_count]:
            self._activate(r, r.index < count, tick)

    def _activate(self, r: Replica, active: bool, tick: int) -> None:
        """Let a replica serve, or let it drain and then rest."""
        rest = self.rests[r.index]
        if active == rest.active:
            return
        now_ns = tick // TICKS
        if r.end < 0 and not r.load_req:
            self._rest_until(r, now_ns)
            if active and tick >= rest.ready:  # else it loads already
                self._wake(r, self.fleet.rest.inactive, tick)
                rest.joins = rest.ready
                self.joined = max(self.joined, rest.joins)
        rest.active = active

    def _rest_until(self, r: Replica, now_ns: int) -> None:
        plan = self.plans[r.index]
        plan.rest.write(r.intervals, now_ns, plan.devices_count, self.rests[r.index].active)

    def _wake(self, r: Replica, state: ReplicaState, tick: int) -> None:
        """Bring a replica back from ``state``: it takes time and joules, and holds nothing in its cache."""
        plan = self.plans[r.index]
        cost = plan.rest.states[state]
        wait_ns = round(cost.wake_s * NS_IN_S)
        if not wait_ns:
            return
        r.intervals.rest(tick // TICKS + wait_ns, ReplicaState.TRANSITION, cost.wake_j * plan.devices_count, r.load_req)
        if state != ReplicaState.LOADED_IDLE:
            r.blocks.forget()
        self.rests[r.index].ready = tick + wait_ns * TICKS
        heappush(self.events, (tick + wait_ns * TICKS, _READY, r.index))

    def _begin(self, tick: int) -> None:
        """Replicas that something happened to begin their next step."""
        touched, self.touched = self.touched, []
        for index in touched:
            r, rest = self.replicas[index], self.rests[index]
            if r.end >= 0 or not r.load_req or tick < rest.ready:
                continue
            start_ns = tick // TICKS
            idle_ns = start_ns - r.intervals.end_ns
            if idle_ns > 0:
                state = self.plans[index].rest.state_after(idle_ns)
                self._rest_until(r, start_ns)
                self._wake(r, state, tick)
                if tick < rest.ready:
                    continue
            if r.begin(tick):
                heappush(self.events, (r.end, _END, index))
