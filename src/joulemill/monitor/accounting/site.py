"""A site's own meters (``[[site]] meters``): read beside the targets' and summed over stretches of time.

A stretch is one ``site_period_s``. Its facility joules and the node joules of the site's targets are of the very same
time, so that their ratio is a PUE; it is made when every reading that brackets it has come.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from joulemill.errors import InputError, MachineError
from joulemill.figure import Figure, unknown
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.closing import let_go
from joulemill.meters.meter import Meter, MeterContext
from joulemill.monitor.accounting.energy import TargetMeters
from joulemill.monitor.accounting.pue import NO_STRETCH, it_energy, pue
from joulemill.monitor.config import MonitorConfig, SiteConfig
from joulemill.monitor.opening import close_meters, open_within
from joulemill.monitor.snapshot import MeterHealth, SiteState, SiteStretch

if TYPE_CHECKING:
    from joulemill.monitor.snapshot import StoredSite

#: A measured PUE stands for so many stretches after its own (assumed): a meter that died must not speak for ever.
STANDS_STRETCHES = 5.0
#: Readings are kept so many stretches back (assumed): a slow meter's last reading comes late.
KEPT_STRETCHES = 5.0
#: Meters get this long to end when the monitor does [s] (assumed).
CLOSE_S = 1.0


class SiteMeters:
    """One site's meters, its totals and its latest stretch."""

    def __init__(self, config: SiteConfig, meters: TargetMeters, period_s: float) -> None:
        self.config, self.meters, self.period_s = config, meters, period_s
        self.energy_j: dict[tuple[str, str], float] = {}
        self.since_s = time.time()
        self.latest: SiteStretch | None = None
        self._start_s: float | None = None
        self._members: frozenset[str] = frozenset()
        self._ended_s = 0.0

    def resume(self, stored: StoredSite | None) -> None:
        """Go on from what was kept."""
        if stored is not None:
            self.since_s, self.energy_j = stored.since_s, dict(stored.energy_j)

    def next(self, now_s: float, nodes: Mapping[str, TargetMeters], *, at_once: bool = False) -> SiteStretch | None:
        """The stretch that is over and whose readings have come; None while there is none. ``nodes``: by target.

        ``at_once``: the one that goes on ends now, with what is known of it. May take a while: many meters are summed.
        """
        if self._start_s is None:
            self._start_s, self._members = now_s, frozenset(nodes)
            return None
        start_s, end_s = self._start_s, now_s if at_once else self._start_s + self.period_s
        if at_once:
            end_s = self._known_until_s(now_s, nodes)
        if now_s < end_s or end_s <= start_s:
            return None
        if not at_once and not all(m.settled(end_s, now_s) for m in (self.meters, *nodes.values())):
            return None
        came = self._members != frozenset(nodes)
        self._start_s, self._members, self._ended_s = end_s, frozenset(nodes), end_s
        energy = self.meters.energy(start_s, end_s)
        it, why = it_energy({n: m.energy(start_s, end_s).get("node") for n, m in nodes.items()})
        if came:
            it, why = None, "its IT energy is not known: targets came or went"
        wall_s = time.time() - time.monotonic()
        return SiteStretch(
            site=self.config.name,
            start_s=wall_s + start_s,
            end_s=wall_s + end_s,
            energy=energy,
            it=it,
            pue=pue(energy, it, why),
            targets_count=len(nodes),
        )

    def _known_until_s(self, now_s: float, nodes: Mapping[str, TargetMeters]) -> float:
        """Until when all meters have told, or where a node's tells nothing of the stretch, the site's own."""
        own_s = min(now_s, self.meters.known_until_s())
        all_s = min([own_s, *(m.known_until_s() for m in nodes.values())])
        return all_s if self._start_s is not None and all_s > self._start_s else own_s

    def add(self, stretch: SiteStretch) -> None:
        """Take a stretch into the totals; one that was cut short is shown only where there was none before."""
        if self.latest is None or stretch.duration_s > 0.99 * self.period_s:
            self.latest = stretch
        for e in stretch.energy.values():
            key = (e.scope, e.basis)
            self.energy_j[key] = self.energy_j.get(key, 0.0) + e.energy_j

    def pue(self, now_s: float) -> Figure:
        """The measured PUE that stands now."""
        if self.latest is None:
            return unknown("1", NO_STRETCH)
        old = now_s - self._ended_s > STANDS_STRETCHES * self.period_s
        return unknown("1", "its last interval is too long ago") if old else self.latest.pue

    def state(self) -> SiteState:
        """The site now."""
        return SiteState(self.config.name, self.since_s, self.latest, dict(self.energy_j))

    def health(self) -> list[MeterHealth]:
        """Each channel's state."""
        return self.meters.health(None, self.config.name)


class MeteredSites:
    """Every site that has meters."""

    def __init__(self, restored: Mapping[str, StoredSite] | None = None) -> None:
        self._all: dict[str, SiteMeters] = {}
        self._before = dict(restored or {})
        self._started = False

    def __iter__(self) -> Iterator[SiteMeters]:
        return iter(list(self._all.values()))

    def opened(self, config: MonitorConfig) -> dict[str, SiteMeters]:
        """Those that ``config`` wants: as they stand, or opened afresh. Raises InputError and opens none."""
        wanted: dict[str, SiteMeters] = {}
        try:
            for site in config.site:
                known = self._all.get(site.name)
                if known is not None and (known.config, known.period_s) == (site, config.site_period_s):
                    wanted[site.name] = known
                elif site.meters:
                    wanted[site.name] = SiteMeters(site, site_meters(site, config), config.site_period_s)
        except BaseException:
            self.give_up(wanted)
            raise
        return wanted

    def give_up(self, wanted: Mapping[str, SiteMeters]) -> None:
        """Let go of what was opened for ``wanted`` alone."""
        let_go(f.meters for n, f in wanted.items() if self._all.get(n) is not f)

    def go_on(self, wanted: dict[str, SiteMeters]) -> None:
        """Watch ``wanted`` and nothing else."""
        gone = [f for n, f in self._all.items() if wanted.get(n) is not f]
        fresh = [f for n, f in wanted.items() if self._all.get(n) is not f]
        for facility in fresh:
            before = self._all.get(facility.config.name)
            if before is not None:
                facility.since_s, facility.energy_j = before.since_s, dict(before.energy_j)
            else:
                facility.resume(self._before.get(facility.config.name))
            if self._started:
                facility.meters.start()
        let_go(f.meters for f in gone)
        self._all = wanted

    def start(self) -> None:
        """Begin to sample."""
        self._started = True
        for facility in self:
            facility.meters.start()

    def pue(self, site: str, now_s: float) -> Figure | None:
        """The measured PUE of ``site`` that stands now; None for a site without meters."""
        facility = self._all.get(site)
        return None if facility is None else facility.pue(now_s)

    def channels(self, wanted: Mapping[str, SiteMeters]) -> list[tuple[Channel, ...]]:
        """What the meters of ``wanted`` read."""
        return [c for f in wanted.values() for c in f.meters.opened]


def site_meters(site: SiteConfig, config: MonitorConfig) -> TargetMeters:
    """The opened meters of ``site``. Raises InputError for those that are not a site's, or not clearly its parts."""
    kept_s = KEPT_STRETCHES * config.site_period_s
    try:
        meters = _opened(site)
    except MachineError as fault:  # told, and tried again while the monitor runs
        return TargetMeters((), config.meter_period_s, kept_s, unopened=[(m, str(fault)) for m in site.meters])
    try:
        channels = [c for m in meters for c in m.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
        expected = _expected(site, channels)
    except InputError:
        close_meters(meters)
        raise
    return TargetMeters(meters, config.meter_period_s, kept_s, expected)


class _Rescoped:
    """A meter whose channels all stand for ``scope``: an exporter does not know that it meters a whole site."""

    def __init__(self, meter: Meter, scope: Scope) -> None:
        self._meter, self._scope = meter, scope

    def channels(self) -> tuple[Channel, ...]:
        """As the meter names them, of the scope that the user names."""
        return tuple(replace(c, scope=self._scope) for c in self._meter.channels())

    def read(self) -> tuple[Reading, ...]:
        """The meter's own."""
        return self._meter.read()

    def close(self) -> None:
        """The meter's own."""
        self._meter.close()


def _opened(site: SiteConfig) -> list[Meter]:
    """Every meter or none; ``,as=site`` or ``,as=rack`` at a SPEC's end says what it meters whatever its kind."""
    meters: list[Meter] = []
    try:
        for text in site.meters:
            spec, _, scope = text.rpartition(",as=")
            if spec and scope not in (Scope.SITE, Scope.RACK):
                raise InputError(f"site {site.name!r}: as={scope} is not known; use as=site or as=rack")
            opened = open_within([spec or text], MeterContext(server_here=False))
            meters += [_Rescoped(m, Scope(scope)) for m in opened] if spec else opened
    except BaseException:
        close_meters(meters)
        raise
    return meters


def _expected(site: SiteConfig, channels: list[Channel]) -> dict[Scope, int]:
    """How many feeds and racks there are; each rack is one of its own, and feeds are added up only where it is said."""
    where = f"site {site.name!r}"
    if not channels:
        raise InputError(f"{where}: its meters read no power and no energy; name one that does, or leave them out")
    inner = next((c for c in channels if c.scope not in (Scope.SITE, Scope.RACK)), None)
    if inner is not None:
        raise InputError(
            f"{where}: {inner.id} meters a {inner.scope.value}; a site's meters are of scope rack or site "
            "(end its SPEC with ,as=site where it meters the whole site, or give it to its target)"
        )
    feeds = sorted({c.device for c in channels if c.scope is Scope.SITE})
    if len(feeds) != (site.feeds_count or min(len(feeds), 1)):
        raise InputError(
            f"{where}: its meters of scope site name {len(feeds)} things ({', '.join(feeds)}); say feeds_count = N "
            "where N feeds add up to the site, and name one meter for each"
        )
    racks = {c.device for c in channels if c.scope is Scope.RACK}
    return {s: n for s, n in ((Scope.SITE, len(feeds)), (Scope.RACK, len(racks))) if n}
