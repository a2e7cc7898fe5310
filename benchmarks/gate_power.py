"""Is the gate honest? Simulation of its false failures, of what it finds, and of the coverage of its intervals.

Each run is a series of AR(1) sub-windows of power and tokens as in ``interval_coverage``: a board of 500 W, 900 tok
a sub-window, noise that part of both share. The gate allows 5 %.

    A  identical systems: how often does the gate fail?                       at most 5 %
    B  a true rise of 5 %, just what is allowed: how often does it fail?      at most 5 %
    C  a true rise of 10 %, runs as long as ``--plan`` asks: found?           at least 90 %
    D  identical systems, runs as long as ``--plan`` asks: passed?            at least 90 %
    E  nominal 95 % intervals of J/token: do they cover the truth?            93–97 %
    F  repeated runs whose level varies from run to run: false failures       at most 5 %, in A's and B's case

Run: ``python -m benchmarks.gate_power [runs]``. Exits 1 where a row is outside beyond the noise of the simulation.
"""

from __future__ import annotations

import sys

import numpy as np
from simulated.gates import ALLOWED, Row, judged, planned, repeated
from simulated.noise import coverage

from joulemill.decisions.gate.gate import Outcome

#: (noise of a sub-window, its lag-1 autocorrelation): a quiet GPU server, a usual one, a noisy one. Assumed.
SYSTEMS = [(0.05, 0.0), (0.08, 0.3), (0.12, 0.5), (0.20, 0.3)]
COVERAGE_CASES = [(0.0, 12), (0.0, 60), (0.3, 24), (0.3, 120), (0.5, 60), (0.7, 120)]


def rows(runs: int, seed: int = 7) -> list[Row]:
    """All lines of the table."""
    rng = np.random.default_rng(seed)
    found = []
    for system in SYSTEMS:
        name = f"noise {system[0]:.0%}, phi {system[1]:.1f}"
        for length_s in (20.0, 120.0):
            same = judged(rng, runs, length_s, system, 0.0)
            told = f"{length_s:.0f} s; passed {same[Outcome.PASS] / runs:.0%}"
            found.append(
                Row(
                    case="A identical, fails",
                    system=name,
                    share=same[Outcome.FAIL] / runs,
                    least=0,
                    most=0.05,
                    runs=runs,
                    more=told,
                )
            )
            edge = judged(rng, runs, length_s, system, ALLOWED)
            found.append(
                Row(
                    case="B at the limit, fails",
                    system=name,
                    share=edge[Outcome.FAIL] / runs,
                    least=0,
                    most=0.05,
                    runs=runs,
                    more=f"{length_s:.0f} s",
                )
            )
        risen, length_s = planned(rng, runs, system, 0.10)
        told = f"plan: {length_s:.0f} s; passed {risen[Outcome.PASS] / runs:.1%}"
        found.append(
            Row(
                case="C +10 %, found",
                system=name,
                share=risen[Outcome.FAIL] / runs,
                least=0.90,
                most=1,
                runs=runs,
                more=told,
            )
        )
        same, length_s = planned(rng, runs, system, 0.0)
        found.append(
            Row(
                case="D identical, passes",
                system=name,
                share=same[Outcome.PASS] / runs,
                least=0.90,
                most=1,
                runs=runs,
                more=f"plan: {length_s:.0f} s",
            )
        )
    for phi, n in COVERAGE_CASES:
        seen = coverage(phi, n, runs)
        found.append(
            Row(
                case="E interval covers",
                system=f"phi {phi:.1f}, {n} windows",
                share=seen.covered,
                least=0.93,
                most=0.97,
                runs=runs,
            )
        )
    for spread in (0.01, 0.04):
        for each in (2, 4):
            for case, rise in (("F identical, fails", 0.0), ("F at the limit, fails", ALLOWED)):
                share = repeated(rng, runs, each, spread, rise)[Outcome.FAIL] / runs
                found.append(
                    Row(
                        case=case,
                        system=f"{each}+{each} runs, {spread:.0%} apart",
                        share=share,
                        least=0,
                        most=0.05,
                        runs=runs,
                    )
                )
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
