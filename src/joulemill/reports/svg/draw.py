"""What every inline SVG picture is drawn with: a frame 420 units wide, words, lines, bars, dots, and scales. Pure.

So wide, letters stay readable when a phone shows the picture at full width. Colors are CSS classes, so that the page's
light, dark and print styles hold; each picture carries a title and a description for screen readers. Every text from
outside is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from joulemill.figure import Figure

WIDTH = 420


def svg(height: float, name: str, description: str, body: Sequence[str]) -> str:
    """A picture of ``body``, with its name and what it shows."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"<title>{escape(name)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def empty(height: float, name: str, why: str) -> str:
    """A picture of nothing, which says why."""
    return svg(height, name, why, [text(WIDTH / 2, height / 2 + 5, why, "")])


def text(x: float, y: float, words: str, style: str = "tiny", anchor: str = "middle", room: float | None = None) -> str:
    """Words at a place, pressed together where they would take more than ``room``."""
    wide = len(words) * (6.4 if "strong" in style else 5.5)  # of a character in the smallest size, about
    fit = f' textLength="{room:.1f}" lengthAdjust="spacingAndGlyphs"' if room and wide > room else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}"{fit}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def bar(x: float, y: float, width: float, height: float, style: str) -> str:
    """A rectangle; one of negative size has none."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" class="{style}"/>'


def dot(x: float, y: float, radius: float, style: str) -> str:
    """A circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{style}"/>'


def pie(x: float, y: float, radius: float, share: float, style: str) -> str:
    """The first ``share`` of a disc, clockwise from its top."""
    angle = 2 * math.pi * share
    ex, ey = x + radius * math.sin(angle), y - radius * math.cos(angle)
    arc = f"A{radius} {radius} 0 {int(share > 0.5)} 1 {ex:.1f} {ey:.1f}"
    return f'<path d="M{x:.1f} {y:.1f}L{x:.1f} {y - radius:.1f}{arc}Z" class="{style}"/>'


def path(points: Sequence[tuple[float, float | None]], style: str = "line", dash: str = "") -> str:
    """A line through the points; a None breaks it, so that a gap is seen as a gap. ``dash``: lengths of strokes."""
    parts: list[str] = []
    pen_up = True
    for x, y in points:
        if y is not None:
            parts.append(f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}")
        pen_up = y is None
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{"".join(parts)}" class="{style}"{dashed}/>'


def linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From ``low`` at ``start`` to ``high`` at ``end``."""
    return lambda value: start + (end - start) * (value - low) / max(high - low, 1e-9)


def logarithmic(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From ``low`` at ``start`` to ``high`` at ``end``, in proportion; the middle where both are the same."""
    if high <= low:
        return lambda value: (start + end) / 2
    span = math.log(high / low)
    return lambda value: start + (end - start) * math.log(value / low) / span


def log_change(change: Figure, least: float = -0.95, most: float = 19.0) -> tuple[float, float, float]:
    """Logarithms of 1 + change, so that half is as far as double: low, value, high, each kept within bounds."""
    value = change.value or 0.0
    low, mid, high = (
        math.log1p(min(max(value if end is None else end, least), most)) for end in (change.low, value, change.high)
    )
    return low, mid, high
