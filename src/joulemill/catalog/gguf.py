"""Read the head of a GGUF file: its metadata and its table of tensors; the weights themselves are not read.

Format: the GGUF specification (ggml project, docs/gguf.md): magic, version, counts, key/value pairs, tensor
infos; little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from joulemill.catalog.models import ModelEntry
from joulemill.errors import InputError
from joulemill.physics.architecture_gguf import GgufTensor, architecture_from_gguf, precision_from_gguf

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
#: ggml_type numbers (ggml.h).
_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}
_LONGEST = 1 << 28


def read_gguf(path: Path) -> ModelEntry:
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
    """Metadata, and (name, shape, type) of every tensor. InputError where it is not a GGUF file of version 2 or 3."""
    try:
        with path.open("rb") as file:
            return _head(file, path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (struct.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} ends early or is damaged: {error}") from error


def _head(file: BinaryIO, path: Path) -> tuple[Mapping[str, Any], list[GgufTensor]]:
    if file.read(4) != b"GGUF":
        raise InputError(f"{path} is not a GGUF file")
    version = _number(file, "I")
    if version not in (2, 3):
        raise InputError(f"{path} is GGUF version {version}; versions 2 and 3 are read")
    tensor_count, pair_count = _number(file, "Q"), _number(file, "Q")
    metadata = {}
    for _ in range(pair_count):
        key = _text(file)
        metadata[key] = _value(file, _number(file, "I"))
    tensors: list[GgufTensor] = []
    for _ in range(tensor_count):
        name = _text(file)
        shape = tuple(_number(file, "Q") for _ in range(_number(file, "I")))
        kind = _number(file, "I")
        _number(file, "Q")
        tensors.append((name, shape, _TYPES.get(kind, f"type {kind}")))
    return metadata, tensors


def _number(file: BinaryIO, code: str) -> Any:
    return struct.unpack("<" + code, file.read(struct.calcsize(code)))[0]


def _text(file: BinaryIO) -> str:
    length = _number(file, "Q")
    if length > _LONGEST:
        raise InputError("the GGUF file is damaged: a text of impossible length")
    return file.read(length).decode("utf-8", errors="replace")


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, count = _number(file, "I"), _number(file, "Q")
        if inner in _SCALARS:
            size = struct.calcsize(_SCALARS[inner])
            return list(struct.unpack(f"<{count}{_SCALARS[inner]}", file.read(size * count)))
        return [_value(file, inner) for _ in range(count)]
    if kind not in _SCALARS:
        raise InputError(f"the GGUF file is damaged: value type {kind}")
    return _number(file, _SCALARS[kind])
