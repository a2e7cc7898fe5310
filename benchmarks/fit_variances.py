"""How errors of predictions vary between and within deployments → ``catalog/data/serving_variances.csv``.

    python benchmarks/fit_variances.py [--data ../shared/data] [--held runs.npz]

The error ln(measured ÷ predicted) of a row is taken as μ + a + b·(ln batch − the cell's mean of it) + ε, with
a, b and ε normal: three variances, fitted by maximum likelihood in each stratum, standard errors from its
curvature. ``z_80`` is the 80 % quantile of held-out errors over their predicted standard deviation, over random
draws of one to three calibrating rows a cell; 1.28 if errors were normal.

Energy runs are predicted by fits that have not seen the row's family; that takes minutes, and ``--held`` keeps the
predictions in a file. Latency points are predicted by the shipped coefficients, which have seen them: only what varies
within a cell is learnt there, the spread between cells is never less than the interval of left-out families.
The scores of energy runs on left-out families with K calibrating rows are printed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parent))
from joulemill.catalog.serving import coefficients, tasks
from joulemill.prediction.precision import resolver
from joulemill.statistics.shrinkage import Variances, shrunk
from joulemill.validation.calibrated_scores import cell_name, scored_with
from joulemill.validation.row import MeasuredRow
from joulemill.validation.scores import predict_rows
from joulemill.validation.tables import read_table
from serving_fit import Problem, family, leave_out, runs_problem

OUT = Path(__file__).parents[1] / "src" / "joulemill" / "catalog" / "data" / "serving_variances.csv"
HEADER = [
    "quantity",
    "stratum",
    "cells",
    "rows",
    "between_sd",
    "between_stderr",
    "within_sd",
    "within_stderr",
    "slope_sd",
    "slope_stderr",
    "z_80",
    "source",
]
SOURCES = {"runs": "ML.ENERGY Leaderboard v3, families left out", "latency": "aiconfigurator sample, in sample"}
LEAST_ROWS, LEAST_SD = 20, 1e-3
DRAWS = 20


@dataclass(frozen=True)
class Sums:
    """A cell's sufficient statistics: count, mean error, Σ(x−x̄)², Σ(x−x̄)e, Σ(e−ē)²."""

    n: int
    mean: float
    sxx: float
    sxe: float
    see: float


def sums(x: np.ndarray, e: np.ndarray) -> Sums:
    away, rest = x - x.mean(), e - e.mean()
    return Sums(len(e), float(e.mean()), float(away @ away), float(away @ rest), float(rest @ rest))


def minus_log_likelihood(parameters: np.ndarray, cells: Sequence[Sums]) -> float:
    """Of μ and the logarithms of three standard deviations. Mean and slope of a cell are independent, see shrinkage."""
    mean, (tau, sigma, steep) = parameters[0], np.exp(2.0 * parameters[1:])
    total = 0.0
    for c in cells:
        spread = tau + sigma / c.n
        total += 0.5 * (np.log(spread) + (c.mean - mean) ** 2 / spread)
        total += 0.5 * ((c.n - 1) * np.log(sigma) + c.see / sigma)
        if c.sxx > 0.0:  # what the slope explains of the cell's squares
            ratio = steep * c.sxx / sigma
            total += 0.5 * (np.log1p(ratio) - c.sxe**2 / c.sxx / sigma * ratio / (1.0 + ratio))
    return float(total)


def fitted(cells: Sequence[Sums]) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations (between, within, slope) and their standard errors."""
    bounds = [(-2.0, 2.0), *[(np.log(LEAST_SD), np.log(5.0))] * 3]
    best = minimize(
        minus_log_likelihood, np.array([0.0, np.log(0.1), np.log(0.1), np.log(0.05)]), args=(cells,), bounds=bounds
    )
    sd = np.exp(best.x[1:])
    step, size = 1e-3, 4
    hessian = np.empty((size, size))
    eye = np.eye(size) * step
    for i in range(size):
        for j in range(size):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            corners = [minus_log_likelihood(best.x + a * eye[i] + b * eye[j], cells) for a, b in signs]
            hessian[i, j] = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * step * step)
    covariance = np.linalg.pinv(hessian)
    return sd, sd * np.sqrt(np.maximum(np.diag(covariance)[1:], 0.0))


def z_80(groups: Sequence[tuple[np.ndarray, np.ndarray]], sd: np.ndarray) -> float:
    """80 % quantile of |error| ÷ predicted standard deviation of rows that did not calibrate."""
    variances, random = Variances(*(float(s) ** 2 for s in sd)), np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        for x, e in groups:
            for k in (1, 2, 3):
                if len(e) <= k:
                    continue
                order = random.permutation(len(e))
                post = shrunk(list(x[order[:k]]), list(e[order[:k]]), variances)
                for i in order[k:]:
                    mean, variance = post.at(float(x[i]))
                    found.append(abs(e[i] - mean) / np.sqrt(variance))
    return float(np.quantile(found, 0.8)) if found else float("nan")


def lines(
    rows: Sequence[MeasuredRow], errors: dict[str, np.ndarray], strata: dict[str, np.ndarray], source: str
) -> list[list[str]]:
    """Rows of the table: one a quantity and stratum."""
    names = np.array([cell_name(r) for r in rows])
    batch = np.log([r.concurrency for r in rows])
    out = []
    for quantity, error in errors.items():
        for stratum, mask in strata.items():
            keep = mask & np.isfinite(error)
            if keep.sum() < LEAST_ROWS:
                continue
            groups = [(batch[m], error[m]) for n in sorted(set(names[keep])) if (m := keep & (names == n)).any()]
            sd, stderr = fitted([sums(x, e) for x, e in groups])
            pairs = [f"{v:.4f}" for pair in zip(sd, stderr, strict=True) for v in pair]
            out.append(
                [quantity, stratum, str(len(groups)), str(keep.sum()), *pairs, f"{z_80(groups, sd):.3f}", source]
            )
    return out


def strata_of(rows: Sequence[MeasuredRow]) -> dict[str, np.ndarray]:
    kinds = np.array([r.stratum or r.groups["kind"] for r in rows])
    names = ("dense", "moe", "disaggregated", "unstated pools", "drafted")
    return {"all": kinds != "", **{n: kinds == n for n in names}}


def shipped(problem: Problem) -> np.ndarray:
    """Logarithms of the shipped coefficients, where the fits without a family start."""
    values = {c.name: c.value for c in coefficients("vllm-0.11")}
    facts = {f"{n}:{fact}": value for n, task in tasks().items() for fact, value in asdict(task).items()}
    return np.log([{**facts, **values}[n] for n in problem.names])


def held_runs(data: Path, kept: Path | None) -> tuple[list[MeasuredRow], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Energy runs, ln(measured ÷ predicted), and predicted values, of fits without the row's family."""
    problem = runs_problem(data)
    if kept is not None and kept.exists():
        logs = np.load(kept)["vllm-0.11"]
    else:
        logs = leave_out(problem, shipped(problem), family)
        if kept is not None:
            np.savez(kept, **{"vllm-0.11": logs})
    held = dict(zip(problem.quantities, logs, strict=True))
    measured = dict(zip(problem.quantities, problem.measured, strict=True))
    errors = {q: measured[q] - held[q] for q in held}
    return problem.rows, errors, {q: np.exp(v) for q, v in held.items()}


def say_scores(rows: list[MeasuredRow], values: dict[str, np.ndarray]) -> None:
    """Means over draws of the scores of rows that did not calibrate, families left out of the fit."""
    for k in (1, 2, 3, 5):
        made = [scored_with(rows, values, k, seed).scores for seed in range(DRAWS)]
        for quantity in made[0]:
            cells = [[getattr(m[quantity], f) for m in made] for f in ("median", "p90", "coverage")]
            median, p90, inside = (f"{np.mean(c):.1%} ({min(c):.1%} to {max(c):.1%})" for c in cells)
            print(f"{k} rows calibrate: {quantity} median {median}, p90 {p90}, in 80 % {inside}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--held", type=Path, help="file that keeps the predictions of left-out families")
    args = parser.parse_args()
    rows, errors, values = held_runs(args.data, args.held)
    out = lines(rows, errors, strata_of(rows), SOURCES["runs"])
    points = read_table(args.data / "serving_latency.csv", resolver(args.data / "models")).rows
    predicted = predict_rows(points)[0]
    late = {q: np.log([r.measured.get(q, np.nan) for r in points]) - np.log(predicted[q]) for q in ("tpot_s", "ttft_s")}
    out += lines(points, late, strata_of(points), SOURCES["latency"])
    with OUT.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([HEADER, *out])
    for line in out:
        print(*line, sep="\t")
    say_scores(rows, values)


if __name__ == "__main__":
    main()
