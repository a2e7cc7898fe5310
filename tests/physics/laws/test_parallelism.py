"""Devices are cut into replicas within a link domain: tensor parallelism never leaves a node unasked."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.catalog.models import find_model
from joulemill.physics.serving.deployment import parallelism_for
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import MODELS


def test_the_default_cut_uses_all_devices_and_stays_within_a_domain() -> None:
    random = np.random.default_rng(7)
    architectures = [find_model(n).architecture for n in MODELS]
    for _ in range(3000):
        a = architectures[random.integers(len(architectures))]
        devices, domain = int(random.integers(1, 513)), int(random.choice([1, 2, 4, 8, 16, 72]))
        parallelism = parallelism_for(a, devices, {}, domain)
        assert parallelism.devices * parallelism.replicas == devices
        assert parallelism.tensor <= domain and a.divides_over(parallelism.tensor)
        wider = [n for n in range(parallelism.tensor + 1, domain + 1) if devices % n == 0 and a.divides_over(n)]
        assert not wider


@pytest.mark.parametrize(("devices", "stated"), [(8, {}), (16, {}), (8, {"dp": 8, "ep": 8, "tp": 1})])
def test_what_is_called_best_of_experts_is_what_predicting_it_says(devices: int, stated: dict[str, int]) -> None:
    common = {"model": "openai/gpt-oss-120b", "device": "h200", "devices": devices}
    found = answer(PredictionRequest(**common, **stated, concurrency=512.0))  # type: ignore[arg-type]
    best, tried = found.best_parallelism, [o.parallelism for o in found.alternatives]
    assert best is not None and len(set(tried)) == len(tried)
    assert tried[0] == found.deployment.parallelism
    assert all(p.devices * p.replicas == devices and p.devices <= 8 for p in tried[1:])
    assert any(p.data > 1 and p.expert == p.devices for p in tried) and any(p.data == 1 for p in tried)
    p = best.parallelism
    asked = 512.0 * found.deployment.parallelism.replicas / p.replicas
    own = answer(PredictionRequest(**common, tp=p.tensor, dp=p.data, ep=p.expert, concurrency=asked)).prediction  # type: ignore[arg-type]
    assert own.device_j_tok.value == pytest.approx(best.device_j_tok)
    assert own.rate_tok_s.value == pytest.approx(best.rate_tok_s)


@pytest.mark.parametrize(
    ("devices", "tried", "told"),
    [
        (2, 1, "no other without pipeline stages fits these devices"),
        (4, 2, "the one other without pipeline stages does not cost 3 % less J/token (modelled)"),
        (8, 3, "of 2 others without pipeline stages none costs 3 % less J/token (modelled)"),
    ],
)
def test_none_better_is_said_of_what_was_tried(devices: int, tried: int, told: str) -> None:
    model = "meta-llama/Llama-3.1-70B-Instruct"
    found = answer(PredictionRequest(model=model, device="h200", devices=devices, concurrency=8.0))
    assert len(found.alternatives) == tried
    assert told in " ".join(found.every_note)


def test_sixteen_boards_are_two_replicas_of_a_node_and_the_answer_says_so() -> None:
    question = PredictionRequest(model="meta-llama/Llama-3.1-70B-Instruct", device="h100", devices=16, concurrency=32.0)
    found = answer(question)
    parallelism, best = found.deployment.parallelism, found.best_parallelism
    assert (parallelism.tensor, parallelism.replicas) == (8, 2)
    assert best is not None
    assert "parallelism: tp 8, 2 replicas, taken since none was stated" in " ".join(found.every_note)
    # What is called best is what predicting it says, at the same requests in flight over all devices.
    each = 32.0 * parallelism.replicas / best.parallelism.replicas
    own = answer(
        PredictionRequest(model=question.model, device="h100", devices=16, tp=best.parallelism.tensor, concurrency=each)
    ).prediction
    assert own.device_j_tok.value == pytest.approx(best.device_j_tok)
    assert own.rate_tok_s.value == pytest.approx(best.rate_tok_s)
    assert best.device_j_tok <= (found.prediction.device_j_tok.value or 0.0) * (1 + 1e-9)
