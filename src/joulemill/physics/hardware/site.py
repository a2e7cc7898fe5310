"""A site: facility around the nodes. PUE, power and cooling limits, grid carbon, price, water. Pure.

    site J    = node J · PUE                    once, from node to site; a meter at the utility's side has it already
    carbon    = site J · g                      g grid carbon [gCO2e/J], of a stated kind; embodied carbon apart
    cost      = site J · p                      energy only; amortized cost is added in ``production``
    water     = node J · WUE + site J · w       WUE is liters per joule of *IT* energy; w the grid's own water
    IT limit  = min(stated IT limit, facility limit / PUE)

Left out: PUE as a function of load and weather, losses between feed and meter, reactive power.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.statistics.lognormal import product

CARBON_KINDS = ("location", "market", "marginal")
#: Scopes that a J/token can come in with: of the nodes at the plug, or of the site at the utility's meter.
SCOPES = ("node", "site")
_NO_PUE = "PUE is unknown: state pue in the site file"


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the user states about the facility. None is unknown, never 0.

    pue_ratio               facility ÷ IT energy [-], at least 1
    it_power_limit_w        power that the IT equipment may draw [W]
    facility_power_limit_w  power of the feed, cooling and losses included [W]
    cooling_limit_w         heat that can be removed from the IT equipment [W]
    carbon_gco2e_j          grid carbon [gCO2e/J]; ``carbon_kind`` is location, market or marginal;
                            ``carbon_source`` says whose, or why it is unknown
    embodied_gco2e_s        carbon of making the hardware, spread over its life [gCO2e/s]; ``embodied_source`` whose
    price_currency_j        electricity price [currency/J]
    residual_currency_s     all other cost of running, e.g. amortized hardware [currency/s]; ``residual_source`` whose
    water_l_j               site water per joule of IT energy (WUE) [l/J]
    grid_water_l_j          water of generation per joule of site energy [l/J]
    """

    name: str = "unnamed site"
    pue_ratio: float | None = None
    pue_basis: Basis = Basis.DECLARED
    it_power_limit_w: float | None = None
    facility_power_limit_w: float | None = None
    cooling_limit_w: float | None = None
    carbon_gco2e_j: float | None = None
    carbon_kind: str | None = None
    carbon_source: str | None = None
    embodied_gco2e_s: float | None = None
    embodied_source: str | None = None
    price_currency_j: float | None = None
    currency: str | None = None
    residual_currency_s: float | None = None
    residual_source: str | None = None
    water_l_j: float | None = None
    grid_water_l_j: float | None = None

    def __post_init__(self) -> None:
        check_site(self)


def check_site(site: Site) -> None:
    """Refuse a site that cannot exist. Raises InputError that says what would do."""
    if site.pue_ratio is not None and not 1 <= site.pue_ratio < float("inf"):
        raise InputError(
            f"pue is {site.pue_ratio:g}; PUE is facility energy ÷ IT energy, so it is at least 1 "
            '(1.1 is a very good site, 1.5 a usual one). Write pue = "unknown" if you do not know it'
        )
    if site.carbon_kind is not None and site.carbon_kind not in CARBON_KINDS:
        raise InputError(f"carbon_kind is {site.carbon_kind!r}; use one of {', '.join(CARBON_KINDS)}")
    for name, value in vars(site).items():
        if name == "pue_ratio" or not isinstance(value, (int, float)):
            continue
        least = "positive" if name.endswith("_limit_w") else "0 or more"
        if not 0 <= value < float("inf") or (value == 0 and least == "positive"):
            raise InputError(f"{name} is {value:g}; it must be {least} and finite")


@dataclass(frozen=True)
class ReferencePue:
    """A cited PUE, to show what an unknown one could mean. Never taken for the site's own."""

    name: str
    pue_ratio: float
    source: str


@dataclass(frozen=True)
class AtReference:
    """Site figures at a cited reference PUE, labelled as such."""

    reference: ReferencePue
    site_j_tok: Figure
    site_w: Figure


@dataclass(frozen=True, kw_only=True)
class SiteFigures:
    """Site J/tok, PUE-adjusted power, carbon, cost and water per output token; unknown where the site is silent."""

    site_j_tok: Figure
    site_w: Figure
    carbon_gco2e_tok: Figure
    embodied_gco2e_s: Figure
    cost_currency_tok: Figure
    water_l_tok: Figure
    at_reference: tuple[AtReference, ...] = ()


def pue_figure(site: Site) -> Figure:
    """The site's PUE as a figure."""
    return _stated(site.pue_ratio, "1", site.pue_basis, _NO_PUE)


def carbon_figure(site: Site) -> Figure:
    """The grid's carbon [gCO2e/J] with its kind and whose word it is."""
    if site.carbon_gco2e_j is None:
        return unknown("gCO2e/J", site.carbon_source or "grid carbon is not stated in the site file")
    source = f"{site.carbon_kind or 'grid'} carbon" + (f", {site.carbon_source}" if site.carbon_source else "")
    return Figure(site.carbon_gco2e_j, "gCO2e/J", Basis.DECLARED, source=source)


def it_limit_figure(site: Site) -> Figure:
    """Power that the IT equipment can be given [W]: the lesser of the IT limit and facility limit ÷ PUE."""
    stated = site.it_power_limit_w
    via_facility = None
    if site.facility_power_limit_w is not None and site.pue_ratio is not None:
        via_facility = site.facility_power_limit_w / site.pue_ratio
    known = [x for x in (stated, via_facility) if x is not None]
    if known:
        return Figure(min(known), "W", Basis.DECLARED, source="site: IT limit, or facility limit ÷ PUE if less")
    if site.facility_power_limit_w is not None:
        return unknown("W", "a facility limit is stated, but its share for IT needs the PUE")
    return unknown("W", "no power limit is stated: state it_power_limit in the site file")


def site_figures(
    node_j_tok: Figure,
    node_w: Figure,
    site: Site,
    *,
    scope: str = "node",
    references: tuple[ReferencePue, ...] = (),
) -> SiteFigures:
    """Carry node figures [J/tok, W] to the site. PUE is applied once, and not at all where ``scope`` is already "site".

    With ``references`` and an unknown PUE, the effect at each reference value is given beside the unknown figure.
    Raises InputError for another scope: device figures must first be carried to the node.
    """
    if scope not in SCOPES:
        raise InputError(f"scope {scope!r} cannot be carried to the site; carry device figures to the node first")
    at_site = scope == "site"
    pue = pue_figure(site)
    site_j_tok = node_j_tok if at_site else product(node_j_tok, pue, "J/tok", "node × PUE")
    site_w = node_w if at_site else product(node_w, pue, "W", "node × PUE")
    carbon = carbon_figure(site)
    price = _stated(
        site.price_currency_j, "currency/J", Basis.DECLARED, "electricity price is not stated in the site file"
    )
    shown = () if at_site or pue.known else tuple(_at(reference, node_j_tok, node_w) for reference in references)
    return SiteFigures(
        site_j_tok=site_j_tok,
        site_w=site_w,
        carbon_gco2e_tok=product(site_j_tok, carbon, "gCO2e/tok", f"site J/tok × {carbon.source}"),
        embodied_gco2e_s=_stated(
            site.embodied_gco2e_s, "gCO2e/s", Basis.DECLARED, "embodied carbon is not stated in the site file"
        ),
        cost_currency_tok=product(site_j_tok, price, f"{site.currency or 'currency'}/tok", "site J/tok × price"),
        water_l_tok=_water(node_j_tok, site_j_tok, site, at_site),
        at_reference=shown,
    )


def _water(node_j_tok: Figure, site_j_tok: Figure, site: Site, at_site: bool) -> Figure:
    if site.water_l_j is None:
        return unknown("l/tok", "water (WUE) is not stated in the site file")
    if at_site:
        if site.pue_ratio is None:
            return unknown("l/tok", f"WUE is per joule of IT energy, and the meter is at site scope. {_NO_PUE}")
        node_j_tok = site_j_tok.scaled(1 / site.pue_ratio, "J/tok", site.pue_basis)
    direct = node_j_tok.scaled(site.water_l_j, "l/tok", Basis.DECLARED)
    if site.grid_water_l_j is None:
        return direct
    if site.pue_ratio is None and not at_site:
        return unknown("l/tok", f"the grid's water needs site energy. {_NO_PUE}")
    ratio = 1.0 if site.pue_ratio is None else site.pue_ratio
    return node_j_tok.scaled(site.water_l_j + site.grid_water_l_j * ratio, "l/tok", Basis.DECLARED)


def _at(reference: ReferencePue, node_j_tok: Figure, node_w: Figure) -> AtReference:
    label = f"if PUE were {reference.pue_ratio:g} ({reference.name})"
    pue = Figure(reference.pue_ratio, "1", Basis.MODELLED, reason=label)
    return AtReference(
        reference, product(node_j_tok, pue, "J/tok", "node × reference PUE"), product(node_w, pue, "W", label)
    )


def _stated(value: float | None, unit: str, basis: Basis, reason: str) -> Figure:
    return unknown(unit, reason) if value is None else Figure(value, unit, basis, source="site")
