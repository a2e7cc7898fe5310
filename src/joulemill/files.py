"""Whole files read with a bound, and every reason why one cannot be.

Text is taken in the encoding that it shows: a byte-order mark, or zero bytes between its first letters, are UTF-16 or
UTF-32 (PowerShell's redirect, spreadsheets' "Unicode text"); all else is UTF-8.
"""

from __future__ import annotations

import json
from pathlib import Path

from joulemill.errors import InputError, MachineError

#: The largest file of results or signals that is read whole.
MAX_BYTE = 1 << 30


def read_bytes(path: Path, most_byte: int = MAX_BYTE) -> bytes:
    """What ``path`` holds. Raises InputError where it is a folder, cannot be read, or is larger than ``most_byte``."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file in it")
        if path.stat().st_size > most_byte:
            raise InputError(f"{path}: is larger than {most_byte >> 20} MiB; import a shorter run, or its summary")
        return path.read_bytes()
    except OSError as fault:
        raise InputError(f"{path}: cannot be read ({fault.strerror or fault})") from fault


def text_of(data: bytes) -> str:
    """The text that ``data`` is, without its byte-order mark. Raises ValueError, which says what to do, if it is none.

    >>> text_of("pue = 1.2".encode("utf-16"))
    'pue = 1.2'
    """
    try:
        return data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"no text in UTF-8 or UTF-16: byte {fault.start + 1} cannot be read; save it as UTF-8"
        ) from None


def write_text(path: str | Path, text: str) -> None:
    """``text`` as UTF-8 at ``path``, whose folder is made. MachineError where it cannot be written."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{path}: cannot be written ({fault.strerror}); choose another file") from fault
