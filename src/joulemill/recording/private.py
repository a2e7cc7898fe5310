"""Folders and files of a run, for their owner alone: they hold answers, prompts, and what runs on which machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def private_folder(path: Path) -> None:
    """Make ``path`` where it is not there; folders above it are as the user's own are."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def open_private(path: Path, mode: str) -> IO[str]:
    """``path`` as a text file to write; where it is new, its owner alone may read it."""
    return open(path, mode, encoding="utf-8", newline="\n", opener=lambda p, flags: os.open(p, flags, FILE_MODE))


def write_private(path: Path, text: str) -> None:
    """Write ``text`` whole."""
    with open_private(path, "w") as file:
        file.write(text)
