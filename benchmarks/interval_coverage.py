"""Does a nominal 95 % interval of J/token cover the truth 95 % of times? Simulation with autocorrelated windows.

Sub-windows of AR(1) power (mean 500 W, 5 % noise) and of AR(1) tokens (mean 900 tok, 8 % noise), the two correlated;
the truth is 500 ÷ 900 J/tok. Run: ``python benchmarks/interval_coverage.py [runs]``. Exits 1 where coverage leaves
93–97 % in a case the tool claims an interval for with good conscience (the others are printed too).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from joulemill.statistics.ratio import ratio_interval

POWER_W, TOKENS_TOK = 500.0, 900.0
CASES = [
    (phi, n)
    for phi, sizes in {
        0.0: (8, 12, 24, 60, 120),
        0.3: (12, 24, 60, 120),
        0.5: (24, 60, 120),
        0.7: (60, 120),
        0.8: (120,),
    }.items()
    for n in sizes
]


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


def main(runs: int) -> int:
    print(f"nominal 95 %, {runs} runs a row\n\n phi  windows  coverage        mean half width")
    bad = 0
    for phi, n in CASES:
        c = coverage(phi, n, runs)
        outside = not 0.93 - c.noise <= c.covered <= 0.97 + c.noise
        bad += outside
        mark = "  <- outside 93-97 %" if outside else ""
        print(f"{phi:4.1f}  {n:7d}  {100 * c.covered:5.1f} ± {100 * c.noise:3.1f} %  {100 * c.half_width:6.2f} %{mark}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
