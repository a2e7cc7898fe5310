"""JSON of other people's making, read so that nothing in it can crash what reads it. Pure."""

from __future__ import annotations

import json
from typing import Any

#: Whole numbers of more digits are beyond any counter: they become floats (and infinite, where they are beyond those).
_DIGITS = 19


def loads(text: str | bytes) -> Any:
    """The value of ``text``. Raises ValueError for whatever is no JSON, nested beyond measure too.

    >>> loads('{"a": 1e400}')
    {'a': inf}
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)
