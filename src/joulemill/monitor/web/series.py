"""The history as lines for the page: J/token, tok/s, watts, idle and observed share over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from joulemill.errors import InputError
from joulemill.monitor.history.reader import HistoryColumns, Reader

#: More lines than these nobody tells apart; the largest by tokens are drawn.
MOST_LINES = 8
POINTS = 240
MOST_HOURS = 24 * 400
#: Scopes in the order in which one stands for a target's energy.
SCOPES = ("node", "device", "cpu")


def series(reader: Reader, now_s: float, hours: float, by: str, only: str | None) -> dict[str, Any]:
    """Lines of the last ``hours`` by ``model``, ``site`` or ``target``, or one of them alone (``only``)."""
    if not (math.isfinite(hours) and 0 < hours <= MOST_HOURS):
        raise InputError(f"hours is {hours}; it must lie between 0 and {MOST_HOURS}")
    if by not in ("model", "site", "target"):
        raise InputError(f"by is {by!r}; use model, site or target")
    start_s = now_s - hours * 3600.0
    names = [only] if only is not None else _names(reader, by, start_s)
    step_s = hours * 3600.0 / POINTS
    lines = [
        {"name": n, **line(reader.series(start_s=start_s, end_s=now_s, step_s=step_s, **{by: n}), now_s)}
        for n in names[:MOST_LINES]
    ]
    return {"kept": True, "by": by, "hours": hours, "lines": lines, "left_out": max(len(names) - MOST_LINES, 0)}


def _names(reader: Reader, by: str, start_s: float) -> list[str]:
    """Names, by output tokens since ``start_s``, most first."""
    since = f"length_s = 300 AND start_s >= {float(start_s)}"
    if by == "target":
        query = f"SELECT name FROM target JOIN bucket ON of = target.id WHERE {since} GROUP BY 1"
    else:
        query = f"SELECT {by} FROM model_group JOIN bucket ON of = -model_group.id WHERE {since} GROUP BY 1"
    return [row[0] for row in reader.sql(f"{query} ORDER BY sum(output_tok) DESC")[1]]


def line(columns: HistoryColumns, now_s: float) -> dict[str, Any]:
    """One line's columns. J/token is joules over the tokens made with them; without tokens it is unknown.

    A step at the edge of time that nobody observed was seen in part: it has a J/token, and no rate.
    """
    observed_s, tokens = columns.sums.get("observed_s", []), columns.sums.get("output_tok", [])
    keys = best_scope(columns)
    joules = _added([columns.energy_j[k] for k in keys], len(observed_s))
    metered = _added([columns.metered_tok[k] for k in keys], len(observed_s))
    idle, known = columns.sums.get("idle_s", []), columns.sums.get("known_idle_s", [])
    lost = columns.sums.get("unobserved_s", [])
    past_s = [min(columns.step_s, max(now_s - t, 1.0)) for t in columns.start_s]  # the last step is still going on
    whole = _whole_steps(columns, observed_s)
    return {
        "step_s": columns.step_s,
        "t": columns.start_s,
        "tok_s": [t / p if w else None for t, w, p in zip(tokens, whole, past_s, strict=True)],
        "j_tok": [j / m if j is not None and m else None for j, m in zip(joules, metered, strict=True)],
        "w": [j / p if j is not None and w else None for j, w, p in zip(joules, whole, past_s, strict=True)],
        "idle": [i / k if k > 0 else None for i, k in zip(idle, known, strict=True)],
        "observed": [s / (s + u) if s + u > 0 else None for s, u in zip(observed_s, lost, strict=True)],
        "scope": keys[0][0] if keys else None,
        "basis": [b for _, b in keys],
    }


def _whole_steps(columns: HistoryColumns, observed_s: Sequence[float]) -> list[bool]:
    """Whether each step was observed, and is no edge of a hole that is much less observed than the step inside."""
    whole = []
    for i, own in enumerate(observed_s):
        inside = []
        if i + 1 < len(observed_s) and (i == 0 or columns.start_s[i] - columns.start_s[i - 1] > 1.5 * columns.step_s):
            inside.append(observed_s[i + 1])
        if i > 0 and i + 1 < len(observed_s) and columns.start_s[i + 1] - columns.start_s[i] > 1.5 * columns.step_s:
            inside.append(observed_s[i - 1])
        whole.append(own > 0 and all(own > 0.9 * other for other in inside))
    return whole


def best_scope(columns: HistoryColumns) -> list[tuple[str, str]]:
    """The widest scope that has joules, with each basis that they have."""
    for scope in SCOPES:
        keys = sorted(k for k in columns.energy_j if k[0] == scope)
        if keys:
            return keys
    return []


def _added(columns: Sequence[list[float | None]], count: int) -> list[float | None]:
    out: list[float | None] = [None] * count
    for column in columns:
        out = [b if a is None else a if b is None else a + b for a, b in zip(out, column, strict=True)]
    return out
