"""The same traffic with and without an event's policies: what each costs in tokens, latency, joules, money, carbon."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.errors import InputError
from joulemill.prediction.simulation.cascade import play_scene
from joulemill.prediction.simulation.fleet import least_cap_w
from joulemill.prediction.simulation.playing import Scene, TimedRun
from joulemill.simulation.assembly import parts_of
from joulemill.simulation.controls import uncontrolled
from joulemill.simulation.events import SiteEvent
from joulemill.simulation.latencies import summary
from joulemill.simulation.policies import (
    POLICIES,
    RESTS,
    Sizing,
    cap_under,
    controls_at,
    deferred,
    device_limit_w,
    moves_requests,
)
from joulemill.simulation.run import PlayedTraffic
from joulemill.simulation.timeline import ReplicaState
from joulemill.simulation.traffic import NS_IN_S, Traffic

#: A policy is tuned on so much of the middle of an event [s], or so many requests of it, after a lead [s]; on a grid of
#: settings, then by halving so often.
SAMPLE_S, SAMPLE_REQ, LEAD_S, HALVINGS = 600.0, 1200, 60.0, 4
GRID = (1.0, 0.75, 0.5, 0.25, 0.1, 0.0)
#: A tighter setting that saves less than this of the power is not worth what it costs (assumed).
LEAST_GAIN_RATIO = 0.01
#: A limit is kept where the mean of the event's time is no more than this above it (assumed).
KEPT_RATIO = 0.01
#: What is said of the run without a policy where the events set no limit: there is none to be kept.
NO_LIMIT = "no limit is set, and no policy acts"
#: What replicas do at rest, as policies: their router gathers the load, so that some are idle.
REST_POLICIES = {name: f"idle replicas: {name}" for name in RESTS if name != "loaded"}


#: Plays a policy until a time [s].
_Play = Callable[[float], "PolicyRun"]


@dataclass(frozen=True, kw_only=True)
class PolicyRun:
    """A policy, its run, and by how much it kept the events' limits.

    window    mean power at the widest scope in the first event that limits it, and the limit then [W]
    free_w    what was drawn then without a policy
    deferred_req, deferred_s   requests that were asked to come later, and their mean delay
    """

    policy: str
    timed: TimedRun
    window: tuple[float, float] | None = None
    free_w: float | None = None
    deferred_req: float = 0.0
    deferred_s: float = 0.0

    @property
    def run(self) -> PlayedTraffic:
        """The run."""
        return self.timed.run

    @property
    def kept(self) -> bool | None:
        """Whether the limit was kept; None where there is none."""
        return None if self.window is None else self.window[0] <= self.window[1] * (1.0 + KEPT_RATIO)

    @property
    def cut_ratio(self) -> float | None:
        """By how much less was drawn in the event than without a policy; below 0 where it was more."""
        return None if self.window is None or not self.free_w else 1.0 - self.window[0] / self.free_w

    def row(self, free: PlayedTraffic) -> dict[str, float | bool | str | None]:
        """What it costs beside the run without policy ``free``."""
        run = self.run
        scope, lat = run.widest_scope, run.latencies
        energy = run.energy_j(scope) or 0.0
        return {
            "policy": self.policy,
            "about": NO_LIMIT if self.policy == "none" and self.window is None else describe(self.policy),
            "kept": self.kept,
            "window_w": self.window and self.window[0],
            "limit_w": self.window and self.window[1],
            "cut_ratio": self.cut_ratio,
            "output_tok": float(run.output_tok),
            "lost_tok": float(free.output_tok - run.output_tok),
            "good_tok": run.good_tok,
            "attained_ratio": run.attained_ratio,
            "rejected_req": float(run.outcomes.rejected.sum()),
            "deferred_req": self.deferred_req,
            "deferred_s": self.deferred_s,
            "ttft_p50_s": summary(lat.ttft_s).p50_s,
            "ttft_p99_s": summary(lat.ttft_s).p99_s,
            "tpot_p50_s": summary(lat.tpot_s).p50_s,
            "tpot_p99_s": summary(lat.tpot_s).p99_s,
            "e2e_mean_s": summary(lat.e2e_s).mean_s,
            "energy_j": energy,
            "energy_j_tok": energy / run.output_tok if run.output_tok else None,
            "carbon_gco2e": run.priced(run.around.carbon_gco2e),
            "cost_currency": run.priced(run.around.price_currency),
            "scope": scope,
        }


def compare_policies(
    scene: Scene, policies: tuple[str, ...] | None = None, progress: Callable[[str], None] | None = None
) -> tuple[PolicyRun, ...]:
    """The run without any policy first, then one a policy of the scene's events, all on the same traffic.

    All runs last as long, so that their joules are of the same time. InputError for a policy that cannot be.
    """
    names = policies if policies is not None else scene.events.policies
    if scene.first is not None and names:
        raise InputError("policies and a cascade: a policy acts on one deployment; leave one of them out")
    tell = progress or (lambda _: None)
    tell("without a policy")
    free = play_scene(scene)
    plays: dict[str, _Play] = {
        "none": lambda until_s: PolicyRun(policy="none", timed=play_scene(scene, until_s=until_s))
    }
    runs = {"none": PolicyRun(policy="none", timed=free)}
    listed = tuple(dict.fromkeys(n for n in names if n != "none"))
    longest_s = max(scene.until_s, free.run.duration_s)
    for name in sorted(listed, key=moves_requests, reverse=True):  # what is moved ends last, and all rest until then
        tell(f"policy {name}")
        plays[name] = _under(scene, name, free.run)
        runs[name] = plays[name](longest_s)
        longest_s = max(longest_s, runs[name].run.duration_s)
    for name, run in runs.items():  # a backlog that a policy leaves is served later: the others rest as long
        if run.run.duration_s < longest_s:
            tell(f"policy {name}, to the same end")
            runs[name] = plays[name](longest_s)
    windows = {name: _window(scene, r.run, free.run) for name, r in runs.items()}
    drawn = windows["none"]
    return tuple(replace(runs[n], window=windows[n], free_w=drawn and drawn[0]) for n in ("none", *listed))


def _under(scene: Scene, policy: str, free: PlayedTraffic) -> _Play:
    """What plays the scene under ``policy`` until a time; all that it takes to size it is done once."""
    if policy.partition(":")[0] in REST_POLICIES:
        return lambda until_s: PolicyRun(
            policy=policy, timed=play_scene(scene, rest=policy, router="power-aware", until_s=until_s)
        )
    controls, traffic = uncontrolled(), scene.traffic_under_events
    moved, waited_s = 0.0, 0.0
    for event in scene.events.cuts:
        limit_w = device_limit_w(scene.plant, event, site_limit_w(event, free))
        sizing = _sizing(scene, event, free)
        if policy == "cap":
            controls = cap_under(event, limit_w, sizing, controls)
            continue
        setting = _tuned(scene, policy, event, limit_w, free)
        controls = controls_at(policy, event, setting, sizing, controls)
        if moves_requests(policy):
            traffic, count, delay_s = _later(scene, traffic, event, 1.0 - setting)
            waited_s = (waited_s * moved + delay_s * count) / max(moved + count, 1.0)
            moved += count
    return lambda until_s: PolicyRun(
        policy=policy,
        timed=play_scene(scene, controls=controls, traffic=traffic, until_s=until_s),
        deferred_req=moved,
        deferred_s=waited_s,
    )


def _tuned(scene: Scene, policy: str, event: SiteEvent, limit_w: float, free: PlayedTraffic) -> float:
    """The setting at which the devices draw the needed share of what they drew without, on the event's middle."""
    part, sample = _sample(scene.traffic_under_events, event)
    wanted_ratio = limit_w / (free.in_window(event.start_s, event.end_s, "device") or 1.0)
    sizing = _sizing(scene, event, free)

    def drawn_w(setting: float) -> float:
        controls, traffic = controls_at(policy, sample, setting, sizing, uncontrolled()), part
        if moves_requests(policy):
            traffic = _later(scene, part, sample, 1.0 - setting)[0]
        run = play_scene(scene, controls=controls, traffic=traffic, until_s=sample.end_s).run
        return run.in_window(sample.start_s, sample.end_s, "device") or 0.0

    if wanted_ratio >= 1.0:
        return 1.0
    least = 1.0 - scene.events.deferrable_ratio if policy == "shift" else 0.0
    return _largest(drawn_w, wanted_ratio, [least + (1.0 - least) * setting for setting in GRID])


def _largest(drawn_w: Callable[[float], float], wanted_ratio: float, grid: Sequence[float]) -> float:
    """The largest setting that draws the wanted share of what the first of ``grid`` does, which falls; where none does,
    the largest that draws about as little as any: a lower clock or a smaller batch can cost more than it saves."""
    watts = [drawn_w(grid[0])]
    wanted_w = wanted_ratio * watts[0]
    for low, high in zip(grid[1:], grid, strict=False):
        watts.append(drawn_w(low))
        if watts[-1] > wanted_w:
            continue
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            low, high = (middle, high) if drawn_w(middle) <= wanted_w else (low, middle)
        return low
    return next(s for s, w in zip(grid, watts, strict=True) if w <= min(watts) + LEAST_GAIN_RATIO * watts[0])


def _sample(traffic: Traffic, event: SiteEvent) -> tuple[Traffic, SiteEvent]:
    """Requests around the middle of ``event``, from 0 s on, and the part of them that the policy is in force for."""
    inside = (traffic.arrival_ns >= event.start_s * NS_IN_S) & (traffic.arrival_ns < event.end_s * NS_IN_S)
    rate_req_s = float(inside.sum()) / (event.end_s - event.start_s)
    length_s = min(SAMPLE_S, event.end_s - event.start_s, max(SAMPLE_REQ / max(rate_req_s, 1e-9), LEAD_S))
    begins_s = (event.start_s + event.end_s - length_s) / 2.0
    from_s = max(0.0, begins_s - LEAD_S)
    parts = parts_of(traffic)
    kept = (parts.at_ns >= from_s * NS_IN_S) & (parts.at_ns < (begins_s + length_s) * NS_IN_S)
    if not kept.any():
        raise InputError(f"event {event.name}: no request comes in its middle; it needs traffic to be tuned on")
    moved = parts.picked(kept)
    moved = replace(moved, at_ns=moved.at_ns - round(from_s * NS_IN_S))
    return moved.in_order(), replace(event, start_s=begins_s - from_s, end_s=begins_s - from_s + length_s)


def _later(scene: Scene, traffic: Traffic, event: SiteEvent, share: float) -> tuple[Traffic, float, float]:
    if not scene.events.deferrable_ratio:
        raise InputError('policy shift needs to know what can wait: write deferrable = "30%" in the events file')
    share = min(share, scene.events.deferrable_ratio)
    return deferred(traffic, event, share, np.random.default_rng([scene.seed, 2, round(event.start_s)]))


def site_limit_w(event: SiteEvent, free: PlayedTraffic) -> float:
    """What the widest known scope may draw in ``event``, from what it draws without; infinite where no power is cut."""
    stated = event.site_limit_w if event.site_limit_w is not None else math.inf
    if event.cut_ratio is None:
        return stated
    drawn = free.in_window(event.start_s, event.end_s, free.widest_scope) or 0.0
    return min(stated, (1.0 - event.cut_ratio) * drawn)


def _window(scene: Scene, run: PlayedTraffic, free: PlayedTraffic) -> tuple[float, float] | None:
    """Mean power in the first event that limits it, and the limit; None where there is none."""
    event = next(iter(scene.events.cuts), None)
    if event is None:
        return None
    limit = site_limit_w(event, free)
    cooled = math.isinf(limit)
    scope = "node" if cooled and run.power.node_j is not None else run.widest_scope
    drawn = run.in_window(event.start_s, event.end_s, scope)
    return None if drawn is None else (drawn, event.cooling_limit_w or limit if cooled else limit)


def _sizing(scene: Scene, event: SiteEvent, free: PlayedTraffic) -> Sizing:
    line = free.timeline
    inside = (line.end_ns > event.start_s * NS_IN_S) & (line.start_ns < event.end_s * NS_IN_S)
    busy = inside & (line.state == ReplicaState.ACTIVE) & (line.decode_req > 0)
    lengths = line.duration_s[busy]
    batch = float(np.average(line.decode_req[busy], weights=lengths)) if len(lengths) else 1.0
    device = scene.played.deployment.device
    return Sizing(
        plant=scene.plant,
        rated_w=device.tdp_w or math.inf,
        floor_w=least_cap_w(scene.played),
        concurrency=batch,
        deferrable_ratio=scene.events.deferrable_ratio,
    )


def describe(policy: str) -> str:
    """What a policy does, for people."""
    name, _, time = policy.partition(":")
    text = REST_POLICIES.get(name) or ", and ".join(POLICIES.get(part, part) for part in name.split("+"))
    return f"{text}, after {time}" if time else text
