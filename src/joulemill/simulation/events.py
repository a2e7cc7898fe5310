"""What happens to a site while it serves: less power, hot weather, more or less traffic. Pure values.

Times are seconds since the traffic started. What is not stated changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.assembly import parts_of
from joulemill.simulation.autoscale import Autoscale
from joulemill.simulation.facility import FacilityModel
from joulemill.simulation.schedule import Schedule, constant
from joulemill.simulation.traffic import Traffic


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteEvent:
    """One change from ``start_s`` to ``end_s``; None: unchanged.

    cut_ratio           share by which the site must draw less than it would have, on average over that time
    site_limit_w        power that the site may draw;  cooling_limit_w   heat that can be removed from the nodes
    pue_ratio, outdoor_c   PUE, or the temperature that moves it
    load_ratio          requests over those of the traffic
    """

    name: str
    start_s: float
    end_s: float
    cut_ratio: float | None = None
    site_limit_w: float | None = None
    cooling_limit_w: float | None = None
    pue_ratio: float | None = None
    outdoor_c: float | None = None
    load_ratio: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s < self.end_s < np.inf:
            raise InputError(f"event {self.name}: it must end after it begins, and begin with the traffic or later")
        if self.cut_ratio is not None and not 0.0 < self.cut_ratio < 1.0:
            raise InputError(f"event {self.name}: a cut is {self.cut_ratio:g}; it must lie between 0 and 1")
        if self.load_ratio is not None and not 0.0 <= self.load_ratio < np.inf:
            raise InputError(f"event {self.name}: a load is {self.load_ratio:g}; it must be 0 or more")

    @property
    def limits_power(self) -> bool:
        """Whether less power than otherwise may be drawn in it."""
        return any(x is not None for x in (self.cut_ratio, self.site_limit_w, self.cooling_limit_w))


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteEvents:
    """All events, the signals beside them, and how they are met.

    start_s        time of day at which the traffic starts [s after midnight, UTC]
    policies       names of policies (``policies.POLICIES``) to compare; the first is the run that is shown
    deferrable_ratio   share of the requests that may be served later
    fixed_ratio, outdoor_c   of the facility;  carbon_gco2e, price_currency   of a joule
    autoscale      how many replicas serve, by their load; None: all
    """

    start_s: float = 0.0
    events: tuple[SiteEvent, ...] = ()
    policies: tuple[str, ...] = ()
    deferrable_ratio: float = 0.0
    fixed_ratio: float = 0.0
    outdoor_c: Schedule | None = None
    carbon_gco2e: Schedule | None = None
    price_currency: Schedule | None = None
    autoscale: Autoscale | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def cuts(self) -> tuple[SiteEvent, ...]:
        """Events that limit power."""
        return tuple(e for e in self.events if e.limits_power)


def facility_under(facility: FacilityModel, events: SiteEvents, design_w: float | None) -> FacilityModel:
    """``facility`` with the weather and the stated PUE of the events."""
    outdoor, stated = events.outdoor_c, None
    for event in events.events:
        if event.outdoor_c is not None:
            outdoor = (outdoor or constant(np.nan)).within(event.start_s, event.end_s, event.outdoor_c)
        if event.pue_ratio is not None:
            stated = (stated or constant(np.nan)).within(event.start_s, event.end_s, event.pue_ratio)
    return replace(
        facility,
        fixed_ratio=events.fixed_ratio,
        design_w=design_w or facility.design_w,
        outdoor_c=outdoor,
        stated_pue=stated,
    )


def limits_under(limit_w: float | None, events: SiteEvents, field_name: str) -> Schedule | None:
    """A limit of the site with what ``field_name`` of the events says for their time; None where nothing is stated."""
    stated = [e for e in events.events if getattr(e, field_name) is not None]
    if limit_w is None and not stated:
        return None
    schedule = constant(np.inf if limit_w is None else limit_w)
    for event in stated:
        schedule = schedule.within(event.start_s, event.end_s, getattr(event, field_name))
    return schedule


def traffic_under(traffic: Traffic, events: SiteEvents, rng: np.random.Generator) -> Traffic:
    """``traffic`` with less load where events say so: requests are left out at random, sessions whole."""
    thinned = [e for e in events.events if e.load_ratio is not None]
    if not thinned:
        return traffic
    requests = parts_of(traffic)
    kept = np.ones(len(requests.at_ns), dtype=bool)
    owner = requests.owner
    for event in thinned:
        if (event.load_ratio or 0.0) > 1.0:
            raise InputError(f"event {event.name}: a load above 1 is made by the traffic; raise its rate or volume")
        inside = (requests.at_ns >= event.start_s * 1e9) & (requests.at_ns < event.end_s * 1e9)
        stays = rng.random(int(owner.max()) + 1)[owner] < (event.load_ratio or 0.0)
        kept &= ~inside | stays
    if not kept.any():
        raise InputError("the events leave no request; raise their load")
    return requests.picked(kept).in_order()
