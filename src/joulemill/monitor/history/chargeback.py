"""Joules, carbon and money by model, site, target, label or route; the parts close to the metered total. Pure.

A target's joules go to whoever it serves: by model, site or label all of them. By route they are split by the output
tokens that the server counted for each; tokens without a route, and a target that tells none, stand as such. Joules
spent while no request ran are a line of their own where they are asked for apart, so that nobody's tokens carry them
unseen. Nothing is divided out among those who did not use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from joulemill.units import JOULE_PER_KWH

NO_ROUTE, IDLE = "(no route)", "(idle)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSpending:
    """What one target spent in one bucket of time [start_s, start_s + length_s).

    energy_j, idle_j     of its widest metered scope; idle_j: of it while no request ran; ``basis`` the weakest of it
    half_width_j         of energy_j, None where no meter states an error
    output_tok           all of it;  route_tok  of it by route
    site_j               energy_j carried to the site when it was measured, as /metrics bills it; None where it was not
    """

    target: str
    model: str
    site: str
    start_s: float
    energy_j: float
    idle_j: float
    output_tok: float
    basis: str
    scope: str
    half_width_j: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    route_tok: Mapping[str, float] = field(default_factory=dict)
    site_j: float | None = None


@dataclass(slots=True, kw_only=True)
class SpendingShare:
    """One key's part: joules and tokens add up over keys to those of the whole; half widths add up too (worst case)."""

    energy_j: float = 0.0
    output_tok: float = 0.0
    half_width_j: float | None = 0.0
    carbon_g: float | None = 0.0
    cost: float | None = 0.0
    bases: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class SiteRates:
    """What a node's joule costs, PUE included: g/J and money/J; None where the site does not state it.

    ``*_site_j``: the same of a joule that was carried to the site already.
    """

    carbon_g_j: float | None = None
    cost_j: float | None = None
    carbon_g_site_j: float | None = None
    cost_site_j: float | None = None
    currency: str | None = None


def rates(
    pue_ratio: float | None, carbon_g_kwh: float | None, price_kwh: float | None, currency: str | None = None
) -> SiteRates:
    """Rates of a site. Without a PUE a node's joule has none: it is not the site's."""
    carbon, cost = (None if x is None else x / JOULE_PER_KWH for x in (carbon_g_kwh, price_kwh))
    node_carbon, node_cost = (None if x is None or pue_ratio is None else pue_ratio * x for x in (carbon, cost))
    return SiteRates(node_carbon, node_cost, carbon, cost, currency)


def attributed(
    rows: Iterable[BucketSpending], by: str, sites: Mapping[str, SiteRates], *, idle_apart: bool = False
) -> dict[tuple[int, str], SpendingShare]:
    """Shares by (UTC day number, key). ``by``: model, site, target, route, or the name of a label."""
    shares: dict[tuple[int, str], SpendingShare] = {}
    for row in rows:
        at = sites.get(row.site, SiteRates())
        day = int(row.start_s // 86_400)
        busy_j = row.energy_j - row.idle_j if idle_apart else row.energy_j
        parts = [(key, busy_j * share, row.output_tok * share) for key, share in keys(row, by)]
        if idle_apart and row.idle_j:
            parts.append((IDLE, row.idle_j, 0.0))
        for key, joules, tokens in parts:
            _add(shares.setdefault((day, key), SpendingShare()), row, joules, tokens, at)
    return shares


def keys(row: BucketSpending, by: str) -> list[tuple[str, float]]:
    """Keys of a row with their shares, which sum to 1."""
    if by in ("model", "site", "target"):
        return [(str(getattr(row, by)), 1.0)]
    if by != "route":
        return [(row.labels.get(by) or f"(no {by})", 1.0)]
    total_tok = math.fsum(row.route_tok.values())
    whole = max(row.output_tok, total_tok)
    if whole <= 0:
        return [(NO_ROUTE, 1.0)]
    shares = [(route, tokens / whole) for route, tokens in row.route_tok.items() if tokens > 0]
    rest = 1.0 - math.fsum(s for _, s in shares)
    return [*shares, (NO_ROUTE, rest)] if rest > 1e-12 else shares


def _add(share: SpendingShare, row: BucketSpending, joules: float, tokens: float, at: SiteRates) -> None:
    share.energy_j += joules
    share.output_tok += tokens
    share.bases.add(row.basis)
    share.scopes.add(row.scope)
    share.half_width_j = _grown(share.half_width_j, row, joules)
    for name, node_rate, site_rate in (
        ("carbon_g", at.carbon_g_j, at.carbon_g_site_j),
        ("cost", at.cost_j, at.cost_site_j),
    ):
        so_far, more = getattr(share, name), _charged(row, joules, node_rate, site_rate)
        setattr(share, name, None if more is None or so_far is None else so_far + more)


def _charged(row: BucketSpending, joules: float, node_rate: float | None, site_rate: float | None) -> float | None:
    """What ``joules`` of a row cost: as they were carried to the site, else a node's by the declared PUE; boards
    alone are no node, so what they cost is not known.
    """
    if row.site_j is not None and row.energy_j > 0:
        return None if site_rate is None else joules * (row.site_j / row.energy_j) * site_rate
    if row.scope != "node":
        return None
    return None if node_rate is None else joules * node_rate


def _grown(half_width_j: float | None, row: BucketSpending, joules: float) -> float | None:
    """With a row's part; None once a row has no error stated."""
    if half_width_j is None or row.half_width_j is None:
        return None
    return half_width_j + (row.half_width_j * joules / row.energy_j if row.energy_j else 0.0)
