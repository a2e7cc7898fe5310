"""What leaving a whole group out of the fit costs: devices, number formats, engines. Writes ``serving_groups.csv``.

    python benchmarks/fit_groups.py ../shared/data

For each group of each kind the coefficients are fitted on the other groups and predict it. Engines are predicted with
the coefficients of the other engines in the catalog. The 80 % quantile of |ln predicted − ln measured|, less (squares)
that of the same rows when they are in the fit, is how much wider an interval has to be for a group without runs.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from joulemill.catalog.serving import coefficients
from joulemill.physics.serving.coefficients import POWER_NAMES
from joulemill.validation.row import MeasuredRow
from serving_fit import Problem, fit, latency_problem, runs_problem

TARGET = Path(__file__).parent.parent / "src/joulemill/catalog/data/serving_groups.csv"
ENGINES = ("vllm-0.19", "trtllm", "sglang")
FEWEST = 20


def half_width(logs: np.ndarray) -> float:
    return float(np.quantile(np.abs(logs[np.isfinite(logs)]), 0.8))


def by_group(problem: Problem, key: Callable[[MeasuredRow], str]) -> np.ndarray:
    """ln(predicted ÷ measured) of every row by a fit that has not seen its group; NaN where the group is small."""
    groups = np.array([key(r) for r in problem.rows])
    errors = np.full_like(problem.measured, np.nan)
    start, _ = fit(problem)
    for name in sorted(set(groups)):
        held = groups == name
        if FEWEST <= held.sum() <= held.size - FEWEST:
            x, _ = fit(problem.part(np.flatnonzero(~held)), start)
            part = problem.part(np.flatnonzero(held))
            errors[:, held] = part.logs(x) - part.measured
    return errors


def rows_of(problem: Problem, kind: str, held: np.ndarray) -> list[dict[str, object]]:
    seen = problem.logs(fit(problem)[0]) - problem.measured
    made = []
    for i, quantity in enumerate(problem.quantities):
        known = np.isfinite(held[i])
        inside, outside = half_width(seen[i][known]), half_width(held[i])
        added = float(np.sqrt(max(outside**2 - inside**2, 0.0)))
        made.append(
            {
                "quantity": quantity,
                "group": kind,
                "n": int(known.sum()),
                "half_width": f"{outside:.4f}",
                "half_width_seen": f"{inside:.4f}",
                "added": f"{added:.4f}",
            }
        )
        print(made[-1], flush=True)
    return made


def engines(data: Path) -> list[dict[str, object]]:
    """Rows of each engine by the coefficients of the others, as one that was never measured would be predicted."""
    own, other = [], []
    for engine in ENGINES:
        problem = latency_problem(data, engine, {})
        for source in ENGINES:
            x = np.log([next(c.value for c in coefficients(source) if c.name == n) for n in problem.names])
            (own if source == engine else other).append(problem.logs(x) - problem.measured)
    made = []
    for i, quantity in enumerate(("tpot_s", "ttft_s")):
        inside = half_width(np.concatenate([e[i] for e in own]))
        outside = half_width(np.concatenate([e[i] for e in other]))
        made.append(
            {
                "quantity": quantity,
                "group": "engine",
                "n": sum(e.shape[1] for e in own),
                "half_width": f"{outside:.4f}",
                "half_width_seen": f"{inside:.4f}",
                "added": f"{np.sqrt(max(outside**2 - inside**2, 0.0)):.4f}",
            }
        )
        print(made[-1], flush=True)
    return made


def main() -> None:
    data = Path(sys.argv[1])
    runs = runs_problem(data)
    made = rows_of(runs, "device", by_group(runs, lambda r: r.device.name))
    made += rows_of(runs, "format", by_group(runs, lambda r: r.precision.name))
    fixed = {c.name: c.value for c in coefficients("vllm-0.19") if c.name in POWER_NAMES}
    latency = latency_problem(data, "vllm-0.19", fixed)
    made += rows_of(latency, "device", by_group(latency, lambda r: r.device.name))
    made += engines(data)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(made)


if __name__ == "__main__":
    main()
