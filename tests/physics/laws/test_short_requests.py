"""Requests of a few tokens, or a few behind a long cached prefix: no rate beyond its lowest ceiling there either."""

from __future__ import annotations

import pytest

import joulemill as jm
from joulemill.catalog.models import find_model, model_names

RECURRENT = [n for n in model_names() if any(word in n for word in ("mamba", "Falcon-H1", "Nemotron", "granite-4"))]
MODELS = [*RECURRENT[::3], "Qwen/Qwen3-8B", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-Next-80B-A3B-Instruct"]


def test_recurrent_models_are_there() -> None:
    assert len(RECURRENT) >= 5


@pytest.mark.parametrize("name", MODELS)
def test_the_lowest_ceiling_holds(name: str) -> None:
    devices = 8 if find_model(name).architecture.is_moe or "Nemotron" in name else 1
    for tokens, answer, cached in ((1, 1, 0.0), (1, 2, 0.0), (20_000, 1, 0.999)):
        load = {"input_tokens": tokens, "output_tokens": answer, "cached_ratio": cached, "engine": "vllm-0.19"}
        try:
            phi = jm.predict(name, "h100-pcie", devices=devices, **load).phi
        except jm.MemoryShort:
            continue
        assert phi.value is not None and phi.value <= 1.0 + 1e-9, (tokens, answer, cached)
