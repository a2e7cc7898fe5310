"""Parameters as read against what a model's name, its publisher and its stored weights say: warnings, no refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from joulemill.physics.model.architecture import Architecture, ParameterCount, parameters_count

#: A name rounds to its last digit and leaves out embeddings now and then: beyond this the name is of another model.
NAME_RATIO = 1.25
#: Totals that publishers or files state are exact; towers and norms of another count are less than this.
STATED_RATIO = 1.03
_SIZE = re.compile(
    r"(?<![a-z0-9.])(a|active-?)?(\d+(?:\.\d+)?)(m|b|t)(?![a-z0-9])(?:-(\d+)e(?![a-z0-9]))?", re.IGNORECASE
)
_UNIT = {"m": 1e6, "b": 1e9, "t": 1e12}
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_MAX_INDEX_BYTE = 64 << 20


def total_warnings(
    name: str, architecture: Architecture, published: int | None = None, stored: int | None = None
) -> tuple[str, ...]:
    """What speaks against the parameters as read: the name, the publisher's total, the stored weights."""
    count = parameters_count(architecture)
    texts = [*_name_warnings(name, count)]
    for total, source in ((published, f"the catalog has for {name}"), (stored, "the stored weights have")):
        if total and not _within(count, total, STATED_RATIO):
            texts.append(
                f"{_billions(count.total)} parameters as read, but {source} {_billions(total)}: check the config"
            )
    return tuple(texts)


def _name_warnings(name: str, count: ParameterCount) -> Iterator[str]:
    totals, actives = sizes_named(name)
    if totals and not any(_near(count.total, *t) or _near(count.total + count.mtp, *t) for t in totals):
        yield (
            f"{_billions(count.total)} parameters as read do not fit the name {name!r}: the config may be of another "
            "model or not fully understood"
        )
    if actives and not any(_near(x, *t) for t in actives for x in (count.active, count.multiplied)):
        yield f"{_billions(count.active)} active parameters as read do not fit the name {name!r}"


def sizes_named(name: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Totals and active counts that a name states, each with half of its last digit: ``30B-A3B``, ``17B-16E``."""
    totals: list[tuple[float, float]] = []
    actives: list[tuple[float, float]] = []
    for active, digits, unit, experts in _SIZE.findall(name.replace("_", "-")[:200]):
        scale = _UNIT[unit.lower()]
        decimals = len(digits.partition(".")[2])
        (actives if active or experts else totals).append((float(digits) * scale, 0.5 * scale * 10.0**-decimals))
    return totals, actives


def _near(value: float, named: float, half: float) -> bool:
    return (named - half) / NAME_RATIO <= value <= (named + half) * NAME_RATIO


def _within(count: ParameterCount, total: int, ratio: float) -> bool:
    return any(total / ratio <= x <= total * ratio for x in (count.total, count.total + count.mtp))


def _billions(count: float) -> str:
    return f"{count / 1e9:.4g} B" if count >= 1e9 else f"{count / 1e6:.4g} M"


def stored_count(folder: Path) -> int | None:
    """Parameters of the safetensors beside a config, None where there are none or they are quantized or cannot be read.

    Only headers are read: the index's stated count, or the shapes in a single file.
    """
    try:
        if (folder / _INDEX).is_file():
            return _of_index(json.loads(_head(folder / _INDEX, _MAX_INDEX_BYTE)))
        return _of_file(folder / _WEIGHTS) if (folder / _WEIGHTS).is_file() else None
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return None  # a check beside the reading: files that cannot be read settle nothing


def _head(path: Path, byte: int) -> bytes:
    with path.open("rb") as file:
        return file.read(byte)


def _of_index(index: Any) -> int | None:
    metadata = index.get("metadata") if isinstance(index, dict) else None
    total = metadata.get("total_parameters") if isinstance(metadata, dict) else None
    return int(total) if isinstance(total, (int, float)) and 0 < total < 1e15 else None


def _of_file(path: Path) -> int | None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _MAX_INDEX_BYTE:
            return None
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        return None
    tensors = [t for n, t in header.items() if n != "__metadata__" and isinstance(t, dict)]
    if not all(t.get("dtype") in ("BF16", "F16", "F32") for t in tensors):
        return None  # packed weights: their shapes are not the model's
    return sum(prod(int(n) for n in t.get("shape", ())) for t in tensors) or None
