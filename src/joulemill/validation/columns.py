"""Columns of published tables: numbers, batch classes, engines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from joulemill.errors import InputError
from joulemill.suggestions import nearest

Row = Mapping[str, str]
#: What cells without a value hold, as many tools write them.
NOTHING = frozenset({"", "nan", "none", "null", "n/a", "na", "-", "–"})


#: Columns of serving runs that change what is predicted or compared.
RUN_COLUMNS = (
    *("model_id", "gpu_model", "num_gpus", "weight_precision", "task"),
    *("tensor_parallel", "expert_parallel", "data_parallel", "max_num_seqs", "cfg_max_num_batched_tokens"),
    *("avg_batch_size", "avg_input_len", "avg_output_len"),
    *("output_throughput_tokens_per_sec", "avg_power_watts", "energy_per_token_joules", "median_itl_ms"),
)
#: Likeness from which a column that is not known is taken for a slip of one that is missing. Tables of other tools have
#: columns of their own, so this is close.
SLIP_RATIO = 0.9


def refuse_misspelt(names: Sequence[str], known: Sequence[str] = RUN_COLUMNS) -> None:
    """InputError for a column that looks like a missing one: it would be left out of the prediction without a word."""
    missing = [name for name in known if name not in names]
    for name in names:
        near = () if name in known else nearest(name, missing, least_ratio=SLIP_RATIO)
        if near:
            raise InputError(f"column {name!r} is not known; did you mean {near[0]}?")


def number_in(row: Row, *names: str, most: float = math.inf) -> float | None:
    """The first of the named columns that holds a positive number, or None: empty, 0 and words for nothing are none.

    InputError for what is no number, is negative or infinite, or above ``most``.
    """
    for name in names:
        text = (row.get(name) or "").strip()
        if text.lower() in NOTHING:
            continue
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"column {name} is {text[:60]!r}, not a number") from None
        if not 0.0 <= value < math.inf:
            raise InputError(f"column {name} is {text[:60]}; it must be a positive number")
        if value > most:
            raise InputError(f"column {name} is {text[:60]}; it must be at most {most:,.0f}")
        if value > 0.0:
            return value
    return None


def measured_in(row: Row, *names: str) -> float | None:
    """As ``number_in``, of something that was measured. InputError for 0 too: nobody measures that."""
    zero = next((n for n in names if _is_zero(row.get(n) or "")), None)
    if zero is not None:
        raise InputError(f"column {zero} is 0; where nothing was measured, leave it empty")
    return number_in(row, *names)


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0.0
    except ValueError:
        return False


def whole(row: Row, name: str, most: float) -> int:
    """A count, from 1 to ``most``. InputError where there is none, or it is not whole."""
    value = needed(row, name, most=most)
    if value != int(value):
        raise InputError(f"column {name} is {value:g}; it must be a whole number")
    return int(value)


def needed(row: Row, *names: str, most: float = math.inf) -> float:
    """As ``number_in``; InputError where there is none."""
    value = number_in(row, *names, most=most)
    if value is None:
        raise InputError(f"column {' or '.join(names)} holds no positive number")
    return value


def batch_class(batch: float) -> str:
    """A coarse class of batch sizes, as text that sorts by size."""
    for limit, name in ((16.5, "1–16"), (64.5, "17–64"), (256.5, "65–256")):
        if batch <= limit:
            return name
    return "over 256"


def engine_profile(backend: str) -> str:
    """Profile of a backend's recent versions; vLLM's where it is not known."""
    text = backend.lower()
    for word, profile in (("sglang", "sglang"), ("trt", "trtllm"), ("tensorrt", "trtllm")):
        if word in text:
            return profile
    return "vllm-0.19"
