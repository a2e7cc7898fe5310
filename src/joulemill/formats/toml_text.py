"""TOML that people wrote by hand, in whatever encoding their editor saves. Pure.

TOML is UTF-8 by its rules. Windows' editors put a byte-order mark before it, and PowerShell's redirect writes UTF-16.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any


def toml_text(data: bytes) -> str:
    """The text of a TOML file. Raises ValueError, which says what to do, where it is none.

    >>> toml_text("pue = 1.2".encode("utf-16"))
    'pue = 1.2'
    """
    try:
        return data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"is no text in UTF-8 or UTF-16 (byte {fault.start + 1} cannot be read): save it as UTF-8"
        ) from None


def load_toml(data: bytes) -> dict[str, Any]:
    """The tables of a TOML file. Raises ValueError where it is none, or nested beyond measure."""
    try:
        return tomllib.loads(toml_text(data))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
