"""Errors on what the fit has not seen → ``docs/fidelity.md``: families left out, devices left out, simple
rules beside.

python benchmarks/fidelity.py [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from joulemill.validation.row import MeasuredRow
from serving_fit import (
    ENERGY,
    Problem,
    family,
    fit,
    latency_problem,
    leave_out,
    leave_out_pooled,
    runs_problem,
    undrafted,
)

PAGE = Path(__file__).parents[1] / "docs" / "fidelity.md"


def cells(error: np.ndarray) -> str:
    e = error[np.isfinite(error)]
    relative = np.abs(np.expm1(e))
    return f"{np.median(relative):.1%} | {np.quantile(relative, 0.9):.0%} | {np.median(e):+.1%}"


def coverage(errors: np.ndarray, families: np.ndarray, kinds: np.ndarray) -> float:
    """Share inside the 80 % interval when widths come from the other families of the same kind."""
    inside = []
    for name in sorted(set(families)):
        for kind in set(kinds):
            mine = (families == name) & (kinds == kind)
            others = (families != name) & (kinds == kind)
            if mine.any() and others.any():
                inside += list(np.abs(errors[mine]) <= np.quantile(np.abs(errors[others]), 0.8))
    return float(np.mean(inside))


def runs_lines(problem: Problem, held: np.ndarray) -> list[str]:
    rate, itl, power, _ = held - problem.measured
    joule = power - rate
    columns = {"J/token": joule, "tok/s": rate, "W": power, "median ITL": itl}
    labels = {
        "all": np.array(["all"] * len(problem.rows)),
        **{k: np.array([r.groups[k] for r in problem.rows]) for k in ("kind", "device", "precision", "task", "batch")},
        "family": np.array([family(r) for r in problem.rows]),
    }
    lines = ["| rows | n | quantity | median | p90 | bias |", "|---|--:|---|--:|--:|--:|"]
    for column, values in labels.items():
        for value in sorted(set(values)):
            mask = values == value
            for name, error in columns.items():
                if column == "all" or name in ("J/token", "W", "tok/s"):
                    lines.append(f"| {value} | {mask.sum()} | {name} | {cells(error[mask])} |")
    families, kinds = labels["family"], labels["kind"]
    lines.append("")
    for name, error in columns.items():
        inside = coverage(error, families, kinds)
        lines.append(
            f"* {name}: {inside:.0%} of left-out rows lie inside the 80 % interval taken from the other families"
        )
    return lines


def transfer_lines(problem: Problem) -> list[str]:
    devices = np.array([r.device.name[:4] for r in problem.rows])
    lines = ["| fitted on | predicts | J/token median | p90 | bias |", "|---|---|--:|--:|--:|"]
    for first, second in (("h100", "b200"), ("b200", "h100")):
        x, _ = fit(problem.part(np.flatnonzero(devices == first)))
        other = problem.part(np.flatnonzero(devices == second))
        error = other.logs(x) - other.measured
        lines.append(f"| {first} | {second} | {cells(error[2] - error[0])} |")
    return lines


def baseline_lines(problem: Problem) -> list[str]:
    """Rules that people use, on the same rows: full TDP at the *measured* rate; roofline at fixed shares and
    70 % of TDP."""
    t = problem.plant.table
    measured_rate, measured_power = problem.measured[0], problem.measured[2]
    joule = measured_power - measured_rate
    tdp = np.log(t.tdp_w * problem.plant.devices_count)
    demand = problem.plant.demand
    b = demand.batch_req / t.data_count
    context = demand.input_tok + 0.5 * demand.output_tok
    touched = (
        t.experts_count
        / t.expert_ranks_count
        * -np.expm1(b * np.log1p(-np.minimum(t.active_count / t.experts_count, 1 - 1e-9)))
    )
    byte = t.matrix_byte_0 + t.matrix_byte_1 + t.head_byte + t.expert_byte * touched + b * t.kv_byte_0 * context
    flop = t.matrix_flop_0 + t.matrix_flop_1 + t.expert_flop * t.active_count / t.expert_ranks_count
    step = byte / (0.8 * t.bandwidth_byte_s) + flop * b * demand.input_tok / demand.output_tok / (0.6 * t.peak_0_flop_s)
    rate = np.log(b * t.data_count / (step + 8e-6 * t.blocks_count))
    lines = ["| rule | J/token median | p90 | bias |", "|---|--:|--:|--:|"]
    lines.append(f"| TDP ÷ measured tok/s | {cells(tdp - measured_rate - joule)} |")
    lines.append(f"| roofline (0.8, 0.6, 8 µs per layer), 0.7 TDP | {cells(np.log(0.7) + tdp - rate - joule)} |")
    return lines


def latency_lines(data: Path, energy: dict[str, float]) -> list[str]:
    lines = ["| engine | rows | n | TPOT median | p90 | bias | TTFT median | p90 | bias |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    every: list[np.ndarray] = []
    engines = ("vllm-0.19", "trtllm", "sglang")
    problems = [latency_problem(data, engine, energy) for engine in engines]
    for engine, problem, held in zip(engines, problems, leave_out_pooled(problems), strict=True):
        error = held - problem.measured
        every.append(error)
        for name, mask in kinds_of_rows(problem.rows).items():
            if mask.sum() > 4:
                lines.append(
                    f"| {engine} | {name} | {mask.sum()} | {cells(error[0, mask])} | {cells(error[1, mask])} |"
                )
    error, rows = np.concatenate(every, axis=1), [r for p in problems for r in p.rows]
    apart = np.array([r.prefill is not None for r in rows])
    drafted = np.array([r.draft_count > 0 for r in rows])
    once = np.array([r.fullest for r in rows])
    for name, mask in (
        ("aggregated", ~apart),
        ("without speculative decoding", ~drafted),
        ("speculative", drafted),
        ("each measurement once", once),
        ("all", apart | ~apart),
    ):
        lines.append(f"| all | {name} | {mask.sum()} | {cells(error[0, mask])} | {cells(error[1, mask])} |")
    plain = np.concatenate(leave_out_pooled(problems, [undrafted(p) for p in problems]), axis=1)
    measured = np.concatenate([p.measured for p in problems], axis=1)
    without = "all, predicted without speculative decoding"
    for name, mask in (("speculative, predicted without", drafted), (without, apart | ~apart)):
        other = np.where(drafted, plain - measured, error)[:, mask]
        lines.append(f"| all | {name} | {mask.sum()} | {cells(other[0])} | {cells(other[1])} |")
    return lines


def kinds_of_rows(rows: list[MeasuredRow]) -> dict[str, np.ndarray]:
    """Masks by how rows ran."""
    kinds = np.array([r.stratum for r in rows])
    apart = np.array([r.prefill is not None for r in rows])
    return {
        "aggregated": kinds == "",
        "aggregated, speculative": (kinds == "drafted") & ~apart,
        "disaggregated, pools stated": kinds == "disaggregated",
        "disaggregated, pools not stated": kinds == "unstated pools",
        "disaggregated, speculative": (kinds == "drafted") & apart,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    problem = runs_problem(data)
    x, _ = fit(problem)
    held = leave_out(problem, x, family)
    energy = {k: v for k, v in zip(problem.names, np.exp(x), strict=True) if k in ENERGY}
    page = [
        "# How wrong the model is",
        "",
        "Written by `benchmarks/fidelity.py`. Every row is predicted by a fit that has not seen its model family.",
        "Errors are |predicted ÷ measured − 1|; bias is the median of ln(predicted ÷ measured).",
        "",
        "## Energy runs (vLLM 0.11, H100 and B200), one family left out",
        "",
        *runs_lines(problem, held),
        "",
        "## One device generation left out",
        "",
        *transfer_lines(problem),
        "",
        "## Simple rules on the same rows",
        "",
        *baseline_lines(problem),
        "",
        "## Latency points, one family left out",
        "",
        "A family is left out of all engines at once, the pooled prior included. How a row's columns are read (which",
        "ranks, which pools, whether speculative decoding ran) was settled on rows that state both, DeepSeek's among",
        "them; that reading has seen the family. Pools and draft tokens come from a row's columns, from InferenceX's",
        "configuration of the point, or from which table contains it, in this order, never from what was measured",
        "(docs/validate.md). The number of tokens per step of speculative decoding is published, not fitted",
        "(docs/model.md).",
        "",
        *latency_lines(data, energy),
        "",
    ]
    PAGE.write_text("\n".join(page), encoding="utf-8")
    print("\n".join(page[:24]))


if __name__ == "__main__":
    main()
