"""GGUF files in several shards: all of them read as one header, or the error that names the shard that is missing."""

from __future__ import annotations

import mmap
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.formats.gguf import BrokenHeaderError, GgufHeader, parse_gguf

_NAME = re.compile(r"(.*-)(\d{5})-of-(\d{5})(\.gguf)", re.IGNORECASE)
#: No published model has more shards.
MAX_SHARDS = 1000


def read_whole_gguf(path: Path) -> GgufHeader:
    """The header of a model in one file or in shards, whichever shard is given: metadata of the first, tensors of all.

    Raises InputError where a file cannot be read, a shard is missing, or their numbers do not fit.
    """
    header = read_gguf(path)
    count = _number(header, "split.count", path)
    if count <= 1:
        return header
    if count > MAX_SHARDS:
        raise InputError(f"{path}: claims {count} shards, more than {MAX_SHARDS}; it is damaged")
    number = _number(header, "split.no", path)
    shards = [header if i == number else _shard(path, number, i, count) for i in range(count)]
    tensors = tuple(t for shard in shards for t in shard.tensors)
    expected = shards[0].metadata.get("split.tensors.count")
    if isinstance(expected, int) and not isinstance(expected, bool) and expected != len(tensors):
        raise InputError(f"{path}: its {count} shards hold {len(tensors)} tensors, not {expected}; download them again")
    total_byte = sum(s.file_size_byte for s in shards)
    return replace(shards[0], tensors=tensors, file_size_byte=total_byte)


def _number(header: GgufHeader, key: str, path: Path) -> int:
    value: Any = header.metadata.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{path}: {key} is no whole number; the file is damaged")
    return value


def _shard(path: Path, number: int, wanted: int, count: int) -> GgufHeader:
    """The header of another shard, found beside the one given."""
    subject = f"{path}: is shard {number + 1} of {count}"
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(f"{subject}; name the shards …-00001-of-{count:05d}.gguf and keep them in one folder")
    other = path.with_name(f"{match[1]}{wanted + 1:05d}-of-{match[3]}{match[4]}")
    if not other.is_file():
        raise InputError(f"{subject}; give also {other.name}, in the same folder")
    header = read_gguf(other)
    if (_number(header, "split.no", other), _number(header, "split.count", other)) != (wanted, count):
        raise InputError(f"{other}: does not say that it is shard {wanted + 1} of {count}; download it again")
    return header


def read_gguf(path: Path) -> GgufHeader:
    """The header of the file at ``path``. Raises InputError that names the file and says what is wrong with it."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no regular file; give the path of a GGUF file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return parse_gguf(view, len(view))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give the path of a GGUF file") from None
    except BrokenHeaderError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError:  # mmap of an empty file
        raise InputError(f"{path}: is empty; download it again") from None
