"""Signs that simple models get wrong, on pairs that were measured (ML.ENERGY v3): predicted and measured agree."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.prediction.precision import resolver
from joulemill.validation.row import MeasuredRow
from joulemill.validation.scores import predict_rows
from joulemill.validation.tables import read_table
from tests.support.paths import SHARED

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="measured data are not beside the project")


def joules(rows: list[MeasuredRow], case: tuple[str, str, int, float, str]) -> tuple[float, float]:
    """Measured and predicted J/token of the run of that model, device, number, batch and task."""
    model, device, devices, batch, task = case
    found = [
        r
        for r in rows
        if r.model == model
        and r.device.name.startswith(device)
        and r.parallelism.devices == devices
        and r.groups["task"] == task
        and abs(np.log(r.concurrency / batch)) < 0.1
    ]
    values, _ = predict_rows(found[:1])
    return found[0].measured["energy_j_tok"], float(values["energy_j_tok"][0])


CHAT, HARD = "lm-arena-chat", "gpqa"
Q235, Q30, Q32 = "Qwen/Qwen3-235B-A22B-Instruct-2507", "Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-32B"
SCOUT, L70 = "meta-llama/Llama-4-Scout-17B-16E-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
#: The first of each pair was measured to cost more joules a token.
PAIRS = {
    "fp8 costs more than bf16 at small batch": (
        (Q235 + "-FP8", "h100", 8, 16, CHAT),
        ("Qwen/Qwen3-235B-A22B-Thinking-2507", "h100", 8, 16, HARD),
    ),
    "fp8 costs less than bf16 at large batch": ((Q235, "h100", 8, 128, CHAT), (Q235 + "-FP8", "h100", 8, 128, CHAT)),
    "a sparse model costs less than a dense one of its size": ((Q32, "h100", 2, 64, CHAT), (Q30, "h100", 2, 64, CHAT)),
    "a large sparse model costs more than a dense one of more active parameters": (
        (Q235, "h100", 8, 64, CHAT),
        (Q32, "h100", 2, 64, CHAT),
    ),
    "more devices cost more at one batch": ((SCOUT, "h100", 8, 16, CHAT), (SCOUT, "h100", 4, 16, CHAT)),
    "b200 costs less than h100 at large batch": ((L70, "h100", 4, 512, CHAT), (L70, "b200", 2, 512, CHAT)),
}


@needs_data
@pytest.mark.parametrize("name", PAIRS)
def test_sign_of_a_measured_pair(name: str) -> None:
    rows = read_table(DATA / "serving_runs.csv", resolver(DATA / "models")).rows
    first, second = PAIRS[name]
    a, b = joules(rows, first), joules(rows, second)
    assert a[0] > b[0], "the pair is not what its name says"
    assert a[1] > b[1], (a, b)
