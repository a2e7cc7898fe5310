"""What a plan is made of: sites with limits, pools of devices, classes of demand, and operating points. Pure values.

An operating point is one replica of a deployment at one concurrency: so many devices give so many tokens a second at so
many watts. A replica may pass its time at several points, so a plan's replicas at an hour are the sum over its points;
a part-loaded replica is a mixture of points at full load and at few requests in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.errors import InputError

Index = NDArray[np.intp]
#: A point of no class: the replica is loaded and waits.
WAITING = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class FacilityLimits:
    """A site: what it delivers and removes, and what its energy costs. None: no such limit is stated.

    it_limit_w, feed_limit_w, cooling_limit_w   power of the IT equipment, power of the feed, heat removed
    carbon_limit_gco2e    over the plan's span
    racks_count           racks that can stand there
    facility_lines        facility power = max over lines of (slope [-] · IT power + base [W]); one line of slope PUE is
                          a constant PUE
    facility_ratio        [hours] what the lines are times at each hour; None: 1
    shape_ratio           [hours] share of the power limits that is there at each hour
    cooling_ratio         [hours] share of the cooling limit that is there at each hour; None: all
    carbon_gco2e_j, price_currency_j   [hours] of energy at the feed; None where unknown
    """

    name: str
    it_limit_w: float | None = None
    feed_limit_w: float | None = None
    cooling_limit_w: float | None = None
    carbon_limit_gco2e: float | None = None
    racks_count: float | None = None
    facility_lines: Sequence[tuple[float, float]] = ((1.0, 0.0),)
    facility_ratio: Array | None = None
    shape_ratio: Array
    cooling_ratio: Array | None = None
    carbon_gco2e_j: Array | None = None
    price_currency_j: Array | None = None
    water_l_j: float | None = None

    @property
    def hourly_lines(self) -> Sequence[tuple[Array, Array]]:
        """The facility's lines by hour: (slope, base [W]), each [hours]."""
        ratio = np.ones(self.shape_ratio.size) if self.facility_ratio is None else self.facility_ratio
        return [(slope * ratio, base_w * ratio) for slope, base_w in self.facility_lines]


@dataclass(frozen=True, eq=False, kw_only=True)
class DevicePool:
    """Devices of one kind at one site.

    site                  index of its site
    owned_count, purchasable_count   devices that are there, and that could be bought
    price_currency        of one device;  capital_currency_s  the same spread over its life
    per_rack_count        devices in a rack; None where racks are not counted
    idle_states           (name, watts of one device with its share of the node) of what an unused device may be in
    """

    name: str
    site: int
    owned_count: float
    purchasable_count: float = 0.0
    price_currency: float | None = None
    capital_currency_s: float | None = None
    per_rack_count: float | None = None
    idle_states: Sequence[tuple[str, float]] = (("off", 0.0),)

    @property
    def least_idle_w(self) -> float:
        """Watts of an unused device in its lowest state."""
        return min(watts for _, watts in self.idle_states)


@dataclass(frozen=True, eq=False, kw_only=True)
class DemandClass:
    """A class of requests with its good tokens per second by hour [hours]; infinite: all that can be made is taken.

    shift_ratio   share that may be served at another hour of the plan
    home, move_ratio   index of the site that it belongs to, and the share that may be served elsewhere
    least_ratio   share that must be served where the goal is not to serve all
    weight_ratio  worth of its tokens among those of all classes, where tokens are maximized
    """

    name: str
    rate_tok_s: Array
    shift_ratio: float = 0.0
    home: int | None = None
    move_ratio: float = 1.0
    least_ratio: float = 0.0
    weight_ratio: float = 1.0


@dataclass(frozen=True, eq=False, kw_only=True)
class OperatingPoints:
    """One replica at each of [count] points. ``_low`` and ``_high`` are the prediction's interval.

    pool, demand, group   indices; ``group``: its deployment, the same at all its points; demand ``WAITING``: none
    device_count, rate_tok_s, power_w   of the replica; power at the plug of its nodes
    start_j, start_s      [groups] joules and seconds until a replica that is started serves
    """

    pool: Index
    demand: Index
    group: Index
    device_count: Array
    rate_tok_s: Array
    power_w: Array
    ttft_s: Array
    tpot_s: Array
    concurrency: Array
    rate_low_tok_s: Array
    power_high_w: Array
    ttft_high_s: Array
    tpot_high_s: Array
    start_j: Array
    start_s: Array

    @property
    def count(self) -> int:
        """Number of points."""
        return int(self.pool.size)

    @property
    def group_count(self) -> int:
        """Number of deployments."""
        return int(self.start_s.size)

    def taken(self, rows: Index | NDArray[np.bool_]) -> OperatingPoints:
        """The points at ``rows``; groups keep their numbers."""
        whole = ("start_j", "start_s")
        return replace(self, **{n: v[rows] for n, v in vars(self).items() if n not in whole})

    def at_worst(self) -> OperatingPoints:
        """Every point at the unfavourable ends of its interval: rate low, power and latencies high."""
        return replace(
            self,
            rate_tok_s=self.rate_low_tok_s,
            power_w=self.power_high_w,
            ttft_s=self.ttft_high_s,
            tpot_s=self.tpot_high_s,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class FleetProblem:
    """All that a plan is computed from.

    hour_s         [hours] length of each
    whole          whether replicas and purchases are whole numbers
    serve_all      whether all demand must be served; else as much as is best
    budget_currency, carbon_limit_gco2e   for purchases, and over the plan's span at all sites together
    start_count    [groups] replicas that run before the first hour; None: starts cost nothing and are not counted
    server_of      [groups] groups of one number are one server under another power cap: from one to the other nothing
                   starts
    """

    sites: Sequence[FacilityLimits]
    pools: Sequence[DevicePool]
    demands: Sequence[DemandClass]
    points: OperatingPoints
    hour_s: Array
    whole: bool = False
    serve_all: bool = False
    budget_currency: float | None = None
    carbon_limit_gco2e: float | None = None
    start_count: Array | None = None
    server_of: Index | None = None
    most_replicas: Array | None = None
    bought_count: Array | None = field(default=None)

    def __post_init__(self) -> None:
        check_problem(self)

    @property
    def hour_count(self) -> int:
        """Number of hours."""
        return int(self.hour_s.size)

    @property
    def span_s(self) -> float:
        """Length of the plan."""
        return float(self.hour_s.sum())


def check_problem(problem: FleetProblem) -> None:
    """InputError naming the first value that cannot be."""
    for site in problem.sites:
        _check_site(site, problem.hour_count)
    for demand in problem.demands:
        if demand.rate_tok_s.shape != problem.hour_s.shape or not np.all(demand.rate_tok_s >= 0.0):
            raise InputError(f"demand {demand.name!r}: needs {problem.hour_count} hourly rates, none negative")
        bounded = problem.serve_all or demand.shift_ratio or demand.least_ratio
        if bounded and not np.isfinite(demand.rate_tok_s).all():
            raise InputError(f"demand {demand.name!r}: an unlimited rate cannot be served in full, nor shifted")
    for pool in problem.pools:
        if pool.owned_count < 0 or pool.purchasable_count < 0 or not pool.idle_states:
            raise InputError(f"pool {pool.name!r}: counts must not be negative, and unused devices need a state")


def _check_site(site: FacilityLimits, hours: int) -> None:
    for name in ("it_limit_w", "feed_limit_w", "cooling_limit_w", "carbon_limit_gco2e", "racks_count"):
        value = getattr(site, name)
        if value is not None and not value >= 0.0:
            raise InputError(f"site {site.name!r}: {name} is {value:g}; it must be 0 or more")
    if any((slope < 1.0).any() or (base < 0.0).any() for slope, base in site.hourly_lines):
        raise InputError(f"site {site.name!r}: facility power below IT power; PUE is at least 1")
    for name in ("shape_ratio", "facility_ratio", "cooling_ratio", "carbon_gco2e_j", "price_currency_j"):
        series = getattr(site, name)
        if series is not None and series.shape != (hours,):
            raise InputError(f"site {site.name!r}: {name} has {series.size} hours, and the plan {hours}")
