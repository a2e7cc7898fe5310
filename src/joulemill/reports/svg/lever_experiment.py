"""Inline SVG: what each lever did, measured with its interval, and what was predicted, on one line each. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from joulemill.analysis.lever_experiment import MeasuredLever
from joulemill.figure import Figure
from joulemill.wording import signed

WIDTH, LEFT, RIGHT, TOP, PITCH = 420.0, 112.0, 340.0, 30.0, 30.0


def picture(levers: Sequence[MeasuredLever], measured: str, predicted: str) -> str:
    """A row a lever: a dot with its whisker measured, a ring predicted; log scale, so half is as far as double."""
    shown = [(x, getattr(x, measured), (x.predicted or {}).get(predicted)) for x in levers if x.after is not None]
    rows = [(x, m, p) for x, m, p in shown if m is not None and m.value is not None]
    if not rows:
        return '<p class="quiet">unknown for every lever</p>'
    spans = [_bounds(f) for _, m, p in rows for f in (m, p) if f is not None and f.value is not None]
    low, high = min(0.0, *(s[0] for s in spans)), max(0.0, *(s[2] for s in spans))

    def across(log: float) -> float:
        return LEFT + (RIGHT - LEFT) * (log - low) / max(high - low, 1e-9)

    bottom = TOP + PITCH * len(rows)
    body = [f'<line x1="{across(0):.1f}" y1="{TOP - 6}" x2="{across(0):.1f}" y2="{bottom:.0f}" class="level"/>']
    body += [_text(across(0.0), 12, "no change", "tiny", "middle"), _text(WIDTH, 12, "measured", "strong small", "end")]
    body.append(_text(WIDTH, 24, "○ predicted", "tiny", "end"))
    for row, (lever, m, p) in enumerate(rows):
        y = TOP + PITCH * row + 10
        body += [_text(LEFT - 8, y + 3, lever.name, "small", "end"), *_mark(m, across, y, filled=True)]
        body.append(_text(WIDTH, y + 1, signed(m), "strong small", "end"))
        if p is not None and p.value is not None:
            body += [*_mark(p, across, y + 9, filled=False), _text(WIDTH, y + 13, signed(p), "tiny", "end")]
    description = "; ".join(
        f"{x.name} measured {signed(m, bounds=True)}, predicted {signed(p, bounds=True)}" for x, m, p in rows
    )
    name = "Levers: measured and predicted"
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {bottom + 6:.0f}" role="img" aria-label="{name}">'
        f"<title>{name}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def _bounds(change: Figure) -> tuple[float, float, float]:
    """Logarithms of 1 + change: low, value, high."""
    value = change.value or 0.0
    low, mid, high = (
        math.log1p(min(max(value if x is None else x, -0.95), 19.0)) for x in (change.low, value, change.high)
    )
    return low, mid, high


def _mark(change: Figure, across: object, y: float, *, filled: bool) -> list[str]:
    assert callable(across)  # noqa: S101
    low, mid, high = (across(x) for x in _bounds(change))
    style = "part" if filled else "disc"
    return [
        f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" class="{"whisker" if filled else "axis"}"/>',
        f'<circle cx="{mid:.1f}" cy="{y}" r="{4 if filled else 3}" class="{style}"/>',
    ]


def _text(x: float, y: float, words: str, style: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'
