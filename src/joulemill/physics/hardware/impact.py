"""What a token costs the world and the purse: carbon, water, money; per token, million, accepted answer, year. Pure.

    operational carbon  site J/tok · g                     embodied carbon  ṁ ÷ rate       (SCI's O and M)
    energy cost         node J/tok · PUE · price           other cost       residual ÷ rate
    per accepted answer x/tok · tok spent per accepted answer
    per year            x/tok · rate · 365 d, at the run's own utilization held for a year

``rate`` is full-load output × utilization. Left out: idle capacity beyond the run, growth, disposal, discounting.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.hardware.site import Site, SiteFigures
from joulemill.statistics.lognormal import product, quotient

YEAR_S = 365 * 86400.0
MILLION = 1e6


@dataclass(frozen=True)
class Impact:
    """One effect, four ways: e.g. gCO2e/tok, and gCO2e per million tokens, per accepted answer, per year."""

    name: str
    per_token: Figure
    per_million_tokens: Figure
    per_accepted_answer: Figure
    per_year: Figure


def impacts(view: SiteFigures, site: Site, rate_tok_s: Figure, answer_tok: Figure) -> tuple[Impact, ...]:
    """All effects of a run; ``answer_tok`` is output tokens spent per accepted answer [tok]. Unknown where silent."""
    embodied = quotient(view.embodied_gco2e_s, rate_tok_s, "gCO2e/tok", _source("embodied", site.embodied_source))
    money = site.currency or "currency"
    other = quotient(_residual(site), rate_tok_s, f"{money}/tok", _source("other cost", site.residual_source))
    every = (
        ("energy at the site", view.site_j_tok),
        ("operational carbon", view.carbon_gco2e_tok),
        ("embodied carbon", embodied),
        ("carbon, operational and embodied", total(view.carbon_gco2e_tok, embodied)),
        ("cost of energy", view.cost_currency_tok),
        ("amortized and other cost", other),
        ("cost, energy and other", total(view.cost_currency_tok, other)),
        ("water", view.water_l_tok),
    )
    yearly = rate_tok_s.scaled(YEAR_S, "tok/year")
    return tuple(_impact(name, figure, answer_tok, yearly) for name, figure in every)


def total(a: Figure, b: Figure) -> Figure:
    """a + b; unknown where either is: half of a sum is not the sum. Bounds add up, as if both erred together."""
    if a.value is None or b.value is None:
        return unknown(a.unit, (a if a.value is None else b).reason or "a part is unknown")
    low = a.value + b.value if a.low is None and b.low is None else _or(a.low, a.value) + _or(b.low, b.value)
    high = a.value + b.value if a.high is None and b.high is None else _or(a.high, a.value) + _or(b.high, b.value)
    exact = low == high
    basis = product(a, b, a.unit).basis
    return Figure(
        a.value + b.value,
        a.unit,
        basis,
        low=None if exact else low,
        high=None if exact else high,
        level=a.level or b.level,
    )


def _or(bound: float | None, value: float) -> float:
    return value if bound is None else bound


def _impact(name: str, figure: Figure, answer_tok: Figure, yearly: Figure) -> Impact:
    unit = figure.unit.removesuffix("/tok")
    return Impact(
        name,
        figure,
        figure.scaled(MILLION, unit),
        product(figure, answer_tok, unit, "per output token × output tokens per accepted answer"),
        product(figure, yearly, f"{unit}/year", "per output token × output rate × 365 d"),
    )


def _residual(site: Site) -> Figure:
    unit = f"{site.currency or 'currency'}/s"
    if site.residual_currency_s is None:
        return unknown(unit, "amortized and other cost is not stated: residual_currency_h in the site file")
    return Figure(site.residual_currency_s, unit, Basis.DECLARED, source=site.residual_source or "site")


def _source(what: str, whose: str | None) -> str:
    return f"{what} per second ÷ output rate; {whose or 'its source is not stated in the site file'}"
