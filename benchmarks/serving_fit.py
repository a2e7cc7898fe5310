"""The fit behind ``fit_serving.py`` and ``fidelity.py``: measured rows as arrays, residuals, left-out families."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from family_effects import NARROW, SPREADS, Effects, effects_of
from family_effects import NONE as NO_EFFECTS
from joulemill.catalog.serving import priors
from joulemill.physics.serving.coefficients import POWER_NAMES, unchecked_rates_of
from joulemill.physics.serving.power import floor_w
from joulemill.prediction.precision import resolver
from joulemill.validation.predict import CompiledRows, compiled, predicted
from joulemill.validation.row import MeasuredRow
from joulemill.validation.tables import read_table

ENERGY = POWER_NAMES
TASKS = {"gpqa": 300.0, "lm-arena-chat": 200.0, "sourcegraph-fim": 2000.0}
#: Step of the finite differences that a Jacobian is made of [ln].
STEP_LN = 1e-6
PRIOR_WEIGHT = 2.0
#: Share of the runs on a shared host that are crowded, and how many times slower such a run may be (assumed).
CROWD_SHARE, CROWD_MOST = 0.3, 5.0
#: Steps of a fit, and the relative change of its loss at which it ends.
MOST_STEPS, FIRST_DAMPING, SETTLED = 40, 1e-2, 1e-4
RUN_SCALE, LATENCY_SCALE = 0.16, 0.15
#: Weight of the power of a row whose host was crowded, at its own rate: as that of a rate on a quiet host. Its board
#: waits most of the time, so it tells the floor as no other row does.
HELD_UP_WEIGHT = 2.5
#: Residuals of a row weigh as the size of its family to the power −BALANCE.
BALANCE = 0.15
#: Rows that a pooled fit counts for, and how much narrower its result is as a prior of one engine than the first one.
POOLED_ROWS, POOLED_SPREAD, POOLED_MOST = 600, 0.5, 0.25
#: Kernels for experts are each engine's own work: there an engine keeps the spread of the first prior, up to this.
EXPERTS, EXPERTS_MOST = ("routing", "expert_"), 0.5
#: What is documented of one engine. SGLang computes waiting prompts before it decodes on: all requests stay together;
#: vLLM and TensorRT-LLM compute them beside what decodes, which drives requests apart.
#: It and TensorRT-LLM send rows to the ranks of their experts alone (all-to-all), where vLLM gathers all on every rank.
#: SGLang drafts, verifies and extends in passes of their own, and does not schedule beside them unless it is told to.
#: TensorRT-LLM's kernels for experts do not depend on a table of tuned shapes.
DOCUMENTED = {
    "vllm-0.19": {"lock": (0.01, 1.0)},
    "sglang": {"lock": (1.0, 0.3), "gathered": (0.05, 1.0), "draft_passes": (3.0, 0.05)},
    "trtllm": {"lock": (0.01, 1.0), "gathered": (0.05, 1.0), "expert_tile": (1.0, 0.05)},
}
#: vLLM 0.11 schedules a step after the one before has ended, unless told otherwise. The launch configurations of these
#: runs do tell it otherwise, but what steps wait for the host is in their times none the less: taken for hidden (0.9),
#: it lets left-out families err by 8.2 instead of 7.7 % in J/token.
NOT_ASYNCHRONOUS = (0.02, 1.0)
#: The mean context of these runs is computed from what their window held (``validation.mlenergy_window``).
KNOWN_CONTEXT = (1.0, 0.03)
#: vLLM 0.11 runs steps of up to 512 tokens from captured graphs, with prompts too, and chat prompts are shorter.
SHORT_PROMPTS = (5.0, 0.7)
#: Its data-parallel ranks all compute as many rows as the busiest has.
PADS_TO_BUSIEST = (1.0, 0.1)
#: The latency points are of newer releases: their kernels for experts suit the newest devices too, and what hands
#: tokens to clients is spread over processes. On those devices a kernel starts while the one before it ends, and 4-bit
#: experts are routed, permuted and summed within their kernels. Tables of kernels, B200 over H200, vLLM 0.22: matrices
#: below 1 MB 0.79 (quartiles 0.75 to 0.83), decode attention below 1 MB 0.71 (0.65 to 0.80); a layer of experts for one
#: token takes 16 us in 4 bits on B200 (TensorRT-LLM), 25 us in 8 and 16 bits on both, of which 15 us are kernels.
RECENT = {
    "kernel_newest": (0.75, 0.1),
    "routing_native": (0.3, 0.4),
    "expert_block": (1.5e-5, 0.7),
    "expert_newest": (0.9, 0.3),
    "expert_compute_newest": (1.0, 0.01),
    "expert_block_newest": (1.2, 0.3),
    "front": (1e-6, 0.3),
    "arrival_burst": (0.03, 1.0),
}
#: Coefficients that TTFT alone tells: how prompts arrive and wait, and how fast narrow formats and experts multiply:
#: decoding reads memory.
ARRIVALS = (
    "ingest",
    "ingest_token",
    "gateway",
    "scheduler_interval",
    "initial_burst",
    "arrival_burst",
    "lock",
    "pool_margin",
    "eager",
    "prefill_attention",
    "prefill_grain",
    "fp8_compute",
    "fp8_block_compute",
    "fp4_compute",
    "expert_compute",
    "expert_width",
)
#: Families whose TTFT is that of how they were measured: of Llama-3.1-8B on TensorRT-LLM one request more is in flight
#: than runs, and always waits (TTFT has the stay over the batch more, at any batch, answer and number of devices); on
#: SGLang and vLLM TTFT hardly grows with the prompt, as where a prefix cache serves it. They are scored all the same.
ODD_ARRIVALS = ("Llama-3.1-8B",)
#: Coefficients of one engine: no other engine tells them.
HABITS = (
    "ingest",
    "ingest_token",
    "gateway",
    "scheduler_interval",
    "arrival_burst",
    "lock",
    "gathered",
    "expert_tile",
    "draft_passes",
)


@dataclass(kw_only=True)
class Problem:
    """Rows to fit: ``measured`` [quantity, row] in logarithms, weights by quantity, priors by name."""

    rows: list[MeasuredRow]
    plant: CompiledRows
    quantities: tuple[str, ...]
    weights: np.ndarray
    measured: np.ndarray
    names: tuple[str, ...]
    prior: np.ndarray
    spread: np.ndarray
    fixed: dict[str, float]
    scale: float
    share: float
    spreads: tuple[tuple[float, ...], ...] = ()

    def part(self, index: np.ndarray) -> Problem:
        rows = [self.rows[i] for i in index]
        return replace(self, rows=rows, plant=compiled(rows), measured=self.measured[:, index])

    def counted(self) -> Problem:
        """What weighs in a fit: drafted rows do not, nor TTFT of ``ODD_ARRIVALS``."""
        keep = np.flatnonzero([r.draft_count == 0 for r in self.rows])
        part = self if keep.size == len(self.rows) else self.part(keep)
        if "ttft_s" not in part.quantities:
            return part
        measured = part.measured.copy()
        measured[part.quantities.index("ttft_s"), [odd_arrivals(r) for r in part.rows]] = np.nan
        return replace(part, measured=measured)

    def arrivals(self, x: np.ndarray) -> Problem:
        """The same rows where only ``ARRIVALS`` are free and only TTFT counts; ``x``: the others' logarithms."""
        free = np.array([n in ARRIVALS for n in self.names])
        held = {n: float(np.exp(v)) for n, v, f in zip(self.names, x, free, strict=True) if not f}
        return replace(
            self,
            names=tuple(n for n in self.names if n in ARRIVALS),
            prior=self.prior[free],
            spread=self.spread[free],
            fixed=self.fixed | held,
            weights=self.weights * np.array([[0.0], [1.0]]),
            spreads=NARROW,
        )

    @staticmethod
    def merged(parts: list[Problem]) -> Problem:
        first = parts[0]
        rows = [r for p in parts for r in p.rows]
        measured = np.concatenate([p.measured for p in parts], axis=1)
        known = [(priors() | RECENT)[n] for n in first.names]  # what is documented of one engine does not hold for all
        return Problem(
            rows=rows,
            plant=compiled(rows),
            quantities=first.quantities,
            weights=first.weights,
            measured=measured,
            names=first.names,
            prior=np.log([k[0] for k in known]),
            spread=np.array([k[1] for k in known]),
            fixed=first.fixed,
            scale=first.scale,
            share=float(np.sqrt(POOLED_ROWS / undrafted_count(rows))),
            spreads=first.spreads,
        )

    def believing(self, prior: np.ndarray) -> Problem:
        """The same rows with another prior, held more firmly: what engines on the same devices share. Habits of a
        scheduler keep their own."""
        own = np.array([n in HABITS for n in self.names])
        apart = np.array([n.startswith(EXPERTS) and "grain" not in n for n in self.names])
        firm = np.minimum(self.spread * POOLED_SPREAD, POOLED_MOST)
        firm = np.where(apart, np.minimum(self.spread, EXPERTS_MOST), firm)
        return replace(self, prior=np.where(own, self.prior, prior), spread=np.where(own, self.spread, firm))

    def logs(self, x: np.ndarray) -> np.ndarray:
        """Predicted logarithms [quantity, row]."""
        return self.many_logs(x[None, :])[:, 0, :]

    def many_logs(self, points: np.ndarray) -> np.ndarray:
        """Predicted logarithms [quantity, point, row] at each of ``points`` [point, coefficient], all at once."""
        return self._logs(self._found(points)[0], len(points))

    def errors(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln(predicted ÷ measured) [quantity, point, row]; and of the power [point, row] were the row's steps held up
        until the rate is the measured one: the floor is paid for longer, the joules of the work are the same."""
        found, floor_w = self._found(points)
        errors = self._logs(found, len(points)) - self.measured[:, None, :]
        if "power_w" not in self.quantities:
            return errors, np.zeros(errors.shape[1:])
        rate, power = (self.measured[self.quantities.index(q)] for q in ("rate_tok_s", "power_w"))
        slower = np.exp(rate) / found["rate_tok_s"]
        return errors, np.log(floor_w + (found["power_w"] - floor_w) * slower) - power

    def _found(self, points: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Predicted quantities by name, and what the boards draw between kernels [W], at each of ``points``."""
        values = {n: np.exp(points[:, i : i + 1]) for i, n in enumerate(self.names)}
        values |= {n: np.array([[v]]) for n, v in self.fixed.items()}
        rates = unchecked_rates_of(values)
        waiting_w = floor_w(self.plant.table, rates.power) * self.plant.devices_count
        return predicted(self.asking(values), rates), waiting_w

    def _logs(self, found: dict[str, np.ndarray], points: int) -> np.ndarray:
        shape = (points, len(self.rows))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(np.stack([np.broadcast_to(found[q], shape) for q in self.quantities]))

    def asking(self, values: dict[str, np.ndarray]) -> CompiledRows:
        """The plant with facts of tasks at ``values`` (``task:fact`` → a column)."""
        demand = self.plant.demand
        for name, value in values.items():
            task, _, fact = name.partition(":")
            if fact:
                mine = self.of_task(task)
                demand = replace(demand, **{fact: np.where(mine, value, getattr(demand, fact))})
        return replace(self.plant, demand=replace(demand, computed_tok=demand.input_tok))

    @property
    def shared(self) -> np.ndarray:
        """Rows of one device of a node, whose other devices others may have used meanwhile."""
        return np.array(
            ["rate_tok_s" in r.measured and r.parallelism.devices * r.parallelism.replicas == 1 for r in self.rows]
        )

    def of_task(self, task: str) -> np.ndarray:
        """Which rows are of ``task``."""
        return np.array([r.groups.get("task") == task for r in self.rows])


def odd_arrivals(row: MeasuredRow) -> bool:
    """Whether the TTFT of ``row`` is that of how it was measured. Sweeps at equal lengths on H200 (Qwen3-235B beside
    Llama-3.1-8B) have that of one prompt alone, at any batch, as where a prefix cache serves it; those on H100 have
    that of two, and grow with the batch."""
    return family(row) in ODD_ARRIVALS or (row.lockstep and row.device.name == "h200-sxm")


def family(row: MeasuredRow) -> str:
    """Releases that share an architecture are one family."""
    name = row.model.split("/")[-1]
    for pattern, found in (
        ("DeepSeek", "DeepSeek-V3"),
        ("235B", "Qwen3-235B"),
        ("30B-A3B", "Qwen3-30B"),
        ("480B", "Qwen3-480B"),
    ):
        if pattern in name:
            return found
    return re.sub(r"-(Instruct|Thinking|FP8|NVFP4|it|v2).*", "", name.replace("Meta-", ""))


def _problem(
    data: Path, file: str, quantities: tuple[str, ...], weights: list[float]
) -> tuple[list[MeasuredRow], np.ndarray]:
    table = read_table(data / file, resolver(data / "models"))
    for skip in table.skipped:
        print("skipped", skip)
    measured = np.array([[np.log(r.measured.get(q, np.nan)) for r in table.rows] for q in quantities])
    return table.rows, measured


def runs_problem(data: Path) -> Problem:
    quantities = ("rate_tok_s", "itl_s", "power_w", "energy_j_tok")
    rows, measured = _problem(data, "serving_runs.csv", quantities, [])
    known = dict(priors())
    known["overlap"], known["context"] = NOT_ASYNCHRONOUS, KNOWN_CONTEXT
    known["eager"], known["padding"] = SHORT_PROMPTS, PADS_TO_BUSIEST
    names = list(known)
    for task, tok in TASKS.items():
        known[f"{task}:input_tok"] = (tok, 0.4)
        names.append(f"{task}:input_tok")
    known["gpqa:domain_evenness_ratio"] = (0.6, 0.5)
    names += ["gpqa:domain_evenness_ratio"]
    return Problem(
        rows=rows,
        plant=compiled(rows),
        quantities=quantities,
        weights=np.array([[2.0], [1.0], [1.2], [3.0]]),
        measured=measured,
        names=tuple(names),
        prior=np.log([known[n][0] for n in names]),
        spread=np.array([known[n][1] for n in names]),
        fixed={},
        scale=RUN_SCALE,
        share=1.0,
    )


def latency_problem(data: Path, engine: str, fixed: dict[str, float]) -> Problem:
    quantities = ("tpot_s", "ttft_s")
    rows, measured = _problem(data, "serving_latency.csv", quantities, [])
    keep = [i for i, r in enumerate(rows) if r.engine == engine]
    rows = [rows[i] for i in keep]
    known = {k: v for k, v in (priors() | RECENT | DOCUMENTED.get(engine, {})).items() if k not in fixed}
    names = tuple(known)
    return Problem(
        rows=rows,
        plant=compiled(rows),
        quantities=quantities,
        weights=np.array([[1.0], [0.8]]),
        measured=measured[:, keep],
        names=names,
        prior=np.log([known[n][0] for n in names]),
        spread=np.array([known[n][1] for n in names]),
        fixed=fixed,
        scale=LATENCY_SCALE,
        share=float(np.sqrt(300 / undrafted_count(rows))),
        spreads=SPREADS,
    )


def undrafted_count(rows: list[MeasuredRow]) -> int:
    """Rows that weigh in a fit."""
    return max(sum(r.draft_count == 0 for r in rows), 1)


def evenly(rows: list[MeasuredRow]) -> np.ndarray:
    """Weights of residuals that let families count more alike than their rows do: a new family is what is asked for.
    Copies of one measurement count as one row. Mean square 1."""
    names = [family(r) for r in rows]
    count = Counter(names)
    copies = np.array([r.copies_count for r in rows])
    weight = np.array([count[n] ** -BALANCE for n in names]) / np.sqrt(copies)
    return weight / np.sqrt(np.mean(weight**2))


def fit(problem: Problem, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the coefficients and their standard errors.

    Where families have effects of their own (``family_effects``), what TTFT alone tells is fitted once more, to TTFT,
    at the values that all rows gave to the rest: TTFT depends on launch settings that no table states, and must not
    bend the speeds of kernels.
    """
    problem = problem.counted()
    x, stderr = _fitted(problem, start)
    if problem.spreads:
        free = np.array([n in ARRIVALS for n in problem.names])
        x[free], stderr[free] = _fitted(problem.arrivals(x), x[free])
    return x, stderr


def _fitted(problem: Problem, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Damped Gauss–Newton steps on a robust loss (soft L1). Whether a row with one device ran on a crowded host is
    decided by the row itself, anew at each step (``quiet_probability``)."""
    effects = effects_of(problem.rows, family, problem.spreads) if problem.spreads else NO_EFFECTS
    size = problem.prior.size
    shared = problem.shared
    row_weight = problem.share * evenly(problem.rows)
    spread = np.concatenate([problem.spread, effects.spread])
    x = np.concatenate([problem.prior if start is None else start, np.zeros(effects.count)])
    quiet = np.ones(len(problem.rows))
    r, jacobian, error = _linearized(problem, effects, x, (row_weight, quiet))
    damping = FIRST_DAMPING
    for _ in range(MOST_STEPS):
        square = jacobian.T @ jacobian
        step = np.linalg.solve(square + damping * np.diag(spread**-2.0), -jacobian.T @ r)
        tried = _linearized(problem, effects, x + step, (row_weight, quiet))
        gain = (r @ r - tried[0] @ tried[0]) / (r @ r)
        if gain < 0.0:
            damping *= 10.0
        else:
            x, (r, jacobian, error), damping = x + step, tried, 0.1 * damping
        if abs(gain) < SETTLED:
            break
        if shared.any() and gain >= 0.0:
            quiet = quiet_probability(problem, error)
            r, jacobian, error = _linearized(problem, effects, x, (row_weight, quiet))
    degrees = max(1, problem.measured.size - x.size)
    covariance = np.linalg.inv(jacobian.T @ jacobian)[:size, :size]
    return x[:size], np.sqrt(np.diag(covariance) * max(1.0, float(r @ r) / degrees))


def _linearized(
    problem: Problem, effects: Effects, x: np.ndarray, weights: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals, their Jacobian, and errors [quantity, row] at ``x``, coefficients before effects: all perturbed points
    in one call. ``weights``: of rows, and of each that its host was quiet."""
    size, (row_weight, quiet) = problem.prior.size, weights
    points = np.concatenate([x[None, :size], x[None, :size] + STEP_LN * np.eye(size)])
    errors, held_up = problem.errors(points)
    u, scale = x[size:], problem.weights[:, None] / problem.scale
    weight = row_weight * np.sqrt(quiet)
    z = (errors + effects.added(u)[:, None, :]) * scale if effects.count else errors * scale
    r = np.moveaxis(soft(z) * weight, 1, 0).reshape(len(points), -1)
    alone = soft(held_up * HELD_UP_WEIGHT / problem.scale) * row_weight * np.sqrt(1.0 - quiet)
    own = PRIOR_WEIGHT * (points - problem.prior) / problem.spread
    r = np.concatenate([r, alone, own], axis=1)
    jacobian = (r[1:] - r[0]).T / STEP_LN
    if not effects.count:
        return r[0], jacobian, errors[:, 0]
    slope = soft_slope(z[:, 0]) * scale[:, 0] * weight
    by_effect = effects.jacobian(slope)
    by_effect = np.concatenate([by_effect, np.zeros((len(jacobian) - len(by_effect), effects.count))])
    below = np.concatenate([np.zeros((effects.count, size)), np.diag(1.0 / effects.spread)], axis=1)
    jacobian = np.concatenate([np.concatenate([jacobian, by_effect], axis=1), below])
    return np.concatenate([r[0], u / effects.spread]), jacobian, errors[:, 0]


def soft(z: np.ndarray) -> np.ndarray:
    """Residuals whose squares are the soft L1 loss of ``z``; 0 where nothing was measured."""
    z = np.where(np.isfinite(z), z, 0.0)
    return np.sign(z) * np.sqrt(2.0 * (np.sqrt(1.0 + z * z) - 1.0))


def soft_slope(z: np.ndarray) -> np.ndarray:
    """d ``soft`` / dz; 0 where nothing was measured."""
    size = np.where(np.isfinite(z), np.maximum(np.abs(z), 1e-4), 1.0)
    root = np.sqrt(1.0 + size * size)
    return np.where(np.isfinite(z), size / (root * np.sqrt(2.0 * (root - 1.0))), 0.0)


def quiet_probability(problem: Problem, error: np.ndarray) -> np.ndarray:
    """Of each row, that nothing else held up its host. Rows that share one are quiet, with errors as all rows have
    them, or crowded, and then any number of times slower up to CROWD_MOST."""
    by_name = dict(zip(problem.quantities, error, strict=True))
    rate, itl = by_name["rate_tok_s"], by_name["itl_s"]
    late = 0.5 * (rate - np.where(np.isfinite(itl), itl, -rate))
    z = late / problem.scale
    quiet = (1.0 - CROWD_SHARE) * np.exp(-0.5 * z * z) / (problem.scale * np.sqrt(2.0 * np.pi))
    crowded = CROWD_SHARE / np.log(CROWD_MOST)
    return np.where(problem.shared & (late > 0.0), quiet / (quiet + crowded), 1.0)


def leave_out(problem: Problem, start: np.ndarray, key: Callable[[MeasuredRow], str]) -> np.ndarray:
    """Predicted logarithms of each row by a fit on the rows of other families."""
    families = np.array([key(r) for r in problem.rows])
    logs = np.full_like(problem.measured, np.nan)
    for name in sorted(set(families)):
        held = families == name
        x, _ = fit(problem.part(np.flatnonzero(~held)), start)
        logs[:, held] = problem.part(np.flatnonzero(held)).logs(x)
    return logs


def pooled(parts: list[Problem], held: str | None = None, start: np.ndarray | None = None) -> np.ndarray:
    """Logarithms of the coefficients fitted on all engines together, without the family ``held``: kernels and habits
    that engines share are learnt where one engine alone has too few families."""
    kept = []
    for part in parts:
        index = np.flatnonzero([family(r) != held for r in part.rows])
        kept.append(part.part(index))
    return fit(Problem.merged(kept), start)[0]


def pooled_fits(parts: list[Problem]) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """The joint fit of all engines, and with it as prior that of each: coefficients and standard errors."""
    prior = pooled(parts)
    return prior, [fit(part.believing(prior), prior) for part in parts]


def fits_without(parts: list[Problem], prior: np.ndarray, starts: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Coefficients of each of ``parts`` by fits that have not seen a family, by its name; a family is left out of the
    pooled prior too."""
    fits: dict[str, list[np.ndarray]] = {}
    for name in sorted({family(r) for p in parts for r in p.rows}):
        own = pooled(parts, name, prior)
        fits[name] = []
        for part, start in zip(parts, starts, strict=True):
            rest = np.flatnonzero([family(r) != name for r in part.rows])
            seen = rest.size < len(part.rows)
            fits[name].append(fit(part.part(rest).believing(own), start)[0] if seen else start)
        print("left out:", name, flush=True)
    return fits


def without_family(fits: dict[str, list[np.ndarray]], parts: list[Problem]) -> list[np.ndarray]:
    """Predicted logarithms of each row of ``parts`` by the fit that has not seen its family."""
    logs = [np.full_like(p.measured, np.nan) for p in parts]
    for i, part in enumerate(parts):
        families = np.array([family(r) for r in part.rows])
        for name in sorted(set(families)):
            index = np.flatnonzero(families == name)
            logs[i][:, index] = part.part(index).logs(fits[name][i])
    return logs


def undrafted(problem: Problem) -> Problem:
    """The same problem with no row read as drafted."""
    return replace(problem, rows=[replace(r, draft_count=0) if r.draft_count else r for r in problem.rows])
