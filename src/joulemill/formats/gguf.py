"""The header of a GGUF file: what the model says of itself, and each tensor's size. The weights stay unread.

``parse_gguf`` is sans-IO: bytes in (a memory map will do), values out. Every count and length in the file is checked
against what is left of it before it is used, so that no file can make the reader allocate or loop without bound.

Reference: ggml-org/ggml, docs/gguf.md (versions 2 and 3); block sizes from ggml-common.h.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

from joulemill.errors import InputError

#: Longer arrays (token lists, merges) are passed over; per-layer lists are far shorter.
MAX_ARRAY_COUNT = 4096
MAX_TENSOR_COUNT = 1 << 17
MAX_KEY_COUNT = 1 << 16
MAX_DIMENSIONS = 4
MAX_NESTING = 4
#: Strings and arrays within arrays of one file are walked one by one; no tokenizer has more.
MAX_WALKED_COUNT = 1 << 22
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
#: ggml type → name, weights in a block, bytes of a block.
_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip


class BrokenHeaderError(ValueError):
    """What is wrong, without the file's name."""


@dataclass(frozen=True, slots=True)
class SkippedArray:
    """An array too long to be of interest: how many elements it has."""

    count: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor. ``shape`` as in the file, fastest dimension first; ``size_byte`` as stored."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    size_byte: int

    @property
    def weight_count(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A GGUF's header. ``metadata`` values are numbers, booleans, strings, tuples of them, or a SkippedArray."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[TensorInfo, ...]
    file_size_byte: int

    @property
    def weight_byte(self) -> int:
        """Bytes of all tensors, without header and padding."""
        return sum(t.size_byte for t in self.tensors)

    @property
    def weight_count(self) -> int:
        """Parameters of the model."""
        return sum(t.weight_count for t in self.tensors)


def parse_gguf_bytes(data: bytes, name: str = "the GGUF file") -> GgufHeader:
    """The header of a whole file in memory. Raises InputError that begins with ``name``."""
    try:
        return parse_gguf(data, len(data))
    except BrokenHeaderError as error:
        raise InputError(f"{name}: {error}") from None


def parse_gguf(data: bytes | mmap.mmap, file_size_byte: int) -> GgufHeader:
    """The header in ``data``, the beginning of a file of ``file_size_byte``. Raises ValueError for a broken one."""
    cursor = _Cursor(data)
    if data[:4] != b"GGUF":
        raise BrokenHeaderError(
            "is not a GGUF file (it does not begin with 'GGUF'); convert the model with llama.cpp first"
        )
    cursor.position = 4
    version = cursor.scalar("I")
    if version not in (2, 3):
        kind = "is big-endian" if version in (2 << 24, 3 << 24) else f"has GGUF version {version}"
        raise BrokenHeaderError(f"{kind}; versions 2 and 3, little-endian, can be read")
    tensor_count = cursor.count(MAX_TENSOR_COUNT, "tensors")
    key_count = cursor.count(MAX_KEY_COUNT, "metadata keys")
    metadata = {}
    for _ in range(key_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalar("I"))
    rows = [cursor.tensor() for _ in range(tensor_count)]
    start_byte = _aligned(cursor.position, metadata.get("general.alignment", 32))
    return GgufHeader(version, metadata, _sized(rows, file_size_byte - start_byte), file_size_byte)


@dataclass(frozen=True, slots=True)
class _HeaderRow:
    name: str
    shape: tuple[int, ...]
    type_id: int
    offset_byte: int


class _Cursor:
    """Reads forward; refuses to pass the end."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self.size_byte = len(data)
        self.position = 0
        self.walked_count = 0

    def _advance(self, count: int) -> int:
        """The position of ``count`` bytes that are surely there."""
        start = self.position
        if count > self.size_byte - start:
            raise BrokenHeaderError("ends in the middle of its header; download it again")
        self.position = start + count
        return start

    def scalar(self, code: str) -> Any:
        form = "<" + code
        return struct.unpack_from(form, self.data, self._advance(struct.calcsize(form)))[0]

    def count(self, limit: int, what: str) -> int:
        number: int = self.scalar("Q")
        if number > limit:
            raise BrokenHeaderError(f"claims {number} {what}, more than {limit}; it is damaged or not meant as a model")
        return number

    def string(self) -> str:
        length: int = self.scalar("Q")
        start = self._advance(length)
        return self.data[start : start + length].decode("utf-8", "replace")

    def value(self, type_id: int, depth: int = 0) -> Any:
        if type_id in _SCALARS:
            return self.scalar(_SCALARS[type_id])
        if type_id == _STRING:
            return self.string()
        if type_id == _ARRAY and depth < MAX_NESTING:
            return self._array(depth)
        raise BrokenHeaderError(f"has a metadata value of unknown type {type_id}; it is damaged or too new")

    def _array(self, depth: int) -> tuple[Any, ...] | SkippedArray:
        type_id, count = self.scalar("I"), self.scalar("Q")
        if count > self.size_byte - self.position:  # every element takes a byte at least
            raise BrokenHeaderError(f"claims an array of {count} elements, more than it has bytes; download it again")
        if type_id in _SCALARS:
            form = f"<{count}{_SCALARS[type_id]}"
            start = self._advance(struct.calcsize(form))
            return SkippedArray(count) if count > MAX_ARRAY_COUNT else struct.unpack_from(form, self.data, start)
        self.walked_count += count
        if self.walked_count > MAX_WALKED_COUNT:
            raise BrokenHeaderError(f"claims more than {MAX_WALKED_COUNT} texts in arrays; it is damaged")
        if count <= MAX_ARRAY_COUNT:
            return tuple(self.value(type_id, depth + 1) for _ in range(count))
        for _ in range(count):
            if type_id == _STRING:
                self._advance(self.scalar("Q"))
            else:
                self.value(type_id, depth + 1)
        return SkippedArray(count)

    def tensor(self) -> _HeaderRow:
        name, dimensions = self.string(), self.scalar("I")
        if dimensions > MAX_DIMENSIONS:
            raise BrokenHeaderError(f"has a tensor {name[:60]!r} of {dimensions} dimensions; it is damaged")
        shape = tuple(self.scalar("Q") for _ in range(dimensions))
        return _HeaderRow(name, shape, self.scalar("I"), self.scalar("Q"))


def _aligned(position: int, alignment: Any) -> int:
    if not isinstance(alignment, int) or alignment <= 0:
        raise BrokenHeaderError(f"has general.alignment {alignment!r}; it is damaged")
    return -(-position // alignment) * alignment


def _sized(rows: list[_HeaderRow], available_byte: int) -> tuple[TensorInfo, ...]:
    """Each tensor's bytes: from its type, or, where the type is newer than this table, from where the next begins."""
    bounds = sorted({r.offset_byte for r in rows} | {available_byte})
    following = dict(pairwise(bounds))
    tensors = []
    for row in rows:
        name, block, block_byte = _TYPES.get(row.type_id, (f"type {row.type_id}", 0, 0))
        size_byte = (
            -(-prod(row.shape) // block) * block_byte if block else following.get(row.offset_byte, 0) - row.offset_byte
        )
        if size_byte < 0 or row.offset_byte + size_byte > available_byte:
            missing = row.offset_byte + size_byte - available_byte
            raise BrokenHeaderError(f"ends {missing} bytes before its tensor {row.name[:60]!r} does; download it again")
        tensors.append(TensorInfo(row.name, row.shape, name, size_byte))
    return tuple(tensors)
