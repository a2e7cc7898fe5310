"""Published latency points whose columns do not state their pools, told by the configuration they were launched with.

A point is matched by engine, device, precision, lengths, requests in flight and devices of a decode worker. Where
configurations with and without drafts match, ``measured_drafts`` decides; where several are left, the first is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from joulemill.validation.inferencex_pools import Launch, LaunchQuery, drafts_listed, launches
from joulemill.validation.inferencex_settings import sglang_pool_tok
from joulemill.validation.row import MeasuredRow

NOTE = "pools that no column states are those of InferenceX's configuration for these lengths and requests in flight"
AMBIGUOUS_NOTE = f"{NOTE}; of several that fit, the first"
#: Model families by what their names hold.
FAMILIES = {"DeepSeek-R1": "DeepSeek-R1", "DeepSeek-V3": "DeepSeek-R1", "gpt-oss-120b": "gpt-oss-120b"}


def matching(asked: LaunchQuery, model: str, devices: tuple[int, int]) -> tuple[Launch, ...]:
    """Launches of ``model`` by devices of a decode worker, and by those that experts of a prefill worker are spread
    over, where any launch has so many: points that do not state their pools hold these two numbers."""
    decode_devices, expert_devices = devices
    candidates = launches(replace(asked, model=_family(model)))
    wide = tuple(x for x in candidates if x.decode.parallelism.devices == decode_devices)
    return tuple(x for x in wide if x.prefill.parallelism.expert == expert_devices) or wide


def never_drafts(row: MeasuredRow) -> bool:
    """Whether no configuration that InferenceX lists for the row's engine, device, model and precision drafts."""
    precision = row.groups["precision"].lower()
    return drafts_listed(row.engine, row.device.name, _family(row.model), precision) is False


def _family(model: str) -> str:
    return next((f for word, f in FAMILIES.items() if word in model), model)


def launched(row: MeasuredRow, drafted: bool) -> MeasuredRow:
    """``row`` with the pools of the first of its launches that drafts, or does not; as it is where it has none. Pools
    count as stated where all those launches have the same."""
    if row.pools_stated or not row.launches:
        return row
    fitting: Sequence[Launch] = [x for x in row.launches if (x.draft_count > 0) == drafted] or row.launches
    first = fitting[0]
    same = all((x.prefill, x.decode) == (first.prefill, first.decode) for x in fitting)
    return replace(
        row,
        parallelism=first.decode.parallelism,
        prefill=first.prefill.parallelism,
        max_batched_tok=sglang_pool_tok(first.prefill.parallelism.data)
        if row.engine == "sglang"
        else row.max_batched_tok,
        prefill_servers=float(first.prefill.ranks),
        concurrency=max(row.in_flight_req / first.decode.workers, 1.0),
        pools_known=True,
        pools_stated=same,
        draft_count=first.draft_count,
        notes=(*row.notes, NOTE if same else AMBIGUOUS_NOTE),
    )
