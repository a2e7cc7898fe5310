"""Inline SVG: what each lever did, measured with its interval, and what was predicted, on one line each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from joulemill.analysis.lever_experiment import MeasuredLever
from joulemill.figure import Figure
from joulemill.reports.svg.draw import WIDTH, dot, empty, line, linear, log_change, svg, text
from joulemill.wording import signed

LEFT, RIGHT, TOP, PITCH = 112.0, 340.0, 30.0, 30.0


def picture(levers: Sequence[MeasuredLever], measured: str, predicted: str) -> str:
    """A row a lever: a dot with its whisker measured, a ring predicted; log scale, so half is as far as double."""
    shown = [(x, getattr(x, measured), (x.predicted or {}).get(predicted)) for x in levers if x.after is not None]
    rows = [(x, m, p) for x, m, p in shown if m is not None and m.value is not None]
    if not rows:
        return empty(50, "Levers: measured and predicted", "unknown for every lever")
    spans = [log_change(f) for _, m, p in rows for f in (m, p) if f is not None and f.value is not None]
    low, high = min(0.0, *(s[0] for s in spans)), max(0.0, *(s[2] for s in spans))

    across = linear(low, high, LEFT, RIGHT)
    bottom = TOP + PITCH * len(rows)
    body = [line(across(0.0), TOP - 6, across(0.0), bottom, "level")]
    body += [text(across(0.0), 12, "no change", "tiny", "middle"), text(WIDTH, 12, "measured", "strong small", "end")]
    body.append(text(WIDTH, 24, "○ predicted", "tiny", "end"))
    for row, (lever, m, p) in enumerate(rows):
        y = TOP + PITCH * row + 10
        body += [text(LEFT - 8, y + 3, lever.name, "small", "end"), *_mark(m, across, y, filled=True)]
        body.append(text(WIDTH, y + 1, signed(m), "strong small", "end"))
        if p is not None and p.value is not None:
            body += [*_mark(p, across, y + 9, filled=False), text(WIDTH, y + 13, signed(p), "tiny", "end")]
    description = "; ".join(
        f"{x.name} measured {signed(m, bounds=True)}, predicted {signed(p, bounds=True)}" for x, m, p in rows
    )
    return svg(bottom + 6, "Levers: measured and predicted", description, body)


def _mark(change: Figure, across: Callable[[float], float], y: float, *, filled: bool) -> list[str]:
    low, mid, high = (across(x) for x in log_change(change))
    return [
        line(low, y, high, y, "whisker" if filled else "axis"),
        dot(mid, y, 4 if filled else 3, "part" if filled else "disc"),
    ]
