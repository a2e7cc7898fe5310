"""Two models one after the other: a smaller one answers first, and a share of its answers is asked again of a larger.

The stages share nothing but the requests and the site: the first never waits for the second. So the first is played,
what escalates arrives at the second when its first answer ends, and the second is played. A request that escalates
gets its first token from the second model; the joules of its first answer are its own all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from joulemill.errors import InputError
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.simulation.playing import FirstStage, Scene, TimedRun, run_scene
from joulemill.simulation.assembly import parts_of
from joulemill.simulation.columns import Flags, Whole
from joulemill.simulation.events import SiteEvent
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.fields import parse_fields
from joulemill.simulation.outcomes import Outcomes
from joulemill.simulation.plant import PlantPower
from joulemill.simulation.quality import AnswerQuality, CascadeEffect
from joulemill.simulation.run import PlayedTraffic, RunSetting
from joulemill.simulation.series import ReplicaLimits
from joulemill.simulation.timeline import Timeline
from joulemill.simulation.traffic import Traffic
from joulemill.units import parse_count, parse_quantity, parse_ratio

KEYS = (
    *("model", "escalate", "device", "devices", "tp", "replicas", "precision", "max_num_seqs", "accuracy"),
    "output_scale",
)
THROWN_AWAY = "first answers that are thrown away are in the replicas' tokens over time, and in no request's output"
#: Columns of outcomes that are those of the stage that answered.
_ANSWERED = ("first_token_ns", "finish_ns", "cached_tok", "generated_tok", "rejected", "rejected_for")


def parse_cascade(text: str, question: PredictionRequest, name: str = "--cascade") -> FirstStage:
    """``model=Qwen/Qwen3-8B,escalate=30%,devices=1``; what is not stated is as ``question`` of the larger has it."""
    f = parse_fields(text, KEYS, name, needed=("model", "escalate"))
    counts = {key: parse_count(f[key], name=f"{name} {key}") for key in ("devices", "tp", "replicas") if key in f}
    stated = "max_num_seqs" in f
    own = replace(
        question,
        model=f["model"],
        device=f.get("device", question.device),
        hardware=None if "device" in f else question.hardware,
        devices=counts.get("devices", 1),
        tp=counts.get("tp"),
        dp=None,
        ep=None,
        precision=f.get("precision"),
        max_num_seqs=parse_count(f["max_num_seqs"], name=f"{name} max_num_seqs") if stated else question.max_num_seqs,
        prefill_devices=None,
        prefill_tp=None,
        speculative_tokens=0,
        draft_model=None,
        calibration=None,
    )
    return FirstStage(
        question=own,
        copies=counts.get("replicas", 1),
        escalate_ratio=parse_ratio(f["escalate"], name=f"{name} escalate"),
        accuracy_ratio=parse_ratio(f["accuracy"], name=f"{name} accuracy") if "accuracy" in f else None,
        output_scale_ratio=parse_quantity(
            f.get("output_scale", "1"), "", name=f"{name} output_scale", above=0.0, most=1e3
        ),
    )


def play_scene(scene: Scene, *, until_s: float | None = None, **more: Any) -> TimedRun:
    """Play ``scene`` once, both of its stages where it has two; ``more`` as ``run_scene`` takes it."""
    if scene.first is None:
        return run_scene(scene, until_s=until_s, **more)
    return _play_both(scene, scene.first, max(until_s or 0.0, scene.until_s), **more)


def _play_both(scene: Scene, first: FirstStage, until_s: float, **more: Any) -> TimedRun:
    if scene.traffic_under_events.previous is not None:
        raise InputError(
            "a cascade does not support sessions: a turn would wait for both models; leave one of them out"
        )
    alone = replace(scene, first=None, events=replace(scene.events, events=_without_load(scene)))
    small = _first_scene(alone, first, scene.traffic_under_events)
    one = _answered(small, until_s, **more)
    escalated = _escalated(one.run.outcomes, first.escalate_ratio, np.random.default_rng([scene.seed, 3]))
    large = replace(alone, traffic=_asked_again(scene.traffic_under_events, one.run.outcomes, escalated))
    two = run_scene(large, until_s=max(until_s, one.run.duration_s), **more)
    if two.run.duration_s > one.run.duration_s:  # joules of both are of the same time
        again = run_scene(small, until_s=two.run.duration_s, **more)
        one = replace(again, wall_s=one.wall_s + again.wall_s)
    merged = _merged(scene, (small, large), (one.run, two.run), escalated)
    return TimedRun(merged, one.wall_s + two.wall_s, one.events + two.events)


def _answered(small: Scene, until_s: float, **more: Any) -> TimedRun:
    """The first stage alone. MemoryShort names it."""
    try:
        return run_scene(small, until_s=until_s, **more)
    except MemoryShort as short:
        message = f"cascade: {small.question.model}: {short}"
        raise MemoryShort(message, short.needed_byte, short.room_byte) from None


def _without_load(scene: Scene) -> tuple[SiteEvent, ...]:
    """The events, which have thinned the traffic already."""
    return tuple(replace(e, load_ratio=None) for e in scene.events.events)


def _first_scene(alone: Scene, first: FirstStage, traffic: Traffic) -> Scene:
    answers = np.maximum(1, np.rint(traffic.output_tok * first.output_scale_ratio)).astype(np.int64)
    return replace(
        alone,
        question=first.question,
        traffic=replace(traffic, output_tok=answers),
        copies=first.copies,
        autoscale=None,
    )


def _escalated(outcomes: Outcomes, ratio: float, draw: np.random.Generator) -> Whole:
    """Requests that the larger model answers, in the order in which they come to it: a share of those that the smaller
    has answered, and those that it refused."""
    drawn = draw.random(len(outcomes.finish_ns)) < ratio
    picked = np.flatnonzero((drawn & outcomes.completed) | outcomes.rejected)
    if not len(picked):
        raise InputError("cascade: no request escalates; raise escalate, or the number of requests")
    return picked[np.argsort(_ended_ns(outcomes)[picked], kind="stable")]


def _ended_ns(outcomes: Outcomes) -> Whole:
    return np.where(outcomes.completed, outcomes.finish_ns, outcomes.arrival_ns)


def _asked_again(traffic: Traffic, outcomes: Outcomes, escalated: Whole) -> Traffic:
    parts = parts_of(traffic).picked(escalated)
    return replace(parts, at_ns=_ended_ns(outcomes)[escalated]).in_order()


def _merged(
    scene: Scene,
    stages: tuple[Scene, Scene],
    runs: tuple[PlayedTraffic, PlayedTraffic],
    escalated: Whole,
) -> PlayedTraffic:
    one, two = runs
    asked = one.traffic.output_tok.copy()
    asked[escalated] = two.traffic.output_tok
    outcomes = _joined_outcomes(one.outcomes, two.outcomes, escalated, int(one.timeline.replica.max()) + 1)
    return PlayedTraffic(
        traffic=replace(scene.traffic_under_events, output_tok=asked),
        outcomes=outcomes,
        timeline=_joined_timeline(one.timeline, two.timeline),
        power=_joined_power(one.power, two.power, _facility(stages)),
        controls=two.controls,
        around=_setting(stages, runs, float(asked.sum())),
        quality=_quality(scene, runs, escalated, outcomes),
        notes=tuple(dict.fromkeys((*two.notes, *one.notes, THROWN_AWAY))),
    )


def _joined_outcomes(one: Outcomes, two: Outcomes, escalated: Whole, replicas: int) -> Outcomes:
    columns: dict[str, Any] = {name: getattr(one, name).copy() for name in _ANSWERED}
    for name, column in columns.items():
        column[escalated] = getattr(two, name)
    replica, energy_j, lost = one.replica.copy(), one.energy_j.copy(), one.preemptions_count.copy()
    replica[escalated] = np.where(two.replica >= 0, two.replica + replicas, -1)
    energy_j[escalated] += two.energy_j
    lost[escalated] += two.preemptions_count
    admitted = one.admitted_ns.copy()
    admitted[escalated] = np.where(admitted[escalated] < 0, two.admitted_ns, admitted[escalated])
    return Outcomes(
        **columns,
        arrival_ns=one.arrival_ns,
        admitted_ns=admitted,
        preemptions_count=lost,
        replica=replica,
        energy_j=energy_j,
    )


def _joined_timeline(one: Timeline, two: Timeline) -> Timeline:
    columns = {name: np.concatenate([getattr(one, name), getattr(two, name)]) for name in vars(one)}
    moved = two.replica + int(one.replica.max()) + 1
    return Timeline(**(columns | {"replica": np.concatenate([one.replica, moved])}))


def _joined_power(one: PlantPower, two: PlantPower, facility: FacilityModel | None) -> PlantPower:
    """Both plants under one roof: what the facility draws follows the power of all nodes."""

    def both(name: str) -> Any:
        parts = [getattr(p, name) for p in (one, two)]
        return None if any(p is None for p in parts) else parts[0] + parts[1]

    bins = two.bins
    power = PlantPower(
        bins=bins,
        device_j=both("device_j"),
        host_j=both("host_j"),
        fan_j=both("fan_j"),
        loss_j=both("loss_j"),
        facility_j=None,
    )
    if power.node_j is None or facility is None:
        return power
    overhead_w = facility.overhead_w(power.node_j / bins.lengths_s, bins.edges_s)
    return replace(power, facility_j=overhead_w * bins.lengths_s)


def _facility(stages: tuple[Scene, Scene]) -> FacilityModel | None:
    one, two = (s.plant.facility for s in stages)
    if one is None or two is None:
        return None
    site = stages[1].site
    stated_w = site.it_power_limit_w if site else None
    return replace(two, design_w=stated_w or (one.design_w or 0.0) + (two.design_w or 0.0) or None)


def _setting(stages: tuple[Scene, Scene], runs: tuple[PlayedTraffic, PlayedTraffic], got_tok: float) -> RunSetting:
    """What the larger model's run stands in; the KV cache is that of neither."""
    one, two = (s.setting for s in stages)
    nameplates = [s.nameplate_w for s in (one, two)]
    most = max(s.limits.max_running_req for s in (one, two))
    return replace(
        two,
        limits=ReplicaLimits(max_running_req=most, kv_tok=None, full_load_tok_s=_full_load(stages, runs, got_tok)),
        why_no_node=two.why_no_node or one.why_no_node,
        nameplate_w=None if None in nameplates else sum(w for w in nameplates if w is not None),
    )


def _full_load(stages: tuple[Scene, Scene], runs: tuple[PlayedTraffic, PlayedTraffic], got_tok: float) -> float | None:
    """Output tokens a second that users get where the stage that is short of what it is asked is at full load."""
    full = [s.setting.limits.full_load_tok_s for s in stages]
    asked = [float(r.traffic.output_tok.sum()) for r in runs]
    if None in full:
        return None
    return min((f or 0.0) * got_tok / a for f, a in zip(full, asked, strict=True))


def _quality(
    scene: Scene, runs: tuple[PlayedTraffic, PlayedTraffic], escalated: Whole, outcomes: Outcomes
) -> AnswerQuality:
    """Accuracy of what users get, and what the first stage took."""
    (one, two), first = runs, scene.first
    if first is None:
        return scene.quality
    again = np.zeros(len(outcomes.finish_ns), dtype=bool)
    again[escalated] = True
    effect = CascadeEffect(
        model=first.question.model,
        devices_count=int(first.copies * first.question.devices),
        escalate_ratio=first.escalate_ratio,
        escalated_req=len(escalated),
        discarded_tok=int(one.outcomes.generated_tok[escalated].sum()),
        first_j=float(one.timeline.device_j.sum()),
        second_j=float(two.timeline.device_j.sum()),
    )
    accuracy = _mean_accuracy(outcomes.completed, again, first.accuracy_ratio, scene.quality.accuracy_ratio)
    return replace(scene.quality, accuracy_ratio=accuracy, cascade=effect)


def _mean_accuracy(completed: Flags, again: Flags, small: float | None, large: float | None) -> float | None:
    kept, asked = float((completed & ~again).sum()), float((completed & again).sum())
    if small is None or large is None or not kept + asked:
        return None
    return (kept * small + asked * large) / (kept + asked)
