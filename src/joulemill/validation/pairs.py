"""Pairs of measured runs that differ in one lever only: did the prediction see the sign and the size of the change?

Two runs pair where everything that a table states agrees but one thing: precision, batch, number of devices, generation
of device, or the model (same task, sizes within 30 %). What both runs share cancels in the ratio, on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from joulemill.physics.model.architecture import parameters_count
from joulemill.validation.row import MeasuredRow
from joulemill.validation.scores import predict_rows

#: Batches that count as one [ln]; a larger difference is a lever of its own.
SAME_BATCH, OTHER_BATCH = 0.1, 0.3
#: Models of like size: ln of the ratio of total parameters.
LIKE_SIZE = 0.27
#: Effects below this [ln] are within the noise of a repeated run (5 to 19 % in these data).
NOTABLE = float(np.log(1.1))


@dataclass(frozen=True)
class Pair:
    """Two rows and the lever between them; logarithms of J/token of the second over the first."""

    lever: str
    first: MeasuredRow
    second: MeasuredRow
    measured_log: float
    predicted_log: float

    @property
    def error_log(self) -> float:
        """Predicted − measured ln ratio."""
        return self.predicted_log - self.measured_log

    @property
    def sign_right(self) -> bool:
        """Whether prediction and measurement go the same way."""
        return self.measured_log * self.predicted_log > 0.0


@dataclass(frozen=True)
class PairScore:
    """Of one lever: pairs, those above 10 %, share of these with the right sign, median and 80 % quantile of |Δln|."""

    lever: str
    n: int
    notable: int
    sign_share: float
    median_error: float
    wide_error: float


def base_name(model: str) -> str:
    """A model's name without the words for its precision."""
    return re.sub(r"[-_](fp8|fp4|nvfp4|bf16|int8|int4|awq|gptq|w8a8)\b.*$", "", model, flags=re.I).lower()


def measured_pairs(rows: Sequence[MeasuredRow]) -> list[Pair]:
    """All pairs of ``rows`` with J/token measured that differ in one lever."""
    known = [r for r in rows if r.measured.get("energy_j_tok")]
    values, _ = predict_rows(known)
    predicted = np.log(values["energy_j_tok"])
    measured = np.log([r.measured["energy_j_tok"] for r in known])
    sizes = np.log([parameters_count(r.architecture).total for r in known])
    pairs = []
    for i, j in combinations(range(len(known)), 2):
        a, b = known[i], known[j]
        lever = _lever(a, b, abs(float(sizes[i] - sizes[j])))
        if lever is not None:
            pairs.append(Pair(lever, a, b, float(measured[j] - measured[i]), float(predicted[j] - predicted[i])))
    return pairs


def _lever(a: MeasuredRow, b: MeasuredRow, size_log: float) -> str | None:
    """The one lever that differs between two runs; None where none or several do."""
    if a.groups["task"] != b.groups["task"]:
        return None
    batch = abs(float(np.log(a.concurrency / b.concurrency)))
    same: dict[str, Callable[[MeasuredRow], object]] = {
        "precision": lambda r: r.groups["precision"],
        "devices": lambda r: r.parallelism.devices,
        "generation": lambda r: r.device.name,
        "model": lambda r: base_name(r.model),
    }
    differ = [name for name, of in same.items() if of(a) != of(b)]
    if batch > OTHER_BATCH:
        differ.append("batch")
    if len(differ) != 1 or (differ != ["batch"] and batch > SAME_BATCH):
        return None
    if differ == ["model"] and size_log > LIKE_SIZE:
        return None
    # Attention in data-parallel ranks against tensor-parallel is other parallelism, not the lever that is meant.
    if (differ != ["devices"] and a.parallelism != b.parallelism) or (a.parallelism.data > 1) != (
        b.parallelism.data > 1
    ):
        return None
    return differ[0]


def pair_scores(pairs: Sequence[Pair]) -> list[PairScore]:
    """Scores by lever, and of all."""
    levers = [*sorted({p.lever for p in pairs}), "all"]
    return [pair_score(name, [p for p in pairs if name in (p.lever, "all")]) for name in levers]


def pair_score(lever: str, pairs: Sequence[Pair]) -> PairScore:
    """Score of some pairs; NaN where none is above 10 %."""
    notable = [p for p in pairs if abs(p.measured_log) > NOTABLE]
    error = np.abs([p.error_log for p in pairs])
    share = float(np.mean([p.sign_right for p in notable])) if notable else float("nan")
    return PairScore(lever, len(pairs), len(notable), share, float(np.median(error)), float(np.quantile(error, 0.8)))
