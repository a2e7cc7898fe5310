"""Fit the serving coefficients on measured runs → ``serving.csv``, ``serving_errors.csv`` and ``serving_widths.csv``
(``catalog/data/``).

    python benchmarks/fit_serving.py [--data ../shared/data] [--held held.npz]

Robust least squares (soft L1) on the logarithms of what was measured, with priors of physical size; those of energies
and of what newer boards reach come from tables of kernels (``benchmarks/kernels``). The energy runs give one profile
(vllm-0.11) and the facts of its tasks; the latency points give one profile a backend, with the power coefficients of
the first and, as a prior, a fit of all backends together. Errors and widths of intervals are those of model families
left out of the fit; ``--held`` is where the predictions of left-out families are kept for the other scripts.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from joulemill.catalog.serving import priors
from joulemill.prediction.spread import LOADS_REQ, PROMPTS_RATIO, levels_of, load_classes
from joulemill.validation.scores import kind_of_row
from serving_fit import (
    ENERGY,
    Problem,
    family,
    fit,
    fits_without,
    latency_problem,
    leave_out,
    pooled_fits,
    runs_problem,
    undrafted,
    without_family,
)

CATALOG = Path(__file__).parents[1] / "src" / "joulemill" / "catalog" / "data"
ENGINES = ("vllm-0.19", "trtllm", "sglang")
UNTOLD = "prior of serving_parameters.csv; these rows do not tell it"
DOCUMENTED = "documented of the engine (benchmarks/serving_fit.py); these rows do not tell it"
SOURCE = {
    "runs": "ML.ENERGY Leaderboard v3 (ml-energy/leaderboard 0cd52dab)",
    "latency": "NVIDIA aiconfigurator silicon sample (ai-dynamo/aiconfigurator 095f58a5)",
}
#: Rows that a level of an interval's width counts as beside its own, and rounds of the fit of widths.
WIDTH_ROWS, WIDTH_ROUNDS = 3.0, 30
#: Classes of batches.
BATCHES = len(LOADS_REQ) + 1
#: Rows that a combination needs to be as much narrower than older silicon in 16 bits as they say.
WIDTH_FEWEST = 12
#: Widths are fitted on the rows that they are judged on: they are this much wider.
WIDTH_MARGIN = 1.02


@dataclass(frozen=True)
class Fitted:
    """A profile: rows of its fit, its coefficients with standard errors, and predictions without the rows' families;
    ``plain``: the same where rows that are read as drafted are predicted as if nothing were drafted."""

    engine: str
    problem: Problem
    x: np.ndarray
    stderr: np.ndarray
    held: np.ndarray
    plain: np.ndarray


def fitted_profiles(data: Path) -> list[Fitted]:
    """All profiles; the first is that of the energy runs."""
    runs = runs_problem(data)
    x, stderr = fit(runs)
    held = leave_out(runs, x, family)
    profiles = [Fitted("vllm-0.11", runs, x, stderr, held, held)]
    energy = {n: v for n, v in zip(runs.names, np.exp(x), strict=True) if n in ENERGY}
    problems = [latency_problem(data, engine, energy) for engine in ENGINES]
    prior, fits = pooled_fits(problems)
    left_out = fits_without(problems, prior, [x for x, _ in fits])
    plain = without_family(left_out, [undrafted(p) for p in problems])
    held_of = zip(ENGINES, problems, fits, without_family(left_out, problems), plain, strict=True)
    for engine, problem, (x, stderr), held, undrafted_held in held_of:
        profiles.append(Fitted(engine, problem, x, stderr, held, undrafted_held))
    return profiles


def coefficient_rows(profile: Fitted, source: str) -> list[list[str]]:
    """Lines of ``serving.csv``. What the rows do not tell stays at its prior, and is declared."""
    rows = []
    problem = profile.problem
    for name, value, error, prior in zip(
        problem.names, np.exp(profile.x), profile.stderr, np.exp(problem.prior), strict=True
    ):
        label = "task" if ":" in name else profile.engine
        told = ":" in name or abs(value / prior - 1.0) > 1e-4
        usual = name in priors() and bool(np.isclose(priors()[name][0], prior))
        basis = ["modelled", source] if told else ["declared", UNTOLD if usual else DOCUMENTED]
        rows.append([label, name, f"{value:.5g}", f"{error:.3g}", *basis])
    return rows


def strata_of(problem: Problem, name: str = "") -> dict[str, np.ndarray]:
    kinds = np.array([r.stratum or r.groups["kind"] for r in problem.rows])
    strata = ("dense", "moe", "disaggregated", "unstated pools", "drafted")
    return {f"{name} {kind}".strip(): kinds == kind for kind in strata}


def error_rows(problem: Problem, held: np.ndarray, strata: dict[str, np.ndarray]) -> list[list[str]]:
    rows = []
    for stratum, mask in strata.items():
        quantities = dict(zip(problem.quantities, held - problem.measured, strict=True))
        for quantity, error in quantities.items():
            e = error[mask & np.isfinite(error)]
            if e.size < 8:
                continue
            relative = np.abs(np.expm1(e))
            half = float(np.quantile(np.abs(e), 0.8))
            cells = [np.median(relative), np.quantile(relative, 0.9), np.median(e), half]
            rows.append([quantity, stratum, str(e.size), *(f"{c:.4f}" for c in cells)])
    return rows


@dataclass(frozen=True, eq=False)
class Levels:
    """What each row's width depends on: stratum, silicon, format, and the classes of its batch and of its prompts."""

    axes: list[np.ndarray]

    @classmethod
    def of(cls, problem: Problem, strata: dict[str, np.ndarray]) -> Levels:
        """Of the rows of ``problem``; ``strata``: masks by name."""
        kinds = np.full(len(problem.rows), "", dtype=object)
        for stratum, mask in strata.items():
            kinds[mask] = stratum
        levels = [levels_of(kind_of_row(row)) for row in problem.rows]
        loads = load_classes([r.concurrency for r in problem.rows], [r.input_tok / r.output_tok for r in problem.rows])
        prompts, batches = np.divmod(loads, BATCHES)
        return cls([kinds, np.array([x for x, _ in levels]), np.array([x for _, x in levels]), batches, prompts])

    @property
    def loads(self) -> np.ndarray:
        """Class of each row's load."""
        return np.asarray(self.axes[3] + BATCHES * self.axes[4])

    def factors(self, error: np.ndarray) -> tuple[float, list[dict[Any, float]]]:
        """A width, and by axis and level what multiplies it, such that 80 % of each level's errors lie inside."""
        known = np.isfinite(error)
        factors = [dict.fromkeys(sorted(set(axis[known])), 1.0) for axis in self.axes]
        scale = float(np.quantile(error[known], 0.8))
        width = np.full(error.size, scale)
        for _ in range(WIDTH_ROUNDS):
            for axis, ratio in zip(self.axes, factors, strict=True):
                for level in ratio:
                    mine = known & (axis == level)
                    share = mine.sum() / (mine.sum() + WIDTH_ROWS)
                    step = float(np.quantile(error[mine] / width[mine], 0.8) ** share)
                    width[mine] *= step
                    ratio[level] *= step
        return scale, factors


def load_ratios_of(levels: Levels, error: np.ndarray) -> np.ndarray:
    """By class of load, the width over that of all loads."""
    _, factors = levels.factors(error)
    prompts = range(len(PROMPTS_RATIO) + 1)
    return np.array([factors[4].get(p, 1.0) * factors[3].get(b, 1.0) for p in prompts for b in range(BATCHES)])


def load_rows(problem: Problem, held: np.ndarray, strata: dict[str, np.ndarray]) -> list[list[str]]:
    """Lines of ``serving_width_loads.csv``."""
    levels, rows = Levels.of(problem, strata), []
    ends = [("", *(f"{most:g}" for most in classes)) for classes in (LOADS_REQ, PROMPTS_RATIO)]
    for quantity, error in zip(problem.quantities, np.abs(held - problem.measured), strict=True):
        for load, ratio in enumerate(load_ratios_of(levels, error)):
            rows.append([quantity, ends[0][load % BATCHES], ends[1][load // BATCHES], f"{ratio:.4f}"])
    return rows


def width_rows(
    problem: Problem, held: np.ndarray, strata: dict[str, np.ndarray], loads: dict[str, np.ndarray]
) -> list[list[str]]:
    """Half-widths by stratum, silicon and format, such that 80 % of the errors of each level lie inside; errors are
    over what their class of load multiplies widths by (``loads``).

    A combination's own errors count as many as they are; beside them stand ``WIDTH_ROWS`` of what its levels say: that
    silicon and format add variances. Fewer than ``WIDTH_FEWEST`` rows make none as much narrower than older silicon in
    16 bits as they say.
    """
    levels = Levels.of(problem, strata)
    axes, rows = levels.axes, []
    for quantity, error in zip(problem.quantities, np.abs(held - problem.measured), strict=True):
        error = error / loads[quantity][levels.loads]
        known = np.isfinite(error)
        scale, factors = levels.factors(error)
        for stratum in factors[0]:
            halves = _combined(error, axes, factors, (stratum, scale))
            least = halves["older", "16-bit"]
            mine = known & (axes[0] == stratum)
            measured = Counter(zip(axes[1][mine], axes[2][mine], strict=True))
            if not measured["older", "16-bit"]:  # as narrow as newer silicon was measured to be
                least = min([least, *(half for key, half in halves.items() if measured[key] and key[1] == "16-bit")])
                halves["older", "16-bit"] = least
            for (silicon, bits), half in halves.items():
                if half < least:
                    half = least * (half / least) ** min(measured[silicon, bits] / WIDTH_FEWEST, 1.0)
                rows.append([quantity, stratum, silicon, bits, f"{half * WIDTH_MARGIN:.4f}"])
    return rows


def _combined(
    error: np.ndarray, axes: list[np.ndarray], factors: list[dict[str, float]], stratum: tuple[str, float]
) -> dict[tuple[str, str], float]:
    """Half-widths of a stratum by silicon and format, from its own errors and from ``factors`` of ``scale``."""
    name, scale = stratum
    base = scale * factors[0][name] * factors[1]["older"] * factors[2]["16-bit"]
    halves = {}
    for silicon, newer in factors[1].items():
        for bits, fewer in factors[2].items():
            more = [max(newer / factors[1]["older"], 1.0), max(fewer / factors[2]["16-bit"], 1.0)]
            prior = base * (more[0] ** 2 + more[1] ** 2 - 1.0) ** 0.5
            mine = np.isfinite(error) & (axes[0] == name) & (axes[1] == silicon) & (axes[2] == bits)
            halves[silicon, bits] = _shrunk(error[mine], prior)
    return halves


def _shrunk(error: np.ndarray, prior: float) -> float:
    """The 80 % quantile of a combination's own errors, drawn towards what its levels say."""
    if not error.size:
        return prior
    share = error.size / (error.size + WIDTH_ROWS)
    return float(np.quantile(error, 0.8) ** share * prior ** (1.0 - share))


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    with (CATALOG / name).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def all_widths(runs: Fitted, merged: Problem, held: np.ndarray) -> tuple[list[list[str]], list[list[str]]]:
    """Lines of ``serving_width_loads.csv`` and ``serving_widths.csv``; ``merged``, ``held``: all latency points."""
    engines = np.array([r.engine for r in merged.rows])
    by_engine = {k: v & (engines == e) for e in ENGINES for k, v in strata_of(merged, e).items()}
    every = [
        (runs.problem, runs.held, strata_of(runs.problem)),
        (merged, held, by_engine),
        (merged, held, strata_of(merged, "latency")),
    ]
    used = [(p, h, {k: v for k, v in strata.items() if v.any()}) for p, h, strata in every]
    loads = [row for part in used[:2] for row in load_rows(*part)]
    ratios = {q: np.array([float(r[3]) for r in loads if r[0] == q]) for q, *_ in loads}
    return loads, [row for part in used for row in width_rows(*part, ratios)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--held", type=Path, help="file that keeps the predictions of left-out families")
    args = parser.parse_args()
    runs, *latency = profiles = fitted_profiles(args.data)
    if args.held:
        plain = {f"{p.engine} plain": p.plain for p in profiles}
        np.savez(args.held, **{p.engine: p.held for p in profiles}, **plain)
    rows = coefficient_rows(runs, SOURCE["runs"])
    energy = dict(zip(runs.problem.names, np.exp(runs.x), strict=True))
    taken = ["0.3", "modelled", f"{SOURCE['runs']}; taken from vllm-0.11"]
    for profile in latency:
        rows += coefficient_rows(profile, SOURCE["latency"])
        rows += [[profile.engine, name, f"{energy[name]:.5g}", *taken] for name in ENERGY]
    strata = strata_of(runs.problem)
    errors = error_rows(runs.problem, runs.held, {"all": np.ones(len(runs.problem.rows), bool)} | strata)
    for profile in latency:
        errors += error_rows(profile.problem, profile.held, strata_of(profile.problem, profile.engine))
    merged = Problem.merged([p.problem for p in latency])
    held = np.concatenate([p.held for p in latency], axis=1)
    errors += error_rows(merged, held, {"latency": np.ones(len(merged.rows), bool)} | strata_of(merged, "latency"))
    loads, widths = all_widths(runs, merged, held)
    write("serving.csv", ["engine", "parameter", "value", "stderr", "basis", "source"], rows)
    write("serving_errors.csv", ["quantity", "stratum", "n", "median", "p90", "bias", "half_width"], errors)
    write("serving_width_loads.csv", ["quantity", "above_req", "above_prompts_ratio", "ratio"], loads)
    write("serving_widths.csv", ["quantity", "stratum", "silicon", "format", "half_width"], widths)
    for row in errors:
        print(*row, sep="\t")


if __name__ == "__main__":
    main()
