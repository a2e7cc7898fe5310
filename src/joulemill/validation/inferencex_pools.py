"""How InferenceX launched the disaggregated deployments it measured: pools and drafts, from its own configuration.

Rows of ``inferencex_pools.csv``: at ``in_flight_req`` requests in flight, ``prefill`` and ``decode`` workers, written
as workers × kind and devices of each: T8 a tensor group of 8, E8 one whose experts are spread over it, D8 data-parallel
attention over 8 with the experts spread over them. ``draft_count``: tokens that multi-token prediction drafts a step;
of SGLang's recipes, which that file only names, as the recipes (srt-slurm, ``speculative-num-steps``) and InferenceX's
``perf-changelog.yaml`` say.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from joulemill.physics.serving.deployment import Parallelism


@dataclass(frozen=True, slots=True)
class Pool:
    """``workers`` of one parallelism."""

    workers: int
    parallelism: Parallelism

    @property
    def ranks(self) -> int:
        """Ranks of data-parallel attention in all."""
        return self.workers * self.parallelism.data


@dataclass(frozen=True, slots=True)
class Launch:
    """One configuration: pools, and tokens drafted a step."""

    prefill: Pool
    decode: Pool
    draft_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchQuery:
    """What a configuration was launched for. ``model`` is its family (``DeepSeek-R1``), lengths are as stated."""

    engine: str
    device: str
    model: str
    precision: str
    input_tok: int
    output_tok: int
    in_flight_req: int


def launches(asked: LaunchQuery) -> tuple[Launch, ...]:
    """Configurations that InferenceX launched for this; empty where it lists none."""
    return tuple(_launches().get(asked, ()))


def drafts_listed(engine: str, device: str, model: str, precision: str) -> bool | None:
    """Whether InferenceX lists configurations that draft for this; None where it lists none at all."""
    kind = (engine, device, model, precision)
    mine = [
        x for a, listed in _launches().items() if (a.engine, a.device, a.model, a.precision) == kind for x in listed
    ]
    return any(x.draft_count for x in mine) if mine else None


@cache
def _launches() -> dict[LaunchQuery, list[Launch]]:
    launches_of: dict[LaunchQuery, list[Launch]] = defaultdict(list)
    text = files("joulemill.catalog").joinpath("data", "inferencex_pools.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        launch = Launch(pool_named(row["prefill"]), pool_named(row["decode"]), int(row["draft_count"]))
        for count in row["in_flight_req"].split():
            key = LaunchQuery(
                engine=row["engine"],
                device=row["device"],
                model=row["model"],
                precision=row["precision"],
                input_tok=int(row["input_tok"]),
                output_tok=int(row["output_tok"]),
                in_flight_req=int(count),
            )
            launches_of[key].append(launch)
    return launches_of


def pool_named(text: str) -> Pool:
    """``5xE8`` → five workers of 8 devices whose experts are spread. ValueError where it is written otherwise."""
    parts = re.fullmatch(r"(\d+)x([TED])(\d+)", text)
    if parts is None:
        raise ValueError(f"pool {text!r} is not written as workers x T, E or D and devices")
    workers, kind, devices = int(parts.group(1)), parts.group(2), int(parts.group(3))
    parallelism = {
        "T": Parallelism(devices),
        "E": Parallelism(devices, 1, devices),
        "D": Parallelism(1, devices, devices),
    }[kind]
    return Pool(workers, parallelism)
