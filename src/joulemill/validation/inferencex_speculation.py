"""Which published latency points ran speculative drafts, though no column says so.

InferenceX measures deployments with and without multi-token prediction, under one set of columns. Its later dump lists
configurations by number, and only those without drafts; earlier dumps hold both. So, where that dump covers a model on
a device, a point that it does not list ran drafts. Aggregated points of one campaign (a release, within days) are all
of one kind, so there a campaign is judged as a whole: it ran drafts if the dump lists none of it, on any device, though
it lists an earlier one of the same deployment (so it lists what is superseded too).
Where its configuration (``catalog.inferencex``) lists only deployments that draft, or none that do, that decides; so
does its log of changes for SGLang on B200 (``inferencex_sglang``).
The number of drafted tokens is the configuration's, where it lists the point; else its scripts for TensorRT-LLM draft
three, or one with data-parallel attention; those for SGLang draft two, or three of Qwen3.5.
The rule does not look at what was measured; that it tells two kinds apart was seen in it (DeepSeek's points).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from joulemill.validation.inferencex_launches import launched, never_drafts
from joulemill.validation.inferencex_sglang import drafts_count, stated_drafts
from joulemill.validation.row import MeasuredRow, Origin

NOTE = (
    "points that InferenceX's numbered dump leaves out are read as having run multi-token prediction (an inference; "
    "one to three tokens drafted, published acceptance)"
)
#: Days between points of one release that are still of one campaign (assumed).
CAMPAIGN_DAYS = 3


def origin_of(source: str, version: str) -> Origin:
    """Origin of a point by its note of the source and the backend's version."""
    day = re.search(r"measured=(\d{4}-\d\d-\d\d)", source)
    listed = "config_id=" in source
    mixed = re.search(r"source_file=\d{4}-\d\d-\d\d\.csv", source) is not None
    image = re.search(r"image=([^\s;]+)", source)
    return Origin(
        day=date.fromisoformat(day.group(1)).toordinal() if day else 0,
        version=version,
        image=image.group(1) if image else "",
        listed=listed,
        mixed=mixed,
    )


def mark_speculative(rows: Sequence[MeasuredRow]) -> list[MeasuredRow]:
    """``rows``, with ``draft_count`` set where drafts ran."""
    listed = [r for r in rows if r.origin.listed]
    first: dict[tuple[object, ...], int] = {}
    for row in listed:
        first[_deployed(row)] = min(row.origin.day, first.get(_deployed(row), row.origin.day))
    campaigns = {(_family(r), r.origin.version, r.origin.day) for r in listed}

    def drafted(row: MeasuredRow) -> bool:
        origin = row.origin
        if not (row.architecture.mtp and origin.mixed) or origin.listed or _deployed(row) not in first:
            return False
        stated = stated_drafts(row)
        if stated is not None:
            return stated
        if row.prefill is not None:
            return not never_drafts(row)
        near = range(origin.day - CAMPAIGN_DAYS, origin.day + CAMPAIGN_DAYS + 1)
        return origin.day > first[_deployed(row)] and not any(
            (_family(row), origin.version, day) in campaigns for day in near
        )

    return [_read(r, drafted(r)) for r in rows]


def _read(row: MeasuredRow, left_out: bool) -> MeasuredRow:
    """``row`` with its pools and drafts; ``left_out``: by the dump that lists deployments without drafts."""
    kinds = set() if row.pools_stated else {launch.draft_count > 0 for launch in row.launches}
    row = launched(row, left_out)
    drafts = left_out if kinds != {True} and kinds != {False} else kinds == {True}
    if not drafts:
        return row if row.draft_count == 0 else replace(row, draft_count=0)
    groups = {**row.groups, "drafts": "read as drafted"}
    notes = row.notes if kinds == {True} else (*row.notes, NOTE)
    count = row.draft_count or _usual_count(row)
    room_tok = count * row.concurrency if row.engine == "trtllm" and row.prefill is None else 0.0
    return replace(
        row,
        draft_count=count,
        drafts_hidden=row.prefill is not None,
        max_batched_tok=row.max_batched_tok + room_tok,
        groups=groups,
        notes=notes,
    )


def _usual_count(row: MeasuredRow) -> int:
    if row.engine == "sglang":
        return drafts_count(row)
    return 1 if row.parallelism.data > 1 else 3


def _family(row: MeasuredRow) -> tuple[object, ...]:
    """Releases of one architecture served by one engine."""
    a = row.architecture
    return (a.hidden, sum(g.count for g in a.groups), row.engine, row.prefill is not None)


def _deployed(row: MeasuredRow) -> tuple[object, ...]:
    return (*_family(row), row.device.name, row.groups["precision"])
