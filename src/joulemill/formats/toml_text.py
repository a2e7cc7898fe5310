"""TOML that people wrote by hand, in whatever encoding their editor saves. Pure.

TOML is UTF-8 by its rules. Windows' editors put a byte-order mark before it, and PowerShell's redirect writes UTF-16.
"""

from __future__ import annotations

import tomllib
from typing import Any

from joulemill.files import text_of


def load_toml(data: bytes) -> dict[str, Any]:
    """The tables of a TOML file. Raises ValueError where it is none, or nested beyond measure."""
    try:
        return tomllib.loads(text_of(data))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
