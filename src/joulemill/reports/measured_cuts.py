"""How published tables write parallelism, read into how devices were really cut."""

from __future__ import annotations

from collections.abc import Mapping

from joulemill.errors import InputError
from joulemill.physics.architecture import Architecture
from joulemill.physics.deployment import Parallelism

Row = Mapping[str, str]


def whole(row: Row, name: str, default: int = 1) -> int:
    """A column as a positive whole number; ``default`` where it is missing, empty or 0."""
    text = (row.get(name) or "").strip()
    try:
        value = int(float(text))
    except ValueError:
        return default
    return value if value > 0 else default


def runs_cut(row: Row, devices: int, architecture: Architecture) -> Parallelism:
    """Cut of a serving run: ``tensor_parallel`` 1 with ``expert_parallel`` N means attention over all N devices
    and experts spread over N, unless ``data_parallel`` says that attention ran apart on each."""
    data = whole(row, "data_parallel")
    if devices % data:
        raise InputError(f"{devices} devices do not divide in {data} data-parallel ranks")
    expert = min(whole(row, "expert_parallel"), devices) if architecture.is_moe else 1
    return Parallelism(devices // data, data, expert)


def latency_cut(row: Row) -> Parallelism:
    """Cut of an aggregated latency point."""
    return _cut(row, "tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")


def pool_cut(row: Row, pool: str) -> Parallelism:
    """Cut of one worker of the ``prefill_`` or ``decode_`` pool."""
    return _cut(row, f"{pool}tp_size", f"{pool}attention_dp_size", f"{pool}moe_tp_size", f"{pool}moe_ep_size")


def _cut(row: Row, tp: str, dp: str, moe_tp: str, moe_ep: str) -> Parallelism:
    """Some rows multiply the same devices twice: (tp k², experts k × k) and (tp k, dp k, experts over k²)
    both ran on k."""
    tensor, data = whole(row, tp), whole(row, dp)
    wide, spread = whole(row, moe_tp), whole(row, moe_ep)
    k = wide if wide == spread else 0
    if k > 1 and max(tensor, data) == k * k and min(tensor, data) == 1 and k * k > 4:
        return Parallelism(1, k, k) if data > 1 else Parallelism(k, 1, k)
    if tensor == data > 1 and spread == tensor * data:
        return Parallelism(1, data, data)
    return Parallelism(tensor, data, max(1, min(spread, tensor * data)))
