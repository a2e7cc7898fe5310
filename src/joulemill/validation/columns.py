"""Columns of published tables: numbers, batch classes, engines."""

from __future__ import annotations

from collections.abc import Mapping

from joulemill.errors import InputError

Row = Mapping[str, str]


def number_in(row: Row, *names: str) -> float | None:
    """The first of the named columns that holds a finite positive number, or None."""
    for name in names:
        text = (row.get(name) or "").strip()
        try:
            value = float(text)
        except ValueError:
            continue
        if 0 < value < float("inf"):
            return value
    return None


def needed(row: Row, *names: str) -> float:
    """As ``number_in``; InputError where there is none."""
    value = number_in(row, *names)
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
