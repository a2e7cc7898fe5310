"""Signs and sizes of levers on measured pairs that differ in one lever only → a table; exit 1 where the bar is missed.

    python benchmarks/lever_pairs.py [--data ../shared/data] [--wrong]

The bar: sign of ΔJ/token right for 90 % of pairs whose effect exceeds 10 %; median |predicted − measured| of the ln of
the ratio at most 0.12.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from joulemill.prediction.precision import resolver
from joulemill.validation.pairs import NOTABLE, Pair, measured_pairs, pair_score, pair_scores
from joulemill.validation.tables import read_table

SIGN, MEDIAN = 0.9, 0.12


def print_scores(pairs: Sequence[Pair]) -> None:
    table = Table(box=None, pad_edge=False)
    for n, title in enumerate(("lever", "pairs", "> 10 %", "sign right", "median |Δln|", "80 % of |Δln|")):
        table.add_column(title, justify="right" if n else "left")
    for s in pair_scores(pairs):
        errors = (f"{s.median_error:.3f}", f"{s.wide_error:.3f}")
        table.add_row(s.lever, str(s.n), str(s.notable), f"{s.sign_share:.1%}", *errors)
    Console(width=100).print(table)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--wrong", action="store_true", help="list the pairs whose sign is wrong")
    args = parser.parse_args()
    rows = read_table(args.data / "serving_runs.csv", resolver(args.data / "models")).rows
    pairs = measured_pairs(rows)
    print_scores(pairs)
    effect = np.abs([p.predicted_log for p in pairs])
    error = np.abs([p.error_log for p in pairs])
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 1.0), (1.0, 9.0)):
        mask = (effect >= low) & (effect < high)
        if mask.any():
            print(f"predicted |ln| {low}–{high}: n {mask.sum()}, 80 % of |error| {np.quantile(error[mask], 0.8):.3f}")
    quiet = [p for p in pairs if not p.first.shared_host and not p.second.shared_host]
    print(f"\nwithout runs on one B200, whose host may have been crowded ({len(quiet)} pairs):")
    print_scores(quiet)
    if args.wrong:
        for p in pairs:
            if abs(p.measured_log) > NOTABLE and not p.sign_right:
                a, b = p.first, p.second
                counts = a.parallelism.devices, b.parallelism.devices
                print(
                    f"{p.lever}: {a.model} {a.device.name}×{counts[0]} b{a.concurrency:.0f} {a.groups['task']} → "
                    f"{b.model} {b.device.name}×{counts[1]}: {p.measured_log:+.2f} measured, {p.predicted_log:+.2f}"
                )
    whole = pair_score("all", pairs)
    return 0 if whole.sign_share >= SIGN and whole.median_error <= MEDIAN else 1


if __name__ == "__main__":
    sys.exit(main())
