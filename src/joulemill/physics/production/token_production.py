"""The Token Production Function. Pure, vectorised over leading axes.

    rate = min_r( capacity_r / intensity_r ) · Φ · U                                                 [tok/s]

and, as a view, the source's form of two ceilings (Liu et al., arXiv:2605.11733):

    rate = min( K_eff / c_tok , θ · P_facility / e_tok ) · Φ · U
    power binds  ⟺  e_tok / c_tok > θ · P_facility / K_eff                                           [J/flop]

Φ is the rate at full load ÷ the least ideal ceiling, U the rate over a period ÷ the rate at full load. Both are
measured or modelled once and never hold a lever's effect: levers move intensities. θ is dimensionless: the share of
facility power that reaches the inference load, 1/PUE × that load's share of the IT power. e_tok is at the node.

Elasticity of r: d ln rate / d ln capacity_r. For one activity it is 1 for the binding resource and 0 for the others. A
plant that shares its time between activities (prefill, decode), each bound by its own resource, has
rate = 1 / Σ_a max_r(w_ar / capacity_r), and the elasticity of r is the share of the time in which r binds.
Shadow price of r: d rate / d capacity_r = elasticity_r · rate / capacity_r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.figure import Figure
from joulemill.statistics.lognormal import quotient


def ceiling_rates(capacity: ArrayLike, intensity: ArrayLike) -> Array:
    """capacity ÷ intensity [tok/s], elementwise; resources on the last axis.

    An unknown capacity is inf; a zero intensity makes no limit: inf. Raises InputError for negative or NaN input.
    """
    c, i = np.asarray(capacity, float), np.asarray(intensity, float)
    if np.any(~(c >= 0)) or np.any(~(i >= 0)):
        raise InputError("capacities and intensities must be 0 or more, and not NaN")
    c, i = np.broadcast_arrays(c, i)
    rate = np.full(c.shape, np.inf)
    np.divide(c, i, out=rate, where=i > 0)
    return rate


def token_rate(capacity: ArrayLike, intensity: ArrayLike, phi: ArrayLike = 1.0, utilization: ArrayLike = 1.0) -> Array:
    """min over the last axis of capacity ÷ intensity, times Φ · U [tok/s]; Φ and U broadcast over the leading axes."""
    return np.asarray(ceiling_rates(capacity, intensity).min(axis=-1) * np.asarray(phi) * np.asarray(utilization))


def binding_resource(capacity: ArrayLike, intensity: ArrayLike) -> NDArray[np.intp]:
    """Index on the last axis of the least ceiling."""
    return np.asarray(ceiling_rates(capacity, intensity).argmin(axis=-1))


def shared_rate(capacity: ArrayLike, intensity: ArrayLike) -> Array:
    """Rate [tok/s] of a plant whose activities take turns: 1 / Σ_a max_r( intensity_ar / capacity_r ).

    intensity   [..., activity, resource], per output token; capacity [resource]. Shape of the result: the leading axes.
    """
    return np.asarray(1.0 / activity_times(capacity, intensity).sum(axis=-1))


def activity_times(capacity: ArrayLike, intensity: ArrayLike) -> Array:
    """Seconds per output token that each activity takes, [..., activity]: the slowest resource decides."""
    return np.asarray((1.0 / ceiling_rates(capacity, intensity)).max(axis=-1))


def elasticities(capacity: ArrayLike, intensity: ArrayLike) -> Array:
    """d ln rate / d ln capacity_r of ``shared_rate``, [..., resource]: the share of the time in which r binds.

    They add up to 1: scaling every capacity by k scales the rate by k. Ties are charged to the first resource.
    """
    seconds = 1.0 / ceiling_rates(capacity, intensity)
    share = seconds.max(axis=-1) / seconds.max(axis=-1).sum(axis=-1, keepdims=True)
    binds = np.arange(seconds.shape[-1]) == seconds.argmax(axis=-1)[..., None]
    return np.asarray((share[..., None] * binds).sum(axis=-2))


def shadow_prices(elasticity: ArrayLike, rate_tok_s: ArrayLike, capacity: ArrayLike) -> Array:
    """Extra tok/s per extra unit of each capacity: elasticity · rate / capacity; resources on the last axis."""
    rate = np.asarray(rate_tok_s, float)
    rate = rate[..., None] if rate.ndim else rate
    c = np.broadcast_to(np.asarray(capacity, float), np.broadcast_shapes(np.shape(elasticity), np.shape(capacity)))
    return np.asarray(np.asarray(elasticity, float) * rate / c)


@dataclass(frozen=True, kw_only=True)
class TwoCeiling:
    """The source's form. Symbols as in the header; all at fixed quality and service targets.

    compute_flop_s  K_eff effective compute           work_flop_tok  c_tok flop per output token
    facility_w      P_facility delivered power        energy_j_tok   e_tok node joules per output token
    theta_ratio     θ                                 phi_ratio, utilization_ratio  Φ, U
    """

    compute_flop_s: float
    work_flop_tok: float
    facility_w: float
    energy_j_tok: float
    theta_ratio: float
    phi_ratio: float = 1.0
    utilization_ratio: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"{name} is {value}; it must be positive")
        if self.theta_ratio > 1 or self.utilization_ratio > 1:
            raise InputError("θ and U are shares: at most 1")

    @property
    def compute_tok_s(self) -> float:
        """K_eff / c_tok [tok/s]."""
        return self.compute_flop_s / self.work_flop_tok

    @property
    def power_tok_s(self) -> float:
        """θ · P_facility / e_tok [tok/s]."""
        return self.theta_ratio * self.facility_w / self.energy_j_tok

    @property
    def rate_tok_s(self) -> float:
        """min(compute, power) · Φ · U [tok/s]."""
        return min(self.compute_tok_s, self.power_tok_s) * self.phi_ratio * self.utilization_ratio

    @property
    def demand_j_flop(self) -> float:
        """e_tok / c_tok [J/flop]: what the work asks for."""
        return self.energy_j_tok / self.work_flop_tok

    @property
    def supply_j_flop(self) -> float:
        """θ · P_facility / K_eff [J/flop]: what the site delivers per unit of compute."""
        return self.theta_ratio * self.facility_w / self.compute_flop_s

    @property
    def binding(self) -> str:
        """ "power" where e_tok/c_tok exceeds θ·P/K_eff, else "compute"."""
        return "power" if self.demand_j_flop > self.supply_j_flop else "compute"


def theta(pue_ratio: float | None, inference_share_ratio: float = 1.0) -> float | None:
    """θ [-]: inference share ÷ PUE; None where the PUE is unknown. Raises InputError outside PUE ≥ 1, 0 < share ≤ 1."""
    if pue_ratio is None:
        return None
    if pue_ratio < 1 or not 0 < inference_share_ratio <= 1:
        raise InputError("θ needs a PUE of at least 1 and an inference share above 0 and at most 1")
    return inference_share_ratio / pue_ratio


def phi_figure(full_load_tok_s: Figure, least_ceiling_tok_s: Figure) -> Figure:
    """Φ: achieved rate at full load ÷ the least ideal ceiling. Above 1 the ceiling is too low; the reason says so."""
    phi = quotient(full_load_tok_s, least_ceiling_tok_s, "1", "rate at full load ÷ lowest ceiling")
    if phi.value is not None and phi.value > 1:
        return _with_reason(phi, "above 1: the lowest ceiling is stated too low")
    return phi


def utilization_figure(period_tok_s: Figure, full_load_tok_s: Figure) -> Figure:
    """U: rate over a period ÷ rate at full load."""
    return quotient(period_tok_s, full_load_tok_s, "1", "rate over the period ÷ rate at full load")


def _with_reason(figure: Figure, reason: str) -> Figure:
    return Figure(
        figure.value,
        figure.unit,
        figure.basis,
        low=figure.low,
        high=figure.high,
        level=figure.level,
        reason=reason,
        source=figure.source,
    )
