"""Simple rules on the energy runs, for ``fidelity.py``: what people divide, extrapolate or look up instead of a model.

Rules that are fitted (regression) or looked up (nearest row) have not seen the row's family.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from joulemill.physics.model.architecture import parameters_count
from joulemill.validation.row import MeasuredRow
from serving_fit import Problem, family

#: EcoLogits' published formula (genai-impact/ecologits): Wh an output token and GPU = α·e^(β·B)·P + γ at B = 64
#: requests, P active parameters [10⁹], times the GPUs of 80 GB that 1.2 × the weights in 16 bits need, a power of two.
ALPHA, BETA, GAMMA, BATCH = 1.17e-6, -1.12e-2, 4.05e-5, 64.0
MEMORY_RATIO, GPU_BYTE = 1.2, 80e9


def joules_by_rule(problem: Problem) -> dict[str, np.ndarray]:
    """ln J/token of each row by each rule."""
    measured_rate = problem.measured[0]
    tdp = np.log(problem.plant.table.tdp_w * problem.plant.devices_count)
    return {
        "TDP ÷ measured tok/s": tdp - measured_rate,
        "0.7 TDP ÷ measured tok/s": np.log(0.7) + tdp - measured_rate,
        "0.7 TDP ÷ roofline (0.8, 0.6, 8 µs per layer)": np.log(0.7) + tdp - _roofline_rate(problem),
        "log-linear regression": _regression(problem),
        "nearest row": _nearest(problem),
        "EcoLogits' published formula": np.array([_ecologits(r) for r in problem.rows]),
    }


def _roofline_rate(problem: Problem) -> np.ndarray:
    t, demand = problem.plant.table, problem.plant.demand
    b = demand.concurrency / t.data_count
    context = demand.input_tok + 0.5 * demand.output_tok
    even = np.log1p(-np.minimum(t.active_count / t.experts_count, 1 - 1e-9))
    touched = t.experts_count / t.expert_ranks_count * -np.expm1(b * even)
    byte = t.matrix_byte_0 + t.matrix_byte_1 + t.head_byte + t.expert_byte * touched + b * t.kv_byte_0 * context
    flop = t.matrix_flop_0 + t.matrix_flop_1 + t.expert_flop * t.active_count / t.expert_ranks_count
    step = byte / (0.8 * t.bandwidth_byte_s) + flop * b * demand.input_tok / demand.output_tok / (0.6 * t.peak_0_flop_s)
    return np.log(b * t.data_count / (step + 8e-6 * t.blocks_count))


def _parameters(row: MeasuredRow) -> tuple[float, float]:
    """Active parameters, and all."""
    count = parameters_count(row.architecture)
    return float(count.active), float(count.total)


def _features(problem: Problem) -> np.ndarray:
    """Logarithms and marks that a table of runs has, one row a run."""
    rows, demand = problem.rows, problem.plant.demand
    logs = [
        *np.log([_parameters(r) for r in rows]).T,
        np.log(demand.concurrency),
        np.log(problem.plant.devices_count),
        np.log(demand.output_tok),
    ]
    marks = [[r.architecture.is_moe, r.groups["precision"] == "fp8", "B200" in r.device.label] for r in rows]
    return np.column_stack([*logs, np.array(marks, dtype=np.float64)])


def _regression(problem: Problem) -> np.ndarray:
    """Least squares of ln J/token, with the square of ln batch, on the rows of other families."""
    x = _features(problem)
    x = np.column_stack([np.ones(len(x)), x, x[:, 2] ** 2])
    joules, families = problem.measured[3], np.array([family(r) for r in problem.rows])
    out = np.empty(len(x))
    for name in sorted(set(families)):
        held = families == name
        out[held] = x[held] @ np.linalg.lstsq(x[~held], joules[~held], rcond=None)[0]
    return out


def _nearest(problem: Problem) -> np.ndarray:
    """ln J/token of the row of another family that is nearest in standardized features."""
    x = _features(problem)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    families = np.array([family(r) for r in problem.rows])
    distance = ((x[:, None, :] - x[None, :, :]) ** 2).sum(axis=2)
    distance[families[:, None] == families[None, :]] = np.inf
    return np.asarray(problem.measured[3][distance.argmin(axis=1)])


def _ecologits(row: MeasuredRow) -> float:
    active, total = _parameters(row)
    gpus = 2.0 ** np.ceil(np.log2(max(MEMORY_RATIO * 2.0 * total / GPU_BYTE, 1.0)))
    wh_tok = ALPHA * np.exp(BETA * BATCH) * active / 1e9 + GAMMA
    return float(np.log(3600.0 * gpus * wh_tok))
