"""The catalog of serving coefficients: fitted values with standard errors, workload facts, out-of-sample errors.

``serving.csv`` is written by ``benchmarks/fit_serving.py`` and read here; one fact a row.
``serving_errors.csv`` holds the
errors on model families that were left out of the fit, from which every prediction's interval comes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from joulemill.errors import InputError
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.continuous_batching import Rates
from joulemill.suggestions import meant

#: Profile of an engine that is asked for by its plain name: the one whose energy was measured.
ALIASES = {"vllm": "vllm-0.11", "tensorrt-llm": "trtllm", "trt-llm": "trtllm"}


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """One fitted coefficient: value, standard error of its logarithm, and what it is."""

    name: str
    value: float
    stderr: float
    unit: str
    basis: str
    source: str
    meaning: str


@dataclass(frozen=True)
class Task:
    """What a named benchmark task asks, where its publisher did not say: fitted.

    domain_evenness_ratio  evenness of routing over that of mixed chat: a narrow domain touches fewer experts
    """

    name: str
    input_tok: float
    domain_evenness_ratio: float


@dataclass(frozen=True)
class Spread:
    """Error on left-out model families of one quantity in one stratum, as ln(predicted ÷ measured)."""

    median_ratio: float
    p90_ratio: float
    half_width_ratio: float
    n: int


@dataclass(frozen=True)
class Variance:
    """How the error ln(measured ÷ predicted) of a quantity varies: standard deviations between cells, between rows of a
    cell, and of the slope in ln(batch) between cells; ``z_80``: half-width (80 %) per standard deviation."""

    between_sd_ln: float
    within_sd_ln: float
    slope_sd_ln: float
    z_80: float


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    text = files("joulemill.catalog").joinpath("data", name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def priors() -> dict[str, tuple[float, float]]:
    """Prior value and spread (standard deviation of the logarithm) of each coefficient."""
    return {r["parameter"]: (float(r["prior"]), float(r["prior_spread"])) for r in _rows("serving_parameters.csv")}


def engines() -> tuple[str, ...]:
    """Engine profiles that were fitted."""
    return tuple(dict.fromkeys(r["engine"] for r in _rows("serving.csv") if r["engine"] != "task"))


def profile_of(engine: str) -> str:
    """The profile behind an engine's name. InputError with the known ones."""
    name = ALIASES.get(engine.lower(), engine.lower())
    if name not in engines():
        raise InputError(f"engine {engine!r} has no fitted profile; {meant(engine, engines(), most=3)}")
    return name


@cache
def coefficients(engine: str) -> tuple[Coefficient, ...]:
    """Fitted coefficients of an engine profile."""
    about = {r["parameter"]: r for r in _rows("serving_parameters.csv")}
    profile = profile_of(engine)
    return tuple(
        Coefficient(
            name=r["parameter"],
            value=float(r["value"]),
            stderr=float(r["stderr"]),
            unit=about[r["parameter"]]["unit"],
            basis=r["basis"],
            source=r["source"],
            meaning=about[r["parameter"]]["meaning"],
        )
        for r in _rows("serving.csv")
        if r["engine"] == profile
    )


@cache
def rates(engine: str) -> Rates:
    """Rates of an engine profile, ready to compute with."""
    return rates_of({c.name: c.value for c in coefficients(engine)})


@cache
def tasks() -> dict[str, Task]:
    """Workload facts of benchmark tasks by name."""
    facts: dict[str, dict[str, float]] = {}
    for row in _rows("serving.csv"):
        if row["engine"] == "task":
            name, _, fact = row["parameter"].partition(":")
            facts.setdefault(name, {})[fact] = float(row["value"])
    return {n: Task(n, f["input_tok"], f.get("domain_evenness_ratio", 1.0)) for n, f in facts.items()}


@cache
def _group_costs() -> dict[tuple[str, str], float]:
    return {(r["quantity"], r["group"]): float(r["added"]) for r in _rows("serving_groups.csv")}


def group_cost_ratio(quantity: str, group: str) -> float:
    """Half-width [ln, 80 %] that leaving a whole ``group`` ("device", "format", "engine") out of the fit adds.

    Where it was not measured for ``quantity``: that of the time that a token takes, which joules and rate follow.
    """
    for name in (quantity, "tpot_s", "itl_s"):
        if (name, group) in _group_costs():
            return _group_costs()[name, group]
    raise InputError(f"what leaving out a {group} costs is not in the catalog")


@cache
def spreads() -> dict[tuple[str, str], Spread]:
    """Errors on left-out families by (quantity, stratum), e.g. ("energy_j_tok", "moe")."""
    return {
        (r["quantity"], r["stratum"]): Spread(float(r["median"]), float(r["p90"]), float(r["half_width"]), int(r["n"]))
        for r in _rows("serving_errors.csv")
    }


@cache
def widths() -> dict[tuple[str, str, str, str], float]:
    """Half-widths [ln, 80 %] of left-out families by (quantity, stratum, silicon, format), e.g. ("energy_j_tok", "moe",
    "newest", "8-bit"); written by ``benchmarks/fit_serving.py``."""
    return {
        (r["quantity"], r["stratum"], r["silicon"], r["format"]): float(r["half_width"])
        for r in _rows("serving_widths.csv")
    }


@cache
def load_ratios() -> dict[str, tuple[float, ...]]:
    """Of each quantity, by class of load (``prediction.spread``), its width over that of all loads; written by
    ``benchmarks/fit_serving.py``."""
    rows = [(r["quantity"], float(r["ratio"])) for r in _rows("serving_width_loads.csv")]
    return {quantity: tuple(ratio for name, ratio in rows if name == quantity) for quantity, _ in rows}


@cache
def variances() -> dict[tuple[str, str], Variance]:
    """Variances of errors by (quantity, stratum); written by ``benchmarks/fit_variances.py``."""
    names = ("between_sd", "within_sd", "slope_sd", "z_80")
    return {
        (r["quantity"], r["stratum"]): Variance(*(float(r[n]) for n in names)) for r in _rows("serving_variances.csv")
    }


def variance_of(quantity: str, stratum: str) -> Variance:
    """Of the stratum, else of all rows; TPOT of energy runs is their median ITL. InputError for other quantities."""
    known = variances()
    name = {"node_power_w": "power_w", "node_energy_j_tok": "energy_j_tok"}.get(quantity, quantity)
    for key in ((name, stratum), (name, "all")):
        if key in known:
            return known[key]
    raise InputError(f"no variance of {quantity} is known")
