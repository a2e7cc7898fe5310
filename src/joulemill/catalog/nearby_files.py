"""What a path that is not there may have meant: a file beside it with nearly its name."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from joulemill.suggestions import nearest

#: A folder with more entries than this is not looked through to its end.
_MOST_ENTRIES = 2000


def unreadable(path: Path, error: OSError) -> str:
    """Why a file cannot be read; of one that is not there also the file of its kind that was likely meant."""
    reason = error.strerror or str(error)
    near = _nearby(path) if isinstance(error, FileNotFoundError) else None
    return f"{reason}; did you mean {near}?" if near else reason


def _nearby(path: Path) -> Path | None:
    try:
        with os.scandir(path.parent) as entries:
            names = [e.name for e in islice(entries, _MOST_ENTRIES)]
    except OSError:  # the folder is not there either, or may not be listed
        return None
    alike = sorted(n for n in names if Path(n).suffix == (path.suffix or ".toml"))
    return next((path.parent / n for n in nearest(path.name, alike)), None)
