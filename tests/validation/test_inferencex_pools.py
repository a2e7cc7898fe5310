"""InferenceX's launch configurations: notation, lookup, and that every row can be launched."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from joulemill.catalog.devices import find_device
from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.inferencex_pools import Launch, LaunchQuery, Pool, drafts_listed, launches, pool_named

ASKED = LaunchQuery(
    engine="trtllm",
    device="gb200",
    model="DeepSeek-R1",
    precision="fp4",
    input_tok=8192,
    output_tok=1024,
    in_flight_req=666,
)


def rows() -> list[dict[str, str]]:
    text = files("joulemill.catalog").joinpath("data", "inferencex_pools.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_pools_by_hand() -> None:
    assert pool_named("5xE8") == Pool(5, Parallelism(8, 1, 8))
    assert pool_named("10xT4") == Pool(10, Parallelism(4))
    wide = pool_named("2xD16")
    assert wide == Pool(2, Parallelism(1, 16, 16)) and wide.ranks == 32 and pool_named("3xT8").ranks == 3
    for wrong in ("5E8", "5xX8", "xD4", ""):
        with pytest.raises(ValueError, match="not written"):
            pool_named(wrong)


def test_a_point_finds_its_configuration() -> None:
    """Its recipe is gb200-fp4/8k1k/mtp/ctx8_gen1_dep32_batch16_eplb0_mtp3: 8 prefill workers, 1 decode worker of 32."""
    assert launches(ASKED) == (Launch(Pool(8, Parallelism(1, 4, 4)), Pool(1, Parallelism(1, 32, 32)), 3),)
    assert (
        launches(
            LaunchQuery(
                engine="trtllm",
                device="gb200",
                model="DeepSeek-R1",
                precision="fp4",
                input_tok=8192,
                output_tok=1024,
                in_flight_req=667,
            )
        )
        == ()
    )


def test_whether_a_deployment_is_ever_drafted_is_told() -> None:
    assert drafts_listed("sglang", "gb200", "DeepSeek-R1", "fp8") is False
    assert drafts_listed("sglang", "h200-sxm", "DeepSeek-R1", "fp8") is True
    assert drafts_listed("vllm-0.19", "h100-sxm", "DeepSeek-R1", "fp8") is None


def test_every_row_names_a_device_and_pools_and_its_source() -> None:
    for row in rows():
        assert find_device(row["device"]).name == row["device"]
        assert pool_named(row["prefill"]).workers > 0 and pool_named(row["decode"]).workers > 0
        assert 0 <= int(row["draft_count"]) <= 3 and row["source"]
        assert all(int(n) > 0 for n in row["in_flight_req"].split())
