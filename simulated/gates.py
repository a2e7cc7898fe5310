"""Runs of a known J/token and noise before the gate: how often it fails, finds a rise, and plans long enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from joulemill.decisions.gate.gate import Terms, gate
from joulemill.decisions.gate.run_length import LengthPlan, plan_length
from joulemill.decisions.gate.sample import Sample
from joulemill.figure import Basis, Figure
from joulemill.statistics.ratio import ratio_interval
from simulated.noise import POWER_W, TOKENS_TOK, ar1

ALLOWED = 0.05


TERMS = Terms(ALLOWED, without_quality=True)


#: Seconds of a sub-window, and the most sub-windows that a run is cut into, as in the ledger.
WINDOW_S, MOST_WINDOWS = 1.0, 120


def simulated(
    rng: np.random.Generator, length_s: float, noise: float, phi: float, rise: float = 0.0, level: float = 0.0
) -> Sample:
    """A run of ``length_s``: noise of J/token of ``noise`` a second-long sub-window, ``level`` its own offset."""
    seconds = max(round(length_s / WINDOW_S), 8)
    own, shared = ar1(rng, phi, 1, seconds)[0], ar1(rng, phi, 1, seconds)[0]
    joules = POWER_W * WINDOW_S * (1 + rise) * (1 + level) * (1 + noise * own + 0.04 * shared)
    tokens = np.clip(TOKENS_TOK * (1 + 0.08 * shared), 1.0, None)
    joules, tokens = _merged(joules), _merged(tokens)
    found = ratio_interval(joules, tokens)
    if found is None:
        raise SystemExit("the simulation made a run without tokens")
    figure = Figure(found.value, "J/tok", Basis.MEASURED, low=found.low, high=found.high, level=0.95)
    return Sample(
        name="run", figure=figure, energy_j=tuple(joules), amount_count=tuple(tokens), window_s=seconds * WINDOW_S
    )


def _merged(x: np.ndarray) -> np.ndarray:
    """At most MOST_WINDOWS sub-windows of equal length, as the ledger makes them."""
    each = -(-len(x) // MOST_WINDOWS)
    return x[: len(x) // each * each].reshape(-1, each).sum(axis=1)


def judged(rng: np.random.Generator, runs: int, length_s: float, system: tuple[float, float], rise: float) -> Counter:
    counts: Counter = Counter()
    for _ in range(runs):
        base, new = simulated(rng, length_s, *system), simulated(rng, length_s, *system, rise)
        counts[gate([base], [new], TERMS).outcome] += 1
    return counts


def planned(rng: np.random.Generator, runs: int, system: tuple[float, float], rise: float) -> tuple[Counter, float]:
    """As a user does it: a pilot run of two minutes, a plan from it, both runs as long as the plan says."""
    counts: Counter = Counter()
    lengths = []
    for _ in range(runs):
        plan = plan_length([simulated(rng, 120.0, *system)], ALLOWED)
        if not isinstance(plan, LengthPlan) or plan.window_s is None:
            raise SystemExit(f"no plan from a pilot run: {plan}")
        lengths.append(plan.window_s)
        counts += judged(rng, 1, plan.window_s, system, rise)
    return counts, float(np.median(lengths))


def repeated(rng: np.random.Generator, runs: int, each: int, spread: float, rise: float) -> Counter:
    counts: Counter = Counter()
    for _ in range(runs):
        sides = [
            [simulated(rng, 60.0, 0.08, 0.3, r, spread * rng.standard_normal()) for _ in range(each)]
            for r in (0.0, rise)
        ]
        counts[gate(*sides, TERMS).outcome] += 1
    return counts


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a share of ``runs``, and the range that it must lie in."""

    case: str
    system: str
    share: float
    least: float
    most: float
    runs: int
    more: str = ""

    @property
    def sampling(self) -> float:
        """95 % half width of the simulation itself."""
        edge = self.least if self.share < self.least else self.most
        p = min(max(edge, 1.0 / self.runs), 1.0 - 1.0 / self.runs)
        return 1.96 * (p * (1 - p) / self.runs) ** 0.5

    @property
    def sound(self) -> bool:
        return self.least - self.sampling <= self.share <= self.most + self.sampling
