"""What is known of NVIDIA's power sensors by the board's name. Pure."""

from __future__ import annotations

import re

#: Boards whose sensor averages over 25 ms of every 100 ms: A100 and H100 in arXiv:2312.02741 (over 70 GPUs examined).
#: That the others of the same two chips, GA100 and GH100, do the same is assumed; nothing is known of later ones.
PART_TIME_RATIO = 0.25
_PART_TIME = re.compile(r"\b(A100|A800|A30|H100|H800|H200|H20|GH200)\b")


def sampled_ratio(name: str) -> float | None:
    """Share of the time in which the board called ``name`` looks at its power; None: all of it, or unknown.

    >>> sampled_ratio("NVIDIA H100 80GB HBM3")
    0.25
    """
    return PART_TIME_RATIO if _PART_TIME.search(name) else None
