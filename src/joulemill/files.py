"""Whole files read with a bound, and every reason why one cannot be."""

from __future__ import annotations

from pathlib import Path

from joulemill.errors import InputError

#: The largest file of results or signals that is read whole.
MAX_BYTE = 1 << 30


def read_bytes(path: Path, most_byte: int = MAX_BYTE) -> bytes:
    """What ``path`` holds. Raises InputError where it is a folder, cannot be read, or is larger than ``most_byte``."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name the result files in it")
        if path.stat().st_size > most_byte:
            raise InputError(f"{path}: is larger than {most_byte >> 20} MiB; import a shorter run, or its summary")
        return path.read_bytes()
    except OSError as fault:
        raise InputError(f"{path}: cannot be read ({fault.strerror or fault})") from fault
