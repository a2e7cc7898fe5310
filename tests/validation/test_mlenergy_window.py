"""ML.ENERGY's measured window: its requests as the configurations state them, and what it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.physics.model.precision import uniform
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import Shard, shard
from joulemill.validation.mlenergy_window import RunQuery, requests_count, runs_flashinfer, window_of

CHAT = RunQuery(
    task="lm-arena-chat",
    model="meta-llama/Llama-3.1-70B-Instruct",
    gpu="B200",
    devices=2,
    sequences=8,
    concurrency=8.0,
    output_tok=350.0,
    p50_tok=288.0,
    p90_tok=736.0,
)


def share(devices: int = 2) -> Shard:
    model = find_model("meta-llama/Llama-3.1-70B-Instruct").architecture
    return shard(model, uniform("bf16"), find_device("b200"), Parallelism(devices))


@pytest.mark.parametrize(
    ("sequences", "requests"), [(8, 1024), (256, 1024), (512, 2048), (1536, 3072), (3072, 5120), (4096, 8192)]
)
def test_requests_are_those_of_the_configuration_or_two_a_sequence(sequences: int, requests: int) -> None:
    assert requests_count(replace(CHAT, sequences=sequences)) == requests


def test_a_model_without_a_configuration_has_the_tasks() -> None:
    other = replace(CHAT, model="nobody/Model-1B", gpu="H100", task="gpqa")
    assert requests_count(replace(other, sequences=128)) == 198
    assert requests_count(replace(other, sequences=512)) == 792
    assert requests_count(replace(other, sequences=2048)) == 4158


def test_a_small_batch_is_measured_in_steady_state() -> None:
    found = window_of(CHAT, share())
    assert found is not None
    assert found.arrivals_ratio == pytest.approx(1.0, abs=0.01)
    assert found.generated_tok == pytest.approx(0.705 * 350.0, rel=0.02)


def test_a_large_batch_is_measured_while_its_first_answers_run() -> None:
    """2,048 of 3,072 requests at once: half an answer a slot ends, and every prompt computed then is a repeat."""
    large = replace(CHAT, sequences=2048, concurrency=2042.0)
    found = window_of(large, share())
    assert found is not None
    assert found.generated_tok < 0.35 * 350.0
    assert found.arrivals_ratio < 0.3
    fresh = window_of(replace(large, sequences=512, concurrency=510.0, model="x/y"), share())
    assert fresh is not None and fresh.arrivals_ratio > 0.7


def test_a_task_of_ones_own_is_steady() -> None:
    assert window_of(replace(CHAT, task="not stated"), share()) is None
    assert window_of(replace(CHAT, sequences=0), share()) is None


def test_kernels_are_those_that_the_launch_asked_for() -> None:
    assert runs_flashinfer("deepseek-ai/DeepSeek-V3.1", "B200")
    assert not runs_flashinfer("deepseek-ai/DeepSeek-V3.1", "H100")
    assert not runs_flashinfer("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "B200")
