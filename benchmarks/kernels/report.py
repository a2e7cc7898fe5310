"""Write the fitted coefficients (one a row) and the page of errors."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("kernels.csv")
PAGE = ROOT / "docs" / "kernels.md"
FIELDS = (
    "family",
    "dtype",
    "device",
    "framework",
    "variant",
    "parameter",
    "value",
    "stderr",
    "unit",
    "basis",
    "source",
)
SOURCE = "aiconfigurator 095f58a5 kernel tables, fitted by benchmarks/kernels"
UNITS = {
    "launch_s": "s",
    "eager_floor_s": "s",
    "static_w": "W",
    "active_w": "W",
    "energy_j_flop": "J/flop",
    "energy_j_byte": "J/byte",
}


@dataclass(frozen=True)
class Transfer:
    """ln(predicted/measured) of a board's kernels over 50 µs from the other board's coefficients."""

    key: tuple[str, ...]
    source: str
    time: np.ndarray
    watts: np.ndarray


def long_rows(fit: Any) -> np.ndarray:
    return (fit.rows.latency_s > 50e-6) & (fit.rows.latency_s > 1.3 * fit.rows.floor_s)


def facts(fit: Any, energy: Any) -> list[tuple[str, float, float | None, str]]:
    """(parameter, value, standard error, basis) of one kernel."""
    r, error = fit.rate, np.abs(np.expm1(fit.error))
    values = {"compute_ratio": r.compute_ratio, "memory_ratio": r.memory_ratio, "launch_s": r.launch_s}
    values |= {f"compute_grain_count_{i + 1}": v for i, v in enumerate(r.compute_grain_count)}
    values |= {f"memory_grain_count_{i + 1}": v for i, v in enumerate(r.memory_grain_count)}
    values |= {"pass_ratio": r.pass_ratio} if fit.spec.passes else {}
    values |= {"cache_ratio": r.cache_ratio} if fit.spec.cache else {}
    assumed = fit.rows.key[0] == "gemm" and bool(fit.rows.floor_s.any())
    out: list[tuple[str, float, float | None, str]] = [
        (n, v, fit.stderr[n] * v, "assumed" if assumed and n == "launch_s" else "calibrated") for n, v in values.items()
    ]
    out.append(("sharpness_ratio", r.sharpness_ratio, None, "assumed"))
    if fit.rows.floor_s.any():
        out.append(("eager_floor_s", float(np.median(fit.rows.floor_s)), None, "measured"))
    seen = long_rows(fit) if long_rows(fit).any() else np.ones(len(error), dtype=bool)
    out += [
        ("spread_ratio", r.spread_ratio, None, "calibrated"),
        ("latency_error_ratio", float(np.median(error[seen])), None, "calibrated"),
    ]
    if energy is not None:
        e = energy.energy
        out += [
            (n, getattr(e, n), energy.stderr.get(n), "calibrated")
            for n in ("static_w", "active_w", "energy_j_flop", "energy_j_byte")
        ]
        out += [
            ("energy_cache_ratio", e.cache_ratio, None, "calibrated"),
            ("power_spread_ratio", e.spread_ratio, None, "calibrated"),
        ]
        if energy.settled is not None:
            out.append(("power_error_ratio", energy.settled, None, "calibrated"))
    return out


def write_coefficients(fits: list[Any], energies: dict[tuple[str, ...], Any]) -> None:
    with TABLE.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(FIELDS)
        for f in sorted(fits, key=lambda f: f.rows.key):
            for name, value, stderr, basis in facts(f, energies.get(f.rows.key)):
                error = "" if stderr is None else f"{stderr:.3g}"
                unit = UNITS.get(name, "count" if "count" in name else "1")
                writer.writerow([*f.rows.key, name, f"{value:.5g}", error, unit, basis, SOURCE])


HEAD = """# Kernels: time and energy, with their errors

Research tooling, not part of the package: predictions are made with coefficients that are fitted to serving runs
([The model](model.md)); these of single kernels say what devices can do, and are a second opinion on joules per FLOP
and per byte. Written by `python -m benchmarks.kernels.fit`; do not edit the table by hand. The law is in
`benchmarks/kernels/law.py`, the work of each kernel in `work.py` beside it, the coefficients with their standard errors
in `kernels.csv`. Fitted to NVIDIA aiconfigurator's measured kernels (ai-dynamo/aiconfigurator
095f58a5, Apache-2.0): H200 and B200, vLLM 0.22 and TensorRT-LLM 1.3.

    t_c = F · (1 + Σ a_i/x_i) / (η_c · peak)      t_m = B · (1 + Σ b_j/y_j) / (η_m · bandwidth)
    t   = t_launch + (t_c^p + t_m^p)^(1/p) + B_s/(η_s · bandwidth)
    P   = min(P_limit, P_static + (P_active · t_busy + e_F·F + e_B·(B + B_s)) / t)

F is the FLOP that the mathematics needs, B the bytes that cross memory, B_s bytes of element-wise passes that overlap
with nothing. x_i and y_j are sizes with which speed saturates (rows, tiles, depth), a_i and b_j their half-speed
sizes. η are fitted shares of peak and bandwidth, p is the sharpness of the roofline (assumed), t_busy = t − t_launch.
P_static, P_active, e_F and e_B are fitted watts and joules per FLOP and byte.

All errors are medians of |predicted/measured − 1| on shapes left out: four folds, each leaving whole groups out (every
m of an (n, k) pair; every batch and context of a head layout; every token count and split of a model's experts).
*time* is over kernels longer than 50 µs that the device, not the host's launches, paced; *all* has every row, those
at the host's launch floor included.
*watts* is over kernels longer than 50 µs whose loop lasted at least 0.8 s: a board's reading is a mean of about a
second, and a shorter loop is mixed with what went before. *under the limit* leaves out rows at the power limit;
*watts, all* has every row that the device paced, short loops included: it says more about the readings than
about the law.

| kernel | dtype | board | framework | variant | rows | time | p90 | all | watts | under the limit | watts, all |
|---|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|
"""
TAIL = """
## What is left out, and where it fails first

* **Power under the limit.** The low errors of watts for matrix products and experts come in part from rows at the power
  limit, which any law with a limit gets right. Errors below the limit are in the column *under the limit*.
* **Power readings lag.** A board's reading averages over about a second, and most loops of short kernels lasted less:
  the same kernel reads 160 W and 600 W. How many readings a row averages shows in the decimals of its mean (whole
  milliwatts divided by n), so rows are chosen by how long their loop lasted, not by how well they fit. Kernels under
  some 0.3 ms have few such rows; their watts rest on the law. Only serving measurements can decide.
* **Two populations in prefill.** Attention over 12k tokens and more reads either 280 W at 680 TFLOP/s or 460 W at
  570 TFLOP/s on H200, and no column of the table explains which. Falling power with rising speed is
  typical of operands with little toggling (zeros, for example); the law lies between the two, and errs by 15 % there.
* **Limits.** Coefficients hold for a board at its shipped power limit (H200 700 W, B200 1000 W): large products run
  at the limit there, and their clock is already lower. A lower cap is a further slowdown.
* **Launch floors.** `launch_s` is a kernel's floor inside a CUDA graph. Block-FP8 products of vLLM were timed without a
  graph (host floor 50–160 µs); their floor in a graph is assumed to be 4–6 µs. MoE rows hold their routing,
  alignment and sum kernels; module rows (latent, sparse attention) hold norms and rotary embedding in `launch_s`,
  while their matrix products are predicted by the product's own law.
* **Host-paced modules.** DSA prefill in vLLM costs over a millisecond of host time however short the prompt.
* **Left out:** TensorRT-LLM's decode attention (its rows say 12 TB/s of a memory with 8 TB/s, so its loop shares
  blocks); decode contexts under 64 tokens; skewed routing (how many experts it touched is not recorded).
* **Worst out of sample:** TensorRT-LLM's MoE backends and FP8 products above 50 µs, and B200's DSA prefill in vLLM.
  What the law lacks there is wave quantization and a backend's switch between tile shapes.
* **Cache.** Loops reuse operands. Decode attention that fits B200's 126 MB cache runs faster in the loop than a served
  model will; its fit says how much (`cache_ratio`), and predictions for serving pass a cached share of 0.
"""


def write_page(fits: list[Any], energies: dict[tuple[str, ...], Any], moved: list[Transfer]) -> None:
    lines = []
    for f in sorted(fits, key=lambda f: f.rows.key):
        error, seen, e = np.abs(np.expm1(f.error)), long_rows(f), energies.get(f.rows.key)
        time = (f"{np.median(error[seen]):.1%}", f"{np.quantile(error[seen], 0.9):.0%}") if seen.any() else ("–", "–")
        watts = (percent(e.settled), percent(e.uncapped), percent(e.all)) if e else ("–", "–", "–")
        cells = [*f.rows.key, f"{len(error):,}", *time, f"{np.median(error):.1%}", *watts]
        lines.append("| " + " | ".join(cells) + " |")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(HEAD + "\n".join(lines) + "\n" + summary(fits, energies) + transfer_table(moved) + TAIL)


def percent(x: float | None) -> str:
    return "–" if x is None else f"{x:.1%}"


def summary(fits: list[Any], energies: dict[tuple[str, ...], Any]) -> str:
    """All vLLM kernels of a family together: what the served model leans on."""
    out = [
        "\n## By family, vLLM, both boards\n",
        "| kernel | rows over 50 µs | time | watts | under the limit |",
        "|---|--:|--:|--:|--:|",
    ]
    for family in (*sorted({f.rows.key[0] for f in fits}), "all of them"):
        mine = [f for f in fits if family in (f.rows.key[0], "all of them") and f.rows.key[3] == "vllm"]
        errors = [np.abs(np.expm1(f.error))[long_rows(f)] for f in mine]
        joined = np.concatenate(errors) if errors else np.empty(0)
        if not len(joined):
            continue
        own = [energies[f.rows.key] for f in mine if f.rows.key in energies]
        cells = [family, f"{len(joined):,}", f"{np.median(joined):.1%}"]
        for parts in ([e.settled_error for e in own], [e.uncapped_error for e in own]):
            cells.append(f"{np.median(np.concatenate(parts)):.1%}" if parts else "–")
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def transfer_table(moved: list[Transfer]) -> str:
    """How far coefficients carry over to a board that they were not fitted on."""
    out = ["\n## From one board to the other\n"]
    out.append("Coefficients of one board with the other's data sheet (peaks, bandwidth, power limit): the error to")
    out.append("expect on a device without measured kernels. Bias is the median of predicted/measured − 1; all rows.\n")
    out.append("| kernel | dtype | variant | fitted on | predicts | time | bias | watts | bias |")
    out.append("|---|---|---|---|---|--:|--:|--:|--:|")
    for t in sorted(moved, key=lambda t: (t.key[0], t.key[1], t.key[4], t.source)):
        if not len(t.time):
            continue
        cells = [t.key[0], t.key[1], t.key[4], t.source, t.key[2]]
        for error in (t.time, t.watts):
            gap = np.expm1(error)
            cells += [f"{np.median(np.abs(gap)):.0%}", f"{np.median(gap):+.0%}"]
        out.append("| " + " | ".join(cells) + " |")
    time = np.median([np.median(np.abs(t.time)) for t in moved if len(t.time)])
    watts = np.median([np.median(np.abs(t.watts)) for t in moved if len(t.watts)])
    out.append(f"\nThe median kernel is off by {np.expm1(time):.0%} in time and {np.expm1(watts):.0%} in watts.")
    return "\n".join(out) + "\n"
