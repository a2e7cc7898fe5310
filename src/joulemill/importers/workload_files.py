"""Configuration of a load generator → the traffic that it would send: of GuideLLM, AIPerf, and inference-perf.

inference-perf's ``load.stages`` are rates and durations one after another, ``load.type`` constant or poisson; ``data``
has lengths by mean and standard deviation, or a prefix that the prompts of a group share. What else a file says does
not matter. The others are read in ``load_configs``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.files import read_bytes
from joulemill.formats.documents import Document, parse_document
from joulemill.formats.untrusted import Part
from joulemill.importers.load_configs import Load, aiperf_load, guidellm_load, is_aiperf, is_guidellm
from joulemill.simulation.demand import SharedPrefix, TrafficDemand
from joulemill.statistics.arrivals import stages
from joulemill.statistics.lengths import Lengths, parse_lengths

#: Lengths that inference-perf draws where the file states none: mean and standard deviation.
DEFAULT_TOK = (512.0, 200.0)
_PROCESSES = {"constant": math.inf, "poisson": 1.0}


def workload_in(path: Path) -> Load | None:
    """The traffic that the file ``path`` configures; None where it configures none. Raises InputError."""
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        return None
    document = parse_document(path.name, read_bytes(path))
    kinds = ((is_workload, demand_of), (is_guidellm, guidellm_load), (is_aiperf, aiperf_load))
    return next((load(document) for recognizes, load in kinds if recognizes(document)), None)


def is_workload(document: Document) -> bool:
    """Whether the file configures a load in stages."""
    return document.form == "json" and document.head["load"].has("stages")


def demand_of(document: Document) -> TrafficDemand:
    """The traffic that ``document`` asks for. Raises InputError naming the member at fault."""
    load, data = document.root["load"], document.root["data"]
    kind = load["type"].text() or "constant"
    if kind not in _PROCESSES:
        raise InputError(f"{document.name}: load.type is {kind!r}; use constant or poisson")
    rows = [(_needed(s["rate"]), _needed(s["duration"])) for s in load["stages"].each()]
    if not rows:
        raise InputError(f"{document.name}: load.stages is empty; each needs a rate and a duration")
    profile = stages([rate for rate, _ in rows], [length for _, length in rows])
    lengths, prefix = _lengths(data)
    return TrafficDemand(profile, *lengths, burstiness_ratio=_PROCESSES[kind], prefix=prefix)


def _needed(part: Part) -> float:
    value = part.number(least=0.0)
    if value is None:
        raise InputError(f"{part.where}: is missing; each stage needs a rate and a duration")
    return value


def _lengths(data: Part) -> tuple[tuple[Lengths, Lengths], SharedPrefix | None]:
    shared = data["shared_prefix"]
    if shared.value is None:
        return (_distribution(data["input_distribution"]), _distribution(data["output_distribution"])), None
    system, question, answer = (
        _count(shared[k], d) for k, d in (("system_prompt_len", 100), ("question_len", 50), ("output_len", 50))
    )
    lengths = Lengths("fixed", system + question), Lengths("fixed", answer)
    return lengths, SharedPrefix(system, _count(shared["num_groups"], 10))


def _count(part: Part, default: int) -> int:
    value = part.number(least=1.0)
    return default if value is None else int(value)


def _distribution(part: Part) -> Lengths:
    mean = _number(part["mean"], DEFAULT_TOK[0])
    deviation = _number(part["std_dev"] if part.has("std_dev") else part["std"], DEFAULT_TOK[1])
    return parse_lengths(f"normal:{mean:g}:{deviation:g}", part.where.rstrip(": "))


def _number(part: Part, default: float) -> float:
    value: Any = part.number(least=0.0)
    return default if value is None else float(value)
