"""Power and tokens with autocorrelated noise of known spread, and how often an interval covers their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.statistics.ratio import ratio_interval

POWER_W, TOKENS_TOK = 500.0, 900.0


@dataclass(frozen=True)
class Coverage:
    phi: float
    windows: int
    runs: int
    covered: float
    half_width: float

    @property
    def noise(self) -> float:
        """95 % half width of the simulation itself."""
        return 1.96 * (self.covered * (1 - self.covered) / self.runs) ** 0.5


def ar1(rng: np.random.Generator, phi: float, runs: int, n: int) -> np.ndarray:
    """Stationary AR(1) of unit variance, [runs, n]."""
    x = np.empty((runs, n))
    x[:, 0] = rng.standard_normal(runs)
    for i in range(1, n):
        x[:, i] = phi * x[:, i - 1] + (1 - phi * phi) ** 0.5 * rng.standard_normal(runs)
    return x


def coverage(phi: float, n: int, runs: int, seed: int = 1) -> Coverage:
    rng = np.random.default_rng([seed, n, round(100 * phi)])
    own, shared = ar1(rng, phi, runs, n), ar1(rng, phi, runs, n)
    joules = POWER_W * (1 + 0.05 * (0.8 * shared + 0.6 * own))
    tokens = np.clip(TOKENS_TOK * (1 + 0.08 * shared), 1.0, None)
    hits, widths = 0, []
    for j, t in zip(joules, tokens, strict=True):
        found = ratio_interval(j, t)
        if found is None or found.low is None or found.high is None:
            raise SystemExit(f"no interval from {n} windows: the benchmark asks for fewer than the tool needs")
        hits += found.low <= POWER_W / TOKENS_TOK <= found.high
        widths.append((found.high - found.low) / 2 / found.value)
    return Coverage(phi, n, runs, hits / runs, float(np.mean(widths)))
