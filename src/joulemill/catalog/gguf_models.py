"""A GGUF file (or its shards) as a model of the catalog: headers read, architecture and precision resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.catalog.gguf_shards import read_whole_gguf
from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.model_totals import total_warnings
from joulemill.errors import InputError
from joulemill.formats import gguf as gguf_header
from joulemill.formats.gguf import GgufHeader
from joulemill.physics.model.gguf import GgufTensor, architecture_from_gguf, precision_from_gguf


def read_gguf(path: Path, *, approximate: bool = False) -> ModelEntry:
    """The model in a GGUF file, all of its shards.

    ``approximate``: what is not understood is passed over (``architecture.doubts``). InputError where the file cannot
    be read, is not GGUF, lacks a shard or is not understood.
    """
    return model_of_header(read_whole_gguf(path), path, approximate=approximate)


def model_of_header(header: GgufHeader, path: Path, *, approximate: bool = False) -> ModelEntry:
    """The model that a header describes; ``path`` names it. Raises InputError where it is not understood."""
    metadata, tensors = _head(header)
    kind = metadata.get("general.type", "model")
    if kind != "model":
        raise InputError(f"{path}: is a GGUF of type {str(kind)[:60]!r}, not a model: give the model's own file")
    try:
        architecture = architecture_from_gguf(metadata, tensors, approximate=approximate)
        precision = precision_from_gguf(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    name = str(metadata.get("general.name") or path.stem)
    notes = (*architecture.approximations, *total_warnings(path.stem, architecture, None, header.weight_count))
    return ModelEntry(name=name, architecture=architecture, precision=precision, source=str(path), approximations=notes)


def _head(header: GgufHeader) -> tuple[Mapping[str, Any], list[GgufTensor]]:
    """Metadata without its long arrays, and (name, shape, type, bytes) of every tensor of all shards."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in header.metadata.items()}
    short = {k: v for k, v in values.items() if not isinstance(v, gguf_header.SkippedArray)}
    return short, [(t.name, t.shape, t.type_name, t.size_byte) for t in header.tensors]
