"""A simulated run: what was asked, what became of it, what it drew, and what all of it stood in. Pure.

The same quantities as of a measured window, by the same names; every one is modelled, or calibrated where measured runs
of this deployment scaled it. Energy is Σ joules ÷ Σ output tokens, over the whole time: idle included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis, Figure, unknown
from joulemill.simulation.controls import Controls
from joulemill.simulation.latencies import BACKLOG_RATIO, Latencies, good, latencies
from joulemill.simulation.outcomes import Outcomes
from joulemill.simulation.plant import Plant, PlantPower, closure_j, device_parts_j
from joulemill.simulation.quality import AnswerQuality
from joulemill.simulation.schedule import Schedule
from joulemill.simulation.series import ReplicaLimits
from joulemill.simulation.timeline import Timeline
from joulemill.simulation.traffic import NS_IN_S, Traffic

SCOPES = ("device", "node", "site")
#: Level of the intervals of predictions.
LEVEL = 0.8
#: Half-width [ln, 80 %] of what a board draws at rest: a fleet of one model spreads ± 10 % (catalog: idle_states.csv).
IDLE_WIDTH = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Widths:
    """Half-widths of 80 % intervals as logarithms, from the prediction's errors: joules of work, of a node beyond its
    devices', of what is idle; and time of a step."""

    active_ratio: float
    node_ratio: float
    time_ratio: float
    idle_ratio: float = IDLE_WIDTH


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSetting:
    """What a run stands in: the plant, its limits and signals, targets of the latencies.

    why_no_node, why_no_site   reasons where these are unknown
    carbon_gco2e, price_currency   of a joule of the site over time;  None: not stated
    site_limit_w, cooling_limit_w  limits over time
    nameplate_w   what the plant draws at most by its nameplates, at the widest known scope
    """

    plant: Plant
    limits: ReplicaLimits
    widths: Widths
    basis: Basis = Basis.MODELLED
    why_no_node: str = ""
    why_no_site: str = ""
    carbon_gco2e: Schedule | None = None
    price_currency: Schedule | None = None
    currency: str | None = None
    site_limit_w: Schedule | None = None
    cooling_limit_w: Schedule | None = None
    nameplate_w: float | None = None
    ttft_limit_s: float | None = None
    tpot_limit_s: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PlayedTraffic:
    """One traffic through one deployment under one set of controls."""

    traffic: Traffic
    outcomes: Outcomes
    timeline: Timeline
    power: PlantPower
    controls: Controls
    around: RunSetting
    quality: AnswerQuality = field(default_factory=AnswerQuality)
    notes: tuple[str, ...] = field(default=())

    @property
    def duration_s(self) -> float:
        """From the first moment to the end of the timeline."""
        return self.power.bins.end_s

    @cached_property
    def latencies(self) -> Latencies:
        """Latencies by request."""
        return latencies(self.outcomes)

    @cached_property
    def good(self) -> Array:
        """Requests that met the targets."""
        return good(self.latencies, self.around.ttft_limit_s, self.around.tpot_limit_s).astype(np.float64)

    @property
    def output_tok(self) -> int:
        """Tokens of answers."""
        return int(self.outcomes.generated_tok.sum())

    @property
    def good_tok(self) -> float:
        """Tokens of answers that met the targets."""
        return float((self.outcomes.generated_tok * self.good).sum())

    @property
    def attained_ratio(self) -> float | None:
        """Share of the requests that met the targets; None where none is stated."""
        stated = self.around.ttft_limit_s is not None or self.around.tpot_limit_s is not None
        return float(self.good.sum() / max(self.traffic.requests_count, 1)) if stated else None

    @cached_property
    def parts_j(self) -> Mapping[str, float]:
        """Energy by what it was spent on: the devices', then host, fans, loss and facility where known."""
        beyond = {
            "host": self.power.host_j,
            "fans": self.power.fan_j,
            "conversion": self.power.loss_j,
            "facility": self.power.facility_j,
        }
        parts = {name: float(part.sum()) for name, part in beyond.items() if part is not None}
        return {**device_parts_j(self.timeline), **parts}

    @property
    def closure_j(self) -> float:
        """What the meter counts less the parts."""
        return closure_j(device_parts_j(self.timeline), self.power)

    @property
    def widest_scope(self) -> str:
        """The widest scope whose energy is known."""
        return next(s for s in reversed(SCOPES) if self.power.at_scope(s) is not None)

    def energy_j(self, scope: str) -> float | None:
        """Energy at a scope over the whole time."""
        energy = self.power.at_scope(scope)
        return None if energy is None else float(energy.sum())

    def figure(self, value: float, unit: str, scope: str, source: str = "simulation") -> Figure:
        """``value``, which is energy at ``scope`` over something that is known, with its interval."""
        down, up = self.bounds(scope)
        return Figure(value, unit, self.around.basis, low=value * down, high=value * up, level=LEVEL, source=source)

    def bounds(self, scope: str) -> tuple[float, float]:
        """Factors from the energy at a scope to the ends of its interval: work and rest err each their own way."""
        parts, w = device_parts_j(self.timeline), self.around.widths
        total = sum(parts.values()) or 1.0
        active = (parts["prefill"] + parts["decode"] + parts["transition"]) / total
        half = math.hypot(active * w.active_ratio, (1.0 - active) * w.idle_ratio)
        half = half if scope == "device" else math.hypot(half, w.node_ratio)
        return math.exp(-half), math.exp(half)

    def rate_figure(self, rate: float, unit: str) -> Figure:
        """A rate over the whole time, with how far slower or faster steps would move it.

        Where the deployment keeps up even with the slowest steps of the interval, the traffic sets the rate, and it is
        known. Else slow steps lower it by what they lack, and fast ones raise it up to what is offered.
        """
        tokens, w = float(self.output_tok), self.around.widths.time_ratio
        made_tok_s = tokens / self.duration_s
        full = self.around.limits.full_load_tok_s
        backlog = self.duration_s > self.offered_s * (1.0 + BACKLOG_RATIO)
        if not made_tok_s or (full is not None and made_tok_s * math.exp(w) <= full and not backlog):
            return Figure(rate, unit, self.around.basis, source="simulation: the traffic sets it")
        slow = min(1.0, max(full or 0.0, made_tok_s) * math.exp(-w) / made_tok_s)
        offered = float(self.traffic.output_tok.sum()) / max(self.offered_s, 1e-9)
        fast = max(1.0, min(math.exp(w), offered / made_tok_s))
        return Figure(
            rate, unit, self.around.basis, low=rate * slow, high=rate * fast, level=LEVEL, source="simulation"
        )

    def energy_figure(self, scope: str, per: float, unit: str, what: str = "output token") -> Figure:
        """Energy at ``scope`` per ``per``; unknown, with the reason, where the scope or the divisor is."""
        energy = self.energy_j(scope)
        if energy is None:
            reason = self.around.why_no_node if scope == "node" or self.power.node_j is None else ""
            return unknown(unit, reason or self.around.why_no_site)
        if per <= 0:
            return unknown(unit, f"it produced no {what}")
        return self.figure(energy / per, unit, scope)

    def priced(self, price: Schedule | None) -> float | None:
        """∫ price · site power; None where either is not known for all of the time."""
        energy = self.power.site_j
        if energy is None or price is None:
            return None
        total = float((energy * price.means(self.power.bins.edges_s)).sum())
        return None if math.isnan(total) else total

    def in_window(self, start_s: float, end_s: float, scope: str) -> float | None:
        """Mean power at ``scope`` from ``start_s`` to ``end_s`` [W]."""
        energy = self.power.at_scope(scope)
        if energy is None:
            return None
        edges = self.power.bins.edges_s
        reached = np.concatenate([[0.0], np.cumsum(energy)])
        first, last = np.interp([start_s, min(end_s, edges[-1])], edges, reached)
        return float((last - first) / max(min(end_s, edges[-1]) - start_s, 1e-9))

    @property
    def offered_s(self) -> float:
        """Until the last request came."""
        came = self.outcomes.arrival_ns[self.outcomes.arrival_ns >= 0]
        return float(came.max()) / NS_IN_S if len(came) else 0.0
