"""Configurations of inference-perf: stages, processes, lengths and shared prefixes become traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.importers.asked_traffic import TrafficOptions, asked_traffic
from joulemill.importers.workload_files import workload_in

STAGES = [{"rate": 2, "duration": 30}, {"rate": 8, "duration": 10}]


def written(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    return path


def test_stages_come_one_after_another_with_their_lengths(tmp_path: Path) -> None:
    data = {"input_distribution": {"mean": 300, "std_dev": 30}, "output_distribution": {"mean": 50, "std": 0}}
    path = written(tmp_path, {"load": {"type": "constant", "stages": STAGES}, "data": data})
    traffic = asked_traffic(TrafficOptions(trace=path), context_tok=None).traffic
    at_s = traffic.arrival_ns / 1e9
    assert (np.sum(at_s < 30), np.sum(at_s >= 30)) == (60, 80)
    assert traffic.input_tok.mean() == pytest.approx(300, abs=5 * 30 / np.sqrt(140))
    assert set(traffic.output_tok) == {50}


def test_yaml_and_a_shared_prefix(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(
        "load:\n  type: poisson\n  stages:\n  - rate: 5\n    duration: 20\ndata:\n  shared_prefix:\n"
        "    num_groups: 3\n    system_prompt_len: 160\n    question_len: 40\n    output_len: 20\n"
    )
    demand = workload_in(path)
    assert demand is not None and demand.prefix is not None
    assert (demand.prefix.length_tok, demand.prefix.groups_count) == (160, 3)
    assert demand.input_lengths.mean_tok == 200 and demand.burstiness_ratio == 1.0


@pytest.mark.parametrize(
    ("load", "says"),
    [
        ({"type": "burst", "stages": STAGES}, "constant or poisson"),
        ({"stages": [{"rate": 2}]}, "duration"),
        ({"stages": []}, "empty"),
    ],
)
def test_a_configuration_at_fault_names_its_member(tmp_path: Path, load: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        workload_in(written(tmp_path, {"load": load}))
    assert workload_in(tmp_path / "trace.csv") is None
