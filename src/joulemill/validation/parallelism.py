"""How published tables write parallelism, read into the parallelism that really ran."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.blocks import LatentAttention
from joulemill.physics.serving.deployment import Parallelism

Row = Mapping[str, str]


def whole(row: Row, name: str, default: int = 1) -> int:
    """A column as a positive whole number; ``default`` where it is missing, empty or 0."""
    text = (row.get(name) or "").strip()
    try:
        value = int(float(text))
    except ValueError:
        return default
    return value if value > 0 else default


def run_parallelism(row: Row, devices: int, architecture: Architecture) -> Parallelism:
    """Cut of a serving run: ``tensor_parallel`` 1 with ``expert_parallel`` N means attention over all N devices
    and experts spread over N, unless ``data_parallel`` says that attention ran separately on each."""
    data = whole(row, "data_parallel")
    if devices % data:
        raise InputError(f"{devices} devices do not divide in {data} data-parallel ranks")
    expert = min(whole(row, "expert_parallel"), devices) if architecture.is_moe else 1
    return Parallelism(devices // data, data, expert)


@dataclass(frozen=True)
class ParallelismReading:
    """How a latency point ran: parallelism of a (decode) worker, of a prefill worker or None, and how many workers and
    prefill ranks there were; None where the table does not say. ``stated``: the pools are in columns, not inferred.
    """

    parallelism: Parallelism
    prefill: Parallelism | None = None
    workers: float | None = None
    prefill_servers: float | None = None
    stated: bool = True


#: Largest decode worker [devices] and context in flight [tok] from which latent attention is served a rank a request:
#: a tensor group holds the whole latent cache on every device. Both as in rows that state their pools (assumed).
WIDEST_WORKER, WIDE_CONTEXT_TOK = 32, 1.1e6


def read_parallelism(
    row: Row, a: Architecture, memory_byte: float, weight_byte: float, concurrency: float | None
) -> ParallelismReading:
    """Cut and pools of a latency point. ``weight_byte`` is that of the whole model, ``memory_byte`` of one device."""
    disaggregated = (row.get("mode") or "agg").startswith("disagg")
    if not disaggregated:
        parallelism = _aggregated(row, a, concurrency)
        return (
            ParallelismReading(parallelism)
            if parallelism.data > 1 or a.divides_over(parallelism.tensor)
            else _all_devices(parallelism.tensor)
        )
    if (row.get("decode_num_workers") or row.get("decode_batch_size") or "").strip():
        prefill = _stated(
            row, "prefill_tp_size", "prefill_attention_dp_size", "prefill_moe_tp_size", "prefill_moe_ep_size"
        )
        parallelism = _stated(
            row, "decode_tp_size", "decode_attention_dp_size", "decode_moe_tp_size", "decode_moe_ep_size"
        )
        return ParallelismReading(
            parallelism, prefill, whole(row, "decode_num_workers"), whole(row, "prefill_num_workers") * prefill.data
        )
    return _unstated(row, a, memory_byte, weight_byte, concurrency or 1.0)


def _all_devices(devices: int) -> ParallelismReading:
    """A number of devices that no tensor group can have is that of both pools: the decode worker is the largest power
    of two that leaves some for prompts, no wider than any that is stated."""
    decode = min(2 ** int(math.log2(max(devices - 1, 1))), WIDEST_WORKER)
    return ParallelismReading(
        Parallelism(1, decode, decode), Parallelism(1, 4, 4), 1.0, float(devices - decode), stated=False
    )


def _unstated(
    row: Row, a: Architecture, memory_byte: float, weight_byte: float, concurrency: float
) -> ParallelismReading:
    prompts, tensor = whole(row, "prefill_tp_size"), whole(row, "decode_tp_size")
    spread = whole(row, "decode_moe_ep_size") > 1
    if tensor == prompts > 1 and not a.divides_over(tensor):
        return _all_devices(tensor)
    fits = 2 ** math.ceil(math.log2(max(weight_byte / (0.95 * memory_byte), 1.0)))
    latent = any(isinstance(g.mixer, LatentAttention) for g in a.groups)
    full = concurrency * (number(row, "isl") + number(row, "osl")) >= WIDE_CONTEXT_TOK and latent
    if tensor < fits:  # ranks are not in the columns: at least those that hold the weights
        tensor, spread = (WIDEST_WORKER if full else fits), True
        parallelism = Parallelism(1, tensor, tensor)
    elif a.is_moe and (full or tensor > 16 or not a.divides_over(tensor)):
        parallelism = Parallelism(1, tensor, tensor)
    else:
        parallelism = Parallelism(tensor, 1, tensor if a.is_moe and spread else 1)
    prompts = max(prompts, fits)
    prefill = Parallelism(prompts, 1, prompts if a.is_moe and spread else 1)
    return ParallelismReading(parallelism, prefill, stated=False)


def number(row: Row, name: str) -> float:
    """A column as a number; 0 where it is missing."""
    try:
        return float(row.get(name) or 0.0)
    except ValueError:
        return 0.0


def _aggregated(row: Row, a: Architecture, concurrency: float | None) -> Parallelism:
    """Cut of an aggregated point. Where ranks of data-parallel attention are not stated, the devices of the experts
    over those of a tensor group, or the concurrency over the batch of a rank, tell them."""
    parallelism = _stated(row, "tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    if number(row, "attention_dp_size") or not a.is_moe:
        return parallelism
    tensor, wide, spread = whole(row, "tp_size"), whole(row, "moe_tp_size"), whole(row, "moe_ep_size")
    if wide * spread > tensor and wide * spread % tensor == 0:
        return Parallelism(tensor, wide * spread // tensor, spread)
    batch = number(row, "batch_size")
    if concurrency and batch and tensor > 1 and concurrency == batch * tensor:
        return Parallelism(1, tensor, spread)
    return parallelism


def _stated(row: Row, tp: str, dp: str, moe_tp: str, moe_ep: str) -> Parallelism:
    """Some rows multiply the same devices twice: (tp k², experts k × k) and (tp k, dp k, experts over k²)
    both ran on k."""
    tensor, data = whole(row, tp), whole(row, dp)
    wide, spread = whole(row, moe_tp), whole(row, moe_ep)
    k = wide if wide == spread else 0
    if k > 1 and max(tensor, data) == k * k and min(tensor, data) == 1 and number(row, dp):
        return Parallelism(1, k, k) if data > 1 else Parallelism(k, 1, k)
    if tensor == data > 1 and spread == tensor * data:
        return Parallelism(1, data, data)
    return Parallelism(tensor, data, max(1, min(spread, tensor * data)))
