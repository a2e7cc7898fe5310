"""A GGUF file as a model of the catalogue: its header read, its architecture and precision resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.catalog import gguf_header
from joulemill.catalog.models import ModelEntry
from joulemill.physics.architecture_gguf import GgufTensor, architecture_from_gguf, precision_from_gguf


def read_gguf(path: Path, *, approximate: bool = False) -> ModelEntry:
    """The model in a GGUF file. InputError where the file cannot be read or is not GGUF."""
    metadata, tensors = read_gguf_head(path)
    architecture = architecture_from_gguf(metadata, tensors)
    return ModelEntry(
        str(metadata.get("general.name") or path.stem),
        architecture,
        precision_from_gguf(tensors),
        source=str(path),
        approximations=architecture.approximations,
    )


def read_gguf_head(path: Path) -> tuple[Mapping[str, Any], list[GgufTensor]]:
    """Metadata without its long arrays, and (name, shape, type, bytes) of every tensor."""
    header = gguf_header.read_gguf(path)
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in header.metadata.items()}
    short = {k: v for k, v in told.items() if not isinstance(v, gguf_header.SkippedArray)}
    return short, [(t.name, t.shape, t.type_name, t.size_byte) for t in header.tensors]
