"""Accuracy from a results file of lm-evaluation-harness (0.4 and later): `results_*.json`.

``results`` holds a task's metrics as ``"metric,filter"`` with ``"metric_stderr,filter"`` beside it, ``n-samples``
how many were asked, ``group_subtasks`` which names are only sums of others. Of a task's metrics the first of METRICS
counts, under the first filter that the file lists; what was taken is said. The tasks together: Σ right ÷ Σ questions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulemill.errors import InputError

PREFIX = "lm-eval:"
#: Metrics that are a share of correct answers, the first wins.
METRICS = ("exact_match", "acc", "acc_norm", "pass@1", "prompt_level_strict_acc")
MOST_BYTES = 64_000_000
#: No set of questions is larger. Assumed.
MOST_QUESTIONS = 10**9


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One task: share of correct answers, its standard error, questions, and the metric that was read."""

    name: str
    accuracy: float
    stderr: float
    questions: int
    metric: str


def load_lm_eval(path: Path) -> dict[str, Any]:
    """The file's accuracy as JSON for a run's manifest. Raises InputError where it holds none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: too large for a results file of lm-eval; give results_*.json, not the samples")
        raw: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError(f"`quality` {PREFIX}{path}: cannot be read ({fault})") from fault
    return parse_lm_eval(raw, path.name)


def parse_lm_eval(raw: Any, origin: str) -> dict[str, Any]:
    """A parsed results file; ``origin`` names it in errors."""
    results = raw.get("results") if isinstance(raw, dict) else None
    if not isinstance(results, dict):
        raise InputError(f"{origin}: no 'results'; give the results_*.json that lm-eval wrote with --output_path")
    groups = _object(raw, "group_subtasks")
    sums = {name for name, parts in groups.items() if parts} | set(_object(raw, "groups"))
    counts = _object(raw, "n-samples")
    scores = [_score(n, r, counts.get(n), origin) for n, r in results.items() if n not in sums and isinstance(r, dict)]
    tasks = [s for s in scores if s is not None]
    if not tasks:
        raise InputError(f"{origin}: no task has a share of correct answers ({', '.join(METRICS)})")
    questions = sum(t.questions for t in tasks)
    return {
        "tool": "lm-eval",
        "file": origin,
        "model": _text(raw.get("model_name")),
        "tool_version": _text(raw.get("lm_eval_version")),
        "accuracy": math.fsum(t.accuracy * t.questions for t in tasks) / questions,
        "stderr": math.hypot(*(t.stderr * t.questions for t in tasks)) / questions,
        "questions": questions,
        "tasks": {
            t.name: {
                "accuracy": t.accuracy,
                "stderr": t.stderr,
                "questions": t.questions,
                "metric": t.metric,
            }
            for t in tasks
        },
    }


def _object(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value[:300] if isinstance(value, str) else None


def _score(name: str, row: Mapping[str, Any], counted: Any, origin: str) -> TaskScore | None:
    """A task's score; None where it has no metric of METRICS."""
    for metric in METRICS:
        key = next((k for k in row if k.split(",", 1)[0] == metric), None)
        if key is not None:
            return _of_metric(str(name), row, key, counted, origin)
    return None


def _of_metric(name: str, row: Mapping[str, Any], key: str, counted: Any, origin: str) -> TaskScore:
    where = f"{origin}: {name}: {key}"
    accuracy = _number(row[key])
    if accuracy is None or not 0.0 <= accuracy <= 1.0:
        raise InputError(f"{where} is {row[key]!r}, no share between 0 and 1")
    metric, _, chosen = key.partition(",")
    stated = _number(row.get(f"{metric}_stderr,{chosen}" if chosen else f"{metric}_stderr"))
    stated = stated if stated is not None and 0.0 <= stated <= 0.5 else None  # a share scatters by no more
    spread = accuracy * (1.0 - accuracy)
    questions = _questions(counted)
    if questions is None and stated is not None and spread > 0.0 and stated**2 * MOST_QUESTIONS > spread:
        questions = round(spread / stated**2) + 1  # the harness divides the sample variance by the questions
    if questions is None or questions < 1:
        raise InputError(f"{where}: how many questions were asked is not in the file (n-samples); use a newer lm-eval")
    stderr = stated if stated is not None else math.sqrt(spread / questions)
    return TaskScore(name, accuracy, stderr, questions, key)


def _questions(counted: Any) -> int | None:
    count = counted.get("effective", counted.get("original")) if isinstance(counted, dict) else counted
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count < MOST_QUESTIONS else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e6 else None
