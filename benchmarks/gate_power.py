"""Is the gate honest? Simulation of its false failures, of what it finds, and of the coverage of its intervals.

Each run is a series of AR(1) sub-windows of power and tokens as in ``interval_coverage``: a board of 500 W, 900 tok
a sub-window, noise that part of both share. The gate allows 5 %.

    A  identical systems: how often does the gate fail?                       at most 5 %
    B  a true rise of 5 %, just what is allowed: how often does it fail?      at most 5 %
    C  a true rise of 10 %, runs as long as ``--plan`` asks: found?           at least 90 %
    D  identical systems, runs as long as ``--plan`` asks: passed?            at least 90 %
    E  nominal 95 % intervals of J/token: do they cover the truth?            93–97 %
    F  repeated runs whose level varies from run to run: false failures       at most 5 %, in A's and B's case

Run: ``python benchmarks/gate_power.py [runs]``. Exits 1 where a row is outside beyond the noise of the simulation.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
from benchmarks.interval_coverage import POWER_W, TOKENS_TOK, ar1, coverage

from joulemill.decisions.gate.gate import Outcome, Terms, gate
from joulemill.decisions.gate.run_length import Plan, plan_length
from joulemill.decisions.gate.sample import Sample
from joulemill.figure import Basis, Figure
from joulemill.statistics.ratio import ratio_interval

ALLOWED = 0.05
TERMS = Terms(ALLOWED, without_quality=True)
#: Seconds of a sub-window, and the most sub-windows that a run is cut into, as in the ledger.
WINDOW_S, MOST_WINDOWS = 1.0, 120
#: (noise of a sub-window, its lag-1 autocorrelation): a quiet GPU server, a usual one, a noisy one. Assumed.
SYSTEMS = [(0.05, 0.0), (0.08, 0.3), (0.12, 0.5), (0.20, 0.3)]
COVERAGE_CASES = [(0.0, 12), (0.0, 60), (0.3, 24), (0.3, 120), (0.5, 60), (0.7, 120)]


@dataclass(frozen=True)
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
    figure = Figure(found.value, "J/tok", Basis.MEASURED, found.low, found.high, 0.95)
    return Sample("run", figure, tuple(joules), tuple(tokens), seconds * WINDOW_S)


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
        if not isinstance(plan, Plan) or plan.window_s is None:
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


def rows(runs: int, seed: int = 7) -> list[Row]:
    """All lines of the table."""
    rng = np.random.default_rng(seed)
    found = []
    for system in SYSTEMS:
        name = f"noise {system[0]:.0%}, phi {system[1]:.1f}"
        for length_s in (20.0, 120.0):
            same = judged(rng, runs, length_s, system, 0.0)
            told = f"{length_s:.0f} s; passed {same[Outcome.PASS] / runs:.0%}"
            found.append(Row("A identical, fails", name, same[Outcome.FAIL] / runs, 0, 0.05, runs, told))
            edge = judged(rng, runs, length_s, system, ALLOWED)
            found.append(
                Row("B at the limit, fails", name, edge[Outcome.FAIL] / runs, 0, 0.05, runs, f"{length_s:.0f} s")
            )
        risen, length_s = planned(rng, runs, system, 0.10)
        told = f"plan: {length_s:.0f} s; passed {risen[Outcome.PASS] / runs:.1%}"
        found.append(Row("C +10 %, found", name, risen[Outcome.FAIL] / runs, 0.90, 1, runs, told))
        same, length_s = planned(rng, runs, system, 0.0)
        found.append(
            Row("D identical, passes", name, same[Outcome.PASS] / runs, 0.90, 1, runs, f"plan: {length_s:.0f} s")
        )
    for phi, n in COVERAGE_CASES:
        seen = coverage(phi, n, runs)
        found.append(Row("E interval covers", f"phi {phi:.1f}, {n} windows", seen.covered, 0.93, 0.97, runs))
    for spread in (0.01, 0.04):
        for each in (2, 4):
            for case, rise in (("F identical, fails", 0.0), ("F at the limit, fails", ALLOWED)):
                share = repeated(rng, runs, each, spread, rise)[Outcome.FAIL] / runs
                found.append(Row(case, f"{each}+{each} runs, {spread:.0%} apart", share, 0, 0.05, runs))
    return found


def main(runs: int) -> int:
    print(f"{runs} simulated gates a row, allowed rise {ALLOWED:.0%}\n")
    bad = 0
    for row in rows(runs):
        bad += not row.sound
        mark = "" if row.sound else "  <- OUTSIDE"
        wanted = f"{100 * row.least:.0f}–{100 * row.most:.0f} %"
        print(f"{row.case:22s} {row.system:24s} {100 * row.share:6.1f} %  (wanted {wanted})  {row.more}{mark}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
