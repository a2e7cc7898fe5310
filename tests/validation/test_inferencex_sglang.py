"""InferenceX's SGLang deployments: which draft, how many tokens, and which pools, as its recipes and log say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.inferencex_launches import matching
from joulemill.validation.inferencex_pools import LaunchQuery
from joulemill.validation.inferencex_sglang import drafts_count, stated_drafts
from joulemill.validation.row import MeasuredRow, Origin
from tests.support.latency_rows import AGGREGATED, APART, dumped, read

ASKED = LaunchQuery(
    engine="sglang",
    device="h200-sxm",
    model="",
    precision="fp8",
    input_tok=1024,
    output_tok=1024,
    in_flight_req=512,
)
DAY = date(2026, 3, 18).toordinal()


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> MeasuredRow:
    """An aggregated FP8 point of DeepSeek on B200."""
    folder: Path = tmp_path_factory.mktemp("rows")
    more = {"backend": "sglang", "backend_version": "0.5.9", "system": "b200_sxm", **AGGREGATED}
    return read(folder, [dumped("2026-03-25", **more)])[0]


def apart(row: MeasuredRow, precision: str, origin: Origin) -> MeasuredRow:
    return replace(row, prefill=Parallelism(8), origin=origin, groups={**row.groups, "precision": precision})


def test_the_container_tells_fp4_deployments_apart(row: MeasuredRow) -> None:
    """Pull requests 672 (plain, ``-runtime``) and 683 (with drafts)."""
    plain, drafting = (Origin(DAY, image=f"lmsysorg/sglang:v0.5.8.post1-cu130{end}") for end in ("-runtime", ""))
    assert stated_drafts(apart(row, "fp4", plain)) is False
    assert stated_drafts(apart(row, "fp4", drafting)) is True
    assert stated_drafts(apart(row, "fp4", Origin(DAY))) is None


def test_fp8_was_measured_without_drafts_first(row: MeasuredRow) -> None:
    assert stated_drafts(apart(row, "fp8", Origin(date(2026, 2, 7).toordinal()))) is False
    assert stated_drafts(apart(row, "fp8", Origin(DAY))) is None


def test_the_aggregated_entry_with_drafts_has_a_cut_of_its_own(row: MeasuredRow) -> None:
    assert row.parallelism == Parallelism(8) and stated_drafts(row) is True and drafts_count(row) == 2
    assert stated_drafts(replace(row, parallelism=Parallelism(8, 1, 8))) is None
    assert stated_drafts(replace(row, origin=Origin(DAY, "0.5.6"))) is None
    other = replace(row, model="Qwen/Qwen3.5-397B-A17B", parallelism=Parallelism(4))
    assert stated_drafts(other) is True and drafts_count(other) == 3


def test_nothing_is_said_of_other_devices_and_engines(row: MeasuredRow, tmp_path: Path) -> None:
    elsewhere = read(tmp_path, [dumped("2026-02-07", **APART, backend="sglang")])[0]
    assert stated_drafts(elsewhere) is None and drafts_count(elsewhere) == 2
    assert stated_drafts(replace(row, engine="trtllm")) is None


def test_experts_of_the_prefill_pool_tell_configurations_apart() -> None:
    """H200, 512 in flight: tensor groups behind a tensor group, or data-parallel ranks behind such ranks."""
    tensor, ranks = (matching(ASKED, "deepseek-ai/DeepSeek-R1", (8, experts)) for experts in (1, 8))
    assert {x.prefill.parallelism for x in tensor} == {Parallelism(8)}
    assert {x.prefill.parallelism for x in ranks} == {Parallelism(1, 8, 8)}
    assert {x.draft_count for x in tensor + ranks} == {0, 2}
    assert matching(ASKED, "deepseek-ai/DeepSeek-R1", (8, 4)) == matching(ASKED, "deepseek-ai/DeepSeek-R1", (8, 0))
