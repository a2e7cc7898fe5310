"""Logs of power that are no table of ours: what they are, and how to log what can be read. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NVIDIA = "nvidia-smi --query-gpu=timestamp,uuid,power.draw --format=csv -l 1 -f smi.csv"
_AMD = "amd-smi metric -p -E --csv -w 1 --file amd.csv"
#: How the first line that says anything begins, what that is, and the command that writes a log that can be read.
_KINDS = (
    (re.compile(r"#\s*Entity\b", re.IGNORECASE), "the text of dcgmi dmon, which has no times", _NVIDIA),
    (re.compile(r"#\s*(gpu|Date)\b", re.IGNORECASE), "the text of nvidia-smi dmon", _NVIDIA),
    (re.compile(r"=+NVSMI LOG=+|\+-{20,}|\|\s*NVIDIA-SMI"), "the text of nvidia-smi", _NVIDIA),
    (re.compile(r"(TIMESTAMP\s+)?(GPU|XCP)\s+(?=.*\bPOWER\b)"), "the text of amd-smi monitor", _AMD),
    (re.compile(r"GPU: \d+\s*$"), "the text of amd-smi metric", _AMD),
    (re.compile(r"[\[{]"), "JSON", f"{_NVIDIA}, or {_AMD}"),
)


def foreign(head: Sequence[str]) -> str | None:
    """What a file that begins with ``head`` is and what to log instead; None where it may be a table."""
    first = next((line.strip() for line in head if line.strip()), "")
    if any(character < " " and character not in "\t\r\n\x1b" for line in head for character in line):
        return "is no text"
    for begins, what, command in _KINDS:
        if begins.match(first):
            return f"is {what}; log a table instead: {command}"
    return None
