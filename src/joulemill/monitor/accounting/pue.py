"""From node to site: a site's measured PUE over a stretch of time, and a target's joules carried to its site. Pure.

    PUE = facility joules ÷ Σ node joules of the site's targets          over the same stretch
    interval: least facility ÷ most nodes … most facility ÷ least nodes  (half widths of nodes add up: worst case)

It is measured where both sides are measured and complete; else it is unknown and says why. It is never made of a part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from joulemill.figure import Basis, Figure, unknown, weakest
from joulemill.monitor.snapshot import Interval, ScopeEnergy, SiteFacts, SiteState
from joulemill.wording import percent

#: From this share of a stretch on readings cover all of it (assumed: edges fall between two reads).
COMPLETE_RATIO = 0.999
#: Racks may draw so much more than the nodes in them: switches, cables (assumed). Beyond it there is IT unwatched.
RACK_MARGIN_RATIO = 0.1
#: Names told in a reason; the rest are counted.
NAMED = 3
NO_STRETCH = "no interval has been metered yet"


def it_energy(nodes: Mapping[str, ScopeEnergy | None]) -> tuple[ScopeEnergy | None, str]:
    """Joules of all ``nodes`` (by target) together, or None and why they are not known."""
    if not nodes:
        return None, "no target is at this site, so its IT energy is not known"
    for fault, names in (
        ("has no meter of its whole node", [n for n, e in nodes.items() if e is None]),
        ("is not metered all of the time", [n for n, e in nodes.items() if e and e.covered_ratio < COMPLETE_RATIO]),
        ("has a node that is not measured", [n for n, e in nodes.items() if e and e.basis != Basis.MEASURED]),
    ):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            return None, f"its IT energy is not known: {', '.join(names[:NAMED])}{more} {fault}"
    known = [e for e in nodes.values() if e is not None]
    halves = [e.half_width_j for e in known if e.half_width_j is not None]
    half = math.fsum(halves) if len(halves) == len(known) else None
    return ScopeEnergy("node", math.fsum(e.energy_j for e in known), half, Basis.MEASURED.value, 1.0), ""


def pue(energy: Mapping[str, ScopeEnergy], it: ScopeEnergy | None, why: str) -> Figure:
    """Facility ÷ IT with its interval, or unknown with the reason. ``energy``: the site's own meters by scope."""
    site = energy.get("site")
    fault = _site_fault(site, "rack" in energy) or (why if it is None else _it_fault(it, energy.get("rack")))
    if fault or site is None or it is None:
        return unknown("1", fault)
    ratio = site.energy_j / it.energy_j
    low = high = None
    if site.half_width_j is not None and it.half_width_j is not None:
        low = max(site.energy_j - site.half_width_j, 0.0) / (it.energy_j + it.half_width_j)
        high = (site.energy_j + site.half_width_j) / (it.energy_j - it.half_width_j)
    if (ratio if high is None else high) < 1.0:
        return unknown(
            "1", f"the site's meter reads {ratio:.3g} times what its nodes do: it does not cover all of them"
        )
    return Figure(ratio, "1", Basis.MEASURED, low=low, high=high, source="site joules ÷ node joules")


def _site_fault(site: ScopeEnergy | None, racks: bool) -> str:
    if site is None:
        return "its racks are metered, the whole site is not" if racks else "the site's meter gave no joules"
    if site.covered_ratio < COMPLETE_RATIO:
        return f"the site's meter covers {percent(site.covered_ratio)} of the stretch"
    return "" if site.basis == Basis.MEASURED else f"the site's joules are {site.basis}, not measured"


def _it_fault(it: ScopeEnergy, rack: ScopeEnergy | None) -> str:
    if it.energy_j <= (it.half_width_j or 0.0):
        return "the nodes' joules cannot be distinguished from 0"
    if rack is None or rack.covered_ratio < COMPLETE_RATIO:
        return ""
    most_j = (1.0 + RACK_MARGIN_RATIO) * (it.energy_j + (it.half_width_j or 0.0))
    if rack.energy_j - (rack.half_width_j or 0.0) <= most_j:
        return ""
    return f"its racks draw {rack.energy_j / it.energy_j:.2f} times what the nodes do: not all IT is watched"


def used_pue(facts: SiteFacts, measured: Figure | None) -> Figure:
    """The measured PUE where it is known, else the declared one, else unknown."""
    if measured is not None and measured.known:
        return measured
    if facts.pue_ratio is not None:
        why = None if measured is None else measured.reason
        return Figure(facts.pue_ratio, "1", Basis(facts.pue_basis), reason=why)
    return measured or unknown("1", "neither metered nor declared")


def pue_now(state: SiteState | None) -> Figure | None:
    """The measured PUE of a site's latest stretch; None for a site without meters."""
    if state is None:
        return None
    return state.latest.pue if state.latest is not None else unknown("1", NO_STRETCH)


def at_site(interval: Interval, ratio: Figure) -> Interval:
    """``interval`` with its node's joules times PUE as scope ``site``, unless its own meters tell the site's joules."""
    node = interval.energy.get("node")
    if node is None or ratio.value is None or "site" in interval.energy:
        return interval
    half = None
    if node.half_width_j is not None and node.energy_j and ratio.low is not None and ratio.high is not None:
        apart = max(ratio.high - ratio.value, ratio.value - ratio.low) / ratio.value
        half = math.hypot(node.half_width_j / node.energy_j, apart) * node.energy_j * ratio.value
    basis = weakest(Basis(node.basis), ratio.basis) or Basis.MODELLED
    site = ScopeEnergy("site", node.energy_j * ratio.value, half, basis.value, node.covered_ratio)
    return replace(interval, energy={**interval.energy, "site": site})


def power_of(energy: ScopeEnergy, length_s: float) -> tuple[float | None, float | None]:
    """Mean power over the part of a stretch that readings cover, and half of its 95 % interval [W]."""
    covered_s = energy.covered_ratio * length_s
    if covered_s <= 0:
        return None, None
    return energy.energy_j / covered_s, None if energy.half_width_j is None else energy.half_width_j / covered_s
