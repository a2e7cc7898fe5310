"""Fit the kernel law to measured kernels; write the coefficients and the table of errors.

    python -m benchmarks.kernels.fit [--check]      from the project's root

Reads ``../shared/data/ops`` beside the project; writes ``kernels.csv`` here and ``docs/kernels.md``.
Scores are out of sample: four folds, each leaving whole groups of shapes out (all m of an (n, k) pair, a model's
experts, a head layout). Deterministic: subsamples come from a seeded generator.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from benchmarks.kernels.energy import EnergyFit, fit_energy, transferred_w
from benchmarks.kernels.law import KernelRate, busy_s, cached_share_ratio, soft_max_s
from benchmarks.kernels.modules import latents, linears, sparses
from benchmarks.kernels.report import Transfer, percent, write_coefficients, write_page
from benchmarks.kernels.rows import ACT, WEIGHT, Rows, by_tag, decodes, fold_of, gemms, moes, pooled, prefills
from benchmarks.kernels.work import gemm
from scipy.optimize import least_squares

SAMPLE = 6000
#: Fewest rows worth a fit of their own.
ENOUGH = 80


@dataclass(frozen=True)
class Spec:
    """What a family's fit frees: (start, largest) half-speed size of each measure, passes and a cache or not."""

    compute: tuple[tuple[float, float], ...]
    memory: tuple[tuple[float, float], ...]
    sharpness: float = 4.0
    passes: bool = False
    cache: bool = False
    launch_s: tuple[float, float] = (1e-6, 2e-4)


SPECS = {
    "gemm": Spec(((1.0, 64.0), (2e5, 1e7), (64.0, 1e3)), ((10.0, 5e3), (10.0, 5e3))),
    "decode_attention": Spec(((16.0, 64.0),), ((64.0, 1e4), (2.0, 1e3)), cache=True),
    "prefill_attention": Spec(((200.0, 1e5), (1e4, 1e6)), ()),
    "moe": Spec(((64.0, 300.0), (64.0, 3e3), (64.0, 1e6)), ((64.0, 1e4), (1.0, 10.0)), passes=True),
    "latent_decode": Spec(((32.0, 128.0), (300.0, 1e4)), ((32.0, 1e4), (1.0, 1e3))),
    "latent_prefill": Spec(((500.0, 1e5), (1e4, 1e6)), ()),
    "sparse_decode": Spec(((16.0, 128.0),), (), launch_s=(1e-6, 1e-3)),
    "sparse_prefill": Spec(((16.0, 128.0),), (), launch_s=(1e-6, 2e-4)),
    "linear_prefill": Spec(((64.0, 1e4), (64.0, 1e4)), ((30.0, 1e4),)),
    "linear_decode": Spec((), ((30.0, 1e4),)),
}
#: How sharply a loop's operands fall out of the cache as they outgrow it (seen on B200, decode attention).
CACHE_STEEPNESS = 6.0
#: Launch floor inside a graph of products that were only timed eagerly: quantise, then multiply (assumed).
EAGER_LAUNCH_S = (4e-6, 6e-6)


@dataclass(frozen=True)
class RateFit:
    """A fitted rate, its standard errors (relative, by parameter), and its errors on shapes left out."""

    rows: Rows
    rate: KernelRate
    stderr: dict[str, float]
    error: np.ndarray
    spec: Spec


def _start(spec: Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(start, low, high, prior's standard deviation of ln) of each free parameter."""
    rows = [(0.6, 0.01, 1.0, 1.0), (0.8, 0.03, 1.0, 0.3), (min(5e-6, spec.launch_s[1]), *spec.launch_s, 2.0)]
    rows += [(first, 1e-3, high, 3.0) for first, high in (*spec.compute, *spec.memory)]
    if spec.passes:
        rows.append((0.6, 0.05, 1.0, 0.5))
    if spec.cache:
        rows.append((0.6, 0.2, 1.0, 0.5))
    return tuple(np.asarray(c, dtype=float) for c in zip(*rows, strict=True))


def rate_of(spec: Spec, ln: np.ndarray) -> KernelRate:
    x = np.exp(ln)
    c, m = len(spec.compute), len(spec.memory)
    more = {"pass_ratio": float(x[3 + c + m])} if spec.passes else {}
    more |= {"cache_ratio": float(x[-1])} if spec.cache else {}
    return KernelRate(
        compute_ratio=float(x[0]),
        memory_ratio=float(x[1]),
        launch_s=float(x[2]),
        compute_grain_count=tuple(map(float, x[3 : 3 + c])),
        memory_grain_count=tuple(map(float, x[3 + c : 3 + c + m])),
        sharpness_ratio=spec.sharpness,
        **more,
    )


def names_of(spec: Spec) -> list[str]:
    names = ["compute_ratio", "memory_ratio", "launch_s"]
    names += [f"compute_grain_count_{i + 1}" for i in range(len(spec.compute))]
    names += [f"memory_grain_count_{i + 1}" for i in range(len(spec.memory))]
    return names + ["pass_ratio"] * spec.passes + ["cache_ratio"] * spec.cache


def latency_s(rows: Rows, rate: KernelRate) -> np.ndarray:
    """Predicted time of measured rows, the host's launch floor included where they were timed eagerly."""
    cached = (
        0.0 if rate.cache_ratio == 1.0 else cached_share_ratio(rows.work.byte, rows.board["cache"], CACHE_STEEPNESS)
    )
    device = rows.base_s + rate.launch_s + busy_s(rows.work, rate, rows.peak_flop_s, rows.board["byte_s"], cached)
    return np.where(rows.floor_s > 0, soft_max_s(device, rows.floor_s, 8.0), device)


def fit_rate(rows: Rows, spec: Spec, seed: int = 0) -> tuple[KernelRate, dict[str, float]]:
    """Robust least squares on ln(time); kernels under 50 µs, whose clock is coarse, weigh half."""
    if len(rows.latency_s) > SAMPLE:
        rows = rows.where(np.random.default_rng(seed).choice(len(rows.latency_s), SAMPLE, replace=False))
    start, low, high, prior = _start(spec)
    ln_start, ln_time = np.log(start), np.log(rows.latency_s)
    weight, pull = np.where(rows.latency_s > 50e-6, 1.0, 0.5), 0.01 * np.sqrt(len(ln_time))

    def residual(ln: np.ndarray) -> np.ndarray:
        fit = weight * (np.log(latency_s(rows, rate_of(spec, ln))) - ln_time)
        return np.concatenate([fit, pull * (ln - ln_start) / prior])

    found = least_squares(residual, ln_start, loss="soft_l1", f_scale=0.1, bounds=(np.log(low), np.log(high)))
    scatter = 1.4826 * np.median(np.abs(found.fun[: len(ln_time)]))
    spread = scatter * np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)))
    return rate_of(spec, found.x), dict(zip(names_of(spec), map(float, spread), strict=True))


def fit_family(rows: Rows) -> RateFit:
    """Fit one kernel on all its rows, and score it on each fold's rows with the others' fit."""
    spec = SPECS[rows.key[0]]
    if rows.key[0] == "moe" and rows.key[3] == "trtllm":
        spec = replace(spec, sharpness=2.0)
    if rows.key[0] == "gemm" and rows.floor_s.any():
        spec = replace(spec, launch_s=EAGER_LAUNCH_S)
    error, folds = np.empty(len(rows.latency_s)), fold_of(rows)
    for fold in np.unique(folds):
        out = folds == fold
        rate, _ = fit_rate(rows.where(~out), spec) if (~out).any() else fit_rate(rows, spec)
        error[out] = np.log(latency_s(rows.where(out), rate) / rows.latency_s[out])
    rate, stderr = fit_rate(rows, spec)
    scored = off_floor(rows)
    spread = float(np.clip(1.4826 * np.median(np.abs(error[scored])), 0.02, 1.0)) if scored.any() else 1.0
    return RateFit(rows, replace(rate, spread_ratio=spread), stderr, error, spec)


def off_floor(rows: Rows) -> np.ndarray:
    """Rows whose time the device sets, not the host's launches."""
    return rows.latency_s > 1.3 * rows.floor_s


def with_base(rows: Rows, rates: dict[tuple[str, str, str], KernelRate]) -> Rows:
    """Add what the module's matrix products cost, from the fitted products of the same board and framework."""
    s = np.zeros(len(rows.latency_s))
    flop, byte = s.copy(), s.copy()
    for m, n, k, dtype in rows.gemms:
        rate = rates[(dtype, rows.key[2], rows.key[3])]
        work = gemm(m, n, k, WEIGHT[dtype], ACT[dtype])
        peak = rows.board["fp4" if dtype == "nvfp4" else "bf16" if dtype == "bf16" else "fp8"]
        s += rate.launch_s + busy_s(work, rate, peak, rows.board["byte_s"])
        flop, byte = flop + work.flop, byte + work.byte
    return replace(rows, base_s=s, base_flop=flop, base_byte=byte)


def families() -> list[RateFit]:
    """All fits, the matrix products first because modules contain them."""
    done = [fit_family(r) for r in gemms()]
    rates = {(f.rows.key[1], f.rows.key[2], f.rows.key[3]): f.rate for f in done}
    rest = by_tag(decodes(), "d") + by_tag(prefills(), "d") + [balanced(r) for r in moes()] + linears()
    rest += pooled([with_base(r, rates) for r in latents() + sparses()])
    for rows in rest:
        if len(rows.latency_s) >= ENOUGH or rows.key[0] == "linear_decode":
            done.append(fit_family(rows))
    return done


def balanced(rows: Rows) -> Rows:
    """Rows of even routing: how many experts a skewed one touches is the benchmark's secret."""
    return rows.where(rows.tag == 0)


def transfers(fits: list[RateFit], energies: dict[tuple[str, ...], EnergyFit]) -> list[Transfer]:
    """Each kernel of one board predicted with the other board's coefficients and this board's data sheet."""
    by_key = {f.rows.key: f for f in fits}
    out = []
    for key, f in by_key.items():
        other = by_key.get((key[0], key[1], "b200" if key[2] == "h200" else "h200", *key[3:]))
        if other is None or key not in energies or other.rows.key not in energies:
            continue
        seen = (f.rows.latency_s > 50e-6) & off_floor(f.rows)
        time_error = np.log(latency_s(f.rows, other.rate) / f.rows.latency_s)[seen]
        watts = transferred_w(f, energies[other.rows.key].energy, other.rows)
        out.append(Transfer(key, other.rows.key[2], time_error, np.log(watts / f.rows.power_w)[seen]))
    return out


def score_line(fit: RateFit, power: EnergyFit | None) -> str:
    error, rows = np.abs(np.expm1(fit.error)), fit.rows
    big = (rows.latency_s > 50e-6) & off_floor(rows)
    line = f"{' '.join(rows.key):58s} n {len(error):6d} all {np.median(error):.3f}"
    if big.any():
        line += f" >50us {np.median(error[big]):.3f} p90 {np.quantile(error[big], 0.9):.3f} n {big.sum()}"
    if power is None:
        return line
    return f"{line} | watts {percent(power.settled)} uncapped {percent(power.uncapped)} all {percent(power.all)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="print the scores, write nothing")
    args = parser.parse_args()
    began = time.perf_counter()
    fits = families()
    energies: dict[tuple[str, ...], EnergyFit] = fit_energy(fits)
    for fit in fits:
        print(score_line(fit, energies.get(fit.rows.key)), flush=True)
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    if not args.check:
        write_coefficients(fits, energies)
        write_page(fits, energies, transfers(fits, energies))


if __name__ == "__main__":
    main()
