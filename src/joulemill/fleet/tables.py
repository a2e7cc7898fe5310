"""The tables of a plan's file, as pydantic checks them. Keys that end in a unit hold bare numbers, others texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from joulemill.fleet.quantities import (
    MOST_CARBON_GCO2E_KWH,
    ByHour,
    CarbonByHour,
    Duration,
    Latency,
    Power,
    PowerCap,
    Rate,
    ShareByHour,
)

Names = Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]
#: Goal as people write it → name of its value.
GOAL_VALUES = {
    "most_tokens": "tokens",
    "least_energy": "energy",
    "least_carbon": "carbon",
    "least_cost": "cost",
    "least_devices": "devices",
}
GOALS = tuple(GOAL_VALUES)
GoalName = Literal["most_tokens", "least_energy", "least_carbon", "least_cost", "least_devices"]
GoalNames = Annotated[tuple[GoalName, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


class _PlanEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SiteTable(_PlanEntry):
    """A site: the keys of a site file, and what only a plan needs.

    pue_curve    [[share of the IT power limit, PUE there], …] in place of ``pue``
    pue_by_hour  the PUE by hour, in place of ``pue``
    power_by_hour_ratio, cooling_by_hour_ratio   share of the power limits and of the cooling that is there, by hour
    """

    name: str = Field(min_length=1)
    site_file: str | None = None
    pue: float | None = Field(default=None, ge=1.0, le=10.0)
    pue_curve: tuple[tuple[float, float], ...] | None = None
    pue_by_hour: ByHour = None
    it_power_limit: Power = None
    facility_power_limit: Power = None
    cooling_limit: Power = None
    power_by_hour_ratio: ShareByHour = None
    cooling_by_hour_ratio: ShareByHour = None
    carbon_gco2e_kwh: float | None = Field(default=None, ge=0.0, le=MOST_CARBON_GCO2E_KWH)
    carbon_by_hour_gco2e_kwh: CarbonByHour = None
    carbon_limit_tco2e_day: float | None = Field(default=None, ge=0.0)
    price_currency_kwh: float | None = Field(default=None, ge=0.0, le=1e6)
    price_by_hour_currency_kwh: ByHour = None
    currency: str | None = None
    water_l_kwh: float | None = Field(default=None, ge=0.0, le=100.0)
    racks_count: int | None = Field(default=None, ge=0)

    @property
    def states_pue(self) -> bool:
        """Whether its PUE is known, one way or the other."""
        return any(x is not None for x in (self.pue, self.pue_curve, self.pue_by_hour))

    @model_validator(mode="after")
    def _one_pue(self) -> SiteTable:
        if sum(x is not None for x in (self.pue, self.pue_curve, self.pue_by_hour)) > 1:
            raise ValueError("states one of pue, pue_curve and pue_by_hour, not several")
        if min(self.pue_by_hour or (1.0,)) < 1.0:
            raise ValueError(f"pue_by_hour has {min(self.pue_by_hour or ()):g}; a PUE is at least 1")
        return self


class PoolTable(_PlanEntry):
    """Devices of one kind at one site. ``unused``: the states that an unused device may be in."""

    name: str = Field(min_length=1)
    site: str
    device: str
    node: str | None = None
    owned_count: int = Field(default=0, ge=0, le=10_000_000)
    purchasable_count: int = Field(default=0, ge=0, le=10_000_000)
    price_currency_device: float | None = Field(default=None, ge=0.0)
    life_years: float = Field(default=5.0, gt=0.0, le=30.0)
    lead_time: Duration = 0.0
    devices_per_rack: float | None = Field(default=None, gt=0.0)
    unused: Names = Field(default=("bare",), min_length=1)

    @model_validator(mode="after")
    def _priced(self) -> PoolTable:
        if not self.owned_count and not self.purchasable_count:
            raise ValueError("has no devices: state owned_count, purchasable_count or both")
        return self


class ModelOffer(_PlanEntry):
    """A model, and the levers that it may be run with; the first of each list is how it runs without levers.

    quality      score on the task that ``quality_target`` is of; by precision where it is a table
    tp           devices of one replica;  power_caps  of one device, in W or % of its TDP
    lever_cost_currency   lever → what it costs once: by a precision's name, "power_cap", "kv_fp8", "prefix_cache"
    """

    name: str = Field(min_length=1)
    quality: float | dict[str, float] | None = None
    precisions: Names = ()
    kv_dtypes: Names = ()
    tp: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = ()
    power_caps: tuple[PowerCap, ...] = ()
    engine: str = "vllm"
    prefix_cache_ratio: float | None = Field(default=None, gt=0.0, lt=1.0)
    concurrency: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = ()
    lever_cost_currency: dict[str, float] = Field(default_factory=dict)
    approximate: bool = False


class DemandTable(_PlanEntry):
    """A class of requests. ``model``, ``models`` or ``quality_target`` say what may serve it; ``trace`` gives rate and
    lengths by the hour of the day."""

    name: str = Field(min_length=1)
    model: str | None = None
    models: Names = ()
    quality_target: float | None = None
    rate: Rate | None = None
    trace: str | None = None
    by_hour_ratio: ByHour = None
    input_tokens: float = Field(default=512.0, ge=1.0, le=1e8)
    output_tokens: float = Field(default=512.0, ge=1.0, le=1e8)
    output_spread_ratio: float = Field(default=0.0, ge=0.0, le=5.0)
    cached_ratio: float = Field(default=0.0, ge=0.0, lt=1.0)
    slo_ttft: Latency = None
    slo_tpot: Latency = None
    percentile: float = Field(default=99.0, gt=0.0, lt=100.0)
    shift_ratio: float = Field(default=0.0, ge=0.0, le=1.0)
    move_ratio: float = Field(default=1.0, ge=0.0, le=1.0)
    home: str | None = None
    sites: Names = ()
    least_ratio: float = Field(default=0.0, ge=0.0, le=1.0)
    weight_ratio: float = Field(default=1.0, gt=0.0)

    @model_validator(mode="after")
    def _whole(self) -> DemandTable:
        ways = [w for w, x in (("model", self.model), ("models", self.models)) if x]
        ways += ["quality_target"] if self.quality_target is not None and not ways else []
        if len(ways) != 1:
            raise ValueError("needs one of model, models and quality_target, for what may serve it")
        if (self.rate is None) == (self.trace is None):
            raise ValueError('needs one of rate (such as "120 ktok/s") and trace')
        if any(v is None for v, _ in self.rate or ()) and (self.least_ratio or self.shift_ratio):
            raise ValueError("has an unlimited rate, which has no least_ratio and no shift_ratio: state a rate")
        if min(self.by_hour_ratio or (0.0,)) < 0.0:
            raise ValueError(f"by_hour_ratio has {min(self.by_hour_ratio or ()):g}; it must be 0 or more")
        return self


class RobustTable(_PlanEntry):
    """A plan that holds when demand is so much more, and with every rate, power and latency at its unfavourable end."""

    demand_ratio: float = Field(default=1.0, ge=1.0, le=10.0)
    at_worst: bool = False


class ObjectiveTable(_PlanEntry):
    """What is sought: one goal, several in order, or ``weights`` over goals' values in W, gCO2e/s, currency/s, tok/s.
    Nothing stated: most tokens, and of the plans with as many the one of least energy.

    whole     whole replicas and purchases;  horizon  purchases with a longer lead time are left out
    inventory what runs today, so that starts cost time and joules: a CSV file (pool, model, deployment, count), or the
              history of a monitor
    """

    goal: GoalNames = ()
    weights: dict[str, float] = Field(default_factory=dict)
    whole: bool = False
    budget_currency: float | None = Field(default=None, ge=0.0)
    carbon_limit_tco2e_day: float | None = Field(default=None, ge=0.0)
    horizon: Duration = None
    robust: RobustTable | None = None
    inventory: str | None = None
    start_time: Duration = None
    start_energy_kwh: float | None = Field(default=None, ge=0.0)

    @model_validator(mode="after")
    def _one_goal(self) -> ObjectiveTable:
        stray = next((name for name in self.weights if name not in GOAL_VALUES.values()), None)
        if stray is not None:
            raise ValueError(f"weights: {stray!r} is not known; use {', '.join(GOAL_VALUES.values())}")
        if min(self.weights.values(), default=0.0) < 0.0:
            raise ValueError("weights must be 0 or more: all but tokens are to be small")
        if self.weights and self.goal:
            raise ValueError("states one of goal and weights, not both")
        return self


class PlanTables(_PlanEntry):
    """A plan's file."""

    name: str = "plan"
    site: tuple[SiteTable, ...] = Field(min_length=1)
    pool: tuple[PoolTable, ...] = Field(min_length=1)
    model: tuple[ModelOffer, ...] = Field(min_length=1)
    demand: tuple[DemandTable, ...] = Field(min_length=1)
    objective: ObjectiveTable = ObjectiveTable()
