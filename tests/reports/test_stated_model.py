"""What is served, where the server cannot say: ``bench --precision`` and ``--architecture``, kept in the manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from simulated.runs import steady_run

from joulemill.analysis.intensity import model_of
from joulemill.analysis.rows import tokens
from joulemill.analysis.run import analyze
from tests.support.manifests import manifest_of, members_of

CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


def weight_byte(**manifest: Any) -> float:
    run = steady_run()
    known = {"model": {"name": "Qwen/Qwen3-8B"}, "device": {"name": "h100", "count": 1}}
    report = analyze(replace(run, manifest=manifest_of({**members_of(run), **known, **manifest})))
    return next(c for c in report.ceilings if c.name == "memory_bandwidth").intensity.value  # type: ignore[union-attr, return-value]


def test_a_stated_precision_moves_the_bytes_of_a_token() -> None:
    released = weight_byte()
    assert weight_byte(precision="fp32") / released == pytest.approx(2.0, rel=0.05)
    assert weight_byte(precision="fp8") / released == pytest.approx(0.55, rel=0.15)


def test_a_stated_config_gives_an_alias_its_ceilings() -> None:
    architecture, precision, source = model_of(manifest_of({"model": {"name": "smol"}, "architecture": CONFIG}))
    assert architecture.hidden == 576 and "config.json" in source and precision.name == "bf16"
    assert weight_byte(model={"name": "smol"}, architecture=CONFIG) > 0


def test_counters_that_hold_other_requests_are_not_called_absent() -> None:
    report = analyze(steady_run())
    straddled = replace(report, tokens=replace(report.tokens, mismatch_ratio=None))
    assert "not compared" in dict(tokens(straddled))["usage against server counters"]
    none = replace(report, tokens=replace(report.tokens, mismatch_ratio=None, by_metrics={}))
    assert dict(tokens(none))["usage against server counters"] == "no counters to check against"
