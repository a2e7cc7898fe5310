"""Levers against measured pairs: what pairs are, and the bar on the published runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.prediction.precision import resolver
from joulemill.validation.pairs import Pair, base_name, measured_pairs, pair_score, pair_scores
from joulemill.validation.row import MeasuredRow
from joulemill.validation.tables import read_table
from tests.support.paths import SHARED

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="measured data are not beside the project")
HEAD = (
    "model_id,task,weight_precision,gpu_model,num_gpus,max_num_seqs,avg_batch_size,avg_output_len,"
    "energy_per_token_joules"
)
ROWS = """
Qwen/Qwen3-32B,lm-arena-chat,bfloat16,H100,2,16,16,500,1.0
Qwen/Qwen3-32B,lm-arena-chat,bfloat16,H100,2,64,64,500,0.4
Qwen/Qwen3-32B,lm-arena-chat,bfloat16,B200,2,16,16,500,0.8
Qwen/Qwen3-32B,lm-arena-chat,bfloat16,B200,4,64,64,500,0.9
Qwen/Qwen3-32B,gpqa,bfloat16,H100,2,16,16,500,1.1
"""


def rows(tmp_path: Path) -> list[MeasuredRow]:
    table = tmp_path / "runs.csv"
    table.write_text(HEAD + ROWS, encoding="utf-8")
    return read_table(table, resolver()).rows


def test_pairs_differ_in_one_thing_only(tmp_path: Path) -> None:
    found = measured_pairs(rows(tmp_path))
    assert sorted(p.lever for p in found) == ["batch", "generation"]
    batch = next(p for p in found if p.lever == "batch")
    assert batch.measured_log == pytest.approx(-0.9163, abs=1e-4) and batch.sign_right
    assert [s.lever for s in pair_scores(found)] == ["batch", "generation", "all"]


def test_score_counts_signs_of_notable_effects_only(tmp_path: Path) -> None:
    pair = measured_pairs(rows(tmp_path))[0]
    made: list[Pair] = [
        replace(pair, measured_log=m, predicted_log=p)
        for m, p in ((0.5, 0.4), (0.5, -0.1), (0.01, -0.01), (-0.3, -0.3))
    ]
    score = pair_score("batch", made)
    assert (score.n, score.notable) == (4, 3) and score.sign_share == pytest.approx(2 / 3)
    assert score.median_error == pytest.approx((0.02 + 0.1) / 2)


def test_a_name_without_its_precision() -> None:
    assert base_name("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8") == base_name("Qwen/Qwen3-235B-A22B-Instruct-2507")
    assert base_name("Qwen/Qwen3-8B") != base_name("Qwen/Qwen3-32B")


@needs_data
def test_the_bar_on_published_runs() -> None:
    table = read_table(DATA / "serving_runs.csv", resolver(DATA / "models"))
    scores = {s.lever: s for s in pair_scores(measured_pairs(table.rows))}
    assert scores["all"].notable > 500
    assert scores["all"].sign_share >= 0.9 and scores["all"].median_error <= 0.12
    # Each kind apart: effects of batch are large and many, and must not carry the others.
    for lever in ("batch", "devices", "generation", "model"):
        assert scores[lever].median_error <= 0.12, lever
