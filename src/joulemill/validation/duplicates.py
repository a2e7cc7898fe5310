"""Rows of one table that hold the same measurement: fits count them once.

Dumps of one data base of results at different dates repeat measurements, to the last digit, with more or fewer columns
filled; the copy that states most completes the others. What was measured serves only to recognize a copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from joulemill.validation.row import MeasuredRow

NOTE = "rows that repeat one measurement are read with the parallelism and pools of the one that states most of them"


def merge_duplicates(rows: Sequence[MeasuredRow]) -> list[MeasuredRow]:
    """``rows``, each with the number of its copies, and parallelism and pools of the copy that states most of them."""
    groups: dict[tuple[object, ...], list[MeasuredRow]] = defaultdict(list)
    for row in rows:
        groups[_measurement(row)].append(row)
    most_stated = {key: max(copies, key=lambda r: r.stated_count) for key, copies in groups.items()}
    listed = {key: any(r.origin.listed for r in copies) for key, copies in groups.items()}
    keys = [_measurement(row) for row in rows]
    return [
        r if len(groups[k]) == 1 else _completed(_listed(r, listed[k]), most_stated[k], len(groups[k]))
        for r, k in zip(rows, keys, strict=True)
    ]


def _listed(row: MeasuredRow, listed: bool) -> MeasuredRow:
    return row if row.origin.listed == listed else replace(row, origin=replace(row.origin, listed=listed))


def _measurement(row: MeasuredRow) -> tuple[object, ...]:
    a = row.architecture
    asked = (
        row.device.name,
        row.engine,
        a.hidden,
        sum(g.count for g in a.groups),
        row.groups["precision"],
        row.input_tok,
        row.output_tok,
    )
    if len(row.measured) < 2:  # one number may agree by chance
        return (*asked, row.number)
    return (*asked, row.prefill is not None, *sorted(row.measured.items()))


def _completed(row: MeasuredRow, full: MeasuredRow, copies: int) -> MeasuredRow:
    row = replace(row, copies_count=copies, is_representative=row.number == full.number)
    if full.stated_count == row.stated_count:
        return row
    return replace(
        row,
        parallelism=full.parallelism,
        prefill=full.prefill,
        prefill_servers=full.prefill_servers,
        concurrency=full.concurrency,
        max_batched_tok=full.max_batched_tok,
        scheduler_interval_count=full.scheduler_interval_count,
        hold_count=full.hold_count,
        captured_tok=full.captured_tok,
        in_flight_req=full.in_flight_req,
        launches=full.launches,
        pools_known=full.pools_known,
        pools_stated=full.pools_stated,
        notes=(*row.notes, NOTE),
    )
