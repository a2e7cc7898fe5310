"""What published latency tables do not say in columns about the load that was offered: how lengths varied."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadKind:
    """How the lengths of a load are spread about what its table states.

    length_ratio  mean length of prompts and answers over the stated one
    spread_ratio  standard deviation of the lengths over their mean
    lockstep      all prompts and all answers are of one length
    gateway       a router stood before the server
    scripted      run by a published launch script (``measured_recipes``)
    """

    length_ratio: float = 1.0
    spread_ratio: float = 0.0
    lockstep: bool = False
    gateway: bool = False
    scripted: bool = False


DRAWN_NOTE = "InferenceX draws lengths evenly between 0.8 and 1 of what it states; its launch scripts give the settings"
#: InferenceX (formerly InferenceMAX) draws lengths evenly between 0.8 and 1 of what it states, ten answers a slot
#: (its README: ``--random-range-ratio 0.8 --num-prompts $((CONC * 10))``): mean 0.9, deviation 0.2/√12.
DRAWN = LoadKind(0.9, 0.2 / 12**0.5 / 0.9, scripted=True)
#: Sweeps of one engine's release under Dynamo by AIPerf, whose synthetic lengths are constant.
CONSTANT = LoadKind(lockstep=True, gateway=True)


def load_of(source: str) -> LoadKind:
    """Kind of load by a row's note of its source; lengths as stated where the source is not known."""
    if "workflow_run_id=" in source or re.search(r"source_file=(\d{4}-\d\d-\d\d|[\w.-]+-gap-analysis)\.csv", source):
        return DRAWN
    if "gap-analysis/" in source or "gtl_job_id" in source:
        return CONSTANT
    return LoadKind()
