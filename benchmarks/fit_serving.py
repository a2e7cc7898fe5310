"""Fit the serving coefficients on measured runs; write ``serving.csv`` and ``serving_errors.csv`` (``catalog/data/``).

    python benchmarks/fit_serving.py [--data ../shared/data]

Robust least squares (soft L1) on the logarithms of what was measured, with priors of physical size. The
energy runs give
one profile (vllm-0.11) and the facts of its tasks; the latency points give one profile a backend, with the power
coefficients of the first and, as a prior, a fit of all backends together. Errors are those of model families left
out of the fit.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from joulemill.catalog.serving import priors
from serving_fit import (
    ENERGY,
    Problem,
    family,
    fit,
    latency_problem,
    leave_out,
    leave_out_pooled,
    pooled,
    runs_problem,
)

CATALOG = Path(__file__).parents[1] / "src" / "joulemill" / "catalog" / "data"
UNTOLD = "prior of serving_parameters.csv; these rows do not tell it"
SOURCE = {
    "runs": "ML.ENERGY Leaderboard v3 (ml-energy/leaderboard 0cd52dab)",
    "latency": "NVIDIA aiconfigurator silicon sample (ai-dynamo/aiconfigurator 095f58a5)",
}


def coefficient_rows(engine: str, problem: Problem, x: np.ndarray, stderr: np.ndarray, source: str) -> list[list[str]]:
    """Lines of ``serving.csv``. What the rows do not tell stays at its prior, and is declared."""
    rows = []
    for name, value, error in zip(problem.names, np.exp(x), stderr, strict=True):
        label = "task" if ":" in name else engine
        told = abs(value / priors()[name][0] - 1.0) > 1e-4 if name in priors() else True
        basis = ["modelled", source] if told else ["declared", UNTOLD]
        rows.append([label, name, f"{value:.5g}", f"{error:.3g}", *basis])
    return rows


def latency_strata(problem: Problem, name: str) -> dict[str, np.ndarray]:
    kinds = np.array([r.stratum or r.groups["kind"] for r in problem.rows])
    strata = ("dense", "moe", "disaggregated", "unstated pools", "drafted")
    return {f"{name} {kind}": kinds == kind for kind in strata}


def error_rows(problem: Problem, logs: np.ndarray, strata: dict[str, np.ndarray]) -> list[list[str]]:
    rows = []
    for stratum, mask in strata.items():
        quantities = dict(zip(problem.quantities, logs - problem.measured, strict=True))
        for quantity, error in quantities.items():
            e = error[mask & np.isfinite(error)]
            if e.size < 8:
                continue
            relative = np.abs(np.expm1(e))
            half = float(np.quantile(np.abs(e), 0.8))
            cells = [np.median(relative), np.quantile(relative, 0.9), np.median(e), half]
            rows.append([quantity, stratum, str(e.size), *(f"{c:.4f}" for c in cells)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    rows: list[list[str]] = []
    errors: list[list[str]] = []
    runs = runs_problem(data)
    x, stderr = fit(runs)
    rows += coefficient_rows("vllm-0.11", runs, x, stderr, SOURCE["runs"])
    out = leave_out(runs, x, family)
    kinds = np.array([r.groups["kind"] for r in runs.rows])
    errors += error_rows(runs, out, {"all": kinds != "", "dense": kinds == "dense", "moe": kinds == "moe"})
    energy = dict(zip(runs.names, np.exp(x), strict=True))
    parts = []
    engines = ("vllm-0.19", "trtllm", "sglang")
    problems = [latency_problem(data, engine, {k: energy[k] for k in ENERGY}) for engine in engines]
    prior = pooled(problems)
    for engine, problem, held in zip(engines, problems, leave_out_pooled(problems), strict=True):
        x, stderr = fit(problem.believing(prior), prior)
        rows += coefficient_rows(engine, problem, x, stderr, SOURCE["latency"])
        for name in ENERGY:
            rows.append(
                [engine, name, f"{energy[name]:.5g}", "0.3", "modelled", f"{SOURCE['runs']}; taken from vllm-0.11"]
            )
        parts.append((problem, held))
        errors += error_rows(problem, held, latency_strata(problem, engine))
    merged = Problem.merged([p for p, _ in parts])
    held = np.concatenate([h for _, h in parts], axis=1)
    errors += error_rows(merged, held, {"latency": np.ones(len(merged.rows), bool)} | latency_strata(merged, "latency"))
    write("serving.csv", ["engine", "parameter", "value", "stderr", "basis", "source"], rows)
    write("serving_errors.csv", ["quantity", "stratum", "n", "median", "p90", "bias", "half_width"], errors)
    for row in errors:
        print(*row, sep="\t")


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    with (CATALOG / name).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
