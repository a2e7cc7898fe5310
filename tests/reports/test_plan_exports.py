"""A plan for other tools: what they are documented to read is in it, and the figures are the plan's."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import joulemill as jm
from joulemill.cli import main
from joulemill.reports.exports.plan import whole
from tests.support.plan_files import plan_file


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> jm.FleetPlan:
    rates = f'rate = "3 ktok/s"\nby_hour_ratio = {[0.5, 1.5] * 12}'
    path = plan_file(tmp_path_factory.mktemp("plan"), ('rate = "unlimited"', rates), ('"6 kW"', '"5 kW"'))
    return jm.plan(path, extras=False)


def test_dynamo_graphs(plan: jm.FleetPlan) -> None:
    """The keys of nvidia.com/v1beta1: components of a type with replicas, the cap an annotation of their pods."""
    document = json.loads(plan.export("dynamo"))
    rows = plan.rows("replicas")
    (graph,) = document["items"]
    assert document["kind"] == "List" and graph["kind"] == "DynamoGraphDeployment"
    frontend, *workers = graph["spec"]["components"]
    assert frontend["type"] == "frontend" and len(workers) == len(rows)
    for worker, row in zip(workers, rows, strict=True):
        assert worker["type"] == "worker" and worker["replicas"] == whole(row["count"])
        container = worker["podTemplate"]["spec"]["containers"][0]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"} and container["name"] == "main"
        caps = worker["podTemplate"].get("metadata", {}).get("annotations", {})
        expected = (
            {} if row["power_cap_w"] is None else {"dynamo.nvidia.com/gpu-power-limit": f"{row['power_cap_w']:.0f}"}
        )
        assert caps == expected
    assert any(r["power_cap_w"] == 500.0 for r in rows), "the plan uses the cap, so that its annotation is tested"


def test_vllm_lines(plan: jm.FleetPlan) -> None:
    lines = plan.export("vllm").splitlines()
    serve = [line.split() for line in lines if line.startswith("vllm serve ")]
    assert len(serve) == len(plan.rows("replicas"))
    for words in serve:
        assert words[2] == "Qwen/Qwen3-32B" and words[words.index("--tensor-parallel-size") + 1] == "2"
        assert int(words[words.index("--max-num-seqs") + 1]) in (25, 66, 112)  # n + 6 √n
    assert lines.count("nvidia-smi -pl 500") == sum(r["power_cap_w"] == 500.0 for r in plan.rows("replicas"))


def test_pypsa_loads(plan: jm.FleetPlan) -> None:
    rows = list(csv.DictReader(io.StringIO(plan.export("pypsa"))))
    megawatts = [h["facility_w"] / 1e6 for h in plan.rows("hours")]
    assert [float(r["lab"]) for r in rows] == pytest.approx(megawatts, abs=1e-6)
    assert [r["snapshot"] for r in rows] == [str(h) for h in range(24)]


def test_rounding_up() -> None:
    assert [whole(x) for x in (3.0, 3.0000000001, 3.01, 2.9999999)] == [3, 3, 4, 3]


def test_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(plan_file(tmp_path)), "--export", "vllm"]) == 0
    assert capsys.readouterr().out.startswith("# h100 (h100-sxm): ")
