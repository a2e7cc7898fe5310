"""One traffic through a deployment at a site, with or without events: a run, and the same run under policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.catalog.sites import load_site, load_site_file
from joulemill.errors import InputError
from joulemill.physics.hardware.node import share_power
from joulemill.physics.hardware.site import Site
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.simulation.fleet import (
    ResolvedScene,
    asked_of,
    costs_of,
    limits_of,
    prefill_pool,
    resolve,
    rest_policy,
)
from joulemill.simulation.autoscale import Autoscale
from joulemill.simulation.controls import Controls, uncontrolled
from joulemill.simulation.cost import StepCost
from joulemill.simulation.events import SiteEvents, facility_under, limits_under, traffic_under
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.fleet import Fleet, play
from joulemill.simulation.plant import Plant, plant_power
from joulemill.simulation.quality import AnswerQuality
from joulemill.simulation.run import PlayedTraffic, RunSetting
from joulemill.simulation.schedule import Schedule, by_hour, constant
from joulemill.simulation.scheduler import EngineLimits
from joulemill.simulation.series import ReplicaLimits
from joulemill.simulation.traffic import NS_IN_S, Traffic
from joulemill.units import JOULE_PER_KWH

NO_SITE = "no site is given"
NO_PUE = "PUE is unknown: state pue in the site file"


@dataclass(frozen=True, kw_only=True)
class FirstStage:
    """The smaller model that answers first.

    copies            of its deployment
    escalate_ratio    share of its answers that are thrown away, and asked of the larger model
    accuracy_ratio    of those that are kept, as declared
    output_scale_ratio   length of its answers over the larger model's
    """

    question: PredictionRequest
    copies: int = 1
    escalate_ratio: float = 0.0
    accuracy_ratio: float | None = None
    output_scale_ratio: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is simulated: names, copies, traffic, site and events.

    copies   of the whole deployment, the most where they are scaled by their load (``autoscale``)
    first    a smaller model that answers before (``cascade``);  quality   what is declared of the answers
    until_s  the time goes on to here, if the last token comes sooner
    asked_req_s  requests a second as asked; None where a trace or sessions say when they come
    """

    question: PredictionRequest
    traffic: Traffic
    copies: int = 1
    router: str = "least-load"
    rest: str = "loaded"
    autoscale: Autoscale | None = None
    first: FirstStage | None = None
    quality: AnswerQuality = field(default_factory=AnswerQuality)
    site_path: str | None = None
    events: SiteEvents = field(default_factory=SiteEvents)
    until_s: float = 0.0
    asked_req_s: float | None = None
    seed: int = 0

    @cached_property
    def played(self) -> ResolvedScene:
        """Names resolved."""
        return resolve(self.question)

    @cached_property
    def site(self) -> Site | None:
        """The site; None where none is stated."""
        return load_site(self.site_path) if self.site_path else self.question.facility

    @cached_property
    def traffic_under_events(self) -> Traffic:
        """The traffic, as the events leave it."""
        return traffic_under(self.traffic, self.events, np.random.default_rng([self.seed, 1]))

    @cached_property
    def limits(self) -> EngineLimits:
        """Limits of a replica's engine."""
        return limits_of(self.played, self.traffic_under_events)

    @cached_property
    def costs(self) -> Callable[[float, float], StepCost]:
        """Step costs without errors, by cap and clock."""
        return costs_of(self.played, self.limits, self.longest_tok)

    @property
    def longest_tok(self) -> float:
        """Tokens of the longest request."""
        return float((self.traffic_under_events.input_tok + self.traffic_under_events.output_tok).max())

    @cached_property
    def plant(self) -> Plant:
        """Replicas, nodes and facility."""
        d = self.played.deployment
        replicas = d.parallelism.replicas + (d.prefill.replicas if d.prefill else 0)
        bare = Plant(devices_count=d.parallelism.devices, replicas_count=self.copies * replicas, node=d.node)
        if self.site is None or self.site.pue_ratio is None or d.node is None:
            return bare
        facility = FacilityModel(pue_ratio=self.site.pue_ratio)
        design_w = self.site.it_power_limit_w or self._nodes_w()
        return replace(bare, facility=facility_under(facility, self.events, design_w))

    def _nodes_w(self) -> float | None:
        """What the nodes draw with all devices at their rating."""
        d = self.played.deployment
        if d.device.tdp_w is None or d.node is None:
            return None
        devices = self.copies * d.device_count
        return float(share_power(devices * d.device.tdp_w, devices, d.node).node_w)

    @cached_property
    def setting(self) -> RunSetting:
        """The plant, limits and signals around the run."""
        d, site, events = self.played.deployment, self.site, self.events
        nodes_w = self._nodes_w()
        limits = self.limits
        carbon, price = self._signals()
        facility_limit = site.facility_power_limit_w if site else None
        return RunSetting(
            plant=self.plant,
            limits=ReplicaLimits(
                max_running_req=limits.max_num_seqs, kv_tok=limits.kv_tok, full_load_tok_s=self._full_load()
            ),
            widths=self.played.widths,
            basis=self.played.basis,
            why_no_node="" if d.node else (self.played.notes or ("the node is not known",))[0],
            why_no_site=NO_SITE if site is None else NO_PUE if site.pue_ratio is None else "the node is not known",
            carbon_gco2e=carbon,
            price_currency=price,
            currency=site.currency if site else None,
            site_limit_w=limits_under(facility_limit, events, "site_limit_w"),
            cooling_limit_w=limits_under(site.cooling_limit_w if site else None, events, "cooling_limit_w"),
            nameplate_w=self._nameplate_w(nodes_w),
            ttft_limit_s=self.question.slo_ttft_s,
            tpot_limit_s=self.question.slo_tpot_s,
        )

    def _nameplate_w(self, nodes_w: float | None) -> float | None:
        """At the widest known scope."""
        tdp_w = self.played.deployment.device.tdp_w
        if nodes_w is None:
            return None if tdp_w is None else tdp_w * self.copies * self.played.deployment.device_count
        return nodes_w * (self.site.pue_ratio or 1.0) if self.plant.facility is not None and self.site else nodes_w

    def _full_load(self) -> float | None:
        """Output tokens a second at full load, of all copies; None where the closed form has no answer."""
        try:
            rate = answer(asked_of(self.question, self.traffic_under_events), brief=True).prediction.rate_tok_s.value
        except (InputError, MemoryShort):
            return None
        return None if rate is None else rate * self.copies

    def _signals(self) -> tuple[Schedule | None, Schedule | None]:
        """Carbon and price of a joule over time: of the events, by the hour of the site file, or constant."""
        site, events = self.site, self.events
        if site is None:
            return events.carbon_gco2e, events.price_currency
        stated = load_site_file(Path(self.site_path)) if self.site_path else None
        length_s = max(self.until_s, self.traffic.arrival_ns[-1] / NS_IN_S) * 2.0 + 86400.0
        by_hours = (stated.carbon_by_hour_gco2e_kwh, stated.price_by_hour_currency_kwh) if stated else (None, None)
        carbon = _signal(events.carbon_gco2e, by_hours[0], site.carbon_gco2e_j, (events.start_s, length_s))
        price = _signal(events.price_currency, by_hours[1], site.price_currency_j, (events.start_s, length_s))
        return carbon, price


def _signal(
    moving: Schedule | None, hours: tuple[float, ...] | None, value: float | None, time: tuple[float, float]
) -> Schedule | None:
    """What the events say, what the site says by the hour (from a time of day on, for so long), or one value."""
    if moving is not None:
        return moving
    if hours:
        return by_hour([h / JOULE_PER_KWH for h in hours], *time)
    return None if value is None else constant(value)


@dataclass(frozen=True)
class TimedRun:
    """A run, and what running it took."""

    run: PlayedTraffic
    wall_s: float
    events: int

    def document(self) -> Mapping[str, Any]:
        """Speed of the simulation."""
        requests = self.run.traffic.requests_count
        return {
            "requests_per_s": requests / max(self.wall_s, 1e-9),
            "events": self.events,
            "wall_s": self.wall_s,
        }


def run_scene(
    scene: Scene,
    controls: Controls | None = None,
    *,
    traffic: Traffic | None = None,
    rest: str | None = None,
    router: str | None = None,
    errors: tuple[float, float] = (1.0, 1.0),
    until_s: float | None = None,
) -> TimedRun:
    """Play the scene once, under ``controls``, or with another traffic, rest, router, or end."""
    asked = scene.traffic_under_events if traffic is None else traffic
    d = scene.played.deployment
    exact = errors == (1.0, 1.0)
    began = time.perf_counter()
    resting = rest_policy(d, rest or scene.rest)
    fleet = Fleet(
        limits=scene.limits,
        cost_at=scene.costs if exact else costs_of(scene.played, scene.limits, scene.longest_tok, errors),
        rest=resting,
        prefill=prefill_pool(
            scene.played, scene.limits, scene.longest_tok, rest=resting, copies=scene.copies, errors=errors
        ),
        replicas_count=scene.copies * d.parallelism.replicas,
        devices_count=d.parallelism.devices,
        router=router or scene.router,
        autoscale=scene.autoscale,
    )
    played = play(asked, fleet, controls, until_ns=round((scene.until_s if until_s is None else until_s) * NS_IN_S))
    wall_s = time.perf_counter() - began
    run = PlayedTraffic(
        traffic=asked,
        outcomes=played.outcomes,
        timeline=played.timeline,
        power=plant_power(played.timeline, scene.plant),
        controls=controls or uncontrolled(),
        around=scene.setting,
        quality=scene.quality,
        notes=(*scene.played.notes, *scene.events.notes),
    )
    return TimedRun(run, wall_s, played.events_count)
