"""A plan for the tools that carry it out: Dynamo's graphs, vLLM's command lines, PyPSA's loads. Pure.

Replicas that are no whole number are rounded up: the plan's power is then an upper bound of what serves its tokens.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from joulemill.fleet.document import power_rows, replica_rows
from joulemill.fleet.study import PlanStudy

#: The cap of one board in watts, on the pods of a component, as NVIDIA Dynamo's operator and power agent read it.
POWER_ANNOTATION = "dynamo.nvidia.com/gpu-power-limit"
API_VERSION = "nvidia.com/v1beta1"
#: Our names of formats → vLLM's; others are as the checkpoint has them.
QUANTIZATION = {"fp8": "fp8"}
#: Replicas within this of a whole number are that.
ROUNDING_COUNT = 1e-6


def dynamo(plan: PlanStudy) -> str:
    """A Kubernetes list of one DynamoGraphDeployment a pool and model: replicas, devices, and the cap's annotation."""
    graphs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in replica_rows(plan):
        graphs.setdefault((row["pool"], row["model"]), []).append(row)
    items = [_graph(f"{pool}-{model.rpartition('/')[2]}", rows) for (pool, model), rows in graphs.items()]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2) + "\n"


def _graph(name: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    frontend = {"name": "Frontend", "type": "frontend", "replicas": 1}
    return {
        "apiVersion": API_VERSION,
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": _label(name)},
        "spec": {"backendFramework": _engine(rows[0]), "components": [frontend, *map(_worker, rows)]},
    }


def _worker(row: Mapping[str, Any]) -> dict[str, Any]:
    container = {
        "name": "main",
        "command": ["python3", "-m", f"dynamo.{_engine(row)}"],
        "args": _arguments(row),
        "resources": {"limits": {"nvidia.com/gpu": str(row["devices_per_replica"])}},
    }
    template: dict[str, Any] = {"spec": {"containers": [container]}}
    if row["power_cap_w"] is not None:
        template["metadata"] = {"annotations": {POWER_ANNOTATION: f"{row['power_cap_w']:.0f}"}}
    return {
        "name": _label(row["deployment"]),
        "type": "worker",
        "replicas": whole(row["count"]),
        "podTemplate": template,
    }


def vllm(plan: PlanStudy) -> str:
    """One command line a deployment, with the number of replicas and the cap of their boards above it."""
    lines = []
    for row in replica_rows(plan):
        lines.append(f"# {row['pool']} ({row['device']}): {whole(row['count'])} × {row['deployment']}")
        if row["power_cap_w"] is not None:
            lines.append(f"nvidia-smi -pl {row['power_cap_w']:.0f}")
        lines.append(shlex.join(["vllm", "serve", row["model"], *_arguments(row)[2:]]))
    return "\n".join(lines) + "\n"


def _arguments(row: Mapping[str, Any]) -> list[str]:
    words = ["--model", row["model"], "--tensor-parallel-size", str(row["devices_per_replica"])]
    words += ["--max-num-seqs", str(row["max_num_seqs"])]
    words += ["--quantization", QUANTIZATION[row["precision"]]] if row["precision"] in QUANTIZATION else []
    words += ["--kv-cache-dtype", row["kv_dtype"]] if row["kv_dtype"] else []
    return words + (["--enable-prefix-caching"] if "prefix_cache" in row["levers"] else [])


def pypsa(plan: PlanStudy) -> str:
    """``loads-p_set.csv`` of a PyPSA network: the facility power of each site in MW, a row an hour.

    Where no PUE is stated it is the IT power, and the column says so.
    """
    rows = power_rows(plan)
    columns = {
        row["site"] if row["facility_by_hour_w"] else f"{row['site']} (IT)": row["facility_by_hour_w"]
        or row["it_by_hour_w"]
        for row in rows
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["snapshot", *columns])
    for hour in range(plan.problem.hour_count if rows else 0):
        writer.writerow([hour, *(f"{values[hour] / 1e6:.6f}" for values in columns.values())])
    return text.getvalue()


PLAN_EXPORTS: Mapping[str, Callable[[PlanStudy], str]] = {"dynamo": dynamo, "vllm": vllm, "pypsa": pypsa}


def whole(count: float) -> int:
    """Replicas rounded up."""
    return math.ceil(count - ROUNDING_COUNT)


def _engine(row: Mapping[str, Any]) -> str:
    return str(row["engine"]).partition("-")[0]


def _label(text: str) -> str:
    """A name as Kubernetes takes it: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63]
