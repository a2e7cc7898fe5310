"""Does a nominal 95 % interval of J/token cover the truth 95 % of times? Simulation with autocorrelated windows.

Sub-windows of AR(1) power (mean 500 W, 5 % noise) and of AR(1) tokens (mean 900 tok, 8 % noise), the two correlated;
the truth is 500 ÷ 900 J/tok. Run: ``python -m benchmarks.interval_coverage [runs]``. Exits 1 where coverage leaves
93–97 % in a case the tool claims an interval for with good conscience (the others are printed too).
"""

from __future__ import annotations

import sys

from simulated.noise import coverage

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
