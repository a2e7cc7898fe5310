"""Which of InferenceX's SGLang deployments draft, by its log of changes (``perf-changelog.yaml``, read 2026-11).

Disaggregated DeepSeek on B200: in FP4 the deployments without drafts run in a container of their own (pull requests
672 and 683); in FP8 those without came first (658), those with drafts later (667). Aggregated on B200 in FP8: the
entry with drafts has a cut of its own, TP8 without expert parallelism for DeepSeek (626, 943), TP4 without it for
Qwen3.5 (898), which the entry without drafts shares at most up to 64 in flight.
"""

from __future__ import annotations

from datetime import date

from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.row import MeasuredRow

#: Ending of the container of FP4 deployments without drafts; the first day on which FP8 was measured with drafts.
PLAIN_IMAGE, DRAFTS_DAY = "-runtime", date(2026, 2, 10).toordinal()
#: Cut of the aggregated entry with drafts, and tokens that it drafts a step, by model; releases that it ran on.
CUTS = {"DeepSeek": (Parallelism(8), 2), "Qwen3.5": (Parallelism(4), 3)}
CUT_VERSIONS = ("0.5.8", "0.5.9")
#: Tokens drafted a step where no entry says otherwise: ``speculative-num-steps`` of its recipes.
USUAL_DRAFTS = 2


def stated_drafts(row: MeasuredRow) -> bool | None:
    """Whether the log says that a point which no list of plain deployments holds ran drafts; None where it does not
    tell."""
    if row.engine != "sglang" or row.device.name != "b200":
        return None
    precision = row.groups["precision"].lower()
    if row.prefill is None:
        return True if precision == "fp8" and _cut(row) is not None else None
    if precision == "fp4" and row.origin.image:
        return not row.origin.image.endswith(PLAIN_IMAGE)
    return False if precision == "fp8" and row.origin.day < DRAFTS_DAY else None


def drafts_count(row: MeasuredRow) -> int:
    """Tokens that an SGLang deployment with drafts drafts a step."""
    return _cut(row) or USUAL_DRAFTS


def _cut(row: MeasuredRow) -> int | None:
    """Tokens that the aggregated entry with drafts of this cut drafts; None where there is no such entry."""
    for word, (cut, count) in CUTS.items():
        if word in row.model and row.parallelism == cut and row.prefill is None and row.origin.version in CUT_VERSIONS:
            return count
    return None
