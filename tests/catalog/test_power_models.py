from __future__ import annotations

import pytest

from joulemill.catalog.power_models import assumed, cpu_rows, power_model, power_model_of
from joulemill.errors import InputError


def test_every_row_is_cited_and_its_source_repeats_its_numbers() -> None:
    ids = [r["id"] for r in cpu_rows()]
    assert len(set(ids)) == len(ids) >= 10
    for row in cpu_rows():
        assert row["basis"] == "datasheet"
        assert f"{row['threads']} threads" in row["source"]
        assert f"{row['tdp_w']:g} W" in row["source"]
        assert 2 <= row["tdp_w"] / row["threads"] * 2 <= 25  # W a core with two threads


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("AMD EPYC 7763 64-Core Processor", "epyc-7763"),
        ("AMD EPYC 9654 96-Core Processor", "epyc-9654"),
        ("AMD EPYC 9654P 96-Core Processor", "epyc-9654"),
        ("Intel(R) Xeon(R) Platinum 8480+", "xeon-8480+"),
        ("INTEL(R) XEON(R) PLATINUM 8592+", "xeon-8592+"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "core-13900k"),
        ("AMD Ryzen 9 7950X3D 16-Core Processor", "generic"),
        ("AMD EPYC", "generic"),
        ("", "generic"),
    ],
)
def test_the_kernels_name_finds_its_row(name: str, row: str) -> None:
    assert power_model_of(name, 8).id == row


def test_two_sockets_are_twice_one() -> None:
    one, two = power_model("epyc-7763", 128), power_model("epyc-7763", 256)
    assert two.busy_w == pytest.approx(2 * one.busy_w) == pytest.approx(2 * 280 * assumed("node_of_tdp_ratio"))
    assert one.idle_w == pytest.approx(one.busy_w * assumed("idle_of_busy_ratio"))
    assert "assumed" in one.source


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(InputError, match="epyc-7763"):
        power_model("nope", 2)
